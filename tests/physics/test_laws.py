"""Laws that hold for every state and all hardware, in both models: results are states, and nothing is free.

Inputs are random states of every rank: pure ones lie on the edge of what is positive.
"""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from physics.hardware import HERALDED_FRACTIONS, DepolarisingMemory, NodeHardware, RelaxingMemory
from physics.interface import PROTOCOLS
from physics.qubits import states

EXACT = 1e-12

noises = st.just(1.0) | st.just(0.0) | st.floats(0.0, 1.0)
lifetimes = st.just(math.inf) | st.floats(1e-3, 1e3)
wears = st.just(math.inf) | st.floats(0.5, 1e3)
depolarising = st.builds(DepolarisingMemory, depolarising_s=lifetimes, coherence_attempts=wears)


@st.composite
def relaxing(draw):
    relaxation_s, dephasing_s = draw(lifetimes), draw(lifetimes)
    dephasing_s = min(dephasing_s, 2.0 * relaxation_s)
    return RelaxingMemory(relaxation_s=relaxation_s, dephasing_s=dephasing_s, coherence_attempts=draw(wears))


@st.composite
def matrices(draw):
    """A random density matrix of rank 1 to 4: a Gaussian matrix of that many columns, times its adjoint."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (4, draw(st.integers(1, 4)))
    columns = generator.normal(size=shape) + 1j * generator.normal(size=shape)
    matrix = columns @ columns.conj().T
    return matrix / np.trace(matrix).real


memories = st.none() | depolarising | relaxing()
durations = st.just(0.0) | st.floats(1e-12, 1e6)
counts = st.just(0.0) | st.floats(0.0, 1e4)
nodes = st.builds(
    NodeHardware,
    memory=depolarising,
    gate_fidelity=noises,
    readout_fidelity=noises,
    bell_measurement=st.sampled_from(sorted(HERALDED_FRACTIONS)),
)


def assert_state(model, state):
    """Trace 1, Hermitian, positive; a fidelity in [0, 1] that is <Phi+| rho |Phi+>."""
    matrix = model.density_matrix(state)
    assert matrix.dtype == np.complex128
    assert matrix.shape == (4, 4)
    assert abs(np.trace(matrix) - 1.0) < EXACT
    assert np.abs(matrix - matrix.conj().T).max() < EXACT
    assert np.linalg.eigvalsh(matrix)[0] > -EXACT
    fidelity = model.fidelity(state)
    assert -EXACT < fidelity < 1.0 + EXACT
    assert abs(fidelity - np.trace(states.bell_state(0) @ matrix).real) < EXACT


def negativity(matrix):
    """(|rho^T2|_1 - 1)/2 (Vidal and Werner 2002, Phys. Rev. A 65, 032314)."""
    turned = matrix.reshape(2, 2, 2, 2).transpose(0, 3, 2, 1).reshape(4, 4)
    return 0.5 * (np.abs(np.linalg.eigvalsh(turned)).sum() - 1.0)


@settings(max_examples=30, deadline=None)
@given(matrix=matrices())
def test_a_density_matrix_goes_in_and_comes_out(model, matrix):
    state = model.from_density_matrix(matrix)
    assert_state(model, state)
    assert np.allclose(model.density_matrix(state), matrix, rtol=0, atol=1e-15)
    flipped = model.flip(state)
    assert np.allclose(model.density_matrix(flipped), states.exchange_ends(matrix), rtol=0, atol=1e-15)


@settings(max_examples=30, deadline=None)
@given(
    matrix=matrices(), ends=st.tuples(memories, memories), duration_s=durations, n=st.tuples(counts, counts)
)
def test_stored_states_are_states(model, matrix, ends, duration_s, n):
    assert_state(model, model.age(model.from_density_matrix(matrix), *ends, duration_s, n))


@settings(max_examples=30, deadline=None)
@given(pair=st.tuples(matrices(), matrices()), node=nodes, u=st.floats(0.0, 1.0, exclude_max=True))
def test_swapped_states_are_states(model, pair, node, u):
    swapped = model.swap(*map(model.from_density_matrix, pair), node, u)
    assert swapped.success == (swapped.outcome in node.heralded_outcomes) == (swapped.state is not None)
    if swapped.success:
        assert_state(model, swapped.state)


@settings(max_examples=15, deadline=None)
@given(pair=st.tuples(matrices(), matrices()), ends=st.tuples(nodes, nodes))
def test_distilled_states_are_states(model, pair, ends):
    for protocol in PROTOCOLS:
        result = model.distil(*map(model.from_density_matrix, pair), *ends, protocol, 0.0)
        assert 0.0 < result.success_probability < 1.0 + EXACT
        assert_state(model, result.state)


@settings(max_examples=30, deadline=None)
@given(pair=st.tuples(matrices(), matrices()), node=nodes)
def test_a_swap_leaves_no_more_entanglement_than_either_pair_had(pauli, pair, node):
    """Negativity cannot rise on average under local operations and messages (Vidal and Werner 2002).

    The node may sit with either end, so the mean over outcomes is at most that of the worse pair. The mean
    is over u, in the middle of a thousand equal steps, hence the thousandth.
    """
    own = [pauli.from_density_matrix(matrix) for matrix in pair]
    steps = (np.arange(1000) + 0.5) / 1000
    outcomes = [pauli.swap(*own, node, float(u)).outcome for u in steps]
    mean = sum(
        outcomes.count(outcome)
        / 1000
        * negativity(pauli.density_matrix(pauli.swap(*own, node, 0.0, outcome).state))
        for outcome in set(outcomes) - {-1}
    )
    assert mean <= min(map(negativity, pair)) + 4 * 0.5 * 1e-3


@settings(max_examples=30, deadline=None)
@given(pair=st.tuples(matrices(), matrices()), ends=st.tuples(nodes, nodes))
def test_distillation_concentrates_entanglement_and_makes_none(pauli, pair, ends):
    """p N is at most the negativity of both pairs together, ((1 + 2 N1)(1 + 2 N2) - 1)/2."""
    one, other = map(negativity, pair)
    together = 0.5 * ((1 + 2 * one) * (1 + 2 * other) - 1)
    for protocol in PROTOCOLS:
        result = pauli.distil(*map(pauli.from_density_matrix, pair), *ends, protocol, 0.0)
        left = negativity(pauli.density_matrix(result.state))
        assert result.success_probability * left <= together + EXACT


@settings(max_examples=20, deadline=None)
@given(pair=st.tuples(matrices(), matrices()), ends=st.tuples(nodes, nodes), memory=relaxing())
def test_tables_are_read_only_and_arguments_untouched(pauli, pair, ends, memory):
    """States are values: whoever holds one may keep it."""
    own = [pauli.from_density_matrix(matrix) for matrix in pair]
    before = [state.tobytes() for state in own]
    results = [
        pauli.age(own[0], memory, None, 0.3, (2.0, 1.0)),
        pauli.flip(own[0]),
        pauli.swap(*own, ends[0], 0.0, 2).state,
        *(pauli.distil(*own, *ends, protocol, 0.0).state for protocol in PROTOCOLS),
    ]
    assert [state.tobytes() for state in own] == before
    assert not any(table.flags.writeable for table in (*own, *results))


@settings(max_examples=20, deadline=None)
@given(matrix=matrices(), memory=memories)
def test_nothing_happens_in_no_time(model, matrix, memory):
    state = model.from_density_matrix(matrix)
    for arguments in ((memory, memory, 0.0), (memory, None, 0.0, (0.0, 5.0)), (None, None, 1e9, (1e9, 1e9))):
        aged = model.density_matrix(model.age(state, *arguments))
        assert np.allclose(aged, model.density_matrix(state), rtol=0, atol=1e-15)

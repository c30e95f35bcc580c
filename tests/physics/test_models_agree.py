"""`pauli` against the literal QuTiP reference to 1e-12, and the reference against plain NumPy."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physics import states
from physics.density_matrix import DensityMatrixModel
from physics.hardware import DepolarisingMemory, NodeHardware, RelaxingMemory, SourceLink
from physics.pauli import PauliModel

PAULI, REFERENCE = PauliModel(), DensityMatrixModel()
EXACT = 1e-12

seeds = st.integers(0, 2**32 - 1)
uniforms = st.floats(0.0, 1.0, exclude_max=True)
shares = st.floats(0.5, 1.0)
depolarising = st.builds(DepolarisingMemory, depolarising_s=st.floats(1e-3, 1e3))


@st.composite
def relaxing(draw):
    relaxation_s = draw(st.floats(1e-3, 1e3))
    return RelaxingMemory(relaxation_s=relaxation_s, dephasing_s=draw(st.floats(1e-3, 2.0)) * relaxation_s)


memories = st.none() | depolarising | relaxing()
nodes = st.builds(
    NodeHardware,
    memory=depolarising,
    swap_success_probability=st.floats(0.1, 1.0),
    gate_fidelity=shares,
    readout_fidelity=shares,
)


def both(seed):
    """The same random full-rank state in both models."""
    matrix = states.random_state(np.random.default_rng(seed))
    return PAULI.from_density_matrix(matrix), REFERENCE.from_density_matrix(matrix)


def gap(ours, theirs):
    return np.abs(PAULI.density_matrix(ours) - REFERENCE.density_matrix(theirs)).max()


@settings(max_examples=40, deadline=None)
@given(seed=seeds, first=memories, second=memories, duration_s=st.floats(0.0, 10.0))
def test_age_agrees(seed, first, second, duration_s):
    ours, theirs = both(seed)
    aged = PAULI.age(ours, first, second, duration_s), REFERENCE.age(theirs, first, second, duration_s)
    assert gap(*aged) < EXACT


@settings(max_examples=25, deadline=None)
@given(left=seeds, right=seeds, node=nodes, outcome=st.integers(0, 3))
def test_forced_swap_agrees(left, right, node, outcome):
    (a, x), (b, y) = both(left), both(right)
    ours = PAULI.swap(a, b, node, 0.0, outcome)
    theirs = REFERENCE.swap(x, y, node, 0.0, outcome)
    assert gap(ours.state, theirs.state) < EXACT


@settings(max_examples=25, deadline=None)
@given(left=seeds, right=seeds, node=nodes, u=uniforms)
def test_drawn_swap_agrees(left, right, node, u):
    (a, x), (b, y) = both(left), both(right)
    ours, theirs = PAULI.swap(a, b, node, u), REFERENCE.swap(x, y, node, u)
    assert (ours.success, ours.outcome) == (theirs.success, theirs.outcome)
    assert ours.success == (u < node.swap_success_probability)
    if ours.success:
        assert gap(ours.state, theirs.state) < EXACT


@pytest.mark.parametrize("u", [0.0, 0.125, 0.25, 0.375, 0.499, 0.5, 0.75])
def test_choices_agree_on_the_very_edge(u):
    """Four outcomes of exactly 1/4 and u on a threshold: rounding must not part the models."""
    node = NodeHardware(
        memory=DepolarisingMemory(depolarising_s=1.0), swap_success_probability=0.5, gate_fidelity=0.97
    )
    pair = states.werner(0.9)
    ours = PAULI.swap(*[PAULI.from_density_matrix(pair)] * 2, node, u)
    theirs = REFERENCE.swap(*[REFERENCE.from_density_matrix(pair)] * 2, node, u)
    assert (ours.success, ours.outcome) == (theirs.success, theirs.outcome)
    assert ours.outcome == (math.floor(8 * u) if u < 0.5 else -1)


@settings(max_examples=25, deadline=None)
@given(kept=seeds, spent=seeds, first=nodes, second=nodes, u=uniforms)
def test_distillation_agrees(kept, spent, first, second, u):
    (a, x), (b, y) = both(kept), both(spent)
    ours = PAULI.distil(a, b, first, second, "dejmps", u)
    theirs = REFERENCE.distil(x, y, first, second, "dejmps", u)
    assert ours.success_probability == pytest.approx(theirs.success_probability, abs=EXACT)
    assert ours.success == theirs.success == (u < ours.success_probability)
    if ours.success:
        assert gap(ours.state, theirs.state) < EXACT


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_the_rest_agrees(seed):
    ours, theirs = both(seed)
    assert gap(PAULI.flip(ours), REFERENCE.flip(theirs)) < EXACT
    assert PAULI.fidelity(ours) == pytest.approx(REFERENCE.fidelity(theirs), abs=EXACT)


@pytest.mark.parametrize("length_km", [0.0, 1.0, 35.0, 100.0])
def test_links_agree(length_km):
    hardware = SourceLink(efficiency=0.8, fresh_fidelity=0.91)
    ours, theirs = PAULI.link(hardware, length_km), REFERENCE.link(hardware, length_km)
    assert gap(ours.fresh, theirs.fresh) < EXACT
    assert (ours.success_probability, ours.attempt_period_s) == (
        theirs.success_probability,
        theirs.attempt_period_s,
    )


def test_a_long_history_agrees():
    """Errors must not pile up: 60 operations in a row on states that are nothing special."""
    generator = np.random.default_rng(5)
    memory = RelaxingMemory(relaxation_s=3.0, dephasing_s=2.0)
    node = NodeHardware(memory=memory, gate_fidelity=0.98, readout_fidelity=0.99)
    ours, theirs = both(1)
    for step in range(20):
        a, x = both(100 + step)
        u = generator.random(3)
        ours, theirs = PAULI.age(ours, memory, None, u[0]), REFERENCE.age(theirs, memory, None, u[0])
        ours, theirs = PAULI.swap(ours, a, node, u[1]).state, REFERENCE.swap(theirs, x, node, u[1]).state
        one = PAULI.distil(ours, a, node, node, "dejmps", 0.0)
        two = REFERENCE.distil(theirs, x, node, node, "dejmps", 0.0)
        ours, theirs = one.state, two.state
    assert gap(ours, theirs) < EXACT


PERFECT = NodeHardware(memory=DepolarisingMemory(depolarising_s=1.0))


@settings(max_examples=20, deadline=None)
@given(left=seeds, right=seeds, outcome=st.integers(0, 3))
def test_perfect_swap_is_a_bell_projection(model, left, right, outcome):
    """<B_m|_BC rho_AB (x) rho_CD |B_m>_BC with a Pauli on D, written as one NumPy contraction."""
    matrices = [states.random_state(np.random.default_rng(seed)) for seed in (left, right)]
    one, other = (matrix.reshape(2, 2, 2, 2) for matrix in matrices)
    bell = states.bell_state(outcome).reshape(2, 2, 2, 2)
    projected = np.einsum("abxy,cdzw,yzbc->adxw", one, other, bell).reshape(4, 4)
    frame = np.kron(np.eye(2), states.PAULIS[(0, 3, 1, 2)[outcome]])
    expected = frame @ projected @ frame.conj().T / np.trace(projected)
    swapped = model.swap(*(model.from_density_matrix(m) for m in matrices), PERFECT, 0.0, outcome)
    assert np.allclose(model.density_matrix(swapped.state), expected, atol=EXACT)


@settings(max_examples=25, deadline=None)
@given(
    one=st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4),
    other=st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4),
)
def test_dejmps_recurrence(one, other):
    """Deutsch et al. 1996, Phys. Rev. Lett. 77, 2818: a, b, c, d weigh Phi+, Psi-, Psi+, Phi-."""
    weights = [np.array(given) / sum(given) for given in (one, other)]
    (a, d, c, b), (a2, d2, c2, b2) = weights
    probability = (a + b) * (a2 + b2) + (c + d) * (c2 + d2)
    new = np.array([a * a2 + b * b2, a * b2 + b * a2, c * c2 + d * d2, c * d2 + d * c2]) / probability
    pairs = [PAULI.from_density_matrix(states.bell_diagonal(list(given))) for given in weights]
    result = PAULI.distil(*pairs, PERFECT, PERFECT, "dejmps", 0.0)
    assert result.success_probability == pytest.approx(probability, abs=EXACT)
    expected = states.bell_diagonal(list(new))
    assert np.allclose(PAULI.density_matrix(result.state), expected, atol=EXACT)


def test_unread_outcomes_leave_the_outer_qubits_alone(model):
    """Averaged over outcomes, swapping must not signal: the left qubit keeps its reduced state."""
    generator = np.random.default_rng(11)
    node = NodeHardware(memory=PERFECT.memory, gate_fidelity=0.9, readout_fidelity=0.95)
    left, right = (model.from_density_matrix(states.random_state(generator)) for _ in range(2))
    grid = (np.arange(4000) + 0.5) / 4000
    drawn = [model.swap(left, right, node, float(u)).outcome for u in grid] if model.name == "pauli" else None
    probabilities = _outcome_probabilities(model, left, right, node)
    assert sum(probabilities) == pytest.approx(1.0, abs=1e-9)
    if drawn is not None:
        shares_seen = np.bincount(drawn, minlength=4) / 4000
        assert np.abs(shares_seen - probabilities).max() < 1 / 2000
    mixture = sum(
        p * model.density_matrix(model.swap(left, right, node, 0.0, outcome).state)
        for outcome, p in enumerate(probabilities)
    )
    before = np.einsum("abcb->ac", model.density_matrix(left).reshape(2, 2, 2, 2))
    after = np.einsum("abcb->ac", mixture.reshape(2, 2, 2, 2))
    assert np.allclose(before, after, atol=1e-8)


def _outcome_probabilities(model, left, right, node):
    """Where the drawn outcome changes as u grows, found by bisection."""
    edges = [0.0]
    for outcome in range(3):
        low, high = 0.0, 1.0 - 1e-15
        for _ in range(32):
            middle = 0.5 * (low + high)
            above = model.swap(left, right, node, middle).outcome > outcome
            low, high = (low, middle) if above else (middle, high)
        edges.append(high)
    return np.diff([*edges, 1.0])


def test_frames_compose_through_noise(model):
    """A correction by frame m turns the next outcome k into k xor m, for noisy nodes and any states."""
    generator = np.random.default_rng(3)
    a, b, c = (model.from_density_matrix(states.random_state(generator)) for _ in range(3))
    node = NodeHardware(memory=PERFECT.memory, gate_fidelity=0.9, readout_fidelity=0.8)
    for one, two in product(range(4), range(4)):
        early = model.swap(model.swap(a, b, node, 0.0, one).state, c, node, 0.0, two).state
        late = model.swap(a, model.swap(b, c, node, 0.0, one ^ two).state, node, 0.0, one).state
        assert np.allclose(model.density_matrix(early), model.density_matrix(late), atol=EXACT)

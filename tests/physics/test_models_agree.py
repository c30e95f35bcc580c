"""`pauli` against the literal QuTiP reference to 1e-12, in every operation with every argument.

States are random and of full rank, so no symmetry of Bell-diagonal states can hide an error.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from physics.hardware import HERALDED_FRACTIONS, DepolarisingMemory, NodeHardware, RelaxingMemory, SourceLink
from physics.interface import PROTOCOLS
from physics.models.density_matrix import DensityMatrixModel
from physics.models.pauli import PauliModel
from physics.qubits import states

PAULI, REFERENCE = PauliModel(), DensityMatrixModel()
EXACT = 1e-12

seeds = st.integers(0, 2**32 - 1)
uniforms = st.floats(0.0, 1.0, exclude_max=True)
lifetimes = st.floats(1e-3, 1e3)
wears = st.just(math.inf) | st.floats(1.0, 1e4)
measurements = st.sampled_from(sorted(HERALDED_FRACTIONS))
protocols = st.sampled_from(PROTOCOLS)
# From far below a memory's rounding to far beyond its life, with both ends of the scale drawn often.
durations = st.just(0.0) | st.floats(1e-15, 1e-9) | st.floats(1e-6, 100.0) | st.floats(1e4, 1e12)
counts = st.just(0.0) | st.floats(0.0, 1e6) | st.integers(0, 10**6).map(float)
depolarising = st.builds(DepolarisingMemory, depolarising_s=lifetimes, coherence_attempts=wears)


@st.composite
def relaxing(draw):
    """T2 anywhere up to 2 T1, and often at it; without relaxation T2 is free."""
    relaxation_s = draw(st.just(math.inf) | lifetimes)
    if relaxation_s == math.inf:
        dephasing_s = draw(st.just(math.inf) | lifetimes)
    else:
        dephasing_s = draw(st.just(2.0) | st.floats(1e-3, 2.0)) * relaxation_s
    return RelaxingMemory(relaxation_s=relaxation_s, dephasing_s=dephasing_s, coherence_attempts=draw(wears))


memories = st.none() | depolarising | relaxing()
nodes = st.builds(
    NodeHardware,
    memory=depolarising,
    swap_success_probability=st.just(1.0) | st.floats(0.1, 1.0),
    gate_fidelity=st.just(1.0) | st.floats(0.0, 1.0),
    readout_fidelity=st.just(1.0) | st.floats(0.0, 1.0),
    bell_measurement=measurements,
)


def both(seed):
    """The same random full-rank state in both models."""
    matrix = states.random_state(np.random.default_rng(seed))
    return PAULI.from_density_matrix(matrix), REFERENCE.from_density_matrix(matrix)


def gap(ours, theirs):
    return np.abs(PAULI.density_matrix(ours) - REFERENCE.density_matrix(theirs)).max()


@settings(max_examples=150, deadline=None)
@given(seed=seeds, first=memories, second=memories, duration_s=durations, n_first=counts, n_second=counts)
@example(
    seed=0,
    first=RelaxingMemory(relaxation_s=1.0, dephasing_s=2.0),
    second=None,
    duration_s=36.7,
    n_first=0.0,
    n_second=0.0,
)
def test_age_agrees(seed, first, second, duration_s, n_first, n_second):
    """The example: near 37 T1 the coherence e^(-t/2T1) outlives what 1 - gamma can hold of e^(-t/T1)."""
    ours, theirs = both(seed)
    given_both = (first, second, duration_s, (n_first, n_second))
    assert gap(PAULI.age(ours, *given_both), REFERENCE.age(theirs, *given_both)) < EXACT


@settings(max_examples=40, deadline=None)
@given(left=seeds, right=seeds, node=nodes)
def test_forced_swaps_agree(left, right, node):
    """Every outcome that the node can report; the others are refused by both in the same words."""
    (a, x), (b, y) = both(left), both(right)
    for outcome in range(4):
        if outcome in node.heralded_outcomes:
            ours = PAULI.swap(a, b, node, 0.0, outcome)
            theirs = REFERENCE.swap(x, y, node, 0.0, outcome)
            assert gap(ours.state, theirs.state) < EXACT
        else:
            for model, pair in ((PAULI, (a, b)), (REFERENCE, (x, y))):
                with pytest.raises(ValueError, match=f"outcome {outcome} has probability 0 here"):
                    model.swap(*pair, node, 0.0, outcome)


@settings(max_examples=60, deadline=None)
@given(left=seeds, right=seeds, node=nodes, u=uniforms)
def test_drawn_swaps_agree(left, right, node, u):
    """The same failures and the same outcomes for the same u."""
    (a, x), (b, y) = both(left), both(right)
    ours, theirs = PAULI.swap(a, b, node, u), REFERENCE.swap(x, y, node, u)
    assert (ours.success, ours.outcome) == (theirs.success, theirs.outcome)
    if ours.success:
        assert gap(ours.state, theirs.state) < EXACT
    else:
        assert (ours.outcome, ours.state, theirs.state) == (-1, None, None)


@pytest.mark.parametrize(
    ("kind", "choices"),
    [
        ("complete", (0, 0, 1, 1, 2, 2, 3, 3)),
        ("linear-optics", (2, 2, 3, 3, -1, -1, -1, -1)),
        ("boosted", (0, 1, 2, 2, 3, 3, -1, -1)),
    ],
)
@pytest.mark.parametrize("success", [1.0, 0.5])
@pytest.mark.parametrize("noise", [1.0, 0.97])
def test_choices_agree_on_the_very_edge(kind, choices, success, noise):
    """Unbiased pairs have thresholds at eighths: a u on one belongs above it, whatever the rounding."""
    node = NodeHardware(
        memory=DepolarisingMemory(depolarising_s=1.0),
        swap_success_probability=success,
        gate_fidelity=noise,
        readout_fidelity=noise,
        bell_measurement=kind,
    )
    matrix = states.bell_diagonal((0.7, 0.1, 0.15, 0.05))
    pairs = [(model, model.from_density_matrix(matrix)) for model in (PAULI, REFERENCE)]
    for eighth, outcome in enumerate(choices):
        before = choices[eighth - 1] if eighth else None
        for model, pair in pairs:
            assert model.swap(pair, pair, node, success * eighth / 8).outcome == outcome
            if before is not None:
                assert model.swap(pair, pair, node, success * (eighth / 8 - 1e-11)).outcome == before
    if success < 1.0:
        assert {model.swap(pair, pair, node, success).outcome for model, pair in pairs} == {-1}


@settings(max_examples=60, deadline=None)
@given(kept=seeds, spent=seeds, first=nodes, second=nodes, protocol=protocols, u=uniforms)
def test_distillations_agree(kept, spent, first, second, protocol, u):
    (a, x), (b, y) = both(kept), both(spent)
    ours = PAULI.distil(a, b, first, second, protocol, u)
    theirs = REFERENCE.distil(x, y, first, second, protocol, u)
    assert ours.success_probability == pytest.approx(theirs.success_probability, abs=EXACT)
    assert ours.success == theirs.success == (u < ours.success_probability)
    if ours.success:
        assert gap(ours.state, theirs.state) < EXACT
    else:
        assert (ours.state, theirs.state) == (None, None)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("frame", "probability"), [(0, 1.0), (1, 0.0), (2, 0.0)])
def test_distillations_agree_where_they_are_certain(protocol, frame, probability):
    """Perfect pairs pass for every u; a pair that DEJMPS surely finds fails for u = 0."""
    if protocol == "bbpssw" and frame:
        probability = 1.0 / 3.0
    node = NodeHardware(memory=DepolarisingMemory(depolarising_s=1.0))
    for model in (PAULI, REFERENCE):
        kept, spent = (model.from_density_matrix(states.bell_state(k)) for k in (0, frame))
        last = model.distil(kept, spent, node, node, protocol, 1.0 - 2.0**-53)
        assert last.success_probability == pytest.approx(probability, abs=EXACT)
        assert last.success == (probability == 1.0)
        assert model.distil(kept, spent, node, node, protocol, 0.0).success == (probability > 0.0)


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_flip_and_fidelity_agree(seed):
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


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_long_history_agrees(protocol):
    """Errors must not pile up: 60 operations in a row on states that are nothing special."""
    generator = np.random.default_rng(5)
    memory = RelaxingMemory(relaxation_s=3.0, dephasing_s=2.0, coherence_attempts=50.0)
    other = DepolarisingMemory(depolarising_s=4.0, coherence_attempts=80.0)
    node = NodeHardware(memory=memory, gate_fidelity=0.98, readout_fidelity=0.99)
    far = NodeHardware(memory=other, gate_fidelity=0.95, readout_fidelity=0.97)
    ours, theirs = both(1)
    for step in range(20):
        a, x = both(100 + step)
        u, attempts = generator.random(3), (float(step), 3.0)
        ours = PAULI.age(ours, memory, other, u[0], attempts)
        theirs = REFERENCE.age(theirs, memory, other, u[0], attempts)
        ours, theirs = PAULI.swap(ours, a, node, u[1]).state, REFERENCE.swap(theirs, x, node, u[1]).state
        ours = PAULI.distil(ours, a, node, far, protocol, 0.0).state
        theirs = REFERENCE.distil(theirs, x, node, far, protocol, 0.0).state
    assert gap(ours, theirs) < EXACT

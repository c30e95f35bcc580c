"""`werner` against `pauli`: the same numbers where one number is enough, and by how much they part elsewhere.

Bell-diagonal weights are in the order Phi+, Phi-, Psi+, Psi-.
"""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physics.conformance import check_model
from physics.hardware import DepolarisingMemory, DirectLink, NodeHardware, RelaxingMemory, SourceLink
from physics.models.pauli import PauliModel
from physics.models.werner import WernerModel
from physics.qubits import states

PAULI, WERNER = PauliModel(), WernerModel()
EXACT = 1e-12
STILL = DepolarisingMemory(depolarising_s=math.inf)
PERFECT = NodeHardware(memory=STILL)
PROTOCOLS = ("bbpssw", "dejmps")

fidelities = st.floats(0.25, 1.0)
uniforms = st.floats(0.0, 1.0, exclude_max=True)
shares = st.floats(0.5, 1.0)
depolarising = st.builds(
    DepolarisingMemory, depolarising_s=st.floats(0.1, 1e3), coherence_attempts=st.floats(1.0, 1e4)
)
counts = st.tuples(st.floats(0.0, 10.0), st.floats(0.0, 10.0))
durations = st.floats(0.0, 1.0)


@st.composite
def relaxing(draw):
    relaxation_s = draw(st.floats(0.1, 1e3))
    return RelaxingMemory(
        relaxation_s=relaxation_s,
        dephasing_s=draw(st.floats(0.01, 2.0)) * relaxation_s,
        coherence_attempts=draw(st.floats(1.0, 1e4)),
    )


def nodes(readouts=shares):
    return st.builds(
        NodeHardware,
        memory=depolarising,
        swap_success_probability=shares,
        gate_fidelity=shares,
        readout_fidelity=readouts,
        bell_measurement=st.sampled_from(["complete", "linear-optics", "boosted"]),
    )


def both(fidelity):
    """The Werner state of `fidelity` in both models."""
    return tuple(model.from_density_matrix(states.werner(fidelity)) for model in (PAULI, WERNER))


def gap(exact, ours):
    return np.abs(PAULI.density_matrix(exact) - WERNER.density_matrix(ours)).max()


def bbpssw(fidelity):
    """F' of two equal Werner pairs, Bennett et al. 1996."""
    lost = (1 - fidelity) / 3
    return (fidelity**2 + lost**2) / (fidelity**2 + 2 * fidelity * lost + 5 * lost**2)


def test_it_keeps_the_laws():
    assert [check for check in check_model(WERNER) if not check.passed] == []


def test_states_are_plain_floats_and_qutip_waits_for_a_distillation():
    link = WERNER.link(SourceLink(fresh_fidelity=0.9), 10.0)
    memory = RelaxingMemory(relaxation_s=1.0, dephasing_s=1.0)
    made = (
        link.fresh,
        WERNER.from_density_matrix(states.werner(0.9)),
        WERNER.age(link.fresh, memory, STILL, 0.1, (2.0, 3.0)),
        WERNER.swap(link.fresh, link.fresh, PERFECT, 0.3).state,
        WERNER.distil(link.fresh, link.fresh, PERFECT, PERFECT, "dejmps", 0.0).state,
        WERNER.flip(link.fresh),
        WERNER.fidelity(link.fresh),
    )
    assert {type(value) for value in made} == {float}
    code = (
        "import sys; from physics.models.werner import WernerModel; from physics.hardware import *;"
        "node = NodeHardware(memory=DepolarisingMemory(depolarising_s=1.0));"
        "WernerModel().swap(0.9, 0.9, node, 0.0); assert 'qutip' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_wrong_calls_are_named():
    with pytest.raises(ValueError, match="protocol is 'oxford'; it must be 'bbpssw' or 'dejmps'"):
        WERNER.distil(0.9, 0.9, PERFECT, PERFECT, "oxford", 0.0)
    with pytest.raises(ValueError, match="outcome is 4; it must be 0, 1, 2 or 3"):
        WERNER.swap(0.9, 0.9, PERFECT, 0.0, 4)
    with pytest.raises(ValueError, match=r"duration_s is -1\.0; it must be 0 or more"):
        WERNER.age(0.9, STILL, None, -1.0)
    with pytest.raises(ValueError, match="attempts are"):
        WERNER.age(0.9, STILL, None, 0.0, (0.0, -1.0))
    optics = NodeHardware(memory=STILL, bell_measurement="linear-optics")
    with pytest.raises(ValueError, match="outcome 1 has probability 0 here; it cannot be forced"):
        WERNER.swap(0.9, 0.9, optics, 0.0, 1)


def clifford_group():
    """The 24 one-qubit Cliffords up to phase, grown from Hadamard and S: a unitary 2-design."""
    hadamard = np.array([[1, 1], [1, -1]]) / math.sqrt(2.0)
    found = [np.eye(2, dtype=complex)]
    for element in found:
        for generator in (hadamard, np.diag([1, 1j])):
            new = generator @ element
            if all(abs(np.vdot(known, new)) < 2.0 - 1e-9 for known in found):
                found.append(new)
    return found


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_state_from_outside_is_twirled(seed):
    """The mean over U (x) U* of the Clifford group is that over all unitaries."""
    matrix = states.random_state(np.random.default_rng(seed))
    turns = [np.kron(u, u.conj()) for u in clifford_group()]
    assert len(turns) == 24
    twirled = sum(turn @ matrix @ turn.conj().T for turn in turns) / 24
    weight = WERNER.from_density_matrix(matrix)
    assert np.allclose(WERNER.density_matrix(weight), twirled, atol=EXACT)
    assert WERNER.fidelity(weight) == pytest.approx(np.trace(states.bell_state(0) @ matrix).real, abs=EXACT)


def test_links_are_those_of_other_models_twirled():
    hardware = DirectLink(
        success_probability=0.2, attempt_period_s=1e-3, fresh_weights=(0.85, 0.1, 0.05, 0.0), modes=4
    )
    exact, ours = PAULI.link(hardware, 10.0), WERNER.link(hardware, 10.0)
    assert WERNER.fidelity(ours.fresh) == pytest.approx(0.85, abs=EXACT)
    for name in ("success_probability", "attempt_period_s", "modes", "stored_from_s", "known_s"):
        assert getattr(ours, name) == getattr(exact, name)


steps = st.tuples(depolarising, depolarising, durations, counts, fidelities, nodes(st.just(1.0)), uniforms)


@settings(max_examples=60, deadline=None)
@given(fidelity=fidelities, history=st.lists(steps, min_size=1, max_size=6))
def test_depolarising_storage_and_swaps_with_perfect_readout_are_exact(fidelity, history):
    """The same history, storage and swaps with any gates and measurements, gives the same density matrix."""
    exact, ours = both(fidelity)
    for first, second, duration_s, attempts, other, node, u in history:
        exact = PAULI.age(exact, first, second, duration_s, attempts)
        ours = WERNER.age(ours, first, second, duration_s, attempts)
        one, two = (
            model.swap(state, fresh, node, u)
            for model, state, fresh in zip((PAULI, WERNER), (exact, ours), both(other), strict=True)
        )
        assert (one.success, one.outcome) == (two.success, two.outcome)
        if not one.success:
            break
        exact, ours = one.state, two.state
        assert gap(exact, ours) < EXACT


@settings(max_examples=40, deadline=None)
@given(
    fidelity=fidelities,
    history=st.lists(st.tuples(depolarising, durations, fidelities, nodes(), nodes()), max_size=5),
)
def test_bbpssw_among_depolarising_memories_keeps_the_exact_fidelity(fidelity, history):
    """It twirls before every round, so what a round leaves beside the fidelity is never seen again."""
    exact, ours = both(fidelity)
    for memory, duration_s, other, first, second in history:
        exact, ours = (
            model.age(s, memory, memory, duration_s) for model, s in ((PAULI, exact), (WERNER, ours))
        )
        one, two = (
            model.distil(state, fresh, first, second, "bbpssw", 0.0)
            for model, state, fresh in zip((PAULI, WERNER), (exact, ours), both(other), strict=True)
        )
        assert one.success_probability == pytest.approx(two.success_probability, abs=EXACT)
        exact, ours = one.state, two.state
        assert PAULI.fidelity(exact) == pytest.approx(WERNER.fidelity(ours), abs=EXACT)


@settings(max_examples=25, deadline=None)
@given(one=fidelities, other=fidelities, first=nodes(), second=nodes(), u=uniforms)
def test_one_operation_on_werner_pairs_is_the_exact_one_twirled(one, other, first, second, u):
    """Swaps with noisy readout too, drawn and forced, and a first round of either protocol."""
    (a, w), (b, v) = both(one), both(other)
    for outcome in (None, *first.heralded_outcomes):
        exact, ours = PAULI.swap(a, b, first, u, outcome), WERNER.swap(w, v, first, u, outcome)
        assert (exact.success, exact.outcome) == (ours.success, ours.outcome)
        if exact.success:
            assert WERNER.fidelity(ours.state) == pytest.approx(PAULI.fidelity(exact.state), abs=EXACT)
    for protocol in PROTOCOLS:
        exact = PAULI.distil(a, b, first, second, protocol, u)
        ours = WERNER.distil(w, v, first, second, protocol, u)
        assert exact.success == ours.success
        assert exact.success_probability == pytest.approx(ours.success_probability, abs=EXACT)
        if exact.success:
            assert WERNER.fidelity(ours.state) == pytest.approx(PAULI.fidelity(exact.state), abs=EXACT)


@settings(deadline=None)
@given(
    fidelity=st.floats(0.0, 1.0),
    first=st.none() | depolarising | relaxing(),
    second=st.none() | depolarising | relaxing(),
    parts=st.lists(st.tuples(durations, counts), min_size=1, max_size=4),
)
def test_storage_is_a_semigroup_that_only_loses(fidelity, first, second, parts):
    weight = aged = WERNER.from_density_matrix(states.werner(fidelity))
    for duration_s, attempts in parts:
        aged = WERNER.age(aged, first, second, duration_s, attempts)
    duration_s = sum(duration_s for duration_s, _ in parts)
    attempts = tuple(sum(count) for count in zip(*(count for _, count in parts), strict=True))
    assert aged == pytest.approx(WERNER.age(weight, first, second, duration_s, attempts), abs=EXACT)
    assert abs(aged) <= abs(weight)
    assert 0.0 <= WERNER.fidelity(aged) <= 1.0


@pytest.mark.parametrize("attempts", [False, True])
def test_relaxing_memories_decay_by_their_twirled_generator(attempts):
    """Rates (2/T2 + 1/T1)/3 a second and 2/(3N) an attempt are those of the exact fidelity's first order."""
    memory = RelaxingMemory(relaxation_s=0.7, dephasing_s=0.4, coherence_attempts=0.5)
    exact, ours = both(0.95)
    step = 1e-6
    stored = (0.0, (step, 0.0)) if attempts else (step, (0.0, 0.0))
    lost = [
        (model.fidelity(model.age(state, memory, memory, *stored)) - model.fidelity(state)) / step
        for model, state in ((PAULI, exact), (WERNER, ours))
    ]
    ends = 1 if attempts else 2
    rate = 2 / (3 * 0.5) if attempts else (2 / 0.4 + 1 / 0.7) / 3
    weight = (4 * 0.95 - 1) / 3
    # Differences of numbers near 1 over 1e-6 are good to 1e-9; the second order adds about rate^2 x 1e-6.
    assert lost[1] == pytest.approx(-0.75 * weight * ends * rate, abs=1e-4)
    assert lost[0] == pytest.approx(lost[1], abs=1e-4)


@settings(deadline=None)
@given(fidelity=st.floats(0.3, 1.0), memory=relaxing(), duration_s=st.floats(0.01, 1.0))
def test_t1_and_t2_decay_too_fast_by_the_closed_form(fidelity, memory, duration_s):
    """Both ends stored: F = (1 + 2 w c^2 + w z^2 + (1-z)^2)/4 exactly, c and z what T2 and T1 leave.

    Ours is (1 + 3 w (c c z)^(2/3))/4: the geometric mean of c^2, c^2, z^2 where the arithmetic belongs, and
    nothing of the (1-z)^2 of pairs that both relaxed to |0>. So it is below, always.
    """
    exact, ours = both(fidelity)
    weight = (4 * fidelity - 1) / 3
    c, z = math.exp(-duration_s / memory.dephasing_s), math.exp(-duration_s / memory.relaxation_s)
    arithmetic, geometric = (2 * c * c + z * z) / 3, (c * c * z) ** (2 / 3)
    closed = 0.25 * (3 * weight * (arithmetic - geometric) + (1 - z) ** 2)
    stored = (memory, memory, duration_s)
    found = PAULI.fidelity(PAULI.age(exact, *stored)) - WERNER.fidelity(WERNER.age(ours, *stored))
    assert found == pytest.approx(closed, abs=EXACT)
    assert closed > 0.0


def test_a_second_round_of_dejmps_gains_less():
    """From 0.7 exact DEJMPS reaches 0.845946 (Deutsch et al. 1996), the twirled one BBPSSW's 0.773171."""
    exact, ours = both(0.7)
    i, z, x, y = 0.7, 0.1, 0.1, 0.1
    twirled = 0.7
    for _ in range(2):
        exact = PAULI.distil(exact, exact, PERFECT, PERFECT, "dejmps", 0.0).state
        ours = WERNER.distil(ours, ours, PERFECT, PERFECT, "dejmps", 0.0).state
        p = (i + y) ** 2 + (x + z) ** 2
        i, z, x, y = (i * i + y * y) / p, 2 * i * y / p, (x * x + z * z) / p, 2 * x * z / p
        twirled = bbpssw(twirled)
    assert (i, twirled) == pytest.approx((0.845946, 0.773171), abs=5e-7)
    assert PAULI.fidelity(exact) - WERNER.fidelity(ours) == pytest.approx(i - twirled, abs=EXACT)


@pytest.mark.parametrize(
    ("one", "other", "sign"),
    [
        ((0.9, 0.1, 0.0, 0.0), (0.9, 0.1, 0.0, 0.0), 1),
        ((0.9, 0.1, 0.0, 0.0), (0.9, 0.0, 0.1, 0.0), -1),
        ((0.8, 0.1, 0.05, 0.05), (0.7, 0.2, 0.05, 0.05), 1),
    ],
)
def test_swaps_of_bell_diagonal_links_miss_what_errors_have_in_common(one, other, sign):
    """Two equal errors cancel: F = sum a_k b_k exactly, a_0 b_0 + (1 - a_0)(1 - b_0)/3 when twirled."""
    swapped = []
    for model in (PAULI, WERNER):
        pair = [model.from_density_matrix(states.bell_diagonal(weights)) for weights in (one, other)]
        swapped.append(model.fidelity(model.swap(*pair, PERFECT, 0.0, 2).state))
    closed = np.dot(one[1:], other[1:]) - (1 - one[0]) * (1 - other[0]) / 3
    assert swapped[0] - swapped[1] == pytest.approx(closed, abs=EXACT)
    assert sign * closed > 1e-4


def test_readout_noise_before_dejmps_is_where_models_part():
    """A swap with readout m leaves W (m^2, m(1-m), m(1-m), (1-m)^2) and noise; the twirl keeps m^2 alone."""
    m, g, weight = 0.95, 0.98, (4 * 0.95 - 1) / 3
    node = NodeHardware(memory=STILL, gate_fidelity=g, readout_fidelity=m)
    swapped = [
        model.swap(pair, pair, node, 0.0, 1).state
        for model, pair in zip((PAULI, WERNER), both(0.95), strict=True)
    ]
    left = g * weight**2
    i, z, x, y = (0.25 * (1 - left) + left * p for p in (m * m, m * (1 - m), m * (1 - m), (1 - m) ** 2))
    assert PAULI.fidelity(swapped[0]) == pytest.approx(i, abs=EXACT)
    assert WERNER.fidelity(swapped[1]) == pytest.approx(i, abs=EXACT)
    p = (i + y) ** 2 + (x + z) ** 2
    closed = (i * i + y * y) / p - bbpssw(i)
    exact, ours = (
        model.fidelity(model.distil(pair, pair, PERFECT, PERFECT, "dejmps", 0.0).state)
        for model, pair in zip((PAULI, WERNER), swapped, strict=True)
    )
    assert exact - ours == pytest.approx(closed, abs=EXACT)
    assert closed > 1e-3

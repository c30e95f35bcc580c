"""Kraus maps: normalised, and the solutions of their master equations; gates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import qutip
from hypothesis import given, settings
from hypothesis import strategies as st

from physics.hardware import DepolarisingMemory, RelaxingMemory
from physics.qubits import channels, states
from tests.helpers.qutip_operators import transfer_matrix

INFINITE = math.inf
MEMORIES = {
    "depolarising": DepolarisingMemory(depolarising_s=1.3),
    "T1": RelaxingMemory(relaxation_s=1.7, dephasing_s=3.4),
    "T2": RelaxingMemory(relaxation_s=INFINITE, dephasing_s=0.9),
    "T1T2": RelaxingMemory(relaxation_s=1.7, dephasing_s=0.9),
}
every_memory = pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES)
times = st.floats(0.0, 20.0) | st.floats(1e-15, 1e-6) | st.floats(20.0, 1e12)
any_memory = st.sampled_from(
    [
        *MEMORIES.values(),
        RelaxingMemory(relaxation_s=0.3, dephasing_s=0.6, coherence_attempts=3.0),
        DepolarisingMemory(depolarising_s=INFINITE, coherence_attempts=40.0),
        RelaxingMemory(relaxation_s=INFINITE, dephasing_s=INFINITE),
        None,
    ]
)


@given(memory=any_memory, duration_s=times, attempts=st.floats(0.0, 1e6))
@settings(deadline=None)
def test_kraus_operators_keep_the_trace(memory, duration_s, attempts):
    """sum_k K_k^dag K_k = I, and so completely positive and trace preserving."""
    kraus = channels.memory_kraus(memory, duration_s=duration_s, attempts=attempts)
    total = sum(operator.dag() * operator for operator in kraus)
    assert np.allclose(total.full(), np.eye(2), rtol=0, atol=2e-14)


def jumps_of(memory):
    """Lindblad operators of a memory, from its times alone.

    sqrt(1/T1) |0><1| takes populations down and coherences at half that rate; Z at a rate of 1/(2 T_phi),
    1/T_phi = 1/T2 - 1/(2 T1), takes the rest of them; X, Y and Z at 1/(4T) each shrink all three as e^(-t/T).
    """
    if isinstance(memory, DepolarisingMemory):
        return [math.sqrt(0.25 / memory.depolarising_s) * pauli for pauli in channels.PAULIS[1:]]
    pure_hz = 1 / memory.dephasing_s - 0.5 / memory.relaxation_s
    return [
        math.sqrt(1 / memory.relaxation_s) * qutip.destroy(2),
        math.sqrt(0.5 * pure_hz) * qutip.sigmaz(),
    ]


def assert_solves(kraus, jumps, duration):
    """The Liouvillian exponentiated by QuTiP, as a Pauli transfer matrix, to 1e-12."""
    solved = (qutip.liouvillian(None, jumps) * duration).expm()
    images = [qutip.vector_to_operator(solved * qutip.operator_to_vector(p)) for p in channels.PAULIS]
    expected = [[0.5 * (pauli * image).tr().real for image in images] for pauli in channels.PAULIS]
    assert np.allclose(transfer_matrix(kraus), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("duration_s", [1e-6, 0.05, 0.4, 3.0, 40.0])
@every_memory
def test_kraus_operators_solve_the_master_equation(memory, duration_s):
    """QuantumSavory compares the two forms of the same four memories."""
    assert_solves(channels.memory_kraus(memory, duration_s=duration_s), jumps_of(memory), duration_s)


@pytest.mark.parametrize("attempts", [1.0, 30.0])
def test_attempts_are_jumps_too(attempts):
    """Rates per attempt in place of rates per second: X, Y, Z at 1/(4N) each, or Z alone at 1/(2N)."""
    depolarised = DepolarisingMemory(depolarising_s=INFINITE, coherence_attempts=12.0)
    dephased = RelaxingMemory(relaxation_s=INFINITE, dephasing_s=INFINITE, coherence_attempts=12.0)
    for memory, jumps in (
        (depolarised, [math.sqrt(0.25 / 12.0) * pauli for pauli in channels.PAULIS[1:]]),
        (dephased, [math.sqrt(0.5 / 12.0) * channels.PAULIS[3]]),
    ):
        assert_solves(channels.memory_kraus(memory, duration_s=0.0, attempts=attempts), jumps, attempts)


@every_memory
def test_a_solver_of_the_master_equation_agrees(memory):
    """`qutip.mesolve`, which steps through time and knows no closed form; 1e-8 is its own accuracy."""
    start = qutip.ket2dm((qutip.basis(2, 0) + 1j * qutip.basis(2, 1)).unit())
    times_s = np.linspace(0.0, 2.0, 5)
    options = {"atol": 1e-12, "rtol": 1e-10}
    solved = qutip.mesolve(0 * qutip.sigmaz(), start, times_s, c_ops=jumps_of(memory), options=options)
    for duration_s, state in zip(times_s, solved.states, strict=True):
        aged = channels.apply(channels.memory_kraus(memory, duration_s=duration_s), start)
        assert np.allclose(aged.full(), state.full(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("second", MEMORIES.values(), ids=MEMORIES)
@pytest.mark.parametrize("first", MEMORIES.values(), ids=MEMORIES)
def test_pairs_solve_the_master_equation_of_both_ends(model, first, second):
    """One Liouvillian of two qubits, another memory at either end, on a state that is nothing special."""
    jumps = [qutip.tensor(jump, channels.PAULIS[0]) for jump in jumps_of(first)]
    jumps += [qutip.tensor(channels.PAULIS[0], jump) for jump in jumps_of(second)]
    matrix = states.random_state(np.random.default_rng(12))
    solved = (qutip.liouvillian(None, jumps) * 0.6).expm()
    vector = qutip.operator_to_vector(qutip.Qobj(matrix, dims=[[2, 2], [2, 2]]))
    aged = model.age(model.from_density_matrix(matrix), first, second, 0.6)
    expected = qutip.vector_to_operator(solved * vector).full()
    assert np.allclose(model.density_matrix(aged), expected, rtol=0, atol=1e-12)


def test_controlled_not_truth_table():
    """Basis |00>, |01>, |10>, |11>, first qubit leftmost, either qubit in control."""
    first = channels.controlled_not(control=0, target=1, count=2).full().real
    second = channels.controlled_not(control=1, target=0, count=2).full().real
    assert first.argmax(axis=0).tolist() == [0, 1, 3, 2]
    assert second.argmax(axis=0).tolist() == [0, 3, 2, 1]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_rotation_of_dejmps(sign):
    """|0> -> (|0> - i|1>)/sqrt 2 and |1> -> (|1> - i|0>)/sqrt 2 at one end, the inverse at the other.

    Deutsch et al. 1996, Phys. Rev. Lett. 77, 2818. It takes Z to Y or -Y: that is why Y is left out.
    """
    turn = channels.rotation_before("dejmps", sign=sign)
    expected = np.array([[1.0, -1j * sign], [-1j * sign, 1.0]]) / math.sqrt(2.0)
    assert np.allclose(turn.full(), expected, rtol=0, atol=1e-15)
    turned = turn * channels.PAULIS[3] * turn.dag()
    assert np.allclose(turned.full(), -sign * channels.PAULIS[2].full(), rtol=0, atol=1e-15)

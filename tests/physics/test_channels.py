"""Kraus maps against master equations, and both models' storage as a semigroup."""

from __future__ import annotations

import math

import numpy as np
import pytest
import qutip
from hypothesis import given, settings
from hypothesis import strategies as st

from physics import channels, states
from physics.hardware import DepolarisingMemory, RelaxingMemory
from physics.pauli import PauliModel

PAULI_MODEL = PauliModel()
times = st.floats(0.0, 20.0)
any_memory = st.sampled_from(
    [
        DepolarisingMemory(depolarising_s=0.7),
        DepolarisingMemory(depolarising_s=math.inf),
        RelaxingMemory(relaxation_s=2.0, dephasing_s=0.5),
        RelaxingMemory(relaxation_s=0.3, dephasing_s=0.6),
        RelaxingMemory(relaxation_s=math.inf, dephasing_s=1.0),
        RelaxingMemory(relaxation_s=math.inf, dephasing_s=math.inf),
        None,
    ]
)


@given(memory=any_memory, duration_s=times)
@settings(deadline=None)
def test_kraus_operators_keep_the_trace(memory, duration_s):
    total = sum(k.dag() * k for k in channels.memory_kraus(memory, duration_s=duration_s))
    assert np.allclose(total.full(), np.eye(2), atol=1e-14)


@pytest.mark.parametrize("duration_s", [0.05, 0.4, 3.0])
def test_relaxation_solves_the_master_equation(duration_s):
    """Lindblad operators sqrt(1/T1) |0><1| and sqrt(1/(2 T_phi)) Z, exponentiated by QuTiP."""
    memory = RelaxingMemory(relaxation_s=1.7, dephasing_s=0.9)
    pure_hz = 1 / 0.9 - 0.5 / 1.7
    jumps = [math.sqrt(1 / 1.7) * qutip.destroy(2), math.sqrt(0.5 * pure_hz) * qutip.sigmaz()]
    assert_same_channel(memory, jumps, duration_s)


@pytest.mark.parametrize("duration_s", [0.05, 0.4, 3.0])
def test_depolarising_solves_the_master_equation(duration_s):
    """X, Y, Z errors at a rate of 1/(4T) each shrink the Bloch vector as e^(-t/T)."""
    jumps = [math.sqrt(0.25 / 1.3) * pauli for pauli in channels.PAULIS[1:]]
    assert_same_channel(DepolarisingMemory(depolarising_s=1.3), jumps, duration_s)


def assert_same_channel(memory, jumps, duration_s):
    solved = (qutip.liouvillian(None, jumps) * duration_s).expm()
    images = [qutip.vector_to_operator(solved * qutip.operator_to_vector(p)) for p in channels.PAULIS]
    expected = [[0.5 * (pauli * image).tr().real for image in images] for pauli in channels.PAULIS]
    kraus = channels.memory_kraus(memory, duration_s=duration_s)
    assert np.allclose(channels.transfer_matrix(kraus), expected, atol=1e-10)


@given(memory=any_memory, other=any_memory, one=times, two=times, seed=st.integers(0, 1000))
@settings(deadline=None)
def test_two_steps_are_one(memory, other, one, two, seed):
    state = PAULI_MODEL.from_density_matrix(states.random_state(np.random.default_rng(seed)))
    whole = PAULI_MODEL.age(state, memory, other, one + two)
    parts = PAULI_MODEL.age(PAULI_MODEL.age(state, memory, other, one), memory, other, two)
    assert np.allclose(whole, parts, atol=1e-14)


def test_many_short_steps_are_one_long(model):
    memory = RelaxingMemory(relaxation_s=2.0, dephasing_s=1.0)
    state = parts = model.from_density_matrix(states.random_state(np.random.default_rng(9)))
    for _ in range(50):
        parts = model.age(parts, memory, memory, 0.04)
    whole = model.age(state, memory, memory, 2.0)
    assert np.allclose(model.density_matrix(whole), model.density_matrix(parts), atol=1e-13)


@pytest.mark.parametrize("gate_fidelity", [0.0, 0.9, 1.0])
def test_gate_noise_is_g_rho_and_the_rest_mixed(gate_fidelity):
    matrix = states.random_state(np.random.default_rng(4))
    noisy = channels.apply(
        channels.gate_noise_kraus(gate_fidelity), qutip.Qobj(matrix, dims=[[2, 2], [2, 2]])
    )
    expected = gate_fidelity * matrix + (1 - gate_fidelity) * np.eye(4) / 4
    assert np.allclose(noisy.full(), expected, atol=1e-14)


def test_controlled_not_truth_table():
    """Basis |00>, |01>, |10>, |11>, first qubit leftmost, either qubit in control."""
    first = channels.controlled_not(control=0, target=1, count=2).full().real
    second = channels.controlled_not(control=1, target=0, count=2).full().real
    assert first.argmax(axis=0).tolist() == [0, 1, 3, 2]
    assert second.argmax(axis=0).tolist() == [0, 3, 2, 1]


@pytest.mark.parametrize("duration_s", [-1.0, math.nan, math.inf])
def test_wrong_times_are_named(model, duration_s):
    state = model.from_density_matrix(states.werner(0.9))
    with pytest.raises(ValueError, match=f"duration_s is {duration_s}; it must be 0 or more, and finite"):
        model.age(state, DepolarisingMemory(depolarising_s=1.0), None, duration_s)
    if not duration_s >= 0:
        with pytest.raises(ValueError, match="duration_s"):
            channels.memory_kraus(None, duration_s=duration_s)

"""Plans over pairs whose inner qubits are biased, by relaxation or by their birth: means over outcomes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from physics.hardware import DepolarisingMemory, NodeHardware, RelaxingMemory, SingleClickLink
from physics.interface import CompiledLink
from physics.plans import Plan, estimate
from physics.qubits import states

STILL = DepolarisingMemory(depolarising_s=math.inf)
RELAXING = NodeHardware(memory=RelaxingMemory(relaxation_s=1.0, dephasing_s=1.0))


def relaxed_path(model, age_s, kind):
    node = replace(RELAXING, bell_measurement=kind)
    link = CompiledLink(
        success_probability=1.0,
        attempt_period_s=1.0,
        fresh=model.from_density_matrix(states.bell_state(0)),
        source_limited=False,
    )
    return estimate(Plan(), model=model, links=[link] * 2, nodes=[node] * 3, ages_s=[age_s] * 2)


def test_the_state_is_the_mean_over_outcomes(model):
    """Of biased pairs outcomes leave unlike states: the mean, summed up in NumPy, is 0.33069 after 1 s.

    The first outcome alone would give 0.37903.
    """
    memory = RELAXING.memory
    aged = model.age(model.from_density_matrix(states.bell_state(0)), memory, memory, 1.0)
    pair = model.density_matrix(aged).reshape(2, 2, 2, 2)
    mean = 0.0
    for outcome, frame in enumerate((0, 3, 1, 2)):
        bell = states.bell_state(outcome).reshape(2, 2, 2, 2)
        branch = np.einsum("abxy,cdzw,yzbc->adxw", pair, pair, bell).reshape(4, 4)
        turn = np.kron(np.eye(2), states.PAULIS[frame])
        mean += np.trace(states.bell_state(0) @ turn @ branch @ turn.conj().T).real
    assert mean == pytest.approx(0.33069, abs=5e-6)
    assert relaxed_path(model, 1.0, "complete").fidelity == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize("age_s", [0.5, 1.0, 3.0])
def test_relaxed_pairs_cost_more_with_linear_optics(model, age_s):
    """Psi+ and Psi- are the odd parity of the inner qubits: P = (1 - z^2)/2 with z = 1 - e^(-t/T1)."""
    z = -math.expm1(-age_s)
    found = relaxed_path(model, age_s, "linear-optics")
    assert found.swap_success_probability == pytest.approx((1.0 - z * z) / 2.0, rel=1e-12)
    assert found.pairs_per_link == pytest.approx([2.0 / (1.0 - z * z)] * 2, rel=1e-12)


def test_a_swap_that_all_but_never_succeeds_is_named(pauli):
    with pytest.raises(ValueError, match="a swap of this plan almost never succeeds"):
        relaxed_path(pauli, 30.0, "linear-optics")


def test_bright_spins_bias_a_swap_without_any_memory(model):
    """Single click leaves z = -c and +c at its ends: two such links swap with (1 + c^2)/2."""
    link = model.link(SingleClickLink(bright_population=0.3), 1.0)
    matrix = model.density_matrix(link.fresh)
    z = np.kron(np.eye(2), np.diag([1.0, -1.0]))
    second = np.trace(z @ matrix).real
    first = np.trace(np.kron(np.diag([1.0, -1.0]), np.eye(2)) @ matrix).real
    node = NodeHardware(memory=STILL, bell_measurement="linear-optics")
    found = estimate(Plan(), model=model, links=[link] * 2, nodes=[node] * 3, ages_s=[0.0, 0.0])
    assert first * second < -0.01
    assert found.swap_success_probability == pytest.approx((1.0 - second * first) / 2.0, rel=1e-12)

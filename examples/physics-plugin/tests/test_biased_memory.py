"""The model against its closed form, its reference, and the default model where there is no bias."""

from __future__ import annotations

import math

import numpy as np
import pytest
from biased_memory.model import BiasedMemoryModel
from biased_memory.parameters import BiasParameters

from physics import check_model
from physics.hardware import DepolarisingMemory, RelaxingMemory
from physics.models.pauli import PauliModel
from physics.qubits import states

MEMORY = DepolarisingMemory(depolarising_s=2.0, coherence_attempts=50.0)
RELAXING = RelaxingMemory(relaxation_s=3.0, dephasing_s=1.0)


def biased(bias: float) -> BiasedMemoryModel:
    return BiasedMemoryModel(BiasParameters(bias=bias))


def weights_after(model: PauliModel, duration_s: float) -> np.ndarray:
    """Weights of Phi+, Phi-, Psi+, Psi- after storing the first half of Phi+."""
    pair = model.from_density_matrix(states.bell_state(0))
    matrix = model.density_matrix(model.age(pair, MEMORY, None, duration_s))
    return np.array([np.trace(states.bell_state(index) @ matrix).real for index in range(4)])


@pytest.mark.parametrize("bias", [0.0, 10.0, 1e6])
def test_every_law_is_kept(bias):
    checks = check_model(biased(bias))
    assert [check.detail for check in checks if not check.passed] == []
    assert checks[-1].law == "equals its reference 'biased-reference'"


def test_without_bias_it_is_the_default_model_to_the_last_bit():
    ours, default = biased(0.5), PauliModel()
    state = default.from_density_matrix(states.random_state(np.random.default_rng(3)))
    for first, second in ((MEMORY, MEMORY), (MEMORY, None), (MEMORY, RELAXING), (RELAXING, RELAXING)):
        aged = ours.age(state, first, second, 0.7, (3.0, 4.0))
        assert aged.tobytes() == default.age(state, first, second, 0.7, (3.0, 4.0)).tobytes()


@pytest.mark.parametrize("bias", [0.0, 0.5, 3.0, 100.0])
def test_the_rate_of_errors_is_kept_and_z_has_its_share(bias):
    """Soon after the start there is one error at most: Z makes Phi-, X makes Psi+ and Y makes Psi-."""
    duration_s = 1e-6
    kept, z, x, y = weights_after(biased(bias), duration_s)
    assert 1.0 - kept == pytest.approx(0.75 * duration_s / MEMORY.depolarising_s, rel=1e-5)
    assert x == pytest.approx(y, abs=1e-15)
    assert z == pytest.approx(bias * (x + y), rel=1e-5, abs=1e-12)


def test_a_bias_keeps_more_of_a_pair_in_the_long_run():
    """The mean of three exponentials with the same sum of rates is least when the rates are equal."""
    stored = [weights_after(biased(bias), 1.0)[0] for bias in (0.5, 1.0, 10.0, 100.0)]
    assert stored == sorted(stored)
    assert stored[0] == pytest.approx((1.0 + 3.0 * math.exp(-0.5)) / 4.0, abs=1e-15)
    assert stored[-1] > stored[0] + 0.01


@pytest.mark.parametrize("bias", [-0.1, math.inf, math.nan])
def test_a_wrong_bias_is_named(bias):
    with pytest.raises(ValueError, match=f"bias is {bias}; it must be a number of 0 or more, and finite"):
        BiasParameters(bias=bias)

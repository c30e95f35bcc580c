from __future__ import annotations

import numpy as np
import pytest

from qdpem.errors import QdpemError
from qdpem.forecasting.simple import GRID, MIN_RATE, ConstantForecast, EwmaForecast, NoForecast
from qdpem.policy.interface import ForecastContext

CONTEXT = ForecastContext(node_count=3, step_s=1.0, horizon_steps=4, seed=1)


def drawn_counts(seed: int, steps: int) -> np.ndarray:
    return np.random.default_rng(seed).poisson([0.2, 1.0, 6.0], size=(steps, 3))


def test_no_forecast_says_nothing_of_the_right_shape():
    silent = NoForecast()
    silent.reset(CONTEXT)
    silent.fit(drawn_counts(1, 10))
    silent.update(np.array([1, 2, 3]))
    assert silent.forecast().shape == (3, 4)
    assert np.isnan(silent.forecast()).all()


def test_constant_is_the_mean_of_history_and_since():
    constant = ConstantForecast(ConstantForecast.Parameters())
    constant.reset(CONTEXT)
    constant.fit(np.array([[0, 2, 4], [1, 2, 4], [0, 2, 1]]))
    constant.update(np.array([3, 2, 11]))
    expected = np.array([1.0, 2.0, 5.0])
    assert np.array_equal(constant.forecast(), np.repeat(expected[:, None], 4, axis=1))


def test_ewma_with_a_given_constant_equals_a_hand_loop():
    history, counts = drawn_counts(2, 60), drawn_counts(3, 25)
    ewma = EwmaForecast(EwmaForecast.Parameters(smoothing=0.3))
    ewma.reset(CONTEXT)
    ewma.fit(history)
    for row in counts:
        ewma.update(row)
    for node in range(3):
        level = float(history[:, node].mean())
        for count in [*history[:, node].tolist(), *counts[:, node].tolist()]:
            level = 0.7 * level + 0.3 * count
        assert ewma.forecast()[node].tolist() == pytest.approx([level] * 4, rel=1e-12)


def test_ewma_chooses_the_constant_of_least_one_step_deviance():
    generator = np.random.default_rng(4)
    wandering = np.exp(np.cumsum(0.3 * generator.standard_normal((400, 1)), axis=0))
    history = generator.poisson(np.hstack([np.full((400, 1), 2.0), wandering, wandering]))
    ewma = EwmaForecast()
    ewma.reset(CONTEXT)
    ewma.fit(history)
    for node in range(3):
        deviances = []
        for smoothing in GRID:
            level, total = history[:, node].mean(), 0.0
            for count in history[:, node]:
                mean = max(level, MIN_RATE)
                total += mean - count * np.log(mean)
                level += smoothing * (count - level)
            deviances.append(total)
        assert ewma.state()["smoothing"][node] == GRID[int(np.argmin(deviances))]
    assert ewma.state()["smoothing"][0] < ewma.state()["smoothing"][1]


def test_a_smoothing_constant_out_of_range_is_refused():
    with pytest.raises(QdpemError, match=r"smoothing = 1\.5"):
        EwmaForecast(EwmaForecast.Parameters(smoothing=1.5))


@pytest.mark.parametrize("factory", [NoForecast, ConstantForecast, EwmaForecast])
def test_a_saved_state_goes_on_as_the_first_would(factory):
    first, second = factory(), factory()
    first.reset(CONTEXT)
    first.fit(drawn_counts(5, 50))
    second.reset(CONTEXT)
    second.load_state(first.state())
    for row in drawn_counts(6, 5):
        first.update(row)
        second.update(row)
    assert np.array_equal(first.forecast(), second.forecast(), equal_nan=True)

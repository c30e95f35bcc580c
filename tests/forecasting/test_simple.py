from __future__ import annotations

import numpy as np
import pytest

from qdpem.errors import QdpemError
from qdpem.forecasting.checks.reference_demand import by_step
from qdpem.forecasting.simple import GRID, MIN_RATE, ConstantForecast, EwmaForecast, NoForecast
from tests.helpers.forecasting import context_of, peers_of, requests_of_counts, walk

NODES, PLACES, HORIZON = 2, 3, 4
PEERS = peers_of(NODES, PLACES)
RATES = np.array([[0.2, 1.0, 6.0], [2.0, 0.1, 0.5]])


def drawn_counts(seed: int, steps: int) -> np.ndarray:
    return np.random.default_rng(seed).poisson(RATES, size=(steps, NODES, PLACES))


def fitted(forecaster, history: np.ndarray):
    forecaster.reset(context_of(NODES, PLACES, history_s=float(len(history)), horizon=HORIZON))
    forecaster.fit(requests_of_counts(history, first_step=-len(history)), PEERS)
    return forecaster


def steps_of(counts: np.ndarray):
    return by_step(requests_of_counts(counts), step_s=1.0, steps=len(counts))


def test_no_forecast_says_nothing_of_the_right_shape() -> None:
    silent = fitted(NoForecast(), drawn_counts(1, 10))
    walk(silent, steps_of(drawn_counts(2, 3)), PEERS)
    assert silent.forecast().mean.shape == (NODES, PLACES, HORIZON)
    assert np.isnan(silent.forecast().scheduled).all()
    assert np.isnan(silent.forecast().unscheduled).all()


def test_constant_is_the_mean_of_history_and_since() -> None:
    history, counts = drawn_counts(1, 30), drawn_counts(2, 20)
    made = walk(fitted(ConstantForecast(), history), steps_of(counts), PEERS)
    for step in (0, 7, 19):
        mean = np.concatenate([history, counts[: step + 1]]).mean(axis=0)
        assert np.array_equal(made.unscheduled[step], np.repeat(mean[..., None], HORIZON, axis=2))
    assert not made.scheduled.any()


def test_a_peer_that_comes_late_has_counts_of_0_before() -> None:
    """Steps before its first request count in its mean; a request of no listed peer counts nowhere."""
    history = np.zeros((10, NODES, PLACES), dtype=np.int64)
    constant = fitted(ConstantForecast(), history)
    come = np.zeros((2, NODES, PLACES + 1), dtype=np.int64)
    come[1, 0, 2] = 6
    come[1, 1, 3] = 9
    walk(constant, steps_of(come), PEERS)
    expected = np.zeros((NODES, PLACES))
    expected[0, 2] = 6 / 2  # An empty history has no steps.
    assert np.array_equal(constant.forecast().mean[..., 0], expected)


def test_ewma_with_a_given_constant_equals_a_hand_loop() -> None:
    history, counts = drawn_counts(2, 60), drawn_counts(3, 25)
    ewma = fitted(EwmaForecast(EwmaForecast.Parameters(smoothing=0.3)), history)
    walk(ewma, steps_of(counts), PEERS)
    for node in range(NODES):
        for place in range(PLACES):
            level = float(history[:, node, place].mean())
            for count in [*history[:, node, place].tolist(), *counts[:, node, place].tolist()]:
                level = 0.7 * level + 0.3 * count
            assert ewma.forecast().mean[node, place].tolist() == pytest.approx([level] * HORIZON, rel=1e-12)


def test_ewma_chooses_the_constant_of_least_one_step_deviance() -> None:
    generator = np.random.default_rng(4)
    wandering = np.exp(np.cumsum(0.3 * generator.standard_normal(400)))
    rates = np.stack([np.full(400, 2.0), wandering, wandering], axis=1)
    history = generator.poisson(np.stack([rates, rates], axis=1))
    smoothing = fitted(EwmaForecast(), history).state()["smoothing"]
    for place in range(PLACES):
        deviances = []
        for constant in GRID:
            level, total = history[:, 0, place].mean(), 0.0
            for count in history[:, 0, place]:
                mean = max(level, MIN_RATE)
                total += mean - count * np.log(mean)
                level += constant * (count - level)
            deviances.append(total)
        assert smoothing[0, place] == GRID[int(np.argmin(deviances))]
    assert (smoothing[:, 0] < smoothing[:, 1]).all()


@pytest.mark.parametrize("smoothing", [1.5, -0.1])
def test_a_smoothing_constant_out_of_range_is_refused(smoothing: float) -> None:
    with pytest.raises(QdpemError, match=f"smoothing = {smoothing}"):
        EwmaForecast(EwmaForecast.Parameters(smoothing=smoothing))


@pytest.mark.parametrize("factory", [NoForecast, ConstantForecast, EwmaForecast])
def test_a_saved_state_goes_on_as_the_first_would(factory) -> None:
    first, second = fitted(factory(), drawn_counts(5, 50)), factory()
    second.reset(context_of(NODES, PLACES, history_s=50.0, horizon=HORIZON))
    second.load_state(first.state())
    steps = steps_of(drawn_counts(6, 5))
    one, other = walk(first, steps, PEERS), walk(second, steps, PEERS)
    assert np.array_equal(one.mean, other.mean, equal_nan=True)

"""Forecasters in closed form: their forecasts equal the formulas, computed here by another way."""

from __future__ import annotations

import numpy as np
import pytest

from qdpem.errors import QdpemError
from qdpem.forecasting.naive import LastValueForecast, SeasonalNaiveForecast, seasons
from qdpem.policy.interface import ForecastContext

CONTEXT = ForecastContext(node_count=2, max_peers=3, step_s=0.5, horizon_steps=8, history_s=60.0, seed=1)


def drawn_counts(seed: int, steps: int) -> np.ndarray:
    return np.random.default_rng(seed).poisson(1.5, size=(steps, 2, 3))


def test_last_value_is_the_count_of_the_last_step_at_every_step_ahead() -> None:
    history, counts = drawn_counts(1, 120), drawn_counts(2, 5)
    naive = LastValueForecast()
    naive.reset(CONTEXT)
    naive.fit_counts(history)
    assert np.array_equal(naive.forecast().mean, np.repeat(history[-1][..., None], 8, axis=2))
    for row in counts:
        naive.update_counts(row)
        assert np.array_equal(naive.forecast().mean, np.repeat(row[..., None], 8, axis=2))


@pytest.mark.parametrize("season", [1, 3, 8, 11])
def test_seasonal_naive_repeats_the_last_season(season) -> None:
    history, counts = drawn_counts(3, 120), drawn_counts(4, 30)
    naive = SeasonalNaiveForecast(SeasonalNaiveForecast.Parameters(season_s=season * 0.5))
    naive.reset(CONTEXT)
    naive.fit_counts(history)
    past = history
    for row in counts:
        naive.update_counts(row)
        past = np.concatenate([past, row[None]])
        repeated = np.concatenate([past[-season:]] * 8)[:8]
        assert np.array_equal(naive.forecast().mean, np.moveaxis(repeated, 0, -1))


def test_a_season_longer_than_the_history_repeats_zeros_until_it_has_come() -> None:
    naive = SeasonalNaiveForecast(SeasonalNaiveForecast.Parameters(season_s=100.0))
    naive.reset(CONTEXT)
    naive.fit_counts(drawn_counts(5, 120))
    assert not naive.forecast().mean.any()
    for _ in range(80):
        naive.update_counts(np.zeros((2, 3), dtype=np.int64))
    # 200 steps after the first one, which counts from here on.
    assert np.array_equal(naive.forecast().mean[..., 0], drawn_counts(5, 120)[0])


def test_the_season_is_the_period_of_bursts_or_the_mean_interarrival_time() -> None:
    generator = np.random.default_rng(6)
    steps = np.arange(1200)
    bursts = generator.poisson(np.where(steps % 40 < 6, 1.5, 0.05))
    rare = np.zeros(1200, dtype=np.int64)
    rare[[100, 900]] = 1
    found = seasons(np.stack([bursts, rare, np.zeros_like(rare)], axis=1))
    assert found[0] == pytest.approx(40, abs=1)
    assert found[1:].tolist() == [600, 1]


def test_a_season_that_is_no_time_is_refused() -> None:
    for season_s in (-1.0, float("nan"), float("inf")):
        with pytest.raises(QdpemError, match="season_s"):
            SeasonalNaiveForecast(SeasonalNaiveForecast.Parameters(season_s=season_s))

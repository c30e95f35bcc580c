from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from scipy import stats

from qdpem.errors import QdpemError, UnknownNameError
from qdpem.forecasting.checks.evaluation import (
    compare,
    format_table,
    pinball,
    poisson_deviance,
    poisson_floor,
    poisson_quantile,
    score_forecaster,
)
from qdpem.forecasting.simple import ConstantForecast, NoForecast
from qdpem.policy.interface import ForecastContext
from qdpem.registry import list_names
from qdpem.scenario.schema import Forecasting

MEANS = np.array([0.001, 0.05, 0.6, 0.7, 1.0, 2.0, 3.3, 12.0, 55.5])


class SeasonBefore:
    """Repeats the counts of one season before."""

    name: ClassVar[str] = "season-before"
    oracle: ClassVar[bool] = False

    def __init__(self, season: int) -> None:
        self.season = season

    def reset(self, context):
        self.horizon = context.horizon_steps

    def fit(self, history):
        self.seen = list(history)

    def update(self, counts):
        self.seen.append(counts)

    def forecast(self):
        start = len(self.seen) - self.season
        return np.array(self.seen[start : start + self.horizon], dtype=float).T


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_quantiles_and_pinball_equal_those_of_scipy(q):
    expected = stats.poisson.ppf(q, MEANS)
    assert np.array_equal(poisson_quantile(MEANS, q=q), expected)
    counts = np.array([0, 1, 0, 3, 1, 2, 7, 9, 60])
    by_hand = [(q if y >= k else q - 1.0) * (y - k) for y, k in zip(counts, expected, strict=True)]
    assert pinball(counts, MEANS, q=q) == pytest.approx(np.mean(by_hand), rel=1e-12)


def test_floor_is_the_expected_absolute_error_of_the_median():
    k = np.arange(400)[:, None]
    errors = (np.abs(k - stats.poisson.median(MEANS)) * stats.poisson.pmf(k, MEANS)).sum(axis=0)
    assert poisson_floor(MEANS) == pytest.approx(errors.sum() / MEANS.sum(), rel=1e-10)
    # E|X - lambda| is close to sqrt(2 lambda / pi) for large lambda
    assert poisson_floor(np.array([1e4])) == pytest.approx(np.sqrt(2.0 / np.pi / 1e4), rel=1e-3)


def test_deviance_is_twice_the_log_likelihood_lost():
    counts = np.array([0, 1, 2, 0, 1, 2, 5, 9, 60])
    best = stats.poisson.logpmf(counts, np.maximum(counts, 1e-300))
    expected = 2.0 * np.mean(best - stats.poisson.logpmf(counts, MEANS))
    assert poisson_deviance(counts, MEANS) == pytest.approx(expected, rel=1e-9)


def test_wape_by_hand_and_mase_of_the_naive_rival_is_one():
    history = np.array([[1, 0], [3, 2]])
    counts = np.array([[2, 0], [2, 4], [0, 1]])
    context = ForecastContext(node_count=2, step_s=1.0, horizon_steps=2, seed=1)
    scores = score_forecaster(SeasonBefore(2), counts, history=history, context=context, season_steps=2)
    # origin 0 foresees rows 0, 1 by the history; origin 1 rows 1, 2 by history row 1 and counts row 0
    errors = [1, 0, 1, 2, 1, 2, 2, 1]
    assert scores.wape == pytest.approx(sum(errors) / (2 + 0 + 2 + 4 + 2 + 4 + 0 + 1))
    assert scores.mase == pytest.approx(1.0)
    assert scores.origins == 2
    assert np.isnan(scores.floor)


def test_the_truth_meets_the_floor():
    """WAPE of the true rate lies within 4 standard errors of the floor (false alarm 6e-5, two-sided)."""
    generator = np.random.default_rng(11)
    rates = np.exp(generator.uniform(-2.0, 1.5, (4000, 1)))
    counts = generator.poisson(rates)
    errors = np.abs(counts - stats.poisson.median(rates))
    ratio = errors.sum() / rates.sum()
    assert abs(ratio - poisson_floor(rates)) < 4.0 * errors.std() * np.sqrt(4000) / rates.sum()


def test_too_few_steps_are_refused():
    context = ForecastContext(node_count=1, step_s=1.0, horizon_steps=5, seed=1)
    few = np.zeros((4, 1), dtype=np.int64)
    with pytest.raises(QdpemError, match="4 steps are too few"):
        score_forecaster(ConstantForecast(), few, history=few, context=context)


def test_a_forecaster_without_forecast_stands_in_the_table():
    context = ForecastContext(node_count=1, step_s=1.0, horizon_steps=2, seed=1)
    counts = np.ones((4, 1), dtype=np.int64)
    scores = score_forecaster(NoForecast(), counts, history=counts, context=context, rates=np.ones((4, 1)))
    assert np.isnan(scores.wape)
    assert scores.floor == pytest.approx(2.0 * stats.poisson.pmf(0, 1.0))


@pytest.mark.slow
def test_compare_leaves_none_out_and_ranks_the_oracles_first(make_arrivals):
    arrivals = make_arrivals(
        seed=12, rates_hz=np.array([0.5, 2.0, 1.0]), history_s=200.0, end_s=100.0, regions=3
    )
    table = compare(
        arrivals,
        forecasting=Forecasting(history_s=200.0),
        end_s=100.0,
        seed=1,
        parameters={"gru": {"epochs": 1}},
    )
    assert [scores.name for scores in table] == list_names("forecaster")
    by_name = {scores.name: scores for scores in table}
    assert by_name["clairvoyant"].wape == 0.0
    assert by_name["bayes-filter"].deviance < by_name["constant"].deviance
    assert len({scores.floor for scores in table}) == 1
    lines = format_table(table).splitlines()
    assert len(lines) == len(table) + 1
    assert "clairvoyant" in lines[1]
    assert "none" in lines[-1]
    with pytest.raises(UnknownNameError, match="did you mean 'ewma'"):
        compare(arrivals, forecasting=Forecasting(), end_s=100.0, seed=1, names=["ewmaa"])

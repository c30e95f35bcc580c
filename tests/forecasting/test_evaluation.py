"""Scores against their definitions, and the rolling origins against counts by hand."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from scipy import stats

from qdpem.demand.arrivals import Arrivals
from qdpem.demand.peers import Peers
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.demand.requests import Requests
from qdpem.errors import QdpemError, UnknownNameError
from qdpem.forecasting.checks.evaluation import compare, format_table, roll, score_forecaster
from qdpem.forecasting.checks.scores import crps, median_error, pinball
from qdpem.forecasting.counts import history_counts, step_counts
from qdpem.forecasting.oracles import BayesFilterForecast, ClairvoyantForecast
from qdpem.forecasting.simple import ConstantForecast, NoForecast
from qdpem.scenario.schema import Forecasting
from tests.helpers.forecasting import bursting, context_of, requests_of_counts

SCHEDULED = np.array([0.0, 0.3, 0.9, 1.0, 2.6, 0.05, 0.0, 0.5])
UNSCHEDULED = np.array([0.001, 0.05, 0.6, 1.0, 3.3, 0.0, 55.5, 12.0])
DEMAND = ExpectedDemand(scheduled=SCHEDULED, unscheduled=UNSCHEDULED)
COUNTS = np.array([0, 1, 0, 3, 4, 1, 60, 7])


def masses(scheduled: float, unscheduled: float, *, most: int = 400) -> np.ndarray:
    """P(count = k) for k below `most`: one more than the whole number of scheduled ones with the rest."""
    k, whole = np.arange(most), int(scheduled)
    more = scheduled - whole
    return (1.0 - more) * stats.poisson.pmf(k - whole, unscheduled) + more * stats.poisson.pmf(
        k - whole - 1, unscheduled
    )


def test_crps_is_the_energy_form_of_the_same_score() -> None:
    """CRPS = E|X - y| - E|X - X'| / 2 (Gneiting and Raftery 2007), from the masses."""
    k = np.arange(400)
    distance = np.abs(k[:, None] - k)
    for got, scheduled, unscheduled, count in zip(
        crps(DEMAND, COUNTS), SCHEDULED, UNSCHEDULED, COUNTS, strict=True
    ):
        mass = masses(scheduled, unscheduled)
        exact = (mass * np.abs(k - count)).sum() - 0.5 * mass @ distance @ mass
        assert got == pytest.approx(exact, abs=1e-6)


def test_crps_of_a_certain_forecast_is_its_distance() -> None:
    certain = ExpectedDemand(scheduled=np.array([0.0, 2.0, 5.0]), unscheduled=np.zeros(3))
    assert crps(certain, np.array([0, 2, 1])).tolist() == [0.0, 0.0, 4.0]


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_pinball_by_hand(q: float) -> None:
    for got, scheduled, unscheduled, count in zip(
        pinball(DEMAND, COUNTS, q=q), SCHEDULED, UNSCHEDULED, COUNTS, strict=True
    ):
        quantile = int(np.searchsorted(np.cumsum(masses(scheduled, unscheduled)), q))
        assert got == pytest.approx((q if count >= quantile else q - 1.0) * (count - quantile), abs=1e-12)


def test_median_error_is_the_expected_absolute_error_of_the_median() -> None:
    k = np.arange(400)[:, None]
    mass = stats.poisson.pmf(k, UNSCHEDULED)
    exact = (np.abs(k - stats.poisson.median(UNSCHEDULED)) * mass).sum(axis=0)
    # What is scheduled is known.
    assert median_error(DEMAND) == pytest.approx(exact, abs=1e-10)
    # E|X - lambda| is close to sqrt(2 lambda / pi) for large lambda.
    large = ExpectedDemand(scheduled=np.zeros(1), unscheduled=np.array([1e4]))
    assert median_error(large).item() == pytest.approx(np.sqrt(2e4 / np.pi), rel=1e-3)


class SeasonBefore:
    """Repeats the counts of one season before, as requests that are sure to come."""

    name: ClassVar[str] = "season-before"
    oracle: ClassVar[bool] = False

    def __init__(self, season: int) -> None:
        self.season = season

    def reset(self, context) -> None:
        self.context = context

    def fit(self, history: Requests, peers: Peers) -> None:
        self.seen = list(history_counts(history, peers, self.context))

    def update(self, requests: Requests, peers: Peers) -> None:
        self.seen.append(step_counts(requests, peers))

    def forecast(self) -> ExpectedDemand:
        start = len(self.seen) - self.season
        made = np.moveaxis(self.seen[start : start + self.context.horizon_steps], 0, -1).astype(float)
        return ExpectedDemand(scheduled=made, unscheduled=np.zeros_like(made))


def arrivals_of(history: np.ndarray, counts: np.ndarray) -> Arrivals:
    """Two nodes or more, each of which asks for peer 0; nobody knows how the requests come about."""
    return Arrivals(
        requests=requests_of_counts(counts[..., None]),
        history=requests_of_counts(history[..., None], first_step=-len(history)),
        history_s=float(len(history)),
        processes=(),
    )


def test_wape_by_hand_and_mase_of_the_naive_rival_is_one() -> None:
    arrivals = arrivals_of(np.array([[1, 1], [3, 2]]), np.array([[2, 0], [2, 4], [0, 1]]))
    scores = score_forecaster(
        SeasonBefore(2),
        arrivals,
        context=context_of(2, 1, history_s=2.0, horizon=2),
        end_s=3.0,
        season_steps=2,
    )
    # Origin 0 foresees rows 0, 1 by the history; origin 1 rows 1, 2 by history row 1 and counts row 0.
    errors = [1, 1, 1, 2, 1, 2, 2, 1]
    assert scores.wape == pytest.approx(sum(errors) / (2 + 0 + 2 + 4 + 2 + 4 + 0 + 1))
    # The ranked probability score of a certain forecast is its absolute error.
    assert scores.crps == pytest.approx(sum(errors) / 8)
    assert scores.mase == pytest.approx(1.0)
    assert scores.pinball_50 == pytest.approx(sum(errors) / 16)
    assert scores.origins == 2
    assert np.isnan(scores.floor)


def test_a_peer_counts_from_the_origin_at_which_it_is_known() -> None:
    history, counts = np.array([[1, 0]] * 4), np.array([[1, 0], [0, 0], [1, 3], [0, 1], [1, 1]])
    rolled = roll(
        ConstantForecast(),
        arrivals_of(history, counts),
        context=context_of(2, 1, history_s=4.0, horizon=2),
        end_s=5.0,
    )
    assert rolled.known[:, :, 0].tolist() == [[True, False]] * 3 + [[True, True]]
    assert rolled.counts[3].tolist() == [[[0, 1]], [[1, 1]]]
    # Its mean is over all steps, also those before it was known.
    assert rolled.forecast.mean[3, 1, 0].tolist() == [3 / 7, 3 / 7]


def test_the_truth_meets_the_floor_and_the_clairvoyant_errs_nowhere() -> None:
    """Regional bursts without jitter are known to the filter, so that its WAPE is the floor in expectation;
    8 nodes of 293 origins: within 5 %, about 4 standard errors."""
    arrivals = bursting(seed=12, rates_hz=np.linspace(0.5, 4.0, 8), history_s=64.0, jitter_s=0.0)
    scores = {
        factory.name: score_forecaster(
            factory(), arrivals, context=context_of(8, 1, history_s=64.0, truth=arrivals), end_s=300.0
        )
        for factory in (BayesFilterForecast, ClairvoyantForecast)
    }
    assert scores["bayes-filter"].wape == pytest.approx(scores["bayes-filter"].floor, rel=0.05)
    assert (scores["clairvoyant"].wape, scores["clairvoyant"].crps) == (0.0, 0.0)


def test_too_few_steps_are_refused() -> None:
    few = np.zeros((4, 2), dtype=np.int64)
    with pytest.raises(QdpemError, match="4 steps are too few"):
        score_forecaster(
            ConstantForecast(),
            arrivals_of(few, few),
            context=context_of(2, 1, history_s=4.0, horizon=5),
            end_s=4.0,
        )


def test_a_forecaster_without_forecast_stands_in_the_table() -> None:
    arrivals = bursting(seed=13, rates_hz=np.ones(3), history_s=64.0, end_s=40.0)
    scores = score_forecaster(NoForecast(), arrivals, context=context_of(3, 1, history_s=64.0), end_s=40.0)
    assert np.isnan([scores.wape, scores.crps, scores.mase, scores.pinball_90]).all()
    assert 0.3 < scores.floor < 1.5


def test_compare_keeps_order_and_floor_and_ranks_by_crps() -> None:
    arrivals = bursting(seed=12, rates_hz=np.array([0.5, 2.0, 1.0]), history_s=200.0, end_s=100.0)
    names = ["none", "constant", "ewma", "bayes-filter", "clairvoyant"]
    table = compare(
        arrivals,
        forecasting=Forecasting(history_s=200.0),
        nodes=3,
        end_s=100.0,
        seed=1,
        names=names,
        parameters={"ewma": {"smoothing": 1.0}},
    )
    assert [scores.name for scores in table] == names
    by_name = {scores.name: scores for scores in table}
    assert by_name["bayes-filter"].crps < by_name["constant"].crps < by_name["ewma"].crps
    assert len({scores.floor for scores in table}) == 1
    ranked = [line.split()[0] for line in format_table(table).splitlines()[1:]]
    assert ranked == ["clairvoyant", "bayes-filter", "constant", "ewma", "none"]
    with pytest.raises(UnknownNameError, match="did you mean 'ewma'"):
        compare(arrivals, forecasting=Forecasting(), nodes=3, end_s=100.0, seed=1, names=["ewmaa"])

"""What one expects who knows the generator, against what then comes: calibrated in every bin, and in sum.

The seeds are fixed. Forecasts overlap in time, so that errors are correlated within a pair of nodes: pairs of
each seed are the independent units, and the standard error of a bin is that of their sums. A bin within 4.5
standard errors fails a sound expectation once in 100,000; no test has more than 20 bins.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from qdpem.demand.arrivals import Arrivals
from qdpem.demand.processes.drift_filter import expected_drifting_starts
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.demand.streams import build_processes, generate_arrivals, pair_weights
from qdpem.scenario.schema import Bursts, Session, Timetable
from tests.helpers.demand import JOB, QKD, all_peers, asked_network, asking

NETWORK = asked_network()
HORIZON, STEP_S, SPAN_S = 6, 1.0, 40.0
TIMETABLE = Timetable(fraction=1.0, classes=(JOB,), jitter_s=0.7)
LAWS = {
    "calendar": TIMETABLE,
    "wide jitter": replace(TIMETABLE, jitter_s=6.0),
    "skipped": replace(TIMETABLE, skipped_fraction=0.4),
    "drifting": replace(TIMETABLE, jitter_s=1.5, jitter_accumulates=True),
    "drifting and skipped": replace(TIMETABLE, jitter_accumulates=True, skipped_fraction=0.4),
    "session": Session(fraction=1.0, classes=(JOB,), on_s=4.0, off_s=12.0),
}


def forecasts(law: Timetable | Session, *, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Expected and realised demand of the pairs of nodes, float64 [clusters, origins, H] both."""
    scenario = asking(classes=(), processes={"x": law}, rate_hz=2.8, measured_s=SPAN_S, history_s=80.0)
    weights, peers = pair_weights(scenario, NETWORK, seed=0), all_peers(scenario, 8)
    both: tuple[list, list] = ([], [])
    for seed in range(seeds):
        (process,) = build_processes(scenario, NETWORK, weights, seed=seed)
        node, place, listed = process.demanded.at(peers)
        assert listed.all()
        for now_s in np.arange(0.0, SPAN_S - HORIZON, 1.7):
            edges_s = now_s + STEP_S * np.arange(HORIZON + 1)
            said = process.expected(peers, now_s=now_s, edges_s=edges_s)
            came = process.realised(peers, edges_s=edges_s)
            both[0].append(said.mean[node, place])
            both[1].append(came.mean[node, place])
    said, came = (
        np.array(each).reshape(seeds, -1, len(node), HORIZON).swapaxes(1, 2).reshape(seeds * 28, -1, HORIZON)
        for each in both
    )
    return said, came


@pytest.mark.mostly_slow
@pytest.mark.parametrize("name", list(LAWS))
def test_among_the_steps_with_one_expectation_its_share_comes(name: str) -> None:
    said, came = forecasts(LAWS[name], seeds=24)
    edges = np.append(np.linspace(0.0, 0.9, 10), np.inf)
    tried = 0
    for ahead in (0, HORIZON - 1):
        bin_of = np.digitize(said[..., ahead], edges) - 1
        for number in range(10):
            chosen = bin_of == number
            clusters = chosen.sum(axis=1)
            if (clusters > 0).sum() < 50:
                continue
            # The error of each independent pair of nodes, summed over the steps that it has in this bin.
            error = ((came[..., ahead] - said[..., ahead]) * chosen).sum(axis=1)
            assert abs(error.sum()) < 4.5 * np.sqrt((error**2).sum()) + 1e-9
            tried += 1
    # A session is on or off, which makes two expectations for a step ahead.
    assert tried >= 4
    whole = (came - said).sum(axis=(1, 2))
    assert abs(whole.sum()) < 4.5 * np.sqrt((whole**2).sum())


@pytest.mark.parametrize("skipped", [0.0, 0.4])
@pytest.mark.parametrize("since", [0.2, 0.9, 1.1, 1.9, 2.6])
def test_drifting_starts_against_walks_as_silent(since: float, skipped: float) -> None:
    """Walks of which nothing came for `since` periods; 5 standard errors of the count of each step."""
    if skipped == 0.0 and since > 1.5:
        pytest.skip("a silence that no walk keeps")
    period_s, jitter_s, walks = 10.0, 1.5, 400_000
    generator = np.random.default_rng(7)
    start_s = np.cumsum(period_s + jitter_s * generator.standard_normal((walks, 8)), axis=1)
    kept = generator.random(start_s.shape) >= skipped
    silent = ~((start_s <= since * period_s) & kept).any(axis=1)
    ahead_s = np.arange(0.0, 25.0, 2.0)
    edges_s = since * period_s + ahead_s
    count, squares = np.zeros(len(edges_s) - 1), np.zeros(len(edges_s) - 1)
    for step in range(len(count)):
        inside = ((start_s >= edges_s[step]) & (start_s < edges_s[step + 1]) & kept)[silent].sum(axis=1)
        count[step], squares[step] = inside.mean(), inside.var()
    assert silent.sum() > 5_000
    found = expected_drifting_starts(
        np.array([since * period_s]),
        ahead_s,
        period_s=np.array([period_s]),
        jitter_s=jitter_s,
        skipped_fraction=skipped,
    )
    error = np.abs(found[0] - count)
    # Sums of a gap and a truncated normal are nearly normal, hence one percent.
    assert (error < 5.0 * np.sqrt(squares / silent.sum()) + 1e-2).all()


def test_realised_demand_is_the_requests_and_the_means_of_what_is_random() -> None:
    law = replace(TIMETABLE, skipped_fraction=0.2, unannounced_fraction=0.0)
    scenario = asking(classes=(), processes={"jobs": law}, rate_hz=28.0, measured_s=60.0)
    arrivals, peers = generate_arrivals(scenario, NETWORK, seed=3), all_peers(scenario, 8)
    edges_s = np.arange(61.0)
    came = arrivals.realised(peers, edges_s=edges_s)
    counts = peers.counts(arrivals.requests, start_s=0.0, step_s=1.0, steps=60)
    assert np.array_equal(came.scheduled, np.moveaxis(counts, 0, -1))
    assert not came.unscheduled.any()


def mixture(*, seed: int = 5) -> tuple[Arrivals, object]:
    scenario = asking(
        rate_hz=20.0,
        bursts=Bursts(regions=2, period_s=20.0, duration_s=5.0),
        processes={
            "jobs": replace(TIMETABLE, fraction=0.3, unannounced_fraction=0.2),
            "talks": Session(fraction=0.2, classes=(QKD,)),
        },
        measured_s=60.0,
        history_s=60.0,
    )
    return generate_arrivals(scenario, NETWORK, seed=seed), all_peers(scenario, 8)


def test_a_mixture_expects_the_sum_of_its_processes_and_no_knowledge_of_later_draws() -> None:
    arrivals, peers = mixture()
    edges_s = 30.0 + np.arange(9.0)
    parts = [process.expected(peers, now_s=30.0, edges_s=edges_s) for process in arrivals.processes]
    whole = arrivals.expected(peers, now_s=30.0, edges_s=edges_s)
    assert whole.scheduled == pytest.approx(sum(part.scheduled for part in parts))
    assert whole.unscheduled == pytest.approx(sum(part.unscheduled for part in parts))
    # Only the timetable is scheduled; Poisson streams and sessions are not.
    assert [bool(part.scheduled.any()) for part in parts] == [False, True, False]
    other, _ = mixture(seed=6)
    assert not np.allclose(other.expected(peers, now_s=30.0, edges_s=edges_s).mean, whole.mean)


def test_expectations_meet_the_mean_rate_of_every_process() -> None:
    """From far enough ahead the expectation forgets the present: it is the rate."""
    arrivals, peers = mixture()
    for process in arrivals.processes:
        edges_s = 5_000.0 + np.array([0.0, 20_000.0])
        mean = process.expected(peers, now_s=0.0, edges_s=edges_s).mean.sum()
        assert mean == pytest.approx(20_000.0 * process.rate_hz, rel=5e-3)


@pytest.mark.parametrize("scheduled", [0.0, 0.3, 1.0, 2.6])
@pytest.mark.parametrize("unscheduled", [0.0, 0.05, 1.7, 40.0])
def test_distribution_and_quantiles_are_those_of_the_sum(scheduled: float, unscheduled: float) -> None:
    demand = ExpectedDemand(
        scheduled=np.full((1, 1, 1), scheduled), unscheduled=np.full((1, 1, 1), unscheduled)
    )
    k = np.arange(120)
    certain, more = int(scheduled), scheduled % 1.0
    mass = np.zeros(120)
    for extra, weight in ((0, 1.0 - more), (1, more)):
        mass += weight * stats.poisson.pmf(k - certain - extra, unscheduled)
    exact = np.cumsum(mass)
    assert np.array([demand.cdf(float(count)).item() for count in k]) == pytest.approx(exact, abs=1e-12)
    assert demand.cdf(-1.0).item() == 0.0
    assert (mass * k).sum() == pytest.approx(demand.mean.item())
    for q in (0.01, 0.1, 0.5, 0.9, 0.999):
        # At the very edge rounding decides, as it does for anyone.
        if np.abs(exact - q).min() > 1e-9:
            assert demand.quantile(q).item() == np.searchsorted(exact, q)


def test_no_forecast_has_no_quantile() -> None:
    none = np.full((2, 1, 3), np.nan)
    assert np.isnan(ExpectedDemand(scheduled=none, unscheduled=none).quantile(0.5)).all()

"""The timetable process against its law.

Statistical tests use fixed seeds and two-sided bounds. Each of 5 standard errors would fail a sound generator
for fewer than 1 seed in a million, a p-value below 1e-5 on either side for 1 in 50,000.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qdpem.demand.processes.timetable import TimetableDemand
from qdpem.demand.streams import build_processes, generate_arrivals, pair_weights
from qdpem.scenario.schema import Timetable
from tests.helpers.demand import JOB, all_peers, asked_network, asking, requests_equal

NETWORK = asked_network()
PAIRS = 28
FRESH = Timetable(fraction=1.0, classes=(JOB,), jitter_s=0.5)
ALPHA = 1e-5


def timetable(
    settings: Timetable = FRESH,
    *,
    mean_period_s: float = 10.0,
    seed: int = 1,
    measured_s: float = 300.0,
    history_s: float = 100.0,
) -> TimetableDemand:
    scenario = asking(
        rate_hz=PAIRS / mean_period_s,
        classes=(),
        processes={"jobs": settings},
        measured_s=measured_s,
        history_s=history_s,
    )
    (process,) = build_processes(scenario, NETWORK, pair_weights(scenario, NETWORK, seed=seed), seed=seed)
    assert isinstance(process, TimetableDemand)
    return process


def times_of(process: TimetableDemand) -> list[np.ndarray]:
    """The times of each pair of nodes, before t = 0 and after."""
    return [
        np.concatenate([before.time_s, after.time_s]) for before, after in zip(*process.draw(), strict=True)
    ]


def off_calendar_s(process: TimetableDemand) -> tuple[np.ndarray, np.ndarray]:
    """Number k of every start that came, and its distance from the calendar."""
    found = []
    for pair, time_s in enumerate(times_of(process)):
        k = np.round((time_s - process.phase_s[pair]) / process.period_s[pair])
        found.append((k, time_s - process.phase_s[pair] - k * process.period_s[pair]))
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))


@pytest.mark.parametrize("spread", [0.0, 0.25, 0.9])
def test_periods_keep_to_their_spread_and_rates_to_their_sum(spread: float) -> None:
    process = timetable(replace(FRESH, period_spread=spread))
    period_s = process.period_s
    # All pairs weigh alike, so that their periods are one mean times a factor in [1 - spread, 1 + spread].
    assert period_s.max() / period_s.min() <= (1.0 + spread) / (1.0 - spread) + 1e-12
    assert (1.0 / period_s).sum() == pytest.approx(2.8)
    assert process.rate_hz == pytest.approx(2.8)
    assert ((process.phase_s >= 0.0) & (process.phase_s < period_s)).all()
    assert len(np.unique(period_s)) == (1 if spread == 0.0 else PAIRS)


def test_fresh_jitter_has_its_deviation_at_every_start_and_no_memory() -> None:
    """About 10,900 starts: their variance is chi-squared, their correlation normal."""
    process = timetable(measured_s=3600.0)
    k, off_s = off_calendar_s(process)
    assert len(off_s) == pytest.approx(PAIRS * 370, rel=0.02)
    assert ALPHA < stats.chi2.cdf((off_s**2).sum() / 0.25, len(off_s)) < 1.0 - ALPHA
    assert stats.kstest(off_s / 0.5, "norm").pvalue > ALPHA
    assert abs(np.corrcoef(off_s[:-1], off_s[1:])[0, 1]) < 5.0 / np.sqrt(len(off_s))
    late = np.abs(k) > 180
    assert stats.f.sf(np.var(off_s[late]) / np.var(off_s[~late]), late.sum(), (~late).sum()) > ALPHA


def test_accumulating_jitter_grows_linearly_outwards_from_zero() -> None:
    """Start k is off by k gaps' jitter: off^2 / (k + 1) J^2 has mean 1 on either side of t = 0.

    28 pairs x 40 seeds are independent; a chi-square of 1,120 degrees at each k.
    """
    drifting = replace(FRESH, jitter_s=0.3, jitter_accumulates=True)
    for k in (0, 3, 8, -2, -9):
        squares = []
        for seed in range(40):
            process = timetable(drifting, seed=seed, measured_s=150.0, history_s=150.0)
            for pair, starts in enumerate(process._starts):
                nominal_s = process.phase_s[pair] + k * process.period_s[pair]
                squares.append((starts.start_s[k - starts.first_k] - nominal_s) ** 2)
        # Start 0 has its own jitter, and start -1 is one gap before it.
        steps = k + 1 if k >= 0 else -k + 1
        assert ALPHA < stats.chi2.cdf(np.sum(squares) / (0.09 * steps), len(squares)) < 1.0 - ALPHA


@pytest.mark.parametrize("accumulates", [False, True])
@pytest.mark.parametrize(("skipped", "unannounced"), [(0.0, 0.0), (0.4, 0.0), (0.0, 0.3), (0.3, 0.2)])
def test_skipped_and_unannounced_requests_leave_the_mean_rate(accumulates, skipped, unannounced) -> None:
    """Over 3,700 s 2.8/s: a count spreads by at most a Poisson deviation."""
    changes = {"skipped_fraction": skipped, "unannounced_fraction": unannounced}
    process = timetable(replace(FRESH, jitter_accumulates=accumulates, **changes), measured_s=3600.0)
    before, after = process.draw()
    count = sum(len(part.time_s) for part in (*before, *after))
    assert abs(count - 3700.0 * 2.8) < 5.0 * np.sqrt(3700.0 * 2.8)


def test_the_skipped_fraction_of_starts_does_not_come() -> None:
    process = timetable(replace(FRESH, skipped_fraction=0.3, jitter_s=0.1), measured_s=3600.0)
    skipped = np.concatenate([starts.skipped for starts in process._starts])
    assert stats.binomtest(int(skipped.sum()), len(skipped), 0.3).pvalue > ALPHA
    k, off_s = off_calendar_s(process)
    assert np.abs(off_s).max() < 0.8
    # 3,700 s in periods whose rate is 1 / 0.7 of what comes.
    assert abs(len(k) / (3700.0 * (1.0 / process.period_s).sum()) - 0.7) < 5.0 * np.sqrt(0.21 / len(skipped))


def test_the_unannounced_fraction_comes_at_random_times() -> None:
    process = timetable(replace(FRESH, unannounced_fraction=0.25, jitter_s=0.05), measured_s=3600.0)
    _, off_s = off_calendar_s(process)
    # Within 8 deviations of the calendar lies every start, and 0.8 s of each period for the others.
    surprising = np.abs(off_s) > 0.4
    periods_s = 3700.0 * (1.0 / process.period_s)
    mean = (0.25 * process.demanded.rate_hz * (3700.0 - 0.8 * periods_s)).sum()
    assert abs(surprising.sum() - mean) < 5.0 * np.sqrt(mean)


def test_one_end_of_a_pair_asks_and_either_end_does_as_often() -> None:
    lower = []
    for seed in range(40):
        process = timetable(seed=seed)
        before, after = process.draw()
        for pair, parts in enumerate(zip(before, after, strict=True)):
            sources = np.concatenate([part.source for part in parts])
            assert set(sources.tolist()) == {int(process.demanded.source[pair])}
        lower.append((process.demanded.source < process.demanded.destination).sum())
    assert stats.binomtest(int(np.sum(lower)), 40 * PAIRS, 0.5).pvalue > ALPHA


def test_a_pair_has_one_class_drawn_by_their_fractions() -> None:
    rare = replace(JOB, fraction=0.25, pairs=4)
    both = replace(FRESH, classes=(replace(JOB, fraction=0.75), rare))
    drawn = np.concatenate([timetable(both, seed=seed).demanded.request_class for seed in range(40)])
    assert stats.binomtest(int(drawn.sum()), len(drawn), 0.25).pvalue > ALPHA
    process = timetable(both)
    for pair, part in enumerate(process.draw()[1]):
        assert set(part.request_class.tolist()) == {int(process.demanded.request_class[pair])}


@settings(max_examples=25, deadline=None)
@given(
    jitter_s=st.floats(0.0, 30.0),
    accumulates=st.booleans(),
    skipped=st.floats(0.0, 0.9),
    unannounced=st.floats(0.0, 0.9),
    longer_s=st.floats(0.1, 200.0),
    seed=st.integers(0, 99),
)
def test_a_longer_run_and_history_only_add_requests(
    jitter_s, accumulates, skipped, unannounced, longer_s, seed
) -> None:
    law = Timetable(
        fraction=1.0,
        classes=(JOB,),
        jitter_s=jitter_s,
        jitter_accumulates=accumulates,
        skipped_fraction=skipped,
        unannounced_fraction=unannounced,
    )

    def arrivals(beyond_s: float):
        scenario = asking(
            classes=(),
            processes={"jobs": law},
            rate_hz=2.8,
            measured_s=60.0 + beyond_s,
            history_s=50.0 + beyond_s,
        )
        return generate_arrivals(scenario, NETWORK, seed=seed)

    short, long = arrivals(0.0), arrivals(longer_s)
    assert requests_equal(short.requests, long.requests.between(0.0, 60.0))
    assert requests_equal(short.history, long.history.between(-50.0, 0.0))


def test_without_jitter_the_calendar_is_exact_and_known() -> None:
    process = timetable(replace(FRESH, jitter_s=0.0))
    _, off_s = off_calendar_s(process)
    assert np.abs(off_s).max() < 1e-9
    peers = all_peers(asking(classes=(JOB,)), 8)
    edges_s = np.arange(41.5, 50.0)
    expected = process.expected(peers, now_s=41.5, edges_s=edges_s)
    assert np.array_equal(expected.scheduled, process.realised(peers, edges_s=edges_s).scheduled)
    assert not expected.unscheduled.any()

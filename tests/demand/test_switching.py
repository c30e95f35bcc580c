"""Bursts without a calendar: the law of their times, and cascades from region to region."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

from qdpem.demand.bursts import burst_time_fraction, draw_bursts, draw_phases
from qdpem.demand.switching import on_spans
from qdpem.scenario.schema import Bursts

MEMORYLESS = Bursts(timing="memoryless", regions=3, period_s=20.0, duration_s=5.0, peak=3.0)
CASCADING = replace(MEMORYLESS, timing="cascading", lag_s=2.5)


def drawn(bursts, start_s, end_s, seed=1):
    return draw_bursts(bursts, draw_phases(bursts, seed=seed), start_s=start_s, end_s=end_s, seed=seed)


def test_times_on_and_off_are_exponential_before_and_after_zero():
    """Kolmogorov and Smirnov, four tests at 1e-4 each: false alarm 4e-4. A span at t = 0 is longer than
    others, for it was drawn on both sides, and left out."""
    spans_s = on_spans(on_s=5.0, off_s=15.0, name="x", start_s=-40_000.0, end_s=40_000.0, seed=3)
    for side in (spans_s[spans_s[:, 0] > 0.0], spans_s[spans_s[:, 1] < 0.0]):
        assert 1_800 < len(side) < 2_200
        assert kstest(side[:, 1] - side[:, 0], "expon", args=(0.0, 5.0)).pvalue > 1e-4
        assert kstest(side[1:, 0] - side[:-1, 1], "expon", args=(0.0, 15.0)).pvalue > 1e-4


def test_at_any_moment_it_is_on_with_the_same_chance():
    """2,000 seeds, five moments: a binomial share stays within 4.5 standard errors, false alarm 4e-5."""
    moments_s = np.array([-60.0, -3.0, 0.0, 3.0, 60.0])
    on = np.zeros((2_000, 5))
    for seed in range(2_000):
        spans_s = on_spans(on_s=5.0, off_s=15.0, name="x", start_s=-61.0, end_s=61.0, seed=seed)
        on[seed] = ((spans_s[:, :1] <= moments_s) & (moments_s < spans_s[:, 1:])).sum(axis=0)
    assert set(np.unique(on)) == {0.0, 1.0}
    assert np.abs(on.mean(axis=0) - 0.25).max() < 4.5 * np.sqrt(0.25 * 0.75 / 2_000)
    assert burst_time_fraction(MEMORYLESS) == burst_time_fraction(CASCADING) == 0.25


@pytest.mark.parametrize("bursts", [MEMORYLESS, CASCADING])
def test_a_longer_span_adds_bursts_and_moves_none(bursts):
    short, long = drawn(bursts, -50.0, 70.0), drawn(bursts, -500.0, 900.0)
    touching = long[(long[:, 1] < 70.0) & (long[:, 2] > -50.0)]
    assert np.array_equal(short, touching)
    for region in range(3):
        own = long[long[:, 0] == region, 1:]
        assert len(own) > 20
        assert (own[:, 0] < own[:, 1]).all()
        assert (own[1:, 0] > own[:-1, 1]).all()


def test_each_region_of_a_cascade_bursts_after_the_one_before_and_others_by_themselves():
    rows = drawn(CASCADING, -200.0, 200.0)
    lead, second, third = (rows[rows[:, 0] == region, 1:] for region in range(3))
    inside = lead[(lead[:, 0] > -190.0) & (lead[:, 1] < 190.0)]
    for lag_s, own in ((2.5, second), (5.0, third)):
        assert {tuple(row) for row in inside + lag_s} <= {tuple(row) for row in own}
    assert np.array_equal(lead, on_spans(on_s=5.0, off_s=15.0, name="0", start_s=-200.0, end_s=200.0, seed=1))
    rows = drawn(MEMORYLESS, -200.0, 200.0)
    assert not np.intersect1d(rows[rows[:, 0] == 0, 1], rows[rows[:, 0] == 1, 1]).size


def test_a_lag_is_of_cascades_alone():
    with pytest.raises(ValueError, match="cascading bursts need lag_s, the seconds by which one region"):
        Bursts(timing="cascading")
    for timing in ("memoryless", "calendar"):
        with pytest.raises(ValueError, match=f"lag_s = 3 means nothing with timing '{timing}'; leave it out"):
            Bursts(timing=timing, lag_s=3.0)

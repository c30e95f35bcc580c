"""Statistics of the counts of events in windows, for many series at once, most of whose windows are empty.

An event belongs to a series, such as that of its node, and to a step. Moments of all series are pooled:
summed over them before a ratio is taken, so that a busy series counts for more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Floats, Ints


@dataclass(frozen=True, eq=False, kw_only=True)
class SparseCounts:
    """The counts above 0 of S series in T steps.

    `series`, `step`, `count` int64 [M], in order of series and step; `steps`: T.
    """

    series: Ints
    step: Ints
    count: Ints
    steps: int

    @property
    def totals(self) -> Floats:
        """Events of each series, float64 [S]."""
        return np.asarray(np.bincount(self.series, weights=self.count), dtype=np.float64)

    def coarser(self, factor: int) -> SparseCounts:
        """The counts in windows of `factor` steps; what fills no whole window is left out."""
        windows = self.steps // factor
        kept = self.step < windows * factor
        events = np.repeat(np.flatnonzero(kept), self.count[kept])
        return count_events(self.series[events], self.step[events] // factor, steps=windows)


def count_events(series: Ints, step: Ints, *, steps: int) -> SparseCounts:
    """The counts of events; `series` and `step` int64 [events], with 0 <= step < steps."""
    cell, count = np.unique(series * steps + step, return_counts=True)
    return SparseCounts(series=cell // max(steps, 1), step=cell % max(steps, 1), count=count, steps=steps)


def index_of_dispersion(counts: SparseCounts) -> float:
    """Variance of the counts over their mean, pooled (Cox and Lewis 1966); 1 for Poisson processes.

    NaN for fewer than two steps, or no events.

    >>> regular = count_events(np.zeros(4, dtype=np.int64), np.arange(4), steps=4)
    >>> index_of_dispersion(regular)
    0.0
    """
    totals = counts.totals
    if counts.steps < 2 or not len(totals):
        return float("nan")
    square = float((counts.count.astype(np.float64) ** 2).sum() - (totals**2).sum() / counts.steps)
    return square / (counts.steps - 1) / float(totals.sum() / counts.steps)


def peak_over_mean(counts: SparseCounts) -> float:
    """The largest count of each series over its mean, pooled; NaN without events."""
    totals = counts.totals
    if not len(totals):
        return float("nan")
    peaks = np.zeros(len(totals))
    np.maximum.at(peaks, counts.series, counts.count.astype(np.float64))
    return float(peaks.sum() / (totals.sum() / counts.steps))


def autocorrelation(counts: SparseCounts, lags: Ints) -> Floats:
    """Pooled autocorrelation at lags in steps, all above 0; float64 [L]. NaN where it is not defined.

    The sum over series and steps of (n_t - m)(n_{t + lag} - m) / (T - lag), over the same at lag 0, with m
    the mean of each series.
    """
    size = int(counts.series.max(initial=-1)) + 1
    return np.array([own_lag_correlation(counts, np.full(size, lag)) for lag in lags.tolist()])


def own_lag_correlation(counts: SparseCounts, lag: Ints) -> float:
    """Pooled autocorrelation of the series, each at a lag of its own; NaN where it is not defined.

    Args:
        counts: of S series.
        lag: int64 [S], in steps; a series with a lag of 0, or of all steps or more, is left out.
    """
    steps = counts.steps
    taken = (lag > 0) & (lag < steps)
    mean = np.where(taken, counts.totals / max(steps, 1), 0.0)
    inside = taken[counts.series]
    series, step = counts.series[inside], counts.step[inside]
    count = counts.count[inside].astype(np.float64)
    variance = (float((count**2).sum()) - steps * float((mean**2).sum())) / max(steps, 1)
    if not variance > 0.0:
        return float("nan")
    own = lag[series]
    # Room between series, as long as the longest lag, so that no series is matched with the next.
    cell = series * (steps + int(lag.max(initial=0))) + step
    later = np.minimum(np.searchsorted(cell, cell + own), len(cell) - 1)
    product = np.where(cell[later] == cell + own, count * count[later], 0.0)
    # What either factor has outside the overlap of the series with its own shift.
    cross = mean[series] * count * ((step < steps - own).astype(np.float64) + (step >= own))
    covariance = float(((product - cross) / (steps - own)).sum()) + float((mean**2).sum())
    return covariance / variance


def interarrival_variation(series: Ints, time_s: Floats) -> tuple[Floats, Floats]:
    """Mean and coefficient of variation of the interarrival times of each series, float64 [S] both.

    A Poisson process has a variation of 1, a calendar 0. NaN for series of fewer than three events.

    Args:
        series: int64 [events].
        time_s: float64 [events], in any order.
    """
    order = np.lexsort((time_s, series))
    own, interval_s = series[order], np.diff(time_s[order])
    inside = own[1:] == own[:-1]
    size = int(series.max(initial=-1)) + 1
    number = np.bincount(own[1:][inside], minlength=size).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_s = np.bincount(own[1:][inside], weights=interval_s[inside], minlength=size) / number
        square = np.bincount(
            own[1:][inside], weights=(interval_s[inside] - mean_s[own[1:][inside]]) ** 2, minlength=size
        )
        variation = np.sqrt(square / (number - 1.0)) / mean_s
    few = number < 2
    return np.where(few, np.nan, mean_s), np.where(few, np.nan, variation)

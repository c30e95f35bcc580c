"""Statistics of counts against closed forms and against NumPy on the full table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qdpem.study.analysis.demand.count_statistics import (
    SparseCounts,
    autocorrelation,
    count_events,
    index_of_dispersion,
    interarrival_variation,
    own_lag_correlation,
    peak_over_mean,
)

tables = arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(2, 30)), elements=st.integers(0, 3))
"""Counts of each series and step."""


def sparse(table: np.ndarray) -> SparseCounts:
    series, step = (np.repeat(axis, table.ravel()) for axis in map(np.ravel, np.indices(table.shape)))
    return count_events(series, step, steps=table.shape[1])


def full(table: np.ndarray) -> np.ndarray:
    """The rows of series with an event, as the sparse form knows no other."""
    return table[table.sum(axis=1) > 0].astype(float)


@settings(max_examples=100, deadline=None)
@given(table=tables, factor=st.integers(1, 7))
def test_sparse_moments_are_those_of_the_table(table, factor) -> None:
    windows = table.shape[1] // factor
    coarse = table[:, : windows * factor].reshape(len(table), windows, factor).sum(axis=2)
    found, exact = sparse(table).coarser(factor), full(coarse)
    if windows < 2 or not exact.size:
        return
    variance = exact.var(axis=1, ddof=1).sum()
    assert index_of_dispersion(found) == pytest.approx(variance / exact.mean(axis=1).sum())
    assert peak_over_mean(found) == pytest.approx(exact.max(axis=1).sum() / exact.mean(axis=1).sum())


@settings(max_examples=100, deadline=None)
@given(table=tables)
def test_autocorrelation_is_that_of_the_table(table) -> None:
    exact, steps = full(table), table.shape[1]
    lags = np.arange(1, steps + 2)
    found = autocorrelation(sparse(table), lags)
    centred = exact - exact.mean(axis=1, keepdims=True) if exact.size else exact
    variance = (centred**2).sum() / steps
    for lag, value in zip(lags.tolist(), found.tolist(), strict=True):
        if lag >= steps or variance < 1e-12:
            assert np.isnan(value)
        else:
            covariance = (centred[:, :-lag] * centred[:, lag:]).sum() / (steps - lag)
            assert value == pytest.approx(covariance / variance, abs=1e-9)


def test_a_calendar_has_no_dispersion_and_remembers_its_period() -> None:
    step = np.arange(0, 120, 6)
    counts = count_events(np.zeros_like(step), step, steps=120)
    assert index_of_dispersion(counts.coarser(6)) == 0.0
    assert autocorrelation(counts, np.array([6]))[0] == pytest.approx(1.0)
    assert autocorrelation(counts, np.array([3]))[0] == pytest.approx(-0.2)


def test_each_series_is_compared_at_its_own_lag() -> None:
    """Two calendars that no common lag shows, and one series that is left out."""
    first, second = np.arange(0, 120, 6), np.arange(1, 120, 8)
    noise = np.random.default_rng(3).integers(0, 120, 50)
    series = np.repeat([0, 1, 2], [len(first), len(second), len(noise)])
    counts = count_events(series, np.concatenate([first, second, noise]), steps=120)
    assert own_lag_correlation(counts, np.array([6, 8, 0])) == pytest.approx(1.0)
    assert own_lag_correlation(counts, np.array([8, 6, 0])) < 0.1
    assert np.isnan(own_lag_correlation(counts, np.array([0, 0, 120])))


def test_poisson_counts_have_a_dispersion_of_one() -> None:
    """40 series of 500 windows: the index has a standard error of sqrt(2 / 20,000); 5 of them either way."""
    counts = np.random.default_rng(1).poisson(2.0, (40, 500))
    assert abs(index_of_dispersion(sparse(counts)) - 1.0) < 5.0 * np.sqrt(2.0 / 20_000)


def test_interarrival_times_of_a_calendar_do_not_vary_and_few_events_have_none() -> None:
    series = np.array([2, 0, 2, 0, 2, 1, 1])
    time_s = np.array([9.0, 1.0, 5.0, 4.0, 1.0, 0.0, 8.0])
    mean_s, variation = interarrival_variation(series, time_s)
    assert mean_s[2] == 4.0
    assert variation[2] == 0.0
    assert np.isnan(variation[:2]).all()
    gaps = np.random.default_rng(2).exponential(3.0, 20_000)
    mean_s, variation = interarrival_variation(np.zeros(20_000, dtype=np.int64), np.cumsum(gaps))
    assert mean_s[0] == pytest.approx(3.0, rel=0.05)
    # The variation of exponential gaps has a standard error of 1 / sqrt(n).
    assert abs(variation[0] - 1.0) < 5.0 / np.sqrt(20_000)

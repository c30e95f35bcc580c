"""Scores of one set of forecasts against what came."""

from __future__ import annotations

import numpy as np
from scipy.special import pdtr

from qdpem.arrays import Floats, Ints
from qdpem.demand.processes.process import ExpectedDemand

_NEGLIGIBLE = 1e-9


def crps(forecast: ExpectedDemand, counts: Ints) -> Floats:
    """The ranked probability score of each forecast, float64 like `counts`, in requests.

    sum over k of (F(k) - [y <= k])^2, F the forecast's distribution function and y the count (Epstein 1969).
    """
    y, total = counts.ravel(), np.zeros(counts.size)
    scheduled, unscheduled = forecast.scheduled.ravel(), forecast.unscheduled.ravel()
    left, k = np.arange(counts.size), 0
    while left.size:
        part = ExpectedDemand(scheduled=scheduled[left], unscheduled=unscheduled[left])
        cdf = part.cdf(float(k))
        total[left] += (cdf - (y[left] <= k)) ** 2
        # Beyond its count, a term is the squared probability of still more requests. Most counts are small,
        # so few forecasts are left after the first terms.
        left = left[(y[left] > k) | ((1.0 - cdf) ** 2 >= _NEGLIGIBLE)]
        k += 1
    return total.reshape(counts.shape)


def pinball(forecast: ExpectedDemand, counts: Ints, *, q: float) -> Floats:
    """The pinball loss of the quantile q of each forecast, float64 like `counts`."""
    short = counts - forecast.quantile(q)
    return np.asarray(np.maximum(q * short, (q - 1.0) * short))


def coverage(forecast: ExpectedDemand, counts: Ints, *, level: float) -> Floats:
    """How far each count lies in the central interval of probability `level`, float64 like `counts`.

    The probability integral transform of a count y is uniform on [F(y - 1), F(y)] (Czado, Gneiting and Held
    2009); the coverage is the part of it between (1 - level)/2 and (1 + level)/2. Its mean is `level` for a
    calibrated forecast, whatever the steps of F. A count that the forecast holds impossible has 0.

    >>> sure = ExpectedDemand(scheduled=np.array([1.0, 1.0]), unscheduled=np.zeros(2))
    >>> coverage(sure, np.array([1, 2]), level=0.5).tolist()
    [0.5, 0.0]
    """
    y = counts.astype(np.float64)
    low, high = forecast.cdf(y - 1.0), forecast.cdf(y)
    inside = np.minimum(high, 0.5 * (1.0 + level)) - np.maximum(low, 0.5 * (1.0 - level))
    width = high - low
    return np.where(width > 0.0, np.maximum(inside, 0.0) / np.where(width > 0.0, width, 1.0), 0.0)


def median_error(truth: ExpectedDemand) -> Floats:
    """E|X - median| of the unscheduled part, Poisson numbers X of these means.

    E|X - m| = lambda - m + 2 (m F(m) - lambda F(m - 1)), F the distribution function.

    >>> truth = ExpectedDemand(scheduled=np.zeros(1), unscheduled=np.array([0.5]))
    >>> median_error(truth).item()
    0.5
    """
    lam = truth.unscheduled
    m = ExpectedDemand(scheduled=np.zeros_like(lam), unscheduled=lam).quantile(0.5)
    before = np.where(m > 0.0, pdtr(np.maximum(m - 1.0, 0.0), lam), 0.0)
    return np.asarray(lam - m + 2.0 * (m * pdtr(m, lam) - lam * before))

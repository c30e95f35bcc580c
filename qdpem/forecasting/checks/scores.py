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
    total = np.zeros(counts.shape)
    most, k = int(counts.max(initial=0)), 0
    while True:
        cdf = forecast.cdf(float(k))
        total += (cdf - (counts <= k)) ** 2
        # Beyond every count, a term is the squared probability of still more requests.
        if k >= most and float((1.0 - cdf).max(initial=0.0)) ** 2 < _NEGLIGIBLE:
            return total
        k += 1


def pinball(forecast: ExpectedDemand, counts: Ints, *, q: float) -> Floats:
    """The pinball loss of the quantile q of each forecast, float64 like `counts`."""
    short = counts - forecast.quantile(q)
    return np.asarray(np.maximum(q * short, (q - 1.0) * short))


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

"""The interface of a demand process, and the values that pass through it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.demand.peers import Peers
from qdpem.scenario.schema import RequestClass

_MANY = 8.0
"""Above this mean a quantile is looked for near its place, not from 0."""


_ROUNDING = 1.0 + 1e-9


class DrawnRequests(NamedTuple):
    """Requests that a process draws; arrays of one length. `request_class` counts the process's classes.

    `patience_s`: of each request; None for that of its class.
    """

    time_s: Floats
    source: Ints
    destination: Ints
    request_class: Ints
    patience_s: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class Span:
    """The time [-history_s, end_s) for which demand is drawn, with t = 0 at the start of the run.

    `beyond_s`: time past both ends for which forecasts need the truth.
    """

    history_s: float
    end_s: float
    beyond_s: float


@dataclass(frozen=True, eq=False, kw_only=True)
class ExpectedDemand:
    """The number of requests of each peer in each step, as a distribution; float64 [N, P, H] both.

    Requests of a step are a scheduled part, floor(scheduled) or one more with mean `scheduled`, plus a
    Poisson number of mean `unscheduled`. Its mean is the sum of both. A request asks for the peer's number of
    pairs.
    """

    scheduled: Floats
    unscheduled: Floats

    @property
    def mean(self) -> Floats:
        """Expected requests, float64 [N, P, H]."""
        return self.scheduled + self.unscheduled

    def cdf(self, count: Floats | float) -> Floats:
        """Probability of at most `count` requests, float64 [N, P, H]; `count` broadcasts.

        >>> demand = ExpectedDemand(scheduled=np.array([[[0.25]]]), unscheduled=np.array([[[0.0]]]))
        >>> demand.cdf(0.0).item(), demand.cdf(1.0).item()
        (0.75, 1.0)
        """
        certain = np.floor(self.scheduled)
        one_more = self.scheduled - certain
        rest = np.floor(count) - certain
        below = _poisson_cdf(rest, self.unscheduled)
        # Most forecasts schedule nothing, and distribution functions take most of the time of their scores.
        if not one_more.any():
            return below
        return np.asarray((1.0 - one_more) * below + one_more * _poisson_cdf(rest - 1.0, self.unscheduled))

    def quantile(self, q: float) -> Floats:
        """The smallest number k of requests with P(at most k) >= `q`, float64 [N, P, H]; NaN where it is."""
        # SciPy takes longer to import than a run of a rule without a forecast, which needs no quantile.
        from scipy.special import pdtrik

        start = np.floor(self.scheduled)
        # A few counts are tried one by one, many are skipped. The inverse can round to just above a whole
        # number, so it starts one below.
        many = self.unscheduled > _MANY
        start[many] += np.maximum(np.ceil(pdtrik(q, self.unscheduled[many])) - 1.0, 0.0)
        count = start.ravel()
        scheduled, unscheduled = self.scheduled.ravel(), self.unscheduled.ravel()
        left = np.flatnonzero(~np.isnan(self.mean))
        while left.size:
            part = ExpectedDemand(scheduled=scheduled[left], unscheduled=unscheduled[left])
            left = left[part.cdf(count[left]) < q]
            count[left] += 1.0
        return np.where(np.isnan(self.mean), np.nan, count.reshape(start.shape))


def _poisson_cdf(count: Floats, mean: Floats) -> Floats:
    """P(X <= count) for X Poisson, 0 for a negative count."""
    from scipy.special import pdtr

    return np.where(count < 0.0, 0.0, pdtr(np.maximum(count, 0.0), mean))


class DemandProcess(Protocol):
    """One process of a mixture under one seed, drawn or ready to be drawn."""

    @property
    def name(self) -> str:
        """The name in `[demand.processes]`, or "poisson"."""

    @property
    def classes(self) -> tuple[RequestClass, ...]:
        """The classes of its requests."""

    @property
    def rate_hz(self) -> float:
        """Its long-run mean of requests per second."""

    def draw(self) -> tuple[list[DrawnRequests], list[DrawnRequests]]:
        """The requests before t = 0 and those of the run, in parts of any order."""

    def expected(self, peers: Peers, *, now_s: float, edges_s: Floats) -> ExpectedDemand:
        """The demand of the steps between `edges_s` [H + 1], for one who knows the process at `now_s`.

        Known are its law with all parameters, and what happened until `now_s`: not the draws to come.
        """

    def realised(self, peers: Peers, *, edges_s: Floats) -> ExpectedDemand:
        """The demand of each step given all but the Poisson draws: scheduled requests are known.

        No forecast can have a lower error.
        """


def class_fractions(peers: Peers, classes: Sequence[RequestClass]) -> Floats:
    """Fraction of the classes' requests with the kind of each peer, float64 [N, P]."""
    total = np.zeros(peers.destination.shape)
    for each in classes:
        same = (peers.target_fidelity == each.target_fidelity) & (peers.pairs == each.pairs)
        total += each.fraction * same
    # Classes are drawn in proportion to their fractions, which need not sum to 1.
    return np.asarray(total / math.fsum(each.fraction for each in classes))


def poisson_times(rate_hz: float, span_s: float, generator: np.random.Generator) -> Floats:
    """Ascending times in (0, span_s) of a Poisson process; a longer span only appends."""
    mean = rate_hz * span_s
    # Mean plus six standard deviations: a second block is almost never needed.
    block = int(mean + 6.0 * np.sqrt(mean)) + 16
    gaps = generator.standard_exponential(block)
    while gaps.sum() < mean:
        # Gaps have unit rate, so that another rate rescales the same times.
        gaps = np.concatenate([gaps, generator.standard_exponential(block)])
    unit_s = np.cumsum(gaps)
    # Far beyond the span a division by a tiny rate would overflow.
    time_s = unit_s[unit_s <= mean * _ROUNDING] / rate_hz
    return np.asarray(time_s[time_s < span_s])


def draw_index(weights: Floats, u: Floats) -> Ints:
    """An index with probability proportional to its weight for each uniform; never one of weight 0."""
    cumulative = np.cumsum(weights)
    index = np.searchsorted(cumulative, u * cumulative[-1], side="right")
    # u x total may round up to the total itself, which would select an index past the last one with weight.
    return np.asarray(np.minimum(index, np.flatnonzero(weights)[-1]), dtype=np.int64)

"""How much demand of a given mix a network can carry: the same flow, asked the other way round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdpem.errors import QdpemError
from qdpem.flow.columns import Best, Columns, Prices
from qdpem.flow.commodities import Commodity
from qdpem.network.graph import Network

_ROUNDING = 1e-12
_ROUNDING_OF_SOLVER = 1e-7


@dataclass(frozen=True, kw_only=True)
class SupportableLoad:
    """The largest demand that can be carried: `rate_hz` is found, and none above `bound_hz` can be.

    Both are requests per second of all classes together. `iterations` and `columns` of the generation.
    """

    rate_hz: float
    bound_hz: float
    iterations: int
    columns: int


def find_supportable_load(
    network: Network,
    classes: Sequence[Commodity],
    *,
    served_fraction: float,
    tolerance: float = 1e-6,
    max_iterations: int = 200,
) -> SupportableLoad:
    """The largest rate at which demand in the classes' mix can be served to `served_fraction`, in the long run.

    sup {r: B(r) >= served_fraction x r}, where B(r) is what `flow_bound` delivers of r requests per second in
    the mix of the classes' rates; B is concave and B(r) <= r, so that every lower rate is served at least
    as well. One linear programme in the share s = 1/r of the network's capacities that a unit of demand
    takes: min s over x_kp, y, s >= 0 with sum_p x_kp <= rate_k, sum_kp x_kp >= served_fraction sum_k rate_k
    and the rows of `flow_bound` with every capacity times s. Columns are generated; any nonnegative prices
    of resources prove r <= (worth of the network's capacities) / (least cost of serving `served_fraction`
    of a unit of demand, cheapest classes first). It ends when rate and bound are within `tolerance` of each
    other, relatively, or after `max_iterations`.

    Raises QdpemError when less than `served_fraction` of the demand has a path at all, when nothing is asked,
    or when the solver fails.
    """
    return _Programme(network, classes, served_fraction).solve(
        tolerance=tolerance, max_iterations=max_iterations
    )


class _Solution(NamedTuple):
    """Rate over the columns at hand, in units of the classes' own; prices of coverage, demand, resources.

    `broken` bool [K]: conditions on demand that were left out and do not hold.
    """

    rate: float
    coverage_price: float
    demand_price: NDArray[np.float64]
    prices: Prices
    broken: NDArray[np.bool_]


class _Programme:
    """The master problem over the columns found so far.

    It begins with those conditions on demand that count all that a chain's paths carry. The others, on long
    paths, seldom bind, and are taken in where they are broken; leaving them out can only raise a bound.
    """

    def __init__(self, network: Network, classes: Sequence[Commodity], served_fraction: float) -> None:
        self._network = network
        self._columns = Columns(network, classes)
        self._rate = self._columns.rate
        self._served = served_fraction * float(self._rate.sum())
        self._watched = self._columns.chain_ends
        if not len(self._rate):
            raise QdpemError("the flow classes ask for nothing, so there is no mix of demand to carry")

    def solve(self, *, tolerance: float, max_iterations: int) -> SupportableLoad:
        """Begin with the cheapest paths at prices of scarcity; alternate between flow and new columns."""
        columns, unit_hz = self._columns, self._columns.unit_hz * float(self._rate.sum())
        best = columns.cheapest(self._scarcity())
        self._check(best)
        columns.add(best, below=np.inf)
        bound, rate, iterations = self._bound(best), 0.0, 0
        guess = bound
        while iterations < max_iterations:
            solution = self._optimum(scale=guess)
            guess, iterations = solution.rate, iterations + 1
            best = columns.cheapest(solution.prices)
            bound = min(bound, self._bound(best))
            if not solution.broken.any():
                rate = max(rate, solution.rate)
            if bound - rate <= tolerance * bound:
                break
            added = columns.add(best, below=solution.coverage_price - solution.demand_price)
            if not (self._watch(solution, all_at_once=bound - guess <= tolerance * bound) or added):
                break
        return SupportableLoad(
            rate_hz=min(rate, bound) * unit_hz,
            bound_hz=bound * unit_hz,
            iterations=iterations,
            columns=len(columns),
        )

    def _watch(self, solution: _Solution, *, all_at_once: bool) -> bool:
        """Take in the broken conditions, or simply all if any is broken near the end; whether any was."""
        broken = bool(solution.broken.any())
        self._watched = self._watched | solution.broken | (broken and all_at_once)
        return broken

    def _scarcity(self) -> Prices:
        """One over its capacity for every link and repeater that has any."""
        network = self._network
        return Prices(*(_inverse(one) for one in (network.link_rate_hz, network.repeater_rate_hz)))

    def _check(self, best: Best) -> None:
        reachable = float(self._rate[np.isfinite(best.cost)].sum())
        if reachable < self._served * (1.0 - _ROUNDING):
            fraction = reachable / float(self._rate.sum())
            raise QdpemError(
                f"only {fraction:.1%} of the demand has a path that reaches its target, so no rate is served to"
                f" {self._served / float(self._rate.sum()):.1%}"
            )

    def _bound(self, best: Best) -> float:
        """The rate that the prices prove to be out of reach: worth / least cost of what must be served."""
        order = np.argsort(best.cost, kind="stable")
        before = np.cumsum(self._rate[order]) - self._rate[order]
        taken = np.clip(self._served - before, 0.0, self._rate[order])
        needed = taken > self._served * _ROUNDING
        cost = float(taken[needed] @ best.cost[order][needed])
        return self._columns.worth(best.prices) / cost if cost > 0.0 else np.inf

    def _optimum(self, *, scale: float) -> _Solution:
        """The best flow over the columns at hand; `scale` is about the rate, so that s is about 1."""
        from scipy.optimize import linprog
        from scipy.sparse import csr_matrix, hstack, vstack

        columns, classes = self._columns, len(self._rate)
        paths, emissions = len(columns), 2 * self._network.link_count
        fraction = np.concatenate([np.zeros(classes), -columns.capacities / scale])
        rows = hstack([columns.uses(), columns.emission_uses(), csr_matrix(fraction[:, None])], format="csr")
        limits = np.concatenate([columns.demand, np.zeros(len(columns.capacities))])
        kept = np.concatenate([np.flatnonzero(self._watched), np.arange(classes, len(limits))])
        covered = csr_matrix(np.concatenate([-np.ones(paths), np.zeros(emissions + 1)]))
        aim = np.zeros(paths + emissions + 1)
        aim[-1] = self._served
        # Interior points: their prices, before they are rounded to a corner, need far fewer rounds.
        result = linprog(
            aim,
            A_ub=vstack([rows[kept], covered], format="csr"),
            b_ub=np.append(limits[kept], -self._served),
            method="highs-ipm",
        )
        if result.status != 0:
            raise QdpemError(f"the flow programme was not solved: {result.message}")
        marginals = np.zeros(len(limits))
        marginals[kept] = -result.ineqlin.marginals[:-1]
        demand, prices = columns.prices(marginals)
        broken = columns.used(result.x[:paths]).demand > columns.demand + _ROUNDING_OF_SOLVER
        return _Solution(
            rate=scale / float(result.x[-1]),
            coverage_price=float(-result.ineqlin.marginals[-1]),
            demand_price=demand,
            prices=prices,
            broken=broken & ~self._watched,
        )


def _inverse(capacity_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(1.0, capacity_hz, out=np.zeros_like(capacity_hz), where=capacity_hz > 0.0)

"""The largest load of a given mix that a network supports: the flow of `capacity` with the rate unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Floats
from qdpem.errors import QdpemError
from qdpem.flow.column_generation import (
    MasterProblem,
    MasterSolution,
    generate_columns,
    solve_linear_programme,
)
from qdpem.flow.columns import Columns, PricingResult, ResourcePrices
from qdpem.flow.commodities import Commodity
from qdpem.network.graph import Network

_ROUNDING = 1e-12
_ROUNDING_OF_SOLVER = 1e-7


@dataclass(frozen=True, kw_only=True)
class SupportableLoad:
    """The largest demand that can be carried: `rate_hz` has a flow, and no rate above `bound_hz` has one.

    Both are requests per second of all commodities together. `iterations` and `columns` of the generation.
    """

    rate_hz: float
    bound_hz: float
    iterations: int
    columns: int


def find_supportable_load(
    network: Network,
    commodities: Sequence[Commodity],
    *,
    served_fraction: float,
    tolerance: float = 1e-6,
    max_iterations: int = 200,
) -> SupportableLoad:
    """The largest long-run rate, in the mix of the commodities, of which `served_fraction` can be served.

    sup {r: B(r) >= served_fraction x r}, where B(r) is the deliveries that `flow_bound` finds for r requests
    per second in the mix of the commodities' rates. B is concave and B(r) <= r, so that every lower rate is
    served at least as well.

    One linear programme in the fraction s = 1/r of the network's capacities that a unit of demand takes:
    min s over x_kp, y, s >= 0 with sum_p x_kp <= rate_k, sum_kp x_kp >= served_fraction sum_k rate_k and the
    rows of `flow_bound` with every capacity times s. Columns are generated. Any nonnegative prices of
    resources prove r <= (value of the network's capacities) / (minimum cost of serving `served_fraction` of a
    unit of demand, cheapest commodities first).

    Raises QdpemError when less than `served_fraction` of the demand has a path at all, when the commodities
    have no rate, or when the solver fails.

    Args:
        network: the network whose mean rates are the capacities.
        commodities: the mix of demand; only the ratios of their rates matter.
        served_fraction: the fraction of all requests to serve, above 0 and at most 1.
        tolerance: ends the generation when rate and bound are this near each other, relatively.
        max_iterations: ends the generation after so many solutions of the master problem.
    """
    columns = Columns(network, commodities)
    if not len(columns.rate):
        raise QdpemError("the commodities ask for nothing, so there is no mix of demand to carry")
    master = _LoadMaster(network, columns, served_fraction=served_fraction, tolerance=tolerance)
    solution, bound, iterations = generate_columns(master, tolerance=tolerance, max_iterations=max_iterations)
    unit_hz = columns.unit_hz * float(columns.rate.sum())
    return SupportableLoad(
        # Solver tolerance may lift the rate slightly above the proved bound.
        rate_hz=min(solution.value, bound) * unit_hz,
        bound_hz=bound * unit_hz,
        iterations=iterations,
        columns=len(columns),
    )


class _LoadMaster(MasterProblem):
    """Minimises the fraction of the capacities that a unit of demand takes; values are rates.

    It begins with the conditions on demand that count all paths of a chain. The others, on long paths, seldom
    bind and are added when they are violated. Leaving them out can only raise a bound.
    """

    def __init__(
        self, network: Network, columns: Columns, *, served_fraction: float, tolerance: float
    ) -> None:
        super().__init__(network, columns)
        self._served = served_fraction * float(columns.rate.sum())
        self._tolerance = tolerance
        self._active = columns.chain_ends
        self._violated = np.zeros(len(columns.rate), dtype=np.bool_)
        self._feasible_rate = 0.0
        # Of the last solution, feasible or not; before there is one, the bound is the best guess.
        self._rate: float | None = None

    def start(self) -> MasterSolution:
        """Prices of scarcity: one over its capacity for every link and repeater that has any."""
        network = self.network
        prices = ResourcePrices(_inverse(network.link_rate_hz), _inverse(network.repeater_rate_hz))
        return self.no_flow(prices, delivery_value=np.inf)

    def dual_bound(self, solution: MasterSolution, pricing: PricingResult) -> float:
        """The rate that the prices prove to be out of reach: capacity value / minimum cost of the service."""
        rate = self.columns.rate
        self._check_reachable(pricing)
        # Cheapest commodities first: this is the minimum cost of serving the fraction, so the bound is valid.
        order = np.argsort(pricing.cost, kind="stable")
        before = np.cumsum(rate[order]) - rate[order]
        taken = np.clip(self._served - before, 0.0, rate[order])
        # A remainder from rounding must not bring in the infinite cost of an unreachable commodity.
        needed = taken > self._served * _ROUNDING
        cost = float(taken[needed] @ pricing.cost[order][needed])
        return self.columns.capacity_value(solution.prices) / cost if cost > 0.0 else np.inf

    def _check_reachable(self, pricing: PricingResult) -> None:
        """Raise if too little demand has a path. Prices do not matter, so only a first round can raise."""
        total = float(self.columns.rate.sum())
        reachable = float(self.columns.rate[np.isfinite(pricing.cost)].sum())
        if reachable < self._served * (1.0 - _ROUNDING):
            raise QdpemError(
                f"only {reachable / total:.1%} of the demand has a path that reaches its target, so no rate"
                f" is served to {self._served / total:.1%}"
            )

    def add_rows(self) -> bool:
        """Add the violated conditions, or simply all if any is violated near the end; whether any was."""
        violated = bool(self._violated.any())
        near_the_end = self._rate is not None and self.bound - self._rate <= self._tolerance * self.bound
        self._active = self._active | self._violated | (violated and near_the_end)
        return violated

    def solve(self) -> MasterSolution:
        """Variables: flow per column, emissions per end of each link, and s, scaled to be about 1."""
        from scipy.sparse import csr_matrix, hstack, vstack

        columns, count = self.columns, len(self.columns.rate)
        paths, emissions = len(columns), 2 * self.network.link_count
        # The solver's absolute tolerances suit variables of about 1.
        scale = self.bound if self._rate is None else self._rate
        fraction = np.concatenate([np.zeros(count), -columns.capacities / scale])
        rows = hstack(
            [columns.matrix(), columns.emission_matrix(), csr_matrix(fraction[:, None])], format="csr"
        )
        limits = np.concatenate([columns.demand, np.zeros(len(columns.capacities))])
        used_rows = np.concatenate([np.flatnonzero(self._active), np.arange(count, len(limits))])
        served = csr_matrix(np.concatenate([-np.ones(paths), np.zeros(emissions + 1)]))
        objective = np.zeros(paths + emissions + 1)
        objective[-1] = self._served
        result = solve_linear_programme(
            objective,
            vstack([rows[used_rows], served], format="csr"),
            np.append(limits[used_rows], -self._served),
            # Interior points: their prices, before they are rounded to a corner, need far fewer rounds.
            method="highs-ipm",
        )
        flow, emitted = self.flow_of(result.x)
        self._note(flow, rate=scale / float(result.x[-1]))
        # Rows that were left out bind nothing: their dual price is 0.
        duals = np.zeros(len(limits))
        duals[used_rows] = -result.ineqlin.marginals[:-1]
        demand_price, prices = columns.dual_prices(duals)
        served_price = float(-result.ineqlin.marginals[-1])
        return MasterSolution(self._feasible_rate, flow, emitted, served_price, demand_price, prices)

    def _note(self, flow: Floats, *, rate: float) -> None:
        """Note the solution's rate and which conditions it violates; it is feasible if there are none."""
        self._rate = rate
        exceeded = self.columns.row_use(flow).demand > self.columns.demand + _ROUNDING_OF_SOLVER
        self._violated = exceeded & ~self._active
        if not self._violated.any():
            self._feasible_rate = max(self._feasible_rate, rate)


def _inverse(capacity_hz: Floats) -> Floats:
    return np.divide(1.0, capacity_hz, out=np.zeros_like(capacity_hz), where=capacity_hz > 0.0)

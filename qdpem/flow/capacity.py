"""How much a network could deliver in the long run: a multicommodity flow, by column generation."""

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


@dataclass(frozen=True, eq=False, kw_only=True)
class FlowBound:
    """The long-run optimum, between what was found and what was proved.

    `offered_hz`: requests per second. `delivered_hz`: what the best flow found delivers. `bound_hz`: what
    none can exceed, by duality, converged or not. `fraction`: bound_hz / offered_hz (1 when nothing is
    offered). `iterations` and `columns` of the column generation. Loads are use / capacity of the flow
    found, 0 where there is no capacity: `link_load` float64 [L] of what the link could make if it had both
    its sources for itself, `source_load` [N] of the emissions, `repeater_load` [N] of the swap tokens.
    """

    offered_hz: float
    delivered_hz: float
    bound_hz: float
    fraction: float
    iterations: int
    columns: int
    link_load: NDArray[np.float64]
    source_load: NDArray[np.float64]
    repeater_load: NDArray[np.float64]


def flow_bound(
    network: Network, classes: Sequence[Commodity], *, tolerance: float = 1e-6, max_iterations: int = 200
) -> FlowBound:
    """The most requests per second that any policy could deliver in the long run, on mean rates.

    max sum_kp x_kp over paths p of at most max_hops links, where x, y >= 0 and
    demand: sum_p x_kp <= rate_k;  link e = (u, v): sum x_kp n_kpe <= eta_e (y_eu + y_ev) if it is
    source-limited, else modes_e x p_e / period_e;
    source v: sum_e y_ev <= source_rate_hz;  repeater v: sum x_kp m_kpv <= repeater_rate_hz.
    A delivery takes pairs x pairs_per_link fresh pairs on each link, over the better success probability
    of its two ends when it is swapped at all, and pairs / success probability swaps at each inner node.
    Columns are generated (Ford and Fulkerson 1958) by `CheapestPaths`; any nonnegative link and swap
    prices give a bound: sum_k rate_k max(0, 1 - least cost_k) + sum_v g_v max_e eta_e price_e, over
    source-limited e, + sum_e capacity_e price_e over the other links + sum_v c_v price_v. It ends when
    bound and flow are within `tolerance` of each other, relatively.

    Ages, deadlines and memories are left out, which only raises the optimum, provided that the classes'
    options hold every plan an arm may use. It speaks of long-run means: one seed's run, finite and lucky,
    may exceed it, so it guides and scales, and is never asserted of a run. Raises QdpemError when the
    solver fails.
    """
    return _Programme(network, classes).solve(tolerance=tolerance, max_iterations=max_iterations)


class _Solution(NamedTuple):
    """Optimum over the columns at hand, in units of the mean class' rate, and its prices.

    Flow per column, emissions by both ends of each link [L, 2]; prices of demand [K] and of resources.
    """

    delivered: float
    flow: NDArray[np.float64]
    emissions: NDArray[np.float64]
    demand_price: NDArray[np.float64]
    prices: Prices


class _Programme:
    """The master problem over the columns found so far."""

    def __init__(self, network: Network, classes: Sequence[Commodity]) -> None:
        self._network = network
        self._columns = Columns(network, classes)
        self._rate = self._columns.rate

    def solve(self, *, tolerance: float, max_iterations: int) -> FlowBound:
        """Alternate between the cheapest new columns and the best flow over all of them."""
        columns, links = self._columns, self._network.link_count
        nothing = Prices(np.zeros(links), np.zeros(self._network.node_count))
        solution = _Solution(0.0, np.zeros(0), np.zeros((links, 2)), np.zeros(len(self._rate)), nothing)
        bound, iterations = float(self._rate.sum()), 0
        while True:
            best = columns.cheapest(solution.prices)
            bound = min(bound, self._dual(solution, best))
            if bound - solution.delivered <= tolerance * bound or iterations == max_iterations:
                break
            if not columns.add(best, below=1.0 - solution.demand_price):
                break
            solution = self._optimum()
            iterations += 1
        return self._result(solution, bound, iterations)

    def _dual(self, solution: _Solution, best: Best) -> float:
        """The bound that the prices prove."""
        return float(self._rate @ np.maximum(0.0, 1.0 - best.cost) + self._columns.worth(solution.prices))

    def _optimum(self) -> _Solution:
        """The best flow over the columns at hand."""
        from scipy.optimize import linprog
        from scipy.sparse import csr_matrix, hstack

        columns, links = self._columns, self._network.link_count
        limits = np.concatenate([columns.demand, columns.capacities])
        matrix = hstack([columns.uses(), columns.emission_uses()], format="csr")
        gains = np.concatenate([np.ones(len(columns)), np.zeros(2 * links)])
        result = linprog(-gains, A_ub=csr_matrix(matrix), b_ub=limits, method="highs")
        if result.status != 0:
            raise QdpemError(f"the flow programme was not solved: {result.message}")
        demand, prices = columns.prices(-result.ineqlin.marginals)
        emissions = result.x[len(columns) :].reshape(links, 2)
        return _Solution(-float(result.fun), result.x[: len(columns)], emissions, demand, prices)

    def _result(self, solution: _Solution, bound: float, iterations: int) -> FlowBound:
        """The flow found, in requests per second, and what it asks of each resource."""
        network, columns = self._network, self._columns
        _, pairs, _, swaps = columns.used(solution.flow)
        made = columns.per_emission * solution.emissions.sum(axis=1)
        needed = solution.emissions * _fraction(pairs, made)[:, None]
        emitted = np.zeros(network.node_count)
        np.add.at(emitted, network.graph.link_ends, needed)
        offered, unit_hz = float(self._rate.sum()), columns.unit_hz
        return FlowBound(
            offered_hz=offered * unit_hz,
            delivered_hz=min(solution.delivered, bound) * unit_hz,
            bound_hz=bound * unit_hz,
            fraction=bound / offered if offered > 0.0 else 1.0,
            iterations=iterations,
            columns=len(columns),
            link_load=_fraction(pairs, network.link_rate_hz / unit_hz),
            source_load=_fraction(emitted, network.source_rate_hz / unit_hz),
            repeater_load=_fraction(swaps, network.repeater_rate_hz / unit_hz),
        )


def _fraction(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """part / whole, 0 where there is no whole."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0.0)

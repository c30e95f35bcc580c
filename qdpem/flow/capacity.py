"""How much a network could deliver in the long run: a multicommodity flow, by column generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdpem.errors import QdpemError
from qdpem.flow.classes import FlowClass
from qdpem.flow.pricing import Arcs, CheapestPaths, Options
from qdpem.network.graph import Network

_LEAST_GAIN = 1e-9


@dataclass(frozen=True, eq=False, kw_only=True)
class FlowBound:
    """The long-run optimum, between what was found and what was proved.

    `offered_hz`: requests per second. `delivered_hz`: what the best flow found delivers. `bound_hz`: what
    none can exceed, by duality, converged or not. `share`: bound_hz / offered_hz (1 when nothing is
    offered). `iterations` and `columns` of the column generation. Loads are use / capacity of the flow
    found, 0 where there is no capacity: `link_load` float64 [L] of what the link could make if it had both
    its sources for itself, `source_load` [N] of the emissions, `repeater_load` [N] of the swap tokens.
    """

    offered_hz: float
    delivered_hz: float
    bound_hz: float
    share: float
    iterations: int
    columns: int
    link_load: NDArray[np.float64]
    source_load: NDArray[np.float64]
    repeater_load: NDArray[np.float64]


class _Column(NamedTuple):
    """A class served over a path: fresh pairs taken from each link and swaps asked of each inner node."""

    kind: int
    links: tuple[int, ...]
    inner: tuple[int, ...]
    pairs_per_link: float


class _Solution(NamedTuple):
    """Optimum over the columns at hand, in units of the mean class' rate, and its prices.

    Flow per column, emissions by both ends of each link [L, 2]; prices of demand [K], links [L], swaps [N].
    """

    delivered: float
    flow: NDArray[np.float64]
    emissions: NDArray[np.float64]
    demand_price: NDArray[np.float64]
    link_price: NDArray[np.float64]
    swap_price: NDArray[np.float64]


class _Best(NamedTuple):
    """Per class [K] the least cost under the prices and the option that has it; the searches behind it."""

    cost: NDArray[np.float64]
    option: NDArray[np.int64]
    found: dict[float, CheapestPaths]


def flow_bound(
    network: Network, classes: Sequence[FlowClass], *, tolerance: float = 1e-6, max_iterations: int = 200
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
    asked = tuple(one for one in classes if one.rate_hz > 0.0)
    return _Programme(network, asked).solve(tolerance=tolerance, max_iterations=max_iterations)


class _Programme:
    """The master problem over the columns found so far, and the search for better ones.

    Rates are in units of the mean class' rate, so that the solver's absolute tolerances mean something.
    """

    def __init__(self, network: Network, classes: tuple[FlowClass, ...]) -> None:
        self._network = network
        self._classes = classes
        self._options = Options.of(classes, network)
        self._arcs = Arcs.of(network)
        rate_hz = np.array([one.rate_hz for one in classes], dtype=np.float64)
        self._unit_hz = float(rate_hz.mean()) if len(rate_hz) else 1.0
        self._rate = rate_hz / self._unit_hz
        self._emissions = network.source_rate_hz / self._unit_hz
        # An attempt-limited link has a capacity of its own, a source-limited one what sources give it.
        self._own = np.where(network.source_limited, 0.0, network.link_rate_hz) / self._unit_hz
        self._per_emission = np.where(network.source_limited, network.success_probability, 0.0)
        self._tokens = network.repeater_rate_hz / self._unit_hz
        success = np.array([one.swap_success_probability for one in network.hardware])
        better = success[network.graph.link_ends].max(axis=1)
        with np.errstate(divide="ignore"):
            self._swaps = np.where(self._tokens > 0.0, 1.0 / success, np.inf)
            self._pairs = np.where(network.link_rate_hz > 0.0, 1.0 / better, np.inf)
        self._columns: dict[_Column, None] = {}

    def solve(self, *, tolerance: float, max_iterations: int) -> FlowBound:
        """Alternate between the cheapest new columns and the best flow over all of them."""
        links, nodes = self._network.link_count, self._network.node_count
        nothing = (np.zeros(0), np.zeros((links, 2)), np.zeros(len(self._classes)), np.zeros(links))
        solution = _Solution(0.0, *nothing, np.zeros(nodes))
        bound, iterations = float(self._rate.sum()), 0
        while True:
            best = self._price(solution)
            bound = min(bound, self._dual(solution, best))
            if bound - solution.delivered <= tolerance * bound or iterations == max_iterations:
                break
            if not self._add(solution, best):
                break
            solution = self._optimum()
            iterations += 1
        return self._result(solution, bound, iterations)

    def _price(self, solution: _Solution) -> _Best:
        """The cheapest way to serve each class under the prices."""
        options = self._options
        node_cost = _times(solution.swap_price, self._swaps)
        cost = np.full(len(options.kind), np.inf)
        found: dict[float, CheapestPaths] = {}
        for pairs_per_link in np.unique(options.pairs_per_link).tolist():
            own = np.flatnonzero(options.pairs_per_link == pairs_per_link)
            link_cost = pairs_per_link * _times(solution.link_price, self._pairs)
            paths = CheapestPaths(
                self._arcs,
                np.unique(options.source[own]),
                link_cost=link_cost,
                node_cost=node_cost,
                max_hops=int(options.max_hops[own].max()),
            )
            over_path = paths.cost(options.source[own], options.destination[own], options.max_hops[own])
            cost[own] = np.minimum(over_path, self._direct_cost(own, solution)) * options.asked[own]
            found[pairs_per_link] = paths
        order = np.lexsort((cost, options.kind))
        kinds, first = np.unique(options.kind[order], return_index=True)
        least, chosen = np.full(len(self._classes), np.inf), np.full(len(self._classes), -1)
        least[kinds], chosen[kinds] = cost[order[first]], order[first]
        return _Best(least, chosen, found)

    def _direct_cost(self, own: NDArray[np.int64], solution: _Solution) -> NDArray[np.float64]:
        """Of the single link between the ends, which is not swapped; inf where there is none."""
        direct = self._options.direct[own]
        usable = (direct >= 0) & np.isfinite(self._pairs[direct])
        return np.where(usable, self._options.pairs_per_link[own] * solution.link_price[direct], np.inf)

    def _dual(self, solution: _Solution, best: _Best) -> float:
        """The bound that the prices prove."""
        network = self._network
        emission_price = np.zeros(network.node_count)
        worth = self._per_emission * solution.link_price
        for side in (0, 1):
            np.maximum.at(emission_price, network.graph.link_ends[:, side], worth)
        resources = self._emissions @ emission_price + self._tokens @ solution.swap_price
        resources += self._own @ solution.link_price
        return float(self._rate @ np.maximum(0.0, 1.0 - best.cost) + resources)

    def _add(self, solution: _Solution, best: _Best) -> int:
        """Add each class' best column where it gains; how many were new."""
        before = len(self._columns)
        gains = 1.0 - best.cost - solution.demand_price > _LEAST_GAIN
        for kind in np.flatnonzero(gains).tolist():
            option, one = int(best.option[kind]), self._classes[kind]
            pairs_per_link = float(self._options.pairs_per_link[option])
            single = np.array([option])
            if self._direct_cost(single, solution)[0] * one.pairs <= best.cost[kind]:
                column = _Column(kind, (int(self._options.direct[option]),), (), pairs_per_link)
            else:
                max_hops = int(self._options.max_hops[option])
                nodes, links = best.found[pairs_per_link].path(one.source, one.destination, max_hops)
                column = _Column(kind, links, nodes[1:-1], pairs_per_link)
            self._columns.setdefault(column)
        return len(self._columns) - before

    def _optimum(self) -> _Solution:
        """The best flow over the columns at hand."""
        from scipy.optimize import linprog
        from scipy.sparse import csr_matrix, hstack

        network, columns = self._network, len(self._columns)
        links, nodes, classes = network.link_count, network.node_count, len(self._classes)
        limits = np.concatenate([self._rate, self._own, self._emissions, self._tokens])
        matrix = hstack([self._uses(), self._emission_uses(rows=len(limits))], format="csr")
        gains = np.concatenate([np.ones(columns), np.zeros(2 * links)])
        result = linprog(-gains, A_ub=csr_matrix(matrix), b_ub=limits, method="highs")
        if result.status != 0:
            raise QdpemError(f"the flow programme was not solved: {result.message}")
        prices = np.maximum(0.0, -result.ineqlin.marginals)
        demand, link, _, swap = np.split(prices, np.cumsum([classes, links, nodes]))
        emissions = result.x[columns:].reshape(links, 2)
        return _Solution(-float(result.fun), result.x[:columns], emissions, demand, link, swap)

    def _uses(self) -> Any:
        """What one delivery by each column takes of each row: a sparse [K + L + 2N, columns]."""
        from scipy.sparse import csr_matrix

        classes, links, nodes = len(self._classes), self._network.link_count, self._network.node_count
        entries: list[tuple[float, int, int]] = []
        for position, column in enumerate(self._columns):
            asked = self._classes[column.kind].pairs
            entries.append((1.0, column.kind, position))
            for link in column.links:
                pairs = column.pairs_per_link * (self._pairs[link] if column.inner else 1.0)
                entries.append((asked * pairs, classes + link, position))
            for node in column.inner:
                entries.append((asked * self._swaps[node], classes + links + nodes + node, position))
        values, rows, places = zip(*entries, strict=True)
        return csr_matrix((values, (rows, places)), shape=(classes + links + 2 * nodes, len(self._columns)))

    def _emission_uses(self, *, rows: int) -> Any:
        """What an emission of each end for each link gives the link and takes of the source."""
        from scipy.sparse import csr_matrix

        first, links = len(self._classes), self._network.link_count
        link = np.repeat(np.arange(links), 2)
        values = np.concatenate([-self._per_emission[link], np.ones(2 * links)])
        row = np.concatenate([first + link, first + links + self._network.graph.link_ends.ravel()])
        return csr_matrix((values, (row, np.tile(np.arange(2 * links), 2))), shape=(rows, 2 * links))

    def _result(self, solution: _Solution, bound: float, iterations: int) -> FlowBound:
        """The flow found, in requests per second, and what it asks of each resource."""
        network, classes = self._network, len(self._classes)
        links, nodes = network.link_count, network.node_count
        used = np.zeros(classes + links + 2 * nodes)
        if self._columns:
            used = self._uses() @ solution.flow
        pairs, swaps = used[classes : classes + links], used[classes + links + nodes :]
        made = self._per_emission * solution.emissions.sum(axis=1)
        needed = solution.emissions * _share(pairs, made)[:, None]
        emitted = np.zeros(nodes)
        np.add.at(emitted, network.graph.link_ends, needed)
        offered = float(self._rate.sum())
        return FlowBound(
            offered_hz=offered * self._unit_hz,
            delivered_hz=min(solution.delivered, bound) * self._unit_hz,
            bound_hz=bound * self._unit_hz,
            share=bound / offered if offered > 0.0 else 1.0,
            iterations=iterations,
            columns=len(self._columns),
            link_load=_share(pairs, network.link_rate_hz / self._unit_hz),
            source_load=_share(emitted, self._emissions),
            repeater_load=_share(swaps, self._tokens),
        )


def _times(price: NDArray[np.float64], amount: NDArray[np.float64]) -> NDArray[np.float64]:
    """Their product, inf wherever the amount is: what is forbidden has no price that allows it."""
    return np.where(np.isinf(amount), np.inf, price * np.where(np.isinf(amount), 0.0, amount))


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """part / whole, 0 where there is no whole."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0.0)

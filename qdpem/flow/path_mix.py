"""Which paths carry a flow, and how much each: the mix behind the optimum, with a price on waiting.

Source: multicommodity flow over entanglement paths (Chakraborty, Elkouss, Rijsman and Wehner 2020), with the
convex price of waiting that minimum-delay routing puts on every resource (Gallager 1977).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdpem.errors import QdpemError
from qdpem.flow.columns import Best, Column, Columns, Prices
from qdpem.flow.commodities import Commodity
from qdpem.network.graph import Network
from qdpem.network.rows import padded, unpadded

Floats = NDArray[np.float64]
_STEPS = 10
_KEPT_SOLVES = 8
_MIN_RATE = 1e-9


class PathFlow(NamedTuple):
    """A path of a mix, from its class' source on: what it carries of the class, in requests per second."""

    nodes: tuple[int, ...]
    links: tuple[int, ...]
    pairs_per_link: float
    rate_hz: float


@dataclass(frozen=True, eq=False, kw_only=True)
class PathMixSolution:
    """The mix that was found: for every class, in their order, its ways, those that carry most first.

    `delivered_hz` and `offered_hz`: requests per second of all classes. `gap`: how far delivered - cost x
    waiting is at most from its optimum, in requests per second. `iterations` and `columns` of the column
    generation.
    """

    ways: tuple[tuple[PathFlow, ...], ...]
    delivered_hz: float
    offered_hz: float
    gap: float
    iterations: int
    columns: int


class PathMixSolver:
    """Finds mixes for one network after the other, each from the paths that earlier ones used.

    max sum_kp x_kp - delay_cost_per_s x sum_r N_r(u_r) over the rows of `flow_bound`, where u_r is the load
    of resource r and N_r how many wait for it. Sources, and links that attempt by themselves:
    N = u^2 / (1 - u), as of one server with exponential times (M/M/1). Repeaters: N = u^2 / (2 (1 - u)), as
    of tokens that come at even times (M/D/1); a server adds u for the swap itself. By Little's law a request
    delivered counts 1, and `delay_cost_per_s` less for every second that it is expected to wait. N is
    replaced by its chords between the loads 1 - 2^(-j/2) for j = 0 to 10 and prolonged to a load of 1, so
    that the programme stays linear; without a cost it is that of `flow_bound`.
    Paths that carried nothing in 8 solutions in a row are forgotten.
    """

    def __init__(self, *, delay_cost_per_s: float, tolerance: float = 5e-3, max_iterations: int = 50) -> None:
        if not 0.0 <= delay_cost_per_s < np.inf:
            raise QdpemError(f"delay_cost_per_s is {delay_cost_per_s!r}; it must be 0 or more, and finite")
        self._cost_per_s = delay_cost_per_s
        self._tolerance = tolerance
        self._max_iterations = max_iterations
        self._unused: dict[tuple[tuple[int, int, int], _Found], int] = {}

    def solve(self, network: Network, classes: Sequence[Commodity]) -> PathMixSolution:
        """The mix for these classes. Raises QdpemError when the solver fails."""
        asked = [kind for kind, one in enumerate(classes) if one.rate_hz > 0.0]
        if not asked:
            return PathMixSolution(
                ways=((),) * len(classes),
                delivered_hz=0.0,
                offered_hz=0.0,
                gap=0.0,
                iterations=0,
                columns=0,
            )
        own = [classes[kind] for kind in asked]
        columns = Columns(network, own)
        self._take_up(columns, own)
        programme = _Programme(network, columns, self._cost_per_s)
        solution, gap, iterations = self._generate(programme)
        self._note(columns, own, solution.flow)
        ways: list[tuple[PathFlow, ...]] = [()] * len(classes)
        for kind, found in zip(asked, _shared_out(columns, own, solution.flow), strict=True):
            ways[kind] = found
        return PathMixSolution(
            ways=tuple(ways),
            delivered_hz=float(solution.flow.sum()) * columns.unit_hz,
            offered_hz=float(columns.rate.sum()) * columns.unit_hz,
            gap=gap * columns.unit_hz,
            iterations=iterations,
            columns=len(columns),
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """The paths that earlier solutions used, K of them, for the next one to begin with.

        `column_class` int64 [K, 3] source, destination, pairs; `column_links`, `column_inner` int64 [K, H];
        `column_pairs_per_link` float64 [K]; `column_unused` int64 [K] solutions in which it carried nothing.
        """
        found = [column for _, column in self._unused]
        classes = np.array([one for one, _ in self._unused], dtype=np.int64)
        return {
            "column_class": classes.reshape(-1, 3),
            "column_links": padded([column.links for column in found]),
            "column_inner": padded([column.inner for column in found]),
            "column_pairs_per_link": np.array([column.pairs_per_link for column in found]),
            "column_unused": np.array(list(self._unused.values()), dtype=np.int64),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up saved paths."""
        links, inner = unpadded(state["column_links"]), unpadded(state["column_inner"])
        found = map(_Found, links, inner, state["column_pairs_per_link"].tolist())
        classes = [(low, high, pairs) for low, high, pairs in state["column_class"].tolist()]
        known = zip(classes, found, strict=True)
        self._unused = dict(zip(known, state["column_unused"].tolist(), strict=True))

    def _generate(self, programme: _Programme) -> tuple[_Solution, float, int]:
        """Alternate between the best flow over the columns at hand and the cheapest new ones."""
        columns, bound = programme.columns, np.inf
        solution, iterations = programme.nothing(), 0
        while True:
            best = columns.cheapest(solution.prices)
            bound = min(bound, programme.dual(solution, best))
            gap = max(bound - solution.value, 0.0)
            if gap <= self._tolerance * bound or iterations == self._max_iterations:
                break
            added = columns.add(best, below=1.0 - solution.demand_price)
            if not added and (iterations or not len(columns)):
                break
            solution = programme.optimum()
            iterations += 1
        return solution, gap, iterations

    def _take_up(self, columns: Columns, classes: Sequence[Commodity]) -> None:
        kinds: dict[tuple[int, int, int], list[int]] = {}
        for kind, one in enumerate(classes):
            kinds.setdefault((one.source, one.destination, one.pairs), []).append(kind)
        for ends, found in self._unused:
            any(columns.keep(kind, *found) for kind in kinds.get(ends, ()))

    def _note(self, columns: Columns, classes: Sequence[Commodity], flow: Floats) -> None:
        """Count for how many solutions each path has carried nothing."""
        carried = set()
        for column, rate in zip(columns, flow.tolist(), strict=True):
            if rate > _MIN_RATE:
                one = classes[column.kind]
                found = _Found(column.links, column.inner, column.pairs_per_link)
                carried.add(((one.source, one.destination, one.pairs), found))
        idle = {known: solves + 1 for known, solves in self._unused.items() if solves + 1 < _KEPT_SOLVES}
        self._unused = idle | dict.fromkeys(sorted(carried), 0)


class _Found(NamedTuple):
    """A path as columns have it."""

    links: tuple[int, ...]
    inner: tuple[int, ...]
    pairs_per_link: float


class _Solution(NamedTuple):
    """Optimum over the columns at hand, in units of the mean class' rate, flow per column, and its prices."""

    value: float
    flow: Floats
    demand_price: Floats
    prices: Prices


class _Programme:
    """The master problem: as that of `flow_bound`, with every capacity cut in parts that cost more and more.

    `_part` float64 [R, J]: capacities of the parts, in units of the mean class' rate; `_toll` [R, J]: what
    one use of them costs, a delivery being worth 1.
    """

    def __init__(self, network: Network, columns: Columns, cost_per_s: float) -> None:
        self.columns = columns
        self._network = network
        links, nodes = network.link_count, network.node_count
        edges = 1.0 - 2.0 ** (-0.5 * np.arange(_STEPS + 2))
        served = np.diff(edges**2 / (1.0 - edges)) / np.diff(edges)
        paced = np.diff(0.5 * edges**2 / (1.0 - edges)) / np.diff(edges)
        paced = paced + (network.repeater_kind == "server")
        slope = np.concatenate([np.tile(served, (links + nodes, 1)), np.tile(paced, (nodes, 1))])
        width = np.diff(np.append(edges[:-1], 1.0)) if cost_per_s else np.eye(1, _STEPS + 1)[0]
        capacity = columns.capacities[:, None]
        self._part = capacity * width
        with np.errstate(divide="ignore", invalid="ignore"):
            toll = cost_per_s * slope / (capacity * columns.unit_hz)
        self._toll = np.where(capacity > 0.0, toll, 0.0)
        self._rows, self._steps = np.nonzero(self._part > 0.0)
        # One unit of a part lets one use of its row through.
        self._limits = np.concatenate([columns.demand, np.zeros(len(columns.capacities))])

    def nothing(self) -> _Solution:
        """No flow at all; resources cost what they do while they are idle."""
        links = self._network.link_count
        toll = self._toll[:, 0]
        fed = np.full(links, np.inf)
        for side in (0, 1):
            np.minimum(fed, toll[links + self._network.graph.link_ends[:, side]], out=fed)
        per_pair = self.columns.per_emission
        fresh = np.divide(fed, per_pair, out=toll[:links].copy(), where=per_pair > 0.0)
        prices = Prices(fresh, toll[-self._network.node_count :])
        return _Solution(0.0, np.zeros(len(self.columns)), np.zeros(len(self.columns.rate)), prices)

    def dual(self, solution: _Solution, best: Best) -> float:
        """What the prices prove to be out of reach."""
        network, per_emission = self._network, self.columns.per_emission
        emission_price = np.zeros(network.node_count)
        for side in (0, 1):
            ends = network.graph.link_ends[:, side]
            np.maximum.at(emission_price, ends, per_emission * solution.prices.link)
        price = np.concatenate([solution.prices.link, emission_price, solution.prices.swap])
        worth = (self._part * np.maximum(price[:, None] - self._toll, 0.0)).sum()
        return float(self.columns.rate @ np.maximum(0.0, 1.0 - best.cost) + worth)

    def optimum(self) -> _Solution:
        """The best flow over the columns at hand."""
        from scipy.optimize import linprog
        from scipy.sparse import hstack

        columns, emissions = self.columns, 2 * self._network.link_count
        parts = self._part[self._rows, self._steps]
        toll = self._toll[self._rows, self._steps]
        result = linprog(
            np.concatenate([-np.ones(len(columns)), np.zeros(emissions), toll]),
            A_ub=hstack([columns.uses(), columns.emission_uses(), self._lets_through()], format="csr"),
            b_ub=self._limits,
            bounds=np.stack(
                [
                    np.zeros(len(columns) + emissions + len(parts)),
                    np.concatenate([np.full(len(columns) + emissions, np.inf), parts]),
                ],
                axis=1,
            ),
            # Interior points: their prices need far fewer rounds than those of corners.
            method="highs-ipm",
        )
        if result.status != 0:
            raise QdpemError(f"the flow programme was not solved: {result.message}")
        demand, prices = columns.prices(-result.ineqlin.marginals)
        return _Solution(
            value=-float(result.fun),
            flow=result.x[: len(columns)],
            demand_price=demand,
            prices=prices,
        )

    def _lets_through(self) -> Any:
        from scipy.sparse import csr_matrix

        first, count = len(self.columns.rate), len(self._rows)
        shape = (len(self._limits), count)
        return csr_matrix((-np.ones(count), (first + self._rows, np.arange(count))), shape=shape)


def _shared_out(columns: Columns, classes: Sequence[Commodity], flow: Floats) -> list[tuple[PathFlow, ...]]:
    """The ways of each class: of what classes may use together the tightest takes its part first.

    Each takes of all the columns open to it the same share. By Hall's condition nothing is left over.
    """
    of_chain: dict[int, list[tuple[Column, int]]] = {}
    left = np.maximum(flow, 0.0)
    for place, column in enumerate(columns):
        for kind in columns.users(column.kind):
            of_chain.setdefault(kind, []).append((column, place))
    ways: list[tuple[PathFlow, ...]] = [()] * len(classes)
    for kind in columns.tightest_first:
        open_to = of_chain.get(kind, [])
        there = float(sum(left[place] for _, place in open_to))
        if there <= _MIN_RATE:
            continue
        fraction = min(1.0, float(columns.rate[kind]) / there)
        one, found = classes[kind], []
        for column, place in open_to:
            rate = fraction * float(left[place])
            left[place] -= rate
            if rate > _MIN_RATE:
                nodes = (one.source, *column.inner, one.destination)
                found.append(PathFlow(nodes, column.links, column.pairs_per_link, rate * columns.unit_hz))
        ways[kind] = tuple(sorted(found, key=lambda way: (-way.rate_hz, way.nodes)))
    return ways

"""Which paths carry a flow, and how much each: the mix behind the optimum, with a price on waiting.

Source: multicommodity flow over entanglement paths (Chakraborty, Elkouss, Rijsman and Wehner 2020), with the
convex price of waiting that minimum-delay routing puts on every resource (Gallager 1977).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.errors import QdpemError
from qdpem.flow.column_generation import (
    MasterProblem,
    MasterSolution,
    generate_columns,
    solve_linear_programme,
)
from qdpem.flow.columns import Column, Columns, PricingResult, ResourcePrices
from qdpem.flow.commodities import Commodity
from qdpem.network.graph import Network
from qdpem.network.padded_rows import padded, unpadded

_CHORDS = 10
_MAX_IDLE_SOLUTIONS = 8
_MIN_RATE = 1e-9

Ends: TypeAlias = tuple[int, int, int]
"""Source, destination and pairs per request of a commodity."""


class PathFlow(NamedTuple):
    """The flow of one commodity over one path, whose nodes begin with the commodity's source."""

    nodes: tuple[int, ...]
    links: tuple[int, ...]
    pairs_per_link: float
    rate_hz: float


@dataclass(frozen=True, eq=False, kw_only=True)
class PathMixSolution:
    """The mix of paths: for every commodity, in their order, its path flows, largest first.

    `delivered_hz` and `offered_hz`: requests per second of all commodities. `gap`: how far delivered - cost x
    waiting can be from its optimum, in requests per second. `iterations` and `columns` of the column
    generation.
    """

    path_flows: tuple[tuple[PathFlow, ...], ...]
    delivered_hz: float
    offered_hz: float
    gap: float
    iterations: int
    columns: int


class _KnownPath(NamedTuple):
    """The links, inner nodes and pairs per link of a column."""

    links: tuple[int, ...]
    inner: tuple[int, ...]
    pairs_per_link: float


class PathMixSolver:
    """Finds mixes for one network after the other, beginning with the paths that earlier ones used.

    max sum_kp x_kp - delay_cost_per_s x sum_r N_r(u_r) over the rows of `flow_bound`, where u_r is the load
    of resource r and N_r the mean number that wait for it. Sources, and links that attempt by themselves:
    N = u^2 / (1 - u), as for one server with exponential times (M/M/1). Repeaters: N = u^2 / (2 (1 - u)), as
    for tokens at regular times (M/D/1); a server adds u for the swap itself. By Little's law a delivered
    request counts 1, less `delay_cost_per_s` for every second that it is expected to wait.

    N is replaced by its chords between the loads 1 - 2^(-j/2) for j = 0 to 10, the last one prolonged to a
    load of 1, so that the programme stays linear. Without a cost it is that of `flow_bound`. Paths that
    carried nothing in 8 solutions in a row are forgotten.
    """

    def __init__(self, *, delay_cost_per_s: float, tolerance: float = 5e-3, max_iterations: int = 50) -> None:
        if not 0.0 <= delay_cost_per_s < np.inf:
            raise QdpemError(f"delay_cost_per_s is {delay_cost_per_s!r}; it must be 0 or more, and finite")
        self._cost_per_s = delay_cost_per_s
        self._tolerance = tolerance
        self._max_iterations = max_iterations
        self._idle_solutions: dict[tuple[Ends, _KnownPath], int] = {}

    def solve(self, network: Network, commodities: Sequence[Commodity]) -> PathMixSolution:
        """The mix for these commodities. Raises QdpemError when the solver fails."""
        offered = [index for index, commodity in enumerate(commodities) if commodity.rate_hz > 0.0]
        path_flows: list[tuple[PathFlow, ...]] = [()] * len(commodities)
        if not offered:
            return PathMixSolution(
                path_flows=tuple(path_flows),
                delivered_hz=0.0,
                offered_hz=0.0,
                gap=0.0,
                iterations=0,
                columns=0,
            )
        # `Columns` drops commodities without a rate; the same selection keeps its indices aligned.
        own = [commodities[index] for index in offered]
        columns = Columns(network, own)
        self._add_known_paths(columns, own)
        solution, bound, iterations = generate_columns(
            _MixMaster(network, columns, self._cost_per_s),
            tolerance=self._tolerance,
            max_iterations=self._max_iterations,
        )
        self._note_use(columns, own, solution.flow)
        for index, flows in zip(offered, _path_flows(columns, own, solution.flow), strict=True):
            path_flows[index] = flows
        return PathMixSolution(
            path_flows=tuple(path_flows),
            delivered_hz=float(solution.flow.sum()) * columns.unit_hz,
            offered_hz=float(columns.rate.sum()) * columns.unit_hz,
            gap=max(bound - solution.value, 0.0) * columns.unit_hz,
            iterations=iterations,
            columns=len(columns),
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """The K paths that earlier solutions used, with which the next one begins.

        `column_commodity` int64 [K, 3] source, destination, pairs; `column_links`, `column_inner` int64
        [K, H]; `column_pairs_per_link` float64 [K]; `column_unused` int64 [K], the number of solutions in a
        row in which it carried nothing.
        """
        ends = np.array([ends for ends, _ in self._idle_solutions], dtype=np.int64)
        paths = [path for _, path in self._idle_solutions]
        return {
            "column_commodity": ends.reshape(-1, 3),
            "column_links": padded([path.links for path in paths]),
            "column_inner": padded([path.inner for path in paths]),
            "column_pairs_per_link": np.array([path.pairs_per_link for path in paths]),
            "column_unused": np.array(list(self._idle_solutions.values()), dtype=np.int64),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up saved paths."""
        links, inner = unpadded(state["column_links"]), unpadded(state["column_inner"])
        paths = map(_KnownPath, links, inner, state["column_pairs_per_link"].tolist())
        ends = [(low, high, pairs) for low, high, pairs in state["column_commodity"].tolist()]
        known = zip(ends, paths, strict=True)
        self._idle_solutions = dict(zip(known, state["column_unused"].tolist(), strict=True))

    def _add_known_paths(self, columns: Columns, commodities: Sequence[Commodity]) -> None:
        """Add every known path for the first commodity between its ends that may use it."""
        between: dict[Ends, list[int]] = {}
        for index, commodity in enumerate(commodities):
            between.setdefault(_ends(commodity), []).append(index)
        for ends, path in self._idle_solutions:
            # `any` stops at the first commodity that accepts the path; one column serves its whole chain.
            any(columns.add_path(index, *path) for index in between.get(ends, ()))

    def _note_use(self, columns: Columns, commodities: Sequence[Commodity], flow: Floats) -> None:
        """Count for how many solutions in a row each path carried nothing, and forget the longest idle."""
        carrying = set()
        for column, rate in zip(columns, flow.tolist(), strict=True):
            if rate > _MIN_RATE:
                path = _KnownPath(column.links, column.inner, column.pairs_per_link)
                carrying.add((_ends(commodities[column.commodity]), path))
        idle = {
            known: solutions + 1
            for known, solutions in self._idle_solutions.items()
            if solutions + 1 < _MAX_IDLE_SOLUTIONS
        }
        # Sorted: the order of a set is undefined, and that of columns affects the solver.
        self._idle_solutions = idle | dict.fromkeys(sorted(carrying), 0)


class _MixMaster(MasterProblem):
    """Maximises deliveries less the cost of waiting; every capacity is cut into parts of rising price.

    `_part` float64 [R, J]: capacities of the parts, in units of the mean rate of a commodity;
    `_delay_price` [R, J]: cost of one use of a part, where a delivery is worth 1.
    """

    def __init__(self, network: Network, columns: Columns, cost_per_s: float) -> None:
        super().__init__(network, columns)
        links, nodes = network.link_count, network.node_count
        edges = 1.0 - 2.0 ** (-0.5 * np.arange(_CHORDS + 2))
        exponential = np.diff(edges**2 / (1.0 - edges)) / np.diff(edges)
        regular = np.diff(0.5 * edges**2 / (1.0 - edges)) / np.diff(edges)
        regular = regular + (network.repeater_kind == "server")
        slope = np.concatenate([np.tile(exponential, (links + nodes, 1)), np.tile(regular, (nodes, 1))])
        # Without a cost one part holds the whole capacity, and the others have width 0.
        width = np.diff(np.append(edges[:-1], 1.0)) if cost_per_s else np.eye(1, _CHORDS + 1)[0]
        capacity = columns.capacities[:, None]
        self._part = capacity * width
        with np.errstate(divide="ignore", invalid="ignore"):
            delay_price = cost_per_s * slope / (capacity * columns.unit_hz)
        # Resources without capacity have no part; 0 replaces their NaN or inf.
        self._delay_price = np.where(capacity > 0.0, delay_price, 0.0)
        self._rows, self._parts = np.nonzero(self._part > 0.0)
        # A row has no capacity of its own: one unit of a part allows one use of its row.
        self._limits = np.concatenate([columns.demand, np.zeros(len(columns.capacities))])

    def start(self) -> MasterSolution:
        """Every resource has the price of its first part, as when it is idle."""
        links = self.network.link_count
        idle_price = self._delay_price[:, 0]
        per_emission = self.columns.per_emission
        cheaper_source = np.full(links, np.inf)
        for side in (0, 1):
            ends = self.network.graph.link_ends[:, side]
            np.minimum(cheaper_source, idle_price[links + ends], out=cheaper_source)
        pair_price = np.divide(
            cheaper_source, per_emission, out=idle_price[:links].copy(), where=per_emission > 0.0
        )
        prices = ResourcePrices(pair_price, idle_price[-self.network.node_count :])
        return self.no_flow(prices, delivery_value=1.0)

    def dual_bound(self, solution: MasterSolution, pricing: PricingResult) -> float:
        """The demand that is worth serving, plus the value of all parts that are worth their price."""
        columns, prices = self.columns, solution.prices
        price = np.concatenate([prices.link, columns.emission_price(prices), prices.swap])
        value = (self._part * np.maximum(price[:, None] - self._delay_price, 0.0)).sum()
        return float(columns.rate @ np.maximum(0.0, 1.0 - pricing.cost) + value)

    def solve(self) -> MasterSolution:
        """Variables: flow per column, emissions per end of each link, use of each part."""
        from scipy.sparse import hstack

        columns, emissions = self.columns, 2 * self.network.link_count
        parts = self._part[self._rows, self._parts]
        delay_price = self._delay_price[self._rows, self._parts]
        result = solve_linear_programme(
            np.concatenate([-np.ones(len(columns)), np.zeros(emissions), delay_price]),
            hstack([columns.matrix(), columns.emission_matrix(), self._part_matrix()], format="csr"),
            self._limits,
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
        flow, emitted = self.flow_of(result.x)
        demand_price, prices = columns.dual_prices(-result.ineqlin.marginals)
        return MasterSolution(-float(result.fun), flow, emitted, 1.0, demand_price, prices)

    def _part_matrix(self) -> Any:
        """How much a unit of each part takes of each row: -1 of its own."""
        from scipy.sparse import csr_matrix

        first, count = len(self.columns.rate), len(self._rows)
        shape = (len(self._limits), count)
        return csr_matrix((-np.ones(count), (first + self._rows, np.arange(count))), shape=shape)


def _ends(commodity: Commodity) -> Ends:
    return commodity.source, commodity.destination, commodity.pairs


def _path_flows(
    columns: Columns, commodities: Sequence[Commodity], flow: Floats
) -> list[tuple[PathFlow, ...]]:
    """Share out each column's flow among the commodities that may use it, the tightest first.

    A commodity takes the same fraction of every column that is open to it. By Hall's condition nothing is
    left over.
    """
    open_to: dict[int, list[tuple[Column, int]]] = {}
    # Interior-point flows can be slightly negative.
    unassigned = np.maximum(flow, 0.0)
    for number, column in enumerate(columns):
        for index in columns.users(column.commodity):
            open_to.setdefault(index, []).append((column, number))
    path_flows: list[tuple[PathFlow, ...]] = [()] * len(commodities)
    for index in columns.tightest_first:
        numbered = open_to.get(index, [])
        available = float(sum(unassigned[number] for _, number in numbered))
        if available <= _MIN_RATE:
            continue
        fraction = min(1.0, float(columns.rate[index]) / available)
        commodity, own_flows = commodities[index], []
        for column, number in numbered:
            rate = fraction * float(unassigned[number])
            unassigned[number] -= rate
            if rate > _MIN_RATE:
                nodes = (commodity.source, *column.inner, commodity.destination)
                own_flows.append(PathFlow(nodes, column.links, column.pairs_per_link, rate * columns.unit_hz))
        # Nodes break ties between equal rates, so that the order is reproducible.
        path_flows[index] = tuple(sorted(own_flows, key=lambda path: (-path.rate_hz, path.nodes)))
    return path_flows

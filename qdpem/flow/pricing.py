"""The pricing problem of column generation: cheapest paths of few hops under prices on links and nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.flow.commodities import Commodity
from qdpem.network.graph import Network

_NO_LINK = -1


@dataclass(frozen=True, eq=False)
class Arcs:
    """Every link in both directions, sorted by head; `tail`, `head`, `link`: int64 [2L]."""

    tail: Ints
    head: Ints
    link: Ints
    node_count: int

    @classmethod
    def of(cls, network: Network) -> Arcs:
        """The arcs of a network."""
        ends = network.graph.link_ends
        tail, head = np.concatenate([ends, ends[:, ::-1]]).T
        # Sorted by head, `minimum.reduceat` takes the minimum over all arcs into a node in one call.
        order = np.argsort(head, kind="stable")
        link = np.tile(np.arange(len(ends)), 2)
        return cls(tail[order], head[order], link[order], network.node_count)


class CheapestPaths:
    """Minimum cost from each of S sources to every node over at most h hops, for all h up to `max_hops`.

    Bellman and Ford's recursion, vectorised over sources and arcs. It stops when another hop lowers no cost.
    """

    def __init__(
        self, arcs: Arcs, sources: Ints, *, link_cost: Floats, node_cost: Floats, max_hops: int
    ) -> None:
        """Search from all sources at once.

        Args:
            arcs: the network's links in both directions.
            sources: int64 [S], distinct nodes.
            link_cost: float64 [L], paid per link; 0 or more, inf where a link is forbidden.
            node_cost: float64 [N], paid per inner node; 0 or more, inf where a node is forbidden.
            max_hops: the largest h.
        """
        self._arcs = arcs
        self._row = {source: row for row, source in enumerate(sources.tolist())}
        inner = np.tile(node_cost, (len(sources), 1))
        # The source itself swaps nothing.
        inner[np.arange(len(sources)), sources] = 0.0
        self._arc_cost = inner[:, arcs.tail] + link_cost[arcs.link]
        self._first_arc = np.searchsorted(arcs.head, np.arange(arcs.node_count + 1))
        cost = np.full((len(sources), arcs.node_count), np.inf)
        cost[np.arange(len(sources)), sources] = 0.0
        self._costs = [cost]
        for _ in range(max_hops):
            lower = self._with_another_hop(self._costs[-1])
            if np.array_equal(lower, self._costs[-1]):
                break
            self._costs.append(lower)

    def cost(self, source: Ints, destination: Ints, max_hops: Ints) -> Floats:
        """Minimum cost of each (source, destination, max_hops), float64; inf without a path."""
        row = np.array([self._row[node] for node in source.tolist()], dtype=np.int64)
        level = np.minimum(max_hops, len(self._costs) - 1)
        return np.asarray(np.stack(self._costs)[level, row, destination])

    def path(self, source: int, destination: int, max_hops: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Nodes and links of a cheapest path, among equals one with the fewest hops, hence simple.

        (A walk without its cycle costs no more and has fewer hops.)
        """
        row, level = self._row[source], min(max_hops, len(self._costs) - 1)
        nodes, links = [destination], list[int]()
        while nodes[-1] != source:
            node = nodes[-1]
            # Exact comparison is safe: an unimproved cost is copied, not computed again.
            while level > 0 and self._costs[level - 1][row, node] == self._costs[level][row, node]:
                level -= 1
            level -= 1
            into = slice(self._first_arc[node], self._first_arc[node + 1])
            costs = self._costs[level][row, self._arcs.tail[into]] + self._arc_cost[row, into]
            arc = int(self._first_arc[node] + costs.argmin())
            links.append(int(self._arcs.link[arc]))
            nodes.append(int(self._arcs.tail[arc]))
        return tuple(reversed(nodes)), tuple(reversed(links))

    def _with_another_hop(self, cost: Floats) -> Floats:
        """Minimum cost with one more hop allowed."""
        arc_arrival = cost[:, self._arcs.tail] + self._arc_cost
        # reduceat returns a wrong value for an empty segment, so nodes without arcs are left out.
        with_arcs = np.flatnonzero(np.diff(self._first_arc))
        lower = cost.copy()
        if len(with_arcs):
            arrival = np.minimum.reduceat(arc_arrival, self._first_arc[with_arcs], axis=1)
            lower[:, with_arcs] = np.minimum(lower[:, with_arcs], arrival)
        return lower


class CommodityOptions(NamedTuple):
    """Every option of every commodity, one row each.

    `commodity`: its index; `direct_link`: the link between its ends, -1 if there is none; `pairs`: pairs per
    request. Arrays of one length, int64 but for the last two.
    """

    commodity: Ints
    source: Ints
    destination: Ints
    direct_link: Ints
    max_hops: Ints
    pairs_per_link: Floats
    pairs: Floats

    @classmethod
    def of(cls, commodities: tuple[Commodity, ...], network: Network) -> CommodityOptions:
        """The options of `commodities`, in their order."""
        link_between = network.link_between
        rows = [
            (
                index,
                commodity.source,
                commodity.destination,
                link_between.get((commodity.source, commodity.destination), _NO_LINK),
                *option,
                commodity.pairs,
            )
            for index, commodity in enumerate(commodities)
            for option in commodity.options
        ]
        # float64 holds the indices exactly; the reshape keeps seven columns when there are no rows.
        table = np.array(rows, dtype=np.float64).reshape(-1, 7).T
        return cls(*table[:5].astype(np.int64), *table[5:])

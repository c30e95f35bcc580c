"""Cheapest paths of few hops under prices on links and nodes: the pricing step of column generation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdpem.flow.commodities import Commodity
from qdpem.network.graph import Network


@dataclass(frozen=True, eq=False)
class Arcs:
    """Every link in both directions, sorted by head; `tail`, `head`, `link`: int64 [2L]."""

    tail: NDArray[np.int64]
    head: NDArray[np.int64]
    link: NDArray[np.int64]
    node_count: int

    @classmethod
    def of(cls, network: Network) -> Arcs:
        """The arcs of a network."""
        ends = network.graph.link_ends
        tail, head = np.concatenate([ends, ends[:, ::-1]]).T
        order = np.argsort(head, kind="stable")
        link = np.tile(np.arange(len(ends)), 2)
        return cls(tail[order], head[order], link[order], network.node_count)


class CheapestPaths:
    """Least cost from each of S sources to every node over at most h hops, for all h at once.

    `link_cost` [L] is paid per link, `node_cost` [N] per inner node; both 0 or more, inf where forbidden.
    Bellman and Ford's recursion, vectorised over sources and arcs; it stops as soon as another hop helps
    nobody.
    """

    def __init__(
        self,
        arcs: Arcs,
        sources: NDArray[np.int64],
        *,
        link_cost: NDArray[np.float64],
        node_cost: NDArray[np.float64],
        max_hops: int,
    ) -> None:
        self._arcs = arcs
        self._row = {source: row for row, source in enumerate(sources.tolist())}
        inner = np.tile(node_cost, (len(sources), 1))
        inner[np.arange(len(sources)), sources] = 0.0
        self._step = inner[:, arcs.tail] + link_cost[arcs.link]
        self._first = np.searchsorted(arcs.head, np.arange(arcs.node_count + 1))
        cost = np.full((len(sources), arcs.node_count), np.inf)
        cost[np.arange(len(sources)), sources] = 0.0
        self._costs = [cost]
        for _ in range(max_hops):
            better = self._hop(self._costs[-1])
            if np.array_equal(better, self._costs[-1]):
                break
            self._costs.append(better)

    def cost(
        self, source: NDArray[np.int64], destination: NDArray[np.int64], max_hops: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Least cost of each (source, destination, max_hops), float64 of their length; inf without a path."""
        row = np.array([self._row[one] for one in source.tolist()], dtype=np.int64)
        level = np.minimum(max_hops, len(self._costs) - 1)
        return np.asarray(np.stack(self._costs)[level, row, destination])

    def path(self, source: int, destination: int, max_hops: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Nodes and links of a cheapest path, of those the one with fewest hops, hence simple.

        (Without the cycle of a walk its cost is no higher and its hops are fewer.)
        """
        row, level = self._row[source], min(max_hops, len(self._costs) - 1)
        nodes, links = [destination], list[int]()
        while nodes[-1] != source:
            node = nodes[-1]
            while level > 0 and self._costs[level - 1][row, node] == self._costs[level][row, node]:
                level -= 1
            level -= 1
            into = slice(self._first[node], self._first[node + 1])
            costs = self._costs[level][row, self._arcs.tail[into]] + self._step[row, into]
            arc = int(self._first[node] + costs.argmin())
            links.append(int(self._arcs.link[arc]))
            nodes.append(int(self._arcs.tail[arc]))
        return tuple(reversed(nodes)), tuple(reversed(links))

    def _hop(self, cost: NDArray[np.float64]) -> NDArray[np.float64]:
        """Least cost with one more hop allowed."""
        reached = cost[:, self._arcs.tail] + self._step
        joined = np.flatnonzero(np.diff(self._first))
        better = cost.copy()
        if len(joined):
            fewest = np.minimum.reduceat(reached, self._first[joined], axis=1)
            better[:, joined] = np.minimum(better[:, joined], fewest)
        return better


class CommodityOptions(NamedTuple):
    """Every option of every class, one row each: its class, ends, the link that joins them (-1: none)."""

    kind: NDArray[np.int64]
    source: NDArray[np.int64]
    destination: NDArray[np.int64]
    direct: NDArray[np.int64]
    max_hops: NDArray[np.int64]
    pairs_per_link: NDArray[np.float64]
    asked: NDArray[np.float64]

    @classmethod
    def of(cls, classes: tuple[Commodity, ...], network: Network) -> CommodityOptions:
        """The options of `classes`, in their order."""
        joined = network.link_between
        rows = [
            (
                kind,
                one.source,
                one.destination,
                joined.get((one.source, one.destination), -1),
                *option,
                one.pairs,
            )
            for kind, one in enumerate(classes)
            for option in one.options
        ]
        table = np.array(rows, dtype=np.float64).reshape(-1, 7).T
        return cls(*table[:5].astype(np.int64), *table[5:])

"""Cheapest paths on which at most so many hops are single: the pricing step of the bounds on one seed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdpem.flow.pricing import Arcs

STEP_COST = 1e-10
"""Paid for every hop besides, so that cheapest paths are simple; `BudgetedPaths.cost` takes it off again."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Way(NamedTuple):
    """A simple path: its links, fresh pairs taken of each (1 or 2), and its inner nodes."""

    links: tuple[int, ...]
    pairs: tuple[int, ...]
    inner: tuple[int, ...]


class BudgetedPaths:
    """Least cost from the source of each of R rows to every node, for every number of single hops.

    A hop costs one pair of its link if it is single and two if it is not; of single hops a path has at most
    `max_single`, of the others any number. Prices are per row, or one row for all: `link_price` [R or 1, L]
    for pairs, `node_price` [R or 1, N] for swaps at inner nodes (inf: none is possible), both 0 or more;
    Without `doubles` all hops are single.

    Layer u of Bellman and Ford's recursion allows u single hops; within a layer double hops are added until
    none helps. It ends early when another single hop helps nobody.
    """

    def __init__(
        self,
        arcs: Arcs,
        source: Ints,
        *,
        link_price: Floats,
        node_price: Floats,
        max_single: int,
        doubles: bool = True,
    ) -> None:
        self._arcs, self._source = arcs, source
        self._into = np.searchsorted(arcs.head, np.arange(arcs.node_count + 1))
        self._joined = np.flatnonzero(np.diff(self._into))
        self._doubles = doubles
        self._single = (link_price + STEP_COST, node_price)
        self._double = (2.0 * link_price + STEP_COST, node_price)
        start = np.full((len(source), arcs.node_count), np.inf)
        start[np.arange(len(source)), source] = 0.0
        self._layers = [self._closed(start)]
        for _ in range(max_single):
            last = self._layers[-1]
            found = self._closed(np.minimum(last, self._hop(last, self._single)))
            if np.array_equal(found, last):
                break
            self._layers.append(found)

    def cost(self, row: Ints, destination: Ints, max_single: Ints) -> Floats:
        """Least cost of rows to destinations, float64 of their length; inf without a path.

        Never above the true one: what hops were charged besides is taken off.
        """
        level = np.minimum(max_single, len(self._layers) - 1)
        found = np.full(len(row), np.inf)
        for layer in np.unique(level).tolist():
            own = level == layer
            found[own] = self._layers[layer][row[own], destination[own]]
        return np.maximum(found - STEP_COST * 2.0 * self._arcs.node_count, 0.0)

    def way(self, row: int, destination: int, max_single: int) -> Way:
        """A cheapest path of a row; there must be one."""
        level = min(max_single, len(self._layers) - 1)
        nodes, links, pairs = [destination], list[int](), list[int]()
        source = int(self._source[row])
        while nodes[-1] != source:
            node = nodes[-1]
            while level > 0 and self._layers[level - 1][row, node] == self._layers[level][row, node]:
                level -= 1
            tail, link, single = self._last_hop(row, node, level)
            links.append(link)
            pairs.append(1 if single else 2)
            nodes.append(tail)
            level -= single
        return Way(tuple(links[::-1]), tuple(pairs[::-1]), tuple(nodes[-2:0:-1]))

    def _last_hop(self, row: int, node: int, level: int) -> tuple[int, int, bool]:
        """The node before, the link in between, and whether that hop is single."""
        into = slice(int(self._into[node]), int(self._into[node + 1]))
        tails, links, found = self._arcs.tail[into], self._arcs.link[into], []
        for single, (link_price, node_price), before in (
            (True, self._single, level - 1),
            (False, self._double, level),
        ):
            if before >= 0 and (single or self._doubles):
                swap = np.where(tails == self._source[row], 0.0, node_price[row % len(node_price), tails])
                costs = self._layers[before][row, tails] + swap + link_price[row % len(link_price), links]
                place = int(costs.argmin())
                found.append((float(costs[place]), place, single))
        _, place, single = min(found, key=lambda one: one[0])
        return int(tails[place]), int(links[place]), single

    def _closed(self, cost: Floats) -> Floats:
        """With as many double hops as help."""
        while self._doubles:
            better = np.minimum(cost, self._hop(cost, self._double))
            if np.array_equal(better, cost):
                break
            cost = better
        return cost

    def _hop(self, cost: Floats, prices: tuple[Floats, Floats]) -> Floats:
        """Least cost of arriving by one more hop, [R, N]."""
        link_price, node_price = prices
        leaving = cost + node_price
        own = np.arange(len(self._source))
        leaving[own, self._source] = cost[own, self._source]
        reached = leaving[:, self._arcs.tail] + link_price[:, self._arcs.link]
        found = np.full_like(cost, np.inf)
        if len(self._joined):
            found[:, self._joined] = np.minimum.reduceat(reached, self._into[self._joined], axis=1)
        return found

"""Cheapest paths with a limited number of single hops: the pricing problem of the bounds on one seed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.flow.pricing import Arcs

STEP_COST = 1e-10
"""Added to the cost of every hop, so that cheapest paths are simple; `BudgetedPaths.cost` subtracts it."""


class BudgetedPath(NamedTuple):
    """A simple path: its links, the fresh pairs it takes of each (1 or 2), and its inner nodes."""

    links: tuple[int, ...]
    pairs: tuple[int, ...]
    inner: tuple[int, ...]


class BudgetedPaths:
    """Minimum cost from the source of each of R rows to every node, for every number of single hops.

    A single hop takes one pair of its link, a double hop two. A path has at most `max_single` single hops and
    any number of double ones. Layer u of Bellman and Ford's recursion allows u single hops; within a layer
    double hops are added until none lowers a cost. The recursion ends early when another single hop lowers no
    cost.
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
        """Search from all rows at once.

        Args:
            arcs: the network's links in both directions.
            source: int64 [R], the node at which each row begins.
            link_price: float64 [R, L] or [1, L] for all rows, of a pair of each link, 0 or more.
            node_price: float64 [R, N] or [1, N], of a swap at each inner node, 0 or more; inf where no swap
                is possible.
            max_single: the largest number of single hops.
            doubles: whether double hops are allowed.
        """
        self._arcs, self._source = arcs, source
        self._first_arc = np.searchsorted(arcs.head, np.arange(arcs.node_count + 1))
        self._with_arcs = np.flatnonzero(np.diff(self._first_arc))
        self._doubles = doubles
        self._single = (link_price + STEP_COST, node_price)
        self._double = (2.0 * link_price + STEP_COST, node_price)
        start = np.full((len(source), arcs.node_count), np.inf)
        start[np.arange(len(source)), source] = 0.0
        # Double hops are free of the budget, so every layer is closed under them before the next single hop.
        self._layers = [self._with_double_hops(start)]
        for _ in range(max_single):
            last = self._layers[-1]
            layer = self._with_double_hops(np.minimum(last, self._arrival(last, self._single)))
            if np.array_equal(layer, last):
                break
            self._layers.append(layer)

    def cost(self, row: Ints, destination: Ints, max_single: Ints) -> Floats:
        """Minimum cost of rows to destinations, float64 of their length; inf without a path.

        Never above the true cost: `STEP_COST` is subtracted for more hops than a path can have.
        """
        level = np.minimum(max_single, len(self._layers) - 1)
        cost = np.full(len(row), np.inf)
        for layer in np.unique(level).tolist():
            own = level == layer
            cost[own] = self._layers[layer][row[own], destination[own]]
        # Subtracting too much only lowers a cost, which keeps the bound valid.
        return np.maximum(cost - STEP_COST * 2.0 * self._arcs.node_count, 0.0)

    def path(self, row: int, destination: int, max_single: int) -> BudgetedPath:
        """A cheapest path of a row; there must be one."""
        level = min(max_single, len(self._layers) - 1)
        nodes, links, pairs = [destination], list[int](), list[int]()
        source = int(self._source[row])
        while nodes[-1] != source:
            node = nodes[-1]
            # Unimproved costs are copied, so exact equality finds the layer in which the cost arose.
            while level > 0 and self._layers[level - 1][row, node] == self._layers[level][row, node]:
                level -= 1
            tail, link, single = self._last_hop(row, node, level)
            links.append(link)
            pairs.append(1 if single else 2)
            nodes.append(tail)
            level -= single
        return BudgetedPath(tuple(links[::-1]), tuple(pairs[::-1]), tuple(nodes[-2:0:-1]))

    def _last_hop(self, row: int, node: int, level: int) -> tuple[int, int, bool]:
        """The node before, the link in between, and whether that hop is single."""
        into = slice(int(self._first_arc[node]), int(self._first_arc[node + 1]))
        tails, links = self._arcs.tail[into], self._arcs.link[into]
        hops: list[tuple[float, int, bool]] = []
        for single, (link_price, node_price), before in (
            (True, self._single, level - 1),
            (False, self._double, level),
        ):
            if before >= 0 and (single or self._doubles):
                swap = np.where(tails == self._source[row], 0.0, node_price[row % len(node_price), tails])
                costs = self._layers[before][row, tails] + swap + link_price[row % len(link_price), links]
                cheapest = int(costs.argmin())
                hops.append((float(costs[cheapest]), cheapest, single))
        # The hop is found by computing both candidates again, which is cheaper than storing predecessors.
        _, arc, single = min(hops, key=lambda hop: hop[0])
        return int(tails[arc]), int(links[arc]), single

    def _with_double_hops(self, cost: Floats) -> Floats:
        """The costs with as many double hops as lower them."""
        while self._doubles:
            lower = np.minimum(cost, self._arrival(cost, self._double))
            if np.array_equal(lower, cost):
                break
            cost = lower
        return cost

    def _arrival(self, cost: Floats, prices: tuple[Floats, Floats]) -> Floats:
        """Minimum cost of arriving by one more hop, [R, N]."""
        link_price, node_price = prices
        departure = cost + node_price
        own = np.arange(len(self._source))
        # The source itself swaps nothing.
        departure[own, self._source] = cost[own, self._source]
        arc_arrival = departure[:, self._arcs.tail] + link_price[:, self._arcs.link]
        arrival = np.full_like(cost, np.inf)
        if len(self._with_arcs):
            arrival[:, self._with_arcs] = np.minimum.reduceat(
                arc_arrival, self._first_arc[self._with_arcs], axis=1
            )
        return arrival

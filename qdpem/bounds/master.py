"""The linear programme behind the bounds on one seed: ways to serve requests, and what limits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdpem.bounds.constrained_paths import Way
from qdpem.bounds.seed_supply import Supply, Tiers
from qdpem.errors import QdpemError
from qdpem.network.graph import Network

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Span = tuple[int, int]
"""A stretch of time in whole bins, from the first to before the second; (0, 0) where time plays no part."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Groups:
    """Requests that may be served alike, G groups.

    `source`, `destination`, `max_single` int64 [G]: ends, and how many hops of a way may be single.
    `pairs` float64 [G]: pairs asked, inf without limit; `gain` [G]: what a pair is worth. `span`: within
    which a way without double hops takes all it needs; `loose`: one with double hops.
    """

    source: Ints
    destination: Ints
    max_single: Ints
    pairs: Floats
    gain: Floats
    span: Sequence[Span]
    loose: Sequence[Span]

    def __len__(self) -> int:
        return len(self.source)


class Column(NamedTuple):
    """A way to serve a group, and the span in which it takes what it needs."""

    group: int
    way: Way
    span: Span


class Cut(NamedTuple):
    """In a window of time the swaps at `node`, or the pairs of `links` together, are `maximum` at the most."""

    window: Span
    node: int
    links: frozenset[int]
    maximum: float


class Prices(NamedTuple):
    """Of pairs of each link [L] and swaps at each node [N] at any time, and of each cut [K]."""

    link: Floats
    swap: Floats
    cut: Floats


class Solution(NamedTuple):
    """Flow per column [C], its value, the groups' prices [G] and those of what limits them."""

    flow: Floats
    value: float
    demand: Floats
    prices: Prices


class Master:
    """max sum gain x over the columns at hand, x >= 0, subject to

    - groups: sum x <= pairs, in chains: what only a group and those after it may use, by the number of single
      hops, is at most what these ask for (Hall's condition), so that a way is one column for all;
    - links, over the whole run: pairs used <= y_eu + y_ev + the link's own successful attempts;
    - tiers: emissions that links of this or a lower probability use at a node <= emissions of the tier;
    - nodes: swaps <= the most there can be;
    - cuts: what spans inside a window use <= the most that it holds.
    """

    def __init__(self, network: Network, tiers: Tiers, whole: Supply, groups: Groups) -> None:
        self._network, self._tiers, self._whole = network, tiers, whole
        self.groups = groups
        self._chain = _chains(groups)
        follows = np.zeros(len(groups))
        for group, before in enumerate(self._chain):
            follows[list(before)] += groups.pairs[group]
        self._asked = follows
        self.columns: list[Column] = []
        self._known: set[Column] = set()
        self.cuts: list[Cut] = []
        self._fed: list[list[int]] = [[] for _ in tiers.node]
        for link, side in np.argwhere(tiers.of >= 0).tolist():
            self._fed[tiers.of[link, side]].append(link)
        self.dead = np.where((network.repeater_rate_hz > 0.0) & (whole.swaps > 0.0), 0.0, np.inf)

    def add(self, group: int, way: Way, span: Span) -> bool:
        """Take in a way to serve a group, for all of its chain that may use it; False if it is there."""
        single = way.pairs.count(1)
        home = next(one for one in self._chain[group] if self.groups.max_single[one] >= single)
        column = Column(home, way, span)
        new = column not in self._known
        if new:
            self._known.add(column)
            self.columns.append(column)
        return new

    def worth(self, prices: Prices) -> tuple[Floats, Floats]:
        """What all that the run holds is worth under prices of 0 or more, by link [L] and by node [N].

        Their sum is the dual's share of resources. An emission goes where it is worth most: to the dearest of
        the links that can use it.
        """
        links, nodes = prices.link * self._whole.attempts, prices.swap * self._whole.swaps
        for price, cut in zip(prices.cut.tolist(), self.cuts, strict=True):
            if cut.node >= 0:
                nodes[cut.node] += price * cut.maximum
            else:
                links[list(cut.links)] += price * cut.maximum / len(cut.links)
        tiers = self._tiers
        for node in np.unique(tiers.node).tolist():
            dearest, maximum = -1, 0.0
            own = np.flatnonzero(tiers.node == node)
            counts = np.diff(self._whole.emissions[own], prepend=0.0)
            for tier, count in zip(own[::-1].tolist(), counts[::-1].tolist(), strict=True):
                for link in self._fed[tier]:
                    if prices.link[link] > maximum:
                        dearest, maximum = link, float(prices.link[link])
                links[dearest] += count * maximum
        return links, nodes

    def solve(self) -> Solution:
        """The best flow over the columns at hand. Raises QdpemError when the solver fails."""
        from scipy.optimize import linprog
        from scipy.sparse import csr_matrix, hstack, vstack

        groups, network = self.groups, self._network
        links, nodes, tiers = network.link_count, network.node_count, len(self._tiers.node)
        uses, swaps = self.uses()
        count = len(self.columns)
        gain = groups.gain[[column.group for column in self.columns]]
        places = [(row, at) for at, one in enumerate(self.columns) for row in self._chain[one.group]]
        served = csr_matrix((np.ones(len(places)), tuple(zip(*places, strict=True))), (len(groups), count))
        finite = np.flatnonzero(np.isfinite(self._asked))
        given, taken = self._emission_uses()
        fed = given.shape[1]
        rows = [
            hstack([served[finite], csr_matrix((len(finite), fed))]),
            hstack([uses, -given]),
            hstack([csr_matrix((tiers, count)), taken]),
            hstack([swaps, csr_matrix((nodes, fed))]),
        ]
        if self.cuts:
            rows.append(hstack([self._cut_uses(uses, swaps), csr_matrix((len(self.cuts), fed))]))
        limits = np.concatenate(
            [
                self._asked[finite],
                self._whole.attempts,
                self._whole.emissions,
                self._whole.swaps,
                [cut.maximum for cut in self.cuts],
            ]
        )
        aim, matrix = -np.concatenate([gain, np.zeros(fed)]), vstack(rows, format="csr")
        # Interior points first: their prices need fewer rounds, and many rows do not slow them down so much.
        for method in ("highs-ipm", "highs"):
            result = linprog(aim, A_ub=matrix, b_ub=limits, method=method)
            if result.status == 0:
                break
        else:
            raise QdpemError(f"the programme of the bound was not solved: {result.message}")
        prices = np.maximum(0.0, -result.ineqlin.marginals)
        demand = np.zeros(len(groups))
        own, link, _, swap, cut = np.split(prices, np.cumsum([len(finite), links, tiers, nodes]))
        demand[finite] = own
        demand = np.array([demand[list(before)].sum() for before in self._chain])
        return Solution(result.x[:count], -float(result.fun), demand, Prices(link, swap, cut))

    def uses(self) -> tuple[Any, Any]:
        """What each column takes: sparse [L, C] of pairs and [N, C] of swaps."""
        from scipy.sparse import csr_matrix

        count = len(self.columns)
        links = [
            (pairs, link, place)
            for place, (_, way, _) in enumerate(self.columns)
            for link, pairs in zip(way.links, way.pairs, strict=True)
        ]
        swaps = [(1.0, node, place) for place, (_, way, _) in enumerate(self.columns) for node in way.inner]
        shapes = (self._network.link_count, count), (self._network.node_count, count)
        made = []
        for entries, shape in zip((links, swaps), shapes, strict=True):
            values, rows, places = np.array(entries, dtype=np.float64).reshape(-1, 3).T
            made.append(csr_matrix((values, (rows.astype(int), places.astype(int))), shape=shape))
        return made[0], made[1]

    def _cut_uses(self, uses: Any, swaps: Any) -> Any:
        """What each column takes of each cut: all of it, where the cut's window holds its span."""
        from scipy.sparse import csr_matrix, vstack

        first, last = np.array([column.span for column in self.columns], dtype=np.int64).reshape(-1, 2).T
        rows = []
        for (start, stop), node, links, _ in self.cuts:
            row = swaps[node] if node >= 0 else csr_matrix(uses[sorted(links)].sum(axis=0))
            inside = (first[row.indices] >= start) & (last[row.indices] <= stop)
            data = (row.data[inside], (np.zeros(int(inside.sum()), dtype=int), row.indices[inside]))
            rows.append(csr_matrix(data, shape=(1, len(self.columns))))
        return vstack(rows, format="csr")

    def _emission_uses(self) -> tuple[Any, Any]:
        """What an emission of each end for each link gives the link [L, 2L] and takes of tiers [T, 2L]."""
        from scipy.sparse import csr_matrix

        tiers, links = self._tiers, self._network.link_count
        sides = np.flatnonzero(tiers.of.ravel() >= 0)
        own = tiers.of.ravel()[sides]
        given = csr_matrix((np.ones(len(sides)), (sides // 2, np.arange(len(sides)))), (links, len(sides)))
        entries = [
            (tier, place)
            for place, lowest in enumerate(own.tolist())
            for tier in range(lowest, len(tiers.node))
            if tiers.node[tier] == tiers.node[lowest]
        ]
        rows, places = np.array(entries, dtype=np.int64).reshape(-1, 2).T
        return given, csr_matrix((np.ones(len(rows)), (rows, places)), (len(tiers.node), len(sides)))


def _chains(groups: Groups) -> list[tuple[int, ...]]:
    """For each group those that may use every way it may, from the most restricted up to itself.

    Only groups between the same ends, in the same spans, and with as much to gain are in one chain.
    """
    found: dict[tuple[object, ...], list[int]] = {}
    kinds = zip(
        groups.source.tolist(),
        groups.destination.tolist(),
        groups.gain.tolist(),
        np.isinf(groups.pairs).tolist(),
        groups.span,
        groups.loose,
        strict=True,
    )
    for group, kind in enumerate(kinds):
        found.setdefault(kind, []).append(group)
    chains: list[tuple[int, ...]] = [()] * len(groups)
    for chain in found.values():
        chain.sort(key=groups.max_single.item)
        for place, group in enumerate(chain):
            chains[group] = tuple(chain[: place + 1])
    return chains

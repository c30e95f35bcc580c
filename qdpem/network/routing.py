"""Paths between nodes: a few with the fewest hops and a few with the least work, searched on first use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice, pairwise
from typing import TypeAlias

import numpy as np

from qdpem.arrays import Flags, Ints
from qdpem.network.graph import Network
from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.network.path import Path

_UNREACHABLE = 2**61
# A hop outweighs any length: 2^48 micrometres are seven times the Earth's circumference. Paths have at most
# 8,190 hops.
_HOP = 2**48
# Nanoseconds, five hours: longer times count the same, so that no sum reaches `_UNREACHABLE`.
_MAX_WORK = 2**44
_STEPS_PER_KM = 1e9
_STEPS_PER_S = 1e9
_CACHED_WALKS = 128
_MAX_EXPANSIONS = 20_000
_CACHED_DETOURS = 16

# For each node its (neighbour, link) pairs.
Neighbours: TypeAlias = Sequence[Sequence[tuple[int, int]]]


class Routes:
    """Simple paths per node pair: half with the fewest hops, half with the least work, over repeaters.

    `paths(s, d)` gives up to `count` paths of at most (minimum hops + `extra_hops`) hops, empty if there are
    none. They hold the first ceil(`count` / 2) by (hops, length, nodes), and of all others the first by
    (work, nodes). The work of a path is the mean time that one pair takes of its links and repeaters: the sum
    of 1/rate over its links plus that over its inner nodes. Paths with the fewest hops are much alike. They
    often cross the same weak repeater, and then no choice among them avoids it. A link that makes no pairs
    has infinite work, so only paths with the fewest hops cross it.

    Paths are searched when first requested and then cached; all arms of a seed may share one object. Nodes
    and links in `unavailable` do not exist for these routes.

    The search is best first (A*, Hart, Nilsson and Raphael 1968). Its bound is the minimum cost of a walk
    with at most the hops that are left. At the minimum number of hops every such walk is a simple path, so
    that the first half opens few prefixes however large the network. A longer walk may visit a node twice.
    After 20,000 prefixes a half ends with the paths found so far. Lengths are compared to the micrometre and
    work to the nanosecond, and no link or repeater counts for more than five hours.
    """

    def __init__(
        self,
        network: Network,
        *,
        count: int = 8,
        extra_hops: int = 3,
        unavailable: Unavailable = ALL_AVAILABLE,
    ) -> None:
        if count < 1 or extra_hops < 0:
            raise ValueError(
                f"count = {count} and extra_hops = {extra_hops}; they must be at least 1 and at least 0"
            )
        self.network = network
        self.count = count
        self.extra_hops = extra_hops
        self._paths: dict[tuple[int, int], tuple[Path, ...]] = {}
        self._first_paths: dict[tuple[int, int], Path] = {}
        self._length_km: list[float] = network.graph.length_km.tolist()
        self._delay_s: list[float] = network.delay_s.tolist()
        self._detours: dict[Unavailable, Routes] = {}
        neighbours = _without(unavailable, network.neighbours) if unavailable else network.neighbours
        self._fewest_hops = _Search(network, neighbours, _hops_then_length(network))
        self._min_work = _Search(network, neighbours, _work(network))

    def paths(
        self, source: int, destination: int, unavailable: Unavailable = ALL_AVAILABLE
    ) -> tuple[Path, ...]:
        """Up to `count` paths from `source` to `destination`, best first.

        The paths from `destination` to `source` are the same ones reversed. There are none from a node to
        itself. With nodes and links `unavailable`, the paths are those of the network without them, which are
        the same unless one of them is affected. Raises ValueError for an index that is not a node.
        """
        key = (source, destination)
        if key not in self._paths:
            self._search(min(key), max(key))
        paths = self._paths[key]
        # Without an affected path the same tuple is returned; callers test for it by identity.
        if unavailable and any(unavailable.affects(path.nodes, path.links) for path in paths):
            return self._avoiding(unavailable).paths(source, destination)
        return paths

    def each_path(self, source: int, destination: int) -> Iterator[Path]:
        """The paths of `paths`, the one with the fewest hops first.

        The others are searched only when the first was not enough, so whether any path meets a condition
        costs a fraction of all paths.
        """
        first = self._first_path(source, destination)
        if first is not None:
            yield first
            yield from (path for path in self.paths(source, destination) if path.nodes != first.nodes)

    def _first_path(self, source: int, destination: int) -> Path | None:
        key = (source, destination)
        if key not in self._first_paths:
            low, high = min(key), max(key)
            minimum = None if low == high else self._fewest_hops.min_hops(low, high)
            if minimum is None:
                return None
            found = self._fewest_hops.paths(low, high, minimum + self.extra_hops)
            path = self._path(next(found))
            self._first_paths[low, high] = path
            self._first_paths[high, low] = path.reversed()
        return self._first_paths[key]

    def _avoiding(self, unavailable: Unavailable) -> Routes:
        """The routes that avoid what is unavailable; those used last are cached."""
        # Popped and inserted again: insertion order then is the order of last use, and the first is evicted.
        detour = self._detours.pop(unavailable, None)
        if detour is None:
            detour = Routes(
                self.network, count=self.count, extra_hops=self.extra_hops, unavailable=unavailable
            )
        self._detours[unavailable] = detour
        if len(self._detours) > _CACHED_DETOURS:
            del self._detours[next(iter(self._detours))]
        return detour

    def _search(self, low: int, high: int) -> None:
        if not 0 <= low <= high < self.network.node_count:
            raise ValueError(
                f"no path from node {low} to node {high}: nodes are 0 to {self.network.node_count - 1}"
            )
        paths = [] if low == high else self._best(low, high)
        # Each unordered pair is searched once, from its lower node, so that both directions agree.
        self._paths[low, high] = tuple(paths)
        self._paths[high, low] = tuple(path.reversed() for path in paths)

    def _best(self, source: int, destination: int) -> list[Path]:
        minimum = self._fewest_hops.min_hops(source, destination)
        if minimum is None:
            return []
        max_hops = minimum + self.extra_hops
        half = self.count - self.count // 2
        fewest_hops = set(islice(self._fewest_hops.paths(source, destination, max_hops), half))
        by_work = self._min_work.paths(source, destination, max_hops)
        others = islice((nodes for nodes in by_work if nodes not in fewest_hops), self.count - half)
        return sorted(map(self._path, (*fewest_hops, *others)), key=self._hops_length_nodes)

    def _path(self, nodes: tuple[int, ...]) -> Path:
        links = tuple(self.network.link_between[pair] for pair in pairwise(nodes))
        hop_delay_s = tuple(self._delay_s[link] for link in links)
        return Path(nodes, links, hop_delay_s, sum(hop_delay_s))

    def _hops_length_nodes(self, path: Path) -> tuple[int, float, tuple[int, ...]]:
        # Rounded to the micrometre, like the search, so that the order does not depend on how a sum rounds.
        return path.hops, round(sum(self._length_km[link] for link in path.links), 9), path.nodes


def _without(unavailable: Unavailable, neighbours: Neighbours) -> Neighbours:
    return tuple(
        tuple(pair for pair in around if not unavailable.affects((node, pair[0]), (pair[1],)))
        for node, around in enumerate(neighbours)
    )


def _hops_then_length(network: Network) -> list[int]:
    """Link costs under which one more hop is always worse than any length."""
    # Integer costs make sums exact and ties reproducible.
    steps = np.rint(network.graph.length_km * _STEPS_PER_KM).astype(np.int64)
    return list((_HOP + steps).tolist())


def _work(network: Network) -> list[int]:
    """Link costs under which paths between two nodes compare as their work does.

    The cost is the link's own work and half that of the repeater at each end. The two ends of a path add the
    same amount to all paths between them.
    """
    rates_hz = network.repeater_rate_hz
    swap_s = np.divide(1.0, rates_hz, out=np.zeros_like(rates_hz), where=rates_hz > 0.0)
    working = network.link_rate_hz > 0.0
    pair_s = np.divide(1.0, network.link_rate_hz, out=np.zeros(network.link_count), where=working)
    cost = np.rint((pair_s + swap_s[network.graph.link_ends].mean(axis=1)) * _STEPS_PER_S)
    return list(np.where(working, np.minimum(cost, _MAX_WORK), _UNREACHABLE).astype(np.int64).tolist())


class _Search:
    """Simple paths over repeaters, smallest sum of link costs first; costs are integers."""

    def __init__(self, network: Network, neighbours: Neighbours, cost: list[int]) -> None:
        self._no_repeater = network.repeater_rate_hz <= 0.0
        self._neighbours = neighbours
        self._cost = cost
        self._arcs = _Arcs.of(neighbours, cost)
        self._walks: dict[int, _Walks] = {}

    def min_hops(self, source: int, destination: int) -> int | None:
        """Fewest hops of any path; None if there is none."""
        fewer = self._walks_to(destination).min_hops([node for node, _ in self._neighbours[source]])
        return None if fewer is None else 1 + fewer

    def paths(self, source: int, destination: int, max_hops: int) -> Iterator[tuple[int, ...]]:
        """Nodes of each path of at most `max_hops` hops, by (cost, nodes); ends after 20,000 prefixes."""
        neighbours, cost = self._neighbours, self._cost
        bound = self._walks_to(destination).up_to(max_hops - 1)
        # Entries are (bound on the whole cost, nodes so far, cost so far): ties go by nodes.
        heap: list[tuple[int, tuple[int, ...], int]] = [(0, (source,), 0)]
        for _ in range(_MAX_EXPANSIONS):
            if not heap:
                return
            _, nodes, cost_so_far = heappop(heap)
            if nodes[-1] == destination:
                yield nodes
                continue
            min_cost_left = bound[max_hops - len(nodes)]
            for node, link in neighbours[nodes[-1]]:
                new_cost = cost_so_far + cost[link]
                new_bound = new_cost + min_cost_left[node]
                # The bound is that of walks, so a prefix must itself be kept simple.
                if new_bound < _UNREACHABLE and node not in nodes:
                    heappush(heap, (new_bound, (*nodes, node), new_cost))

    def _walks_to(self, destination: int) -> _Walks:
        walks = self._walks.get(destination)
        if walks is None:
            if len(self._walks) == _CACHED_WALKS:
                del self._walks[next(iter(self._walks))]
            no_transit = self._no_repeater.copy()
            # A walk ends at its destination, so it may not pass through it.
            no_transit[destination] = True
            walks = self._walks[destination] = _Walks(self._arcs, destination, no_transit)
        return walks


@dataclass(frozen=True, eq=False)
class _Arcs:
    """Every link in both directions, sorted by tail; int64. Arc i goes from its tail to `head[i]`.

    `tails`: nodes with any arcs; the arcs of `tails[i]` begin at `first[i]`.
    """

    tails: Ints
    first: Ints
    head: Ints
    cost: Ints

    @classmethod
    def of(cls, neighbours: Neighbours, cost: list[int]) -> _Arcs:
        degree = np.array([len(around) for around in neighbours], dtype=np.int64)
        first = np.cumsum(degree) - degree
        arcs = [(node, cost[link]) for around in neighbours for node, link in around]
        head, costs = np.array(arcs, dtype=np.int64).reshape(-1, 2).T
        tails = np.flatnonzero(degree)
        return cls(tails, first[tails], head, costs)


class _Walks:
    """Minimum cost of a walk of at most r hops from each node to one destination, over repeaters.

    There is a row for each r, up to the largest one requested so far.
    """

    def __init__(self, arcs: _Arcs, destination: int, no_transit: Flags) -> None:
        self._arcs = arcs
        self._no_transit = no_transit
        self._row = np.full(len(no_transit), _UNREACHABLE, dtype=np.int64)
        self._row[destination] = 0
        self._growing = True
        self._rows: list[list[int]] = [self._row.tolist()]

    def up_to(self, hops: int) -> list[list[int]]:
        """The rows of 0 to at least `hops` hops."""
        while len(self._rows) <= hops:
            self._grow()
        return self._rows

    def min_hops(self, nodes: list[int]) -> int | None:
        """The minimum number of hops from any of the nodes; None if all are cut off."""
        hops = 0
        while True:
            row = self.up_to(hops)[hops]
            if any(row[node] < _UNREACHABLE for node in nodes):
                return hops
            # A node at r hops has a neighbour at r - 1, so an unchanged row is the last one.
            if not self._growing and hops + 1 == len(self._rows):
                return None
            hops += 1

    def _grow(self) -> None:
        if not self._growing:
            self._rows.append(self._rows[-1])
            return
        arcs = self._arcs
        row = self._row.copy()
        if len(arcs.tails):
            # Capped, so that unreachable nodes stay so and sums never overflow int64.
            arc_cost = np.minimum(self._row[arcs.head] + arcs.cost, _UNREACHABLE)
            lower = np.minimum(np.minimum.reduceat(arc_cost, arcs.first), row[arcs.tails])
            row[arcs.tails] = np.where(self._no_transit[arcs.tails], row[arcs.tails], lower)
        self._growing = bool((row < self._row).any())
        self._row = row
        self._rows.append(row.tolist())

"""Paths between nodes: the few with fewest hops and with least work, found on first use and kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice, pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qdpem.network.graph import Network
from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.network.path import Path

_UNREACHABLE = 2**61
# A hop outweighs any length: 2^48 micrometres are seven times round the earth. Paths end at 8,190 hops.
_HOP = 2**48
# Nanoseconds, five hours: whatever takes longer is as bad, and no sum of them is out of reach.
_MAX_WORK = 2**44
_STEPS_PER_KM = 1e9
_STEPS_PER_S = 1e9
_KEPT_WALKS = 128
_MAX_EXPANSIONS = 20_000
_KEPT_DETOURS = 16

# For each node its (neighbour, link) pairs.
Neighbours: TypeAlias = Sequence[Sequence[tuple[int, int]]]


class Routes:
    """K simple paths per pair: half with fewest hops, half with least work; inner nodes only with repeaters.

    `paths(s, d)` gives up to `count` paths of at most (least hops + `extra_hops`) hops, empty if none. The
    first ceil(`count` / 2) by (hops, length, nodes) are among them; the rest are, of all others, those with
    least (work, nodes), where the work of a path is the mean time that one pair takes of its links and
    repeaters, sum of 1/rate over its links plus sum of 1/rate over its inner nodes. Paths with fewest hops
    alone are much alike: they often cross the same weak repeater, and then no choice among them avoids it.
    A link that makes no pairs has no work, so it is only crossed for fewest hops.

    Found when first asked and kept; every arm of a seed may share one object. What is `unavailable` is for these
    routes not there at all.

    Paths are completed best first (A*, Hart, Nilsson and Raphael 1968), with the least cost of a walk of at
    most the hops that are left as its bound. At the least number of hops every such walk is a simple path,
    so that for the first half few prefixes are opened however large the network. A longer walk may visit a
    node twice; after 20,000 prefixes of either half what was found by then is kept. Lengths are compared to
    the micrometre, work to the nanosecond, and no link or repeater counts for more than five hours.
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
        self._found: dict[tuple[int, int], tuple[Path, ...]] = {}
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

        Those from `destination` to `source` are the same ones reversed. Empty where no path exists,
        and from a node to itself. With some nodes and links `unavailable`: the paths there would be if they did not
        exist, which are the same ones where none of them is hit. Raises ValueError for an index that is no
        node.
        """
        key = (source, destination)
        if key not in self._found:
            self._find(min(key), max(key))
        found = self._found[key]
        if unavailable and any(unavailable.hits(path.nodes, path.links) for path in found):
            return self._around(unavailable).paths(source, destination)
        return found

    def _around(self, unavailable: Unavailable) -> Routes:
        """The routes around what is away; those asked for last are kept."""
        detour = self._detours.pop(unavailable, None)
        if detour is None:
            detour = Routes(
                self.network, count=self.count, extra_hops=self.extra_hops, unavailable=unavailable
            )
        self._detours[unavailable] = detour
        if len(self._detours) > _KEPT_DETOURS:
            del self._detours[next(iter(self._detours))]
        return detour

    def _find(self, low: int, high: int) -> None:
        if not 0 <= low <= high < self.network.node_count:
            raise ValueError(
                f"no path from node {low} to node {high}: nodes are 0 to {self.network.node_count - 1}"
            )
        found = [] if low == high else self._best(low, high)
        self._found[low, high] = tuple(found)
        self._found[high, low] = tuple(path.reversed() for path in found)

    def _best(self, source: int, destination: int) -> list[Path]:
        minimum = self._fewest_hops.min_hops(source, destination)
        if minimum is None:
            return []
        max_hops = minimum + self.extra_hops
        wanted = self.count - self.count // 2
        few = set(islice(self._fewest_hops.paths(source, destination, max_hops), wanted))
        light = self._min_work.paths(source, destination, max_hops)
        others = islice((nodes for nodes in light if nodes not in few), self.count - wanted)
        return sorted(map(self._path, (*few, *others)), key=self._hops_length_nodes)

    def _path(self, nodes: tuple[int, ...]) -> Path:
        links = tuple(self.network.link_between[pair] for pair in pairwise(nodes))
        hop_delay_s = tuple(self._delay_s[link] for link in links)
        return Path(nodes, links, hop_delay_s, sum(hop_delay_s))

    def _hops_length_nodes(self, path: Path) -> tuple[int, float, tuple[int, ...]]:
        return path.hops, round(sum(self._length_km[link] for link in path.links), 9), path.nodes


def _without(unavailable: Unavailable, neighbours: Neighbours) -> Neighbours:
    return tuple(
        tuple(pair for pair in around if not unavailable.hits((node, pair[0]), (pair[1],)))
        for node, around in enumerate(neighbours)
    )


def _hops_then_length(network: Network) -> list[int]:
    """The cost of each link by which a hop more is always worse than any length."""
    steps = np.rint(network.graph.length_km * _STEPS_PER_KM).astype(np.int64)
    return list((_HOP + steps).tolist())


def _work(network: Network) -> list[int]:
    """The cost of each link by which paths between two nodes compare as their work does.

    A link's own and half of that of the repeater at each end: what the two ends of a path add is the same
    for all paths between them.
    """
    rates_hz = network.repeater_rate_hz
    swap_s = np.divide(1.0, rates_hz, out=np.zeros_like(rates_hz), where=rates_hz > 0.0)
    working = network.link_rate_hz > 0.0
    pair_s = np.divide(1.0, network.link_rate_hz, out=np.zeros(network.link_count), where=working)
    cost = np.rint((pair_s + swap_s[network.graph.link_ends].mean(axis=1)) * _STEPS_PER_S)
    return list(np.where(working, np.minimum(cost, _MAX_WORK), _UNREACHABLE).astype(np.int64).tolist())


class _Search:
    """Simple paths over repeaters, least summed cost of their links first; costs are whole numbers."""

    def __init__(self, network: Network, neighbours: Neighbours, cost: list[int]) -> None:
        self._idle = network.repeater_rate_hz <= 0.0
        self._neighbours = neighbours
        self._cost = cost
        self._arcs = _Arcs.of(neighbours, cost)
        self._walks: dict[int, _Walks] = {}

    def min_hops(self, source: int, destination: int) -> int | None:
        """Fewest hops of any path; None if there is none."""
        fewer = self._walks_to(destination).min_hops([node for node, _ in self._neighbours[source]])
        return None if fewer is None else 1 + fewer

    def paths(self, source: int, destination: int, max_hops: int) -> Iterator[tuple[int, ...]]:
        """Nodes of each path of at most `max_hops` hops, by (cost, nodes), until 20,000 are opened."""
        neighbours, cost = self._neighbours, self._cost
        bound = self._walks_to(destination).up_to(max_hops - 1)
        # Entries are (bound on the whole cost, nodes so far, cost so far): ties go by nodes.
        heap: list[tuple[int, tuple[int, ...], int]] = [(0, (source,), 0)]
        for _ in range(_MAX_EXPANSIONS):
            if not heap:
                return
            _, nodes, walked = heappop(heap)
            if nodes[-1] == destination:
                yield nodes
                continue
            min_left = bound[max_hops - len(nodes)]
            for node, link in neighbours[nodes[-1]]:
                so_far = walked + cost[link]
                beyond = so_far + min_left[node]
                if beyond < _UNREACHABLE and node not in nodes:
                    heappush(heap, (beyond, (*nodes, node), so_far))

    def _walks_to(self, destination: int) -> _Walks:
        found = self._walks.get(destination)
        if found is None:
            if len(self._walks) == _KEPT_WALKS:
                del self._walks[next(iter(self._walks))]
            barred = self._idle.copy()
            barred[destination] = True
            found = self._walks[destination] = _Walks(self._arcs, destination, barred)
        return found


@dataclass(frozen=True, eq=False)
class _Arcs:
    """Every link in both directions, by its tail; int64. Arc i goes from a tail to `head[i]`.

    `tails`: nodes that have any; the arcs of `tails[i]` begin at `first[i]`.
    """

    tails: NDArray[np.int64]
    first: NDArray[np.int64]
    head: NDArray[np.int64]
    cost: NDArray[np.int64]

    @classmethod
    def of(cls, neighbours: Neighbours, cost: list[int]) -> _Arcs:
        degree = np.array([len(around) for around in neighbours], dtype=np.int64)
        first = np.cumsum(degree) - degree
        arcs = [(node, cost[link]) for around in neighbours for node, link in around]
        head, costs = np.array(arcs, dtype=np.int64).reshape(-1, 2).T
        tails = np.flatnonzero(degree)
        return cls(tails, first[tails], head, costs)


class _Walks:
    """Least cost of a walk of at most r hops from each node to one destination, over repeaters.

    A row for each r, as far as they were asked for.
    """

    def __init__(self, arcs: _Arcs, destination: int, barred: NDArray[np.bool_]) -> None:
        self._arcs = arcs
        self._barred = barred
        self._row = np.full(len(barred), _UNREACHABLE, dtype=np.int64)
        self._row[destination] = 0
        self._growing = True
        self._rows: list[list[int]] = [self._row.tolist()]

    def up_to(self, hops: int) -> list[list[int]]:
        """The rows of 0 to at least `hops` hops."""
        while len(self._rows) <= hops:
            self._grow()
        return self._rows

    def min_hops(self, nodes: list[int]) -> int | None:
        """The fewest hops in which any of the nodes is reached; None if none is."""
        hops = 0
        while True:
            row = self.up_to(hops)[hops]
            if any(row[node] < _UNREACHABLE for node in nodes):
                return hops
            # Whoever is farther has a neighbour that is nearer.
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
            over = np.minimum(self._row[arcs.head] + arcs.cost, _UNREACHABLE)
            nearer = np.minimum(np.minimum.reduceat(over, arcs.first), row[arcs.tails])
            row[arcs.tails] = np.where(self._barred[arcs.tails], row[arcs.tails], nearer)
        self._growing = bool((row < self._row).any())
        self._row = row
        self._rows.append(row.tolist())

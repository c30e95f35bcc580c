"""Paths between nodes: the K with fewest hops, found on first use and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from qdpem.network.graph import Network
from qdpem.network.outages import NOTHING_AWAY, Away

_STEPS_PER_KM = 1e9
_UNREACHABLE = 2**61
_KEPT_WALKS = 128
_MOST_EXPANSIONS = 20_000
_KEPT_DETOURS = 16


@dataclass(frozen=True)
class Path:
    """A simple path: N+1 nodes, N links, and the message delay from end to end."""

    nodes: tuple[int, ...]
    links: tuple[int, ...]
    length_km: float
    delay_s: float

    @property
    def hops(self) -> int:
        """Number of links."""
        return len(self.links)

    def reversed(self) -> Path:
        """The same path from its other end."""
        return Path(self.nodes[::-1], self.links[::-1], self.length_km, self.delay_s)


class Routes:
    """K shortest simple paths per pair, by (hops, length, nodes), inner nodes only where repeaters work.

    `paths(s, d)` gives up to `count` paths of at most (least hops + `extra_hops`) hops, empty if none.
    Found when first asked and kept; every arm of a seed may share one object. What is `away` is for these
    routes not there at all.

    The search takes one number of hops after another and, at each, completes paths best first (A*,
    Hart, Nilsson and Raphael 1968) with the length of the shortest walk of exactly the hops that are
    left as its bound. At the least number of hops every such walk is a simple path, so at most
    `count` x hops prefixes are opened however large the network. Above it a walk may visit a node
    twice; if more than 20,000 prefixes are opened at one number of hops, what was found by then is
    kept and no longer path is sought. Lengths are compared to the micrometre.
    """

    def __init__(
        self, network: Network, *, count: int = 8, extra_hops: int = 3, away: Away = NOTHING_AWAY
    ) -> None:
        if count < 1 or extra_hops < 0:
            raise ValueError(
                f"count = {count} and extra_hops = {extra_hops}; they must be at least 1 and at least 0"
            )
        self.network = network
        self.count = count
        self.extra_hops = extra_hops
        self._found: dict[tuple[int, int], tuple[Path, ...]] = {}
        self._walks: dict[int, _Walks] = {}
        self._steps: list[int] = np.rint(network.graph.length_km * _STEPS_PER_KM).astype(np.int64).tolist()
        self._length_km: list[float] = network.graph.length_km.tolist()
        self._delay_s: list[float] = network.delay_s.tolist()
        self._detours: dict[Away, Routes] = {}
        self._neighbours = network.neighbours
        if away:
            self._leave_out(away)
        self._arcs = _Arcs.of(self._neighbours, self._steps)

    def paths(self, source: int, destination: int, away: Away = NOTHING_AWAY) -> tuple[Path, ...]:
        """Up to `count` paths from `source` to `destination`, best first.

        Those from `destination` to `source` are the same ones reversed. Empty where no path exists,
        and from a node to itself. With some nodes and links `away`: the paths there would be if they did not
        exist, which are the same ones where none of them is hit. Raises ValueError for an index that is no
        node.
        """
        key = (source, destination)
        if key not in self._found:
            self._find(min(key), max(key))
        found = self._found[key]
        if away and any(away.hits(path.nodes, path.links) for path in found):
            return self._without(away).paths(source, destination)
        return found

    def _without(self, away: Away) -> Routes:
        """The routes around what is away; those asked for last are kept."""
        detour = self._detours.pop(away, None)
        if detour is None:
            detour = Routes(self.network, count=self.count, extra_hops=self.extra_hops, away=away)
        self._detours[away] = detour
        if len(self._detours) > _KEPT_DETOURS:
            del self._detours[next(iter(self._detours))]
        return detour

    def _leave_out(self, away: Away) -> None:
        self._neighbours = tuple(
            tuple(pair for pair in around if not away.hits((node, pair[0]), (pair[1],)))
            for node, around in enumerate(self.network.neighbours)
        )

    def _find(self, low: int, high: int) -> None:
        if not 0 <= low <= high < self.network.node_count:
            raise ValueError(
                f"no path from node {low} to node {high}: nodes are 0 to {self.network.node_count - 1}"
            )
        found = [] if low == high else self._shortest(low, high)
        self._found[low, high] = tuple(found)
        self._found[high, low] = tuple(path.reversed() for path in found)

    def _shortest(self, source: int, destination: int) -> list[Path]:
        walks = self._walks_to(destination)
        least = walks.least_hops([node for node, _ in self._neighbours[source]])
        if least is None:
            return []
        found: list[Path] = []
        for hops in range(1 + least, 2 + least + self.extra_hops):
            nodes, complete = self._of_hops(source, hops, walks.up_to(hops - 1), self.count - len(found))
            found.extend(self._path(sequence) for sequence in nodes)
            if len(found) == self.count or not complete:
                break
        return found

    def _of_hops(
        self, source: int, hops: int, bound: list[list[int]], count: int
    ) -> tuple[list[tuple[int, ...]], bool]:
        """The `count` shortest simple paths of exactly `hops` hops, and whether the search was whole."""
        neighbours, steps = self._neighbours, self._steps
        # Entries are (bound on the whole length, nodes so far, length so far): ties go by nodes.
        heap: list[tuple[int, tuple[int, ...], int]] = [(0, (source,), 0)]
        found: list[tuple[int, ...]] = []
        for _ in range(_MOST_EXPANSIONS):
            if not heap:
                return found, True
            _, nodes, walked = heappop(heap)
            left = hops - len(nodes)
            if left < 0:
                found.append(nodes)
                if len(found) == count:
                    return found, True
                continue
            least_left = bound[left]
            for node, link in neighbours[nodes[-1]]:
                beyond = least_left[node]
                if beyond < _UNREACHABLE and node not in nodes:
                    so_far = walked + steps[link]
                    heappush(heap, (so_far + beyond, (*nodes, node), so_far))
        return found, not heap

    def _walks_to(self, destination: int) -> _Walks:
        found = self._walks.get(destination)
        if found is None:
            if len(self._walks) == _KEPT_WALKS:
                del self._walks[next(iter(self._walks))]
            barred = self.network.repeater_rate_hz <= 0.0
            barred[destination] = True
            found = self._walks[destination] = _Walks(self._arcs, destination, barred)
        return found

    def _path(self, nodes: tuple[int, ...]) -> Path:
        links = tuple(self.network.link_between[pair] for pair in pairwise(nodes))
        return Path(
            nodes,
            links,
            sum(self._length_km[link] for link in links),
            sum(self._delay_s[link] for link in links),
        )


@dataclass(frozen=True, eq=False)
class _Arcs:
    """Every link in both directions, by its tail; int64. Arc i goes from a tail to `head[i]`.

    `tails`: nodes that have any; the arcs of `tails[i]` begin at `first[i]`.
    """

    tails: NDArray[np.int64]
    first: NDArray[np.int64]
    head: NDArray[np.int64]
    steps: NDArray[np.int64]

    @classmethod
    def of(cls, neighbours: Sequence[Sequence[tuple[int, int]]], steps: list[int]) -> _Arcs:
        degree = np.array([len(around) for around in neighbours], dtype=np.int64)
        first = np.cumsum(degree) - degree
        arcs = [(node, steps[link]) for around in neighbours for node, link in around]
        head, length = np.array(arcs, dtype=np.int64).reshape(-1, 2).T
        tails = np.flatnonzero(degree)
        return cls(tails, first[tails], head, length)


class _Walks:
    """Least length of a walk of exactly r hops from each node to one destination, over repeaters.

    In micrometres, a row for each r, as far as they were asked for.
    """

    def __init__(self, arcs: _Arcs, destination: int, barred: NDArray[np.bool_]) -> None:
        self._arcs = arcs
        self._barred = barred
        self._row = np.full(len(barred), _UNREACHABLE, dtype=np.int64)
        self._row[destination] = 0
        self._reached = self._row < _UNREACHABLE
        self._growing = True
        self._rows: list[list[int]] = [self._row.tolist()]

    def up_to(self, hops: int) -> list[list[int]]:
        """The rows of 0 to at least `hops` hops."""
        while len(self._rows) <= hops:
            self._grow()
        return self._rows

    def least_hops(self, nodes: list[int]) -> int | None:
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
        arcs = self._arcs
        row = np.full_like(self._row, _UNREACHABLE)
        if len(arcs.tails):
            over = np.minimum(self._row[arcs.head] + arcs.steps, _UNREACHABLE)
            row[arcs.tails] = np.minimum.reduceat(over, arcs.first)
        row[self._barred] = _UNREACHABLE
        near = row < _UNREACHABLE
        self._growing = bool((near & ~self._reached).any())
        self._reached |= near
        self._row = row
        self._rows.append(row.tolist())

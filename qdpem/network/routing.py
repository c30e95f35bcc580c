"""Paths between nodes: the K with fewest hops, found on first use and kept."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from qdpem.network.graph import Network
from qdpem.network.outages import NOTHING_AWAY, Away

_STEPS_PER_KM = 1e9
_UNREACHABLE = 2**61
_KEPT_TABLES = 128
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
        self._tables: dict[int, NDArray[np.int64]] = {}
        self._steps: list[int] = np.rint(network.graph.length_km * _STEPS_PER_KM).astype(np.int64).tolist()
        self._detours: dict[Away, Routes] = {}
        self._neighbours = network.neighbours
        self._links = np.arange(network.link_count)
        if away:
            self._leave_out(away)

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
        kept = sorted({link for around in self._neighbours for _, link in around})
        self._links = np.array(kept, dtype=np.int64)

    def _find(self, low: int, high: int) -> None:
        if not 0 <= low <= high < self.network.node_count:
            raise ValueError(
                f"no path from node {low} to node {high}: nodes are 0 to {self.network.node_count - 1}"
            )
        found = [] if low == high else self._shortest(low, high)
        self._found[low, high] = tuple(found)
        self._found[high, low] = tuple(path.reversed() for path in found)

    def _shortest(self, source: int, destination: int) -> list[Path]:
        bound = self._table(destination)
        around = [node for node, _ in self._neighbours[source]]
        reaches = (bound[:, around] < _UNREACHABLE).any(axis=1)
        if not reaches.any():
            return []
        least = 1 + int(reaches.argmax())
        found: list[Path] = []
        for hops in range(least, least + self.extra_hops + 1):
            nodes, complete = self._of_hops(source, hops, bound, self.count - len(found))
            found.extend(self._path(sequence) for sequence in nodes)
            if len(found) == self.count or not complete:
                break
        return found

    def _of_hops(
        self, source: int, hops: int, bound: NDArray[np.int64], count: int
    ) -> tuple[list[tuple[int, ...]], bool]:
        """The `count` shortest simple paths of exactly `hops` hops, and whether the search was whole."""
        least_left = bound.item
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
            for node, link in neighbours[nodes[-1]]:
                beyond = least_left(left, node)
                if beyond < _UNREACHABLE and node not in nodes:
                    so_far = walked + steps[link]
                    heappush(heap, (so_far + beyond, (*nodes, node), so_far))
        return found, not heap

    def _table(self, destination: int) -> NDArray[np.int64]:
        """Least length of a walk of r hops to `destination` over repeaters, int64 [r, N], in micrometres."""
        if destination not in self._tables:
            if len(self._tables) == _KEPT_TABLES:
                self._tables.pop(next(iter(self._tables)))
            self._tables[destination] = self._compute_table(destination)
        return self._tables[destination]

    def _compute_table(self, destination: int) -> NDArray[np.int64]:
        ends = self.network.graph.link_ends[self._links]
        begins = np.concatenate([ends[:, 0], ends[:, 1]])
        nexts = np.concatenate([ends[:, 1], ends[:, 0]])
        steps = np.tile(np.array(self._steps, dtype=np.int64)[self._links], 2)
        barred = self.network.repeater_rate_hz <= 0.0
        barred[destination] = True
        row = np.full(self.network.node_count, _UNREACHABLE, dtype=np.int64)
        row[destination] = 0
        rows, reached = [row], row < _UNREACHABLE
        growing, spare = True, self.extra_hops
        while growing or spare > 0:
            row = np.full_like(row, _UNREACHABLE)
            np.minimum.at(row, begins, np.minimum(rows[-1][nexts] + steps, _UNREACHABLE))
            row[barred] = _UNREACHABLE
            rows.append(row)
            growing = growing and bool(((row < _UNREACHABLE) & ~reached).any())
            reached |= row < _UNREACHABLE
            spare -= 0 if growing else 1
        return np.array(rows)

    def _path(self, nodes: tuple[int, ...]) -> Path:
        links = tuple(self.network.link_between[pair] for pair in pairwise(nodes))
        chosen = list(links)
        return Path(
            nodes,
            links,
            float(self.network.graph.length_km[chosen].sum()),
            float(self.network.delay_s[chosen].sum()),
        )

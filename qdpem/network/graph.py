"""The network as values: who stands where, what joins them, how long light takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from physics.hardware import NodeHardware
from physics.interface import CompiledLink
from qdpem.scenario.words import RepeaterKind, SwapOrder


@dataclass(frozen=True, eq=False, kw_only=True)
class Graph:
    """A bare topology: positions and lengths in km, before hardware.

    `link_ends` int64 [L, 2] with first < second, sorted, no doubles; `x_km`, `y_km`, float64 [N];
    `length_km` float64 [L]; `demand_weights` float64 [N, N], symmetric with zero diagonal, or None.
    """

    name: str
    node_names: tuple[str, ...]
    x_km: NDArray[np.float64]
    y_km: NDArray[np.float64]
    link_ends: NDArray[np.int64]
    length_km: NDArray[np.float64]
    demand_weights: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """The map that every arm knows. N nodes, L links; arrays float64 unless said.

    `swap_order`: what repeaters wait for before they swap; `cutoff_s`: how old the oldest link pair in a pair
    may grow in the making, inf without a cut-off. `slotted`: whether links attempt at whole multiples of
    their period alone.
    `source_rate_hz`, `repeater_rate_hz`, `memories` (int64): per node [N]. `delay_s` [L]: one way,
    light and processing. `links` and `hardware`: what physics compiled, per link and per node.
    `memories_per_link`: where each link has qubits of its own at a node, how many; `memories` is then their
    sum. `repeater_kind`: "token-bucket" or "server"; a server has a burst of 1, and no `swap_time_s`.
    """

    graph: Graph
    source_rate_hz: NDArray[np.float64]
    repeater_rate_hz: NDArray[np.float64]
    repeater_burst: float
    swap_time_s: float
    distillation_time_s: float
    memories: NDArray[np.int64]
    remote_storage_quota: float
    delay_s: NDArray[np.float64]
    links: tuple[CompiledLink, ...]
    hardware: tuple[NodeHardware, ...]
    swap_order: SwapOrder = SwapOrder.ASAP
    cutoff_s: float = math.inf
    slotted: bool = False
    memories_per_link: int | None = None
    repeater_kind: RepeaterKind = RepeaterKind.TOKEN_BUCKET

    @cached_property
    def first_end(self) -> list[int]:
        """The end of each link with the lower index, as plain numbers."""
        return [int(first) for first in self.graph.link_ends[:, 0]]

    @property
    def node_count(self) -> int:
        """N."""
        return len(self.graph.node_names)

    @property
    def link_count(self) -> int:
        """L."""
        return len(self.graph.length_km)

    @cached_property
    def success_probability(self) -> NDArray[np.float64]:
        """Of one attempt on each link, float64 [L]."""
        return np.array([link.success_probability for link in self.links])

    @cached_property
    def source_limited(self) -> NDArray[np.bool_]:
        """Links that are fed by the sources at their ends, bool [L]; all others attempt by themselves."""
        return np.array([link.source_limited for link in self.links], dtype=np.bool_)

    @cached_property
    def link_rate_hz(self) -> NDArray[np.float64]:
        """Pairs/s a link would get if it had all it needs, float64 [L].

        That is both its sources if it is source-limited, and else a claim for each of its modes, all the
        time: modes x success probability / attempt period.
        """
        ends = self.graph.link_ends
        attempts_hz = [0.0 if one.source_limited else one.modes / one.attempt_period_s for one in self.links]
        tries_hz = np.where(self.source_limited, self.source_rate_hz[ends].sum(axis=1), attempts_hz)
        return np.asarray(tries_hz * self.success_probability)

    @cached_property
    def pair_time_s(self) -> NDArray[np.float64]:
        """Mean time in which each node works off one pair that is ahead there, float64 [N].

        Its source makes pairs one by one, with both ends working at them, at the mean rate of its links;
        links that attempt by themselves work side by side, at the sum of their rates.
        """
        shared, alone, count = (np.zeros(self.node_count) for _ in range(3))
        for ends in self.graph.link_ends.T:
            np.add.at(shared, ends, np.where(self.source_limited, self.link_rate_hz, 0.0))
            np.add.at(alone, ends, np.where(self.source_limited, 0.0, self.link_rate_hz))
            np.add.at(count, ends, np.where(self.source_limited, 1.0, 0.0))
        count = np.maximum(count, 1.0)
        total = shared + count * alone
        return np.divide(count, total, out=np.zeros(self.node_count), where=total > 0.0)

    @cached_property
    def adjacent(self) -> NDArray[np.bool_]:
        """Whether a link joins two nodes, bool [N, N]."""
        joined = np.zeros((self.node_count, self.node_count), dtype=np.bool_)
        first, second = self.graph.link_ends.T
        joined[first, second] = joined[second, first] = True
        return joined

    @cached_property
    def neighbours(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """For each node its (neighbour, link) pairs, ascending by neighbour."""
        around: list[list[tuple[int, int]]] = [[] for _ in range(self.node_count)]
        for link, (first, second) in enumerate(self.graph.link_ends.tolist()):
            around[first].append((second, link))
            around[second].append((first, link))
        return tuple(tuple(sorted(pairs)) for pairs in around)

    @cached_property
    def link_between(self) -> dict[tuple[int, int], int]:
        """Link index by its two ends, in either order; no entry where there is no link."""
        found: dict[tuple[int, int], int] = {}
        for link, (first, second) in enumerate(self.graph.link_ends.tolist()):
            found[first, second] = found[second, first] = link
        return found

    @cached_property
    def distance_s(self) -> NDArray[np.float64]:
        """Least message delay between every two nodes along links, float64 [N, N]."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import dijkstra

        ends = self.graph.link_ends
        shape = (self.node_count, self.node_count)
        weights = csr_matrix((self.delay_s, (ends[:, 0], ends[:, 1])), shape=shape)
        return np.asarray(dijkstra(weights, directed=False))

    @cached_property
    def hop_distance(self) -> NDArray[np.int64]:
        """Least number of hops between every two nodes, int64 [N, N]."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import dijkstra

        ends = self.graph.link_ends
        shape = (self.node_count, self.node_count)
        ones = csr_matrix((np.ones(self.link_count), (ends[:, 0], ends[:, 1])), shape=shape)
        return np.asarray(dijkstra(ones, directed=False, unweighted=True)).astype(np.int64)

    @cached_property
    def median_node(self) -> int:
        """The node with the least summed delay to all others; the controller sits here."""
        return int(self.distance_s.sum(axis=1).argmin())

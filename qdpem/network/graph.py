"""The network as values: nodes, links, rates, memories and message delays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from physics.hardware import NodeHardware
from physics.interface import CompiledLink
from qdpem.arrays import Flags, Floats, Ints
from qdpem.scenario.words import RepeaterKind, SwapOrder


@dataclass(frozen=True, eq=False, kw_only=True)
class Graph:
    """A bare topology without hardware: positions and lengths in km.

    `link_ends` int64 [L, 2] with first < second, sorted, without duplicates; `x_km`, `y_km`, float64 [N];
    `length_km` float64 [L]; `demand_weights` float64 [N, N], symmetric with zero diagonal, or None.

    A map may also set numbers of single nodes: `node_numbers` maps "memories", "source_rate_hz" or
    "repeater_rate_hz" to float64 [N], NaN where the scenario's value holds. `cleaning` says in one line what
    was mended, "" if nothing was. `ignored`: how often the map gives an attribute of hardware that is not
    used.
    """

    name: str
    node_names: tuple[str, ...]
    x_km: Floats
    y_km: Floats
    link_ends: Ints
    length_km: Floats
    demand_weights: Floats | None = None
    node_numbers: Mapping[str, Floats] = field(default_factory=dict)
    cleaning: str = ""
    ignored: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """The network that every arm knows. N nodes, L links; arrays are float64 unless noted.

    Per node [N]: `source_rate_hz`, `repeater_rate_hz`, `memories` (int64, qubits), `hardware`. Per link [L]:
    `delay_s`, one way, for light and processing, and `links`, compiled by the physics model.

    `swap_order`: the event that repeaters wait for before they swap. `cutoff_s`: the largest age of the
    oldest link pair in a pair that is not yet complete, inf without a cut-off. `slotted`: whether links
    attempt only at whole multiples of their period. `memories_per_link`: the number of qubits that each link
    has for itself at a node, if it has any; `memories` is then their sum. `repeater_kind`: "token-bucket" or
    "server"; a server has a burst of 1 and no `swap_time_s`.
    """

    graph: Graph
    source_rate_hz: Floats
    repeater_rate_hz: Floats
    repeater_burst: float
    swap_time_s: float
    distillation_time_s: float
    memories: Ints
    remote_storage_quota: float
    delay_s: Floats
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
    def success_probability(self) -> Floats:
        """Success probability of one attempt or emission on each link, float64 [L]."""
        return np.array([link.success_probability for link in self.links])

    @cached_property
    def source_limited(self) -> Flags:
        """Whether the sources at its ends feed each link, bool [L]; all others attempt by themselves."""
        return np.array([link.source_limited for link in self.links], dtype=np.bool_)

    @cached_property
    def link_rate_hz(self) -> Floats:
        """Pairs per second of each link if it had all resources for itself, float64 [L].

        A source-limited link has both its sources. Any other has a claim for each of its modes at all times:
        modes x success probability / attempt period.
        """
        ends = self.graph.link_ends
        attempts_hz = [
            0.0 if link.source_limited else link.modes / link.attempt_period_s for link in self.links
        ]
        tries_hz = np.where(self.source_limited, self.source_rate_hz[ends].sum(axis=1), attempts_hz)
        return np.asarray(tries_hz * self.success_probability)

    @cached_property
    def pair_time_s(self) -> Floats:
        """Mean time in which each node makes one pair of its backlog, float64 [N].

        Its source makes pairs one after the other, together with the other end, at the mean rate of its
        links. Links that attempt by themselves work in parallel, at the sum of their rates.
        """
        source_hz, attempt_hz, count = (np.zeros(self.node_count) for _ in range(3))
        for ends in self.graph.link_ends.T:
            np.add.at(source_hz, ends, np.where(self.source_limited, self.link_rate_hz, 0.0))
            np.add.at(attempt_hz, ends, np.where(self.source_limited, 0.0, self.link_rate_hz))
            np.add.at(count, ends, np.where(self.source_limited, 1.0, 0.0))
        # A node with self-attempting links only counts as one source, so that the formula has one form.
        count = np.maximum(count, 1.0)
        total = source_hz + count * attempt_hz
        return np.divide(count, total, out=np.zeros(self.node_count), where=total > 0.0)

    @cached_property
    def adjacent(self) -> Flags:
        """Whether a link joins two nodes, bool [N, N]."""
        adjacent = np.zeros((self.node_count, self.node_count), dtype=np.bool_)
        first, second = self.graph.link_ends.T
        adjacent[first, second] = adjacent[second, first] = True
        return adjacent

    @cached_property
    def neighbours(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """For each node its (neighbour, link) pairs, ascending by neighbour."""
        neighbours: list[list[tuple[int, int]]] = [[] for _ in range(self.node_count)]
        for link, (first, second) in enumerate(self.graph.link_ends.tolist()):
            neighbours[first].append((second, link))
            neighbours[second].append((first, link))
        # Order is part of the contract: policies, streams and ties rely on it.
        return tuple(tuple(sorted(pairs)) for pairs in neighbours)

    @cached_property
    def link_between(self) -> dict[tuple[int, int], int]:
        """Link index by its two ends, in either order; no entry where there is no link."""
        links: dict[tuple[int, int], int] = {}
        for link, (first, second) in enumerate(self.graph.link_ends.tolist()):
            links[first, second] = links[second, first] = link
        return links

    @cached_property
    def distance_s(self) -> Floats:
        """Minimum message delay between every two nodes along links, float64 [N, N]."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import dijkstra

        ends = self.graph.link_ends
        shape = (self.node_count, self.node_count)
        # A delay of exactly 0 stays an explicit entry, and Dijkstra counts it as an edge.
        weights = csr_matrix((self.delay_s, (ends[:, 0], ends[:, 1])), shape=shape)
        return np.asarray(dijkstra(weights, directed=False))

    @cached_property
    def hop_distance(self) -> Ints:
        """Minimum number of hops between every two nodes, int64 [N, N]."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import dijkstra

        ends = self.graph.link_ends
        shape = (self.node_count, self.node_count)
        ones = csr_matrix((np.ones(self.link_count), (ends[:, 0], ends[:, 1])), shape=shape)
        return np.asarray(dijkstra(ones, directed=False, unweighted=True)).astype(np.int64)

    @cached_property
    def median_node(self) -> int:
        """The node with the smallest sum of delays to all others, where the controller is."""
        # argmin takes the first of equals, so the choice is reproducible.
        return int(self.distance_s.sum(axis=1).argmin())

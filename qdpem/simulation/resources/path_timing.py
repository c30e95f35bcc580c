"""Tracks: what is fixed about a path of nodes, worked out once and shared by all that run along it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from qdpem.network.graph import Network


@dataclass(frozen=True, eq=False, kw_only=True)
class Track:
    """A path step by step; step i joins positions i and i + 1.

    `links`: the link of each step, -1 where two nodes that are no neighbours follow each other (a stocked
    pair stands there). `delay_s`: message delay of each step. `message_hops`: links its messages cross.
    """

    nodes: tuple[int, ...]
    links: tuple[int, ...]
    delay_s: tuple[float, ...]
    message_hops: tuple[int, ...]

    @cached_property
    def delays_s(self) -> tuple[tuple[float, ...], ...]:
        """Message delay along the path from every position to every position, seconds."""
        return tuple(self._delays_from(position) for position in range(len(self.nodes)))

    def _delays_from(self, position: int) -> tuple[float, ...]:
        delays = [0.0] * len(self.nodes)
        for left in range(position - 1, -1, -1):
            delays[left] = delays[left + 1] + self.delay_s[left]
        for right in range(position + 1, len(self.nodes)):
            delays[right] = delays[right - 1] + self.delay_s[right - 1]
        return tuple(delays)


class Tracks:
    """The tracks of a network, made when first asked for and kept."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._made: dict[tuple[int, ...], Track] = {}

    def along(self, nodes: tuple[int, ...]) -> Track:
        """The track over these nodes."""
        found = self._made.get(nodes)
        if found is None:
            found = self._made[nodes] = self._make(nodes)
        return found

    def _make(self, nodes: tuple[int, ...]) -> Track:
        network = self._network
        steps = list(pairwise(nodes))
        links = tuple(network.link_between.get(step, -1) for step in steps)
        delay_s = tuple(
            float(network.delay_s[link] if link >= 0 else network.distance_s[step])
            for step, link in zip(steps, links, strict=True)
        )
        hops = tuple(int(network.hop_distance[step]) for step in steps)
        return Track(nodes=nodes, links=links, delay_s=delay_s, message_hops=hops)

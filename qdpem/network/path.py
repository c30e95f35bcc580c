"""Path: the nodes and links from one node to another, and how long messages take along them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from qdpem.network.graph import Network

VIRTUAL_LINK = -1
"""In place of the link of a hop over a stocked remote pair, whose two nodes no link joins."""


@dataclass(frozen=True)
class Path:
    """N+1 nodes and the N links between them; hop i joins positions i and i+1 of `nodes`.

    `links`: the link of each hop, VIRTUAL_LINK for a hop over a stocked remote pair. `hop_delay_s`: message
    delay over each hop, one way. `delay_s`: their sum, the message delay from end to end. It is stored:
    a path and its reverse must agree on it to the last bit, and floating-point sums depend on their order.
    """

    nodes: tuple[int, ...]
    links: tuple[int, ...]
    hop_delay_s: tuple[float, ...]
    delay_s: float

    @property
    def hops(self) -> int:
        """Number of hops."""
        return len(self.links)

    def reversed(self) -> Path:
        """The same path from its other end."""
        return Path(self.nodes[::-1], self.links[::-1], self.hop_delay_s[::-1], self.delay_s)

    @cached_property
    def delays_s(self) -> tuple[tuple[float, ...], ...]:
        """Message delay along the path from every position to every position, seconds."""
        return tuple(self._delays_from(position) for position in range(len(self.nodes)))

    def _delays_from(self, position: int) -> tuple[float, ...]:
        delays = [0.0] * len(self.nodes)
        # Sums run outwards from the position; differences of one running sum would round differently.
        for left in range(position - 1, -1, -1):
            delays[left] = delays[left + 1] + self.hop_delay_s[left]
        for right in range(position + 1, len(self.nodes)):
            delays[right] = delays[right - 1] + self.hop_delay_s[right - 1]
        return tuple(delays)


def path_along(network: Network, nodes: tuple[int, ...]) -> Path:
    """The path that visits `nodes` in this order; nodes may occur twice.

    Two nodes that follow each other without a link between them are a hop over a stocked remote pair: its
    messages take the path of least delay over links.
    """
    steps = list(pairwise(nodes))
    links = tuple(network.link_between.get(step, VIRTUAL_LINK) for step in steps)
    hop_delay_s = tuple(
        float(network.delay_s[link] if link >= 0 else network.distance_s[step])
        for step, link in zip(steps, links, strict=True)
    )
    return Path(nodes, links, hop_delay_s, float(np.array(hop_delay_s).sum()))


class Paths:
    """The paths that allocations of one network name, each computed on first use."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._paths: dict[tuple[int, ...], Path] = {}

    def along(self, nodes: tuple[int, ...]) -> Path:
        """The path that visits `nodes` in this order."""
        path = self._paths.get(nodes)
        if path is None:
            path = self._paths[nodes] = path_along(self._network, nodes)
        return path

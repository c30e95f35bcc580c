"""Paths between nodes: the K with fewest hops, found on first use and kept."""

from __future__ import annotations

from dataclasses import dataclass

from qdpem.network.graph import Network


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
    """K shortest simple paths per pair, by (hops, length), inner nodes only where repeaters work.

    `paths(s, d)` gives up to `count` paths of at most (least hops + `extra_hops`) hops, empty if none.
    """

    def __init__(self, network: Network, *, count: int = 8, extra_hops: int = 3) -> None:
        self.network = network
        self.count = count
        self.extra_hops = extra_hops
        self._found: dict[tuple[int, int], tuple[Path, ...]] = {}

    def paths(self, source: int, destination: int) -> tuple[Path, ...]:
        raise NotImplementedError

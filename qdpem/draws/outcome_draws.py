"""Outcome draws: the uniforms that decide swaps and distillations, keyed by names of nodes.

A run draws them in the course of its events. The audit draws the same ones again from the seed.
"""

from __future__ import annotations

from qdpem.network.graph import Graph
from qdpem.rng import UniformStream, pair_key


def swap_draws(graph: Graph, *, seed: int) -> list[UniformStream]:
    """One stream per node: its k-th uniform decides the node's k-th swap."""
    return [UniformStream(seed, f"repeater/{name}") for name in graph.node_names]


class EndDistillationDraws:
    """One stream for every two nodes: its k-th uniform decides their k-th end-to-end distillation."""

    def __init__(self, graph: Graph, *, seed: int) -> None:
        self._names = graph.node_names
        self._seed = seed
        self._streams: dict[tuple[int, int], UniformStream] = {}

    def between(self, first: int, second: int) -> UniformStream:
        """The stream of two nodes, in either order."""
        ends = (min(first, second), max(first, second))
        if ends not in self._streams:
            # Keyed by names, not by indices: the streams survive a change in the order of nodes.
            names = pair_key(self._names[first], self._names[second])
            self._streams[ends] = UniformStream(self._seed, f"end-distillation/{names}")
        return self._streams[ends]


def distillation_draws(graph: Graph, *, seed: int) -> list[UniformStream]:
    """One stream per link: its k-th uniform decides the link's k-th distillation."""
    names = graph.node_names
    return [
        UniformStream(seed, f"distillation/{pair_key(names[first], names[second])}")
        for first, second in graph.link_ends.tolist()
    ]

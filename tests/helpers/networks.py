"""Networks made by hand: nodes in a row on the map, links as they are listed."""

from __future__ import annotations

from collections.abc import Sequence

import networkx
import numpy as np

from physics.hardware import DepolarisingMemory, NodeHardware
from physics.interface import CompiledLink
from qdpem.network.graph import Graph, Network

Ends = Sequence[tuple[int, int]]


def made_graph(ends: Ends, nodes: int, *, length_km: float = 1.0) -> Graph:
    """Nodes n0, n1, ... and links of one length."""
    return Graph(
        name="made by hand",
        node_names=tuple(f"n{node}" for node in range(nodes)),
        x_km=np.arange(nodes, dtype=float),
        y_km=np.zeros(nodes),
        link_ends=np.array(ends, dtype=np.int64),
        length_km=np.full(len(ends), length_km),
    )


def made_network(
    ends: Ends,
    *,
    source_hz: Sequence[float],
    repeater_hz: Sequence[float],
    success: Sequence[float] | float = 1.0,
    swap_success: float = 1.0,
) -> Network:
    """A network for flows: all that they see is rates and chances; links are fed by sources."""
    nodes, links = len(source_hz), len(ends)
    hardware = NodeHardware(
        memory=DepolarisingMemory(depolarising_s=1.0), swap_success_probability=swap_success
    )
    return Network(
        graph=made_graph(ends, nodes),
        source_rate_hz=np.array(source_hz, dtype=float),
        repeater_rate_hz=np.array(repeater_hz, dtype=float),
        repeater_burst=1.0,
        swap_time_s=0.0,
        distillation_time_s=0.0,
        memories=np.ones(nodes, dtype=np.int64),
        remote_storage_quota=0.25,
        delay_s=np.zeros(links),
        links=tuple(
            CompiledLink(
                success_probability=float(probability), attempt_period_s=0.0, fresh=None, source_limited=True
            )
            for probability in np.broadcast_to(success, links)
        ),
        hardware=(hardware,) * nodes,
    )


def connected_ends(nodes: int, links: int, *, seed: int) -> list[tuple[int, int]]:
    """The links of a connected random graph; a seed whose graph falls apart is moved on by 1000."""
    graph = networkx.gnm_random_graph(nodes, links, seed=seed)
    while not networkx.is_connected(graph):
        seed += 1000
        graph = networkx.gnm_random_graph(nodes, links, seed=seed)
    return sorted(tuple(sorted(link)) for link in graph.edges)


def simple_paths(network: Network, source: int, destination: int, *, hops: int) -> list[list[int]]:
    """Every simple path of at most so many hops, as networkx lists them."""
    graph = networkx.Graph(list(map(tuple, network.graph.link_ends.tolist())))
    return list(networkx.all_simple_paths(graph, source, destination, cutoff=hops))

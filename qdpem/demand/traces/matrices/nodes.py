"""Traffic matrices on the nodes of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.demand.traces.matrices.traffic_matrices import TrafficMatrices
from qdpem.demand.traces.node_mapping import named_nodes, ranked_nodes


def map_nodes(
    matrices: TrafficMatrices,
    network_names: Sequence[str],
    mapping: Mapping[str, str | None] | None = None,
) -> TrafficMatrices:
    """The traffic between the nodes of a network, in their order, float64 [T, len(network_names), ...].

    `mapping`: the network's node of each node of the trace, None to leave it out; without a mapping the node
    of the same name. Nodes that share a node add up, and the traffic between them is left out. Nodes of the
    network that no node is mapped to have no traffic. Notes say how much each of this is.

    Raises UnknownNameError for a node that does not exist and QdpemError for one that the mapping lacks.
    """
    target = named_nodes(matrices.node_names, network_names, mapping, matrices.origin)
    index = {name: number for number, name in enumerate(network_names)}
    # A 0-1 matrix whose products move rows and columns, and add those that meet.
    place = np.zeros((len(matrices.node_names), len(network_names)))
    for number, name in enumerate(matrices.node_names):
        new = target[name]
        if new is not None:
            place[number, index[new]] = 1.0
    volume = place.T @ matrices.volume @ place
    np.einsum("tii->ti", volume)[...] = 0.0
    return replace(
        matrices,
        node_names=tuple(network_names),
        volume=volume,
        notes=(*matrices.notes, *_notes(matrices, volume, place)),
    )


def _notes(matrices: TrafficMatrices, volume: Floats, place: Floats) -> list[str]:
    used = int((place.sum(axis=0) > 0.0).sum())
    notes = [f"{int(place.sum())} nodes of traffic mapped to {used} of {place.shape[1]} nodes of the network"]
    before = float(matrices.volume.sum())
    lost = before - float(volume.sum())
    if before > 0.0 and lost > 1e-9 * before:
        notes.append(f"traffic of nodes left out or merged: {100.0 * lost / before:.3g} % of the total")
    return notes


def rank_mapping(
    matrices: TrafficMatrices, network_names: Sequence[str], degree: Ints | Sequence[int]
) -> dict[str, str | None]:
    """The busiest node of the trace to the network's node of highest degree, and so on; ties by name.

    The busiest node has the most traffic in and out over all time. Nothing is drawn: equal inputs give equal
    maps. Such a pairing of a trace with another network is synthetic; say so where you publish. Raises
    QdpemError for a network with fewer nodes than the trace.
    """
    total = matrices.volume.sum(axis=(0, 1)) + matrices.volume.sum(axis=(0, 2))
    totals = dict(zip(matrices.node_names, total.tolist(), strict=True))
    return ranked_nodes(totals, network_names, degree, matrices.origin)

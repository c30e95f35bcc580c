"""Demand between nodes that are near each other: who asks for pairs with whom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdpem.errors import Fault, ScenarioError
from qdpem.network.graph import Network
from qdpem.rng import stream
from qdpem.scenario.schema import Neighbourhood


def neighbourhood_weights(
    network: Network, neighbourhood: Neighbourhood, *, seed: int
) -> NDArray[np.float64]:
    """Weight of every ordered pair, float64 [N, N], symmetric: 1 for pairs in reach, or peers picked.

    With `neighbourhood.peers`, node V picks so many distinct nodes in reach, or all there are, from the stream
    `demand/peers/V`; a pair weighs as many times as one of its ends has picked the other. Raises
    ScenarioError when no two nodes are in reach of each other.
    """
    hops = network.hop_distance
    reach = (hops >= neighbourhood.min_hops) & (hops <= neighbourhood.max_hops)
    if not reach.any():
        wrong = (
            f"no two nodes of {network.graph.name} are {neighbourhood.min_hops} to {neighbourhood.max_hops} hops apart;"
            f" the farthest are {int(hops.max())} apart"
        )
        raise ScenarioError([Fault("demand.neighbourhood", wrong)])
    if neighbourhood.peers is None:
        return reach.astype(np.float64)
    picked = np.zeros(reach.shape)
    for node in range(network.node_count):
        others = stream(seed, f"demand/peers/{node}").permutation(np.flatnonzero(reach[node]))
        picked[node, others[: neighbourhood.peers]] = 1.0
    return picked + picked.T

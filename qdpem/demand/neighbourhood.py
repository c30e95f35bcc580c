"""Demand between nodes within a range of hops of each other."""

from __future__ import annotations

import numpy as np

from qdpem.arrays import Floats
from qdpem.errors import Fault, ScenarioError
from qdpem.network.graph import Network
from qdpem.rng import stream
from qdpem.scenario.schema import Neighbourhood


def neighbourhood_weights(network: Network, neighbourhood: Neighbourhood, *, seed: int) -> Floats:
    """Weight of every ordered node pair, float64 [N, N], symmetric.

    Without `neighbourhood.peers` it is 1 for pairs within range. With it, node V draws this number of
    distinct peers within range, or all if there are fewer, from the stream `demand/peers/V`, and the weight
    of a pair is the number of its ends that drew the other. Raises ScenarioError when no two nodes are within
    range.
    """
    hops = network.hop_distance
    in_range = (hops >= neighbourhood.min_hops) & (hops <= neighbourhood.max_hops)
    if not in_range.any():
        message = (
            f"no two nodes of {network.graph.name} are {neighbourhood.min_hops} to {neighbourhood.max_hops}"
            f" hops apart; the farthest are {int(hops.max())} apart"
        )
        raise ScenarioError([Fault("demand.neighbourhood", message)])
    if neighbourhood.peers is None:
        return in_range.astype(np.float64)
    drawn = np.zeros(in_range.shape)
    for node in range(network.node_count):
        # A whole permutation is drawn whatever the number of peers, so that a larger number only adds peers.
        order = stream(seed, f"demand/peers/{node}").permutation(np.flatnonzero(in_range[node]))
        drawn[node, order[: neighbourhood.peers]] = 1.0
    return drawn + drawn.T

"""Demand between nodes near each other, against the graph's own distances."""

from __future__ import annotations

import networkx
import numpy as np
import pytest

from qdpem.demand.neighbourhood import neighbourhood_weights
from qdpem.errors import ScenarioError
from qdpem.network.build import build_network, build_physics
from qdpem.network.graph import Network
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Neighbourhood

MESH = """
name = "mesh"
[topology]
kind = "geometric"
parameters = { nodes = 40, side_km = 50.0, mean_degree = 8.0 }
[nodes]
source_rate_hz = 5.0
repeater_rate_hz = 5.0
hardware = { memory = { kind = "depolarising", depolarising_s = 60.0 } }
[demand]
rate_hz = 1.0
weights = "neighbourhood"
[[demand.classes]]
application = "teleportation"
fraction = 1.0
target_fidelity = 0.6
patience_s = 1.0
"""


def mesh_network(seed: int) -> Network:
    scenario = parse_scenario(MESH)
    return build_network(scenario, build_physics(scenario), seed=seed)


def hops_of(network: Network) -> np.ndarray:
    graph = networkx.Graph(list(map(tuple, network.graph.link_ends.tolist())))
    lengths = dict(networkx.all_pairs_shortest_path_length(graph))
    nodes = range(network.node_count)
    return np.array([[lengths[a][b] for b in nodes] for a in nodes])


@pytest.mark.parametrize(("minimum", "maximum"), [(1, 1), (2, 4), (3, 99)])
def test_all_pairs_within_reach_weigh_alike_and_no_other(minimum: int, maximum: int) -> None:
    network = mesh_network(1)
    hops = hops_of(network)
    weights = neighbourhood_weights(network, Neighbourhood(min_hops=minimum, max_hops=maximum), seed=1)
    assert np.array_equal(weights, ((hops >= minimum) & (hops <= maximum)).astype(float))


@pytest.mark.parametrize("seed", range(4))
def test_every_node_picks_as_many_peers_as_asked(seed: int) -> None:
    network = mesh_network(seed)
    hops = hops_of(network)
    near = Neighbourhood(min_hops=2, max_hops=4, peers=3)
    weights = neighbourhood_weights(network, near, seed=seed)
    assert np.array_equal(weights, weights.T)
    assert weights.sum() == 2 * 3 * network.node_count  # each pick counts in both directions
    assert set(np.unique(weights)) <= {0.0, 1.0, 2.0}
    assert ((weights > 0).sum(axis=1) >= 3).all()
    assert set(np.unique(hops[weights > 0])) <= {2, 3, 4}
    assert not np.array_equal(weights, neighbourhood_weights(network, near, seed=seed + 1))
    assert np.array_equal(weights, neighbourhood_weights(network, near, seed=seed))


def test_one_peer_more_keeps_those_picked_before() -> None:
    network = mesh_network(2)
    fewer, more = (neighbourhood_weights(network, Neighbourhood(peers=peers), seed=7) for peers in (2, 3))
    assert (more >= fewer).all()
    assert more.sum() == 1.5 * fewer.sum()


def test_who_has_fewer_within_reach_picks_them_all() -> None:
    network = mesh_network(3)
    whole = neighbourhood_weights(network, Neighbourhood(min_hops=2, max_hops=3), seed=1)
    assert np.array_equal(
        neighbourhood_weights(network, Neighbourhood(min_hops=2, max_hops=3, peers=40), seed=1), 2.0 * whole
    )


def test_nobody_within_reach_is_a_fault() -> None:
    with pytest.raises(ScenarioError, match="are 30 to 40 hops apart; the farthest are"):
        neighbourhood_weights(mesh_network(1), Neighbourhood(min_hops=30, max_hops=40), seed=1)

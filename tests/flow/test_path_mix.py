"""The mix of paths against optima known by hand, and against the flow bound where waiting costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from qdpem.errors import QdpemError
from qdpem.flow.capacity import flow_bound
from qdpem.flow.commodities import Commodity, DistillationOption
from qdpem.flow.path_mix import PathMixSolution, PathMixSolver
from qdpem.network.graph import Network
from tests.helpers.networks import made_network

DIAMOND = ((0, 1), (0, 2), (1, 3), (2, 3))


def asks(source: int, destination: int, rate_hz: float, *options: tuple[int, float], pairs: int = 1):
    flows = tuple(DistillationOption(*one) for one in options or ((9, 1.0),))
    return Commodity(source=source, destination=destination, rate_hz=rate_hz, options=flows, pairs=pairs)


def mixed(network: Network, *commodities: Commodity, cost_per_s: float = 0.0) -> PathMixSolution:
    return PathMixSolver(delay_cost_per_s=cost_per_s, tolerance=1e-7).solve(network, commodities)


def random_case(seed: int) -> tuple[Network, list[Commodity]]:
    """Seven nodes on a ring with four chords; three commodities for every pair of nodes, two in one chain."""
    draw = np.random.default_rng(seed)
    nodes = 7
    ring = {tuple(sorted((node, (node + 1) % nodes))) for node in range(nodes)}
    others = [(a, b) for a in range(nodes) for b in range(a + 1, nodes) if (a, b) not in ring]
    chords = {others[place] for place in draw.choice(len(others), 4, replace=False)}
    network = made_network(
        sorted(ring | chords),
        source_hz=draw.uniform(0.0, 10.0, nodes),
        repeater_hz=draw.uniform(0.0, 5.0, nodes) * (draw.random(nodes) < 0.8),
        success=draw.uniform(0.1, 1.0, 11),
        swap_success=0.8,
    )
    commodities = []
    for low in range(nodes):
        for high in range(low + 1, nodes):
            rates_hz = draw.uniform(0.0, 2.0, 3)
            commodities.append(asks(low, high, rates_hz[0], (2, 1.0)))
            commodities.append(asks(low, high, rates_hz[1], (2, 1.0), (4, 2.5)))
            commodities.append(asks(low, high, rates_hz[2], (3, 1.0), pairs=2))
    return network, commodities


def used_fractions(network: Network, commodities: Sequence[Commodity], mix: PathMixSolution) -> float:
    """The largest load of a repeater, or of a link that has both its sources for itself."""
    links, swaps = np.zeros(network.link_count), np.zeros(network.node_count)
    for one, flows in zip(commodities, mix.path_flows, strict=True):
        for path in flows:
            through = 1.0 / 0.8 if len(path.links) > 1 else 1.0
            links[list(path.links)] += one.pairs * path.pairs_per_link * through * path.rate_hz
            swaps[list(path.nodes[1:-1])] += one.pairs / 0.8 * path.rate_hz
    with np.errstate(divide="ignore", invalid="ignore"):
        loads = np.concatenate([links / network.link_rate_hz, swaps / network.repeater_rate_hz])
    return float(np.nanmax(loads))


@pytest.mark.parametrize("seed", range(8))
def test_without_a_cost_of_waiting_it_is_the_flow_bound_path_by_path(seed):
    network, commodities = random_case(seed)
    mix = mixed(network, *commodities)
    bound = flow_bound(network, commodities)
    assert mix.delivered_hz == pytest.approx(bound.bound_hz, rel=1e-5)
    assert mix.offered_hz == pytest.approx(bound.offered_hz)
    assert mix.gap <= 1e-6 * mix.delivered_hz
    assert sum(path.rate_hz for flows in mix.path_flows for path in flows) == pytest.approx(
        mix.delivered_hz, rel=1e-6
    )
    assert used_fractions(network, commodities, mix) <= 1.0 + 1e-6


@pytest.mark.parametrize("cost_per_s", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_each_class_is_served_only_over_paths_of_its_own_and_no_more_than_it_asks(seed, cost_per_s):
    network, commodities = random_case(seed)
    mix = mixed(network, *commodities, cost_per_s=cost_per_s)
    for one, flows in zip(commodities, mix.path_flows, strict=True):
        assert sum(path.rate_hz for path in flows) <= one.rate_hz * (1.0 + 1e-9)
        assert len({(path.nodes, path.pairs_per_link) for path in flows}) == len(flows)
        for path in flows:
            assert (path.nodes[0], path.nodes[-1]) == (one.source, one.destination)
            steps = zip(path.nodes, path.nodes[1:], strict=False)
            assert tuple(network.link_between[step] for step in steps) == path.links
            assert any(
                len(path.links) <= option.max_hops and path.pairs_per_link >= option.pairs_per_link
                for option in one.options
            )


def test_a_chain_of_two_links_is_as_wide_as_its_repeater():
    chain = made_network([(0, 1), (1, 2)], source_hz=(9, 9, 9), repeater_hz=(0, 2, 0))
    (path,) = mixed(chain, asks(0, 2, 5.0)).path_flows[0]
    assert (path.nodes, path.links, path.pairs_per_link) == ((0, 1, 2), (0, 1), 1.0)
    assert path.rate_hz == pytest.approx(2.0)


def test_a_diamond_is_taken_both_ways_as_far_as_each_carries():
    diamond = made_network(DIAMOND, source_hz=(50, 0, 0, 50), repeater_hz=(0, 3, 2, 0))
    mix = mixed(diamond, asks(0, 3, 9.0))
    assert [path.nodes for path in mix.path_flows[0]] == [(0, 1, 3), (0, 2, 3)]
    assert [path.rate_hz for path in mix.path_flows[0]] == pytest.approx([3.0, 2.0])


def test_the_tighter_class_has_the_short_way_where_the_looser_has_another():
    triangle = made_network([(0, 1), (0, 2), (1, 2)], source_hz=(3, 3, 50), repeater_hz=(0, 0, 4))
    loose, tight = asks(0, 1, 9.0, (2, 1.0)), asks(0, 1, 4.0, (1, 1.0))
    mix = mixed(triangle, loose, tight)
    assert [(path.nodes, round(path.rate_hz, 5)) for path in mix.path_flows[1]] == [((0, 1), 4.0)]
    rates = {path.nodes: path.rate_hz for path in mix.path_flows[0]}
    assert rates == pytest.approx({(0, 2, 1): 4.0, (0, 1): 2.0})


def test_waiting_that_costs_spreads_the_flow_at_equal_loads():
    """Two repeaters of 4/s and half of what they carry: each load is 1/2, an edge between two chords."""
    diamond = made_network(DIAMOND, source_hz=(50, 0, 0, 50), repeater_hz=(0, 4, 4, 0))
    mix = mixed(diamond, asks(0, 3, 4.0), cost_per_s=0.1)
    assert [path.rate_hz for path in mix.path_flows[0]] == pytest.approx([2.0, 2.0], rel=1e-4)


def test_what_waits_longer_than_it_is_worth_is_left_out():
    """One link, sources of 8/s at both ends. N = u^2 / (1 - u) has chords of rising slope between the loads
    1 - 2^(-j/2); a cost between the slopes of the fourth and the fifth chord fills sources to 1 - 2^-2.
    """
    link = made_network([(0, 1)], source_hz=(8, 8), repeater_hz=(0, 0))
    edges = 1.0 - 2.0 ** (-0.5 * np.arange(6))
    slopes = np.diff(edges**2 / (1.0 - edges)) / np.diff(edges)
    cost_per_s = 8.0 / np.sqrt(slopes[3] * slopes[4])
    mix = mixed(link, asks(0, 1, 99.0), cost_per_s=cost_per_s)
    assert mix.delivered_hz == pytest.approx(0.75 * 16.0, rel=1e-5)
    delivered = [
        mixed(link, asks(0, 1, 99.0), cost_per_s=cost_per_s * factor).delivered_hz for factor in (4.0, 0.01)
    ]
    assert delivered[0] < 12.0 < delivered[1]


def test_what_was_found_before_is_used_again_and_in_time_forgotten():
    network, commodities = random_case(2)
    mixer = PathMixSolver(delay_cost_per_s=0.05, tolerance=1e-6)
    first = mixer.solve(network, commodities)
    again = mixer.solve(network, commodities)
    assert again.iterations < first.iterations
    assert again.delivered_hz == pytest.approx(first.delivered_hz, rel=1e-4)
    light = [replace(one, rate_hz=1e-3 * one.rate_hz) for one in commodities]
    columns = [mixer.solve(network, light).columns for _ in range(10)]
    assert columns[-1] < columns[0]


def test_paths_over_what_is_gone_are_not_taken_up_again():
    diamond = made_network(DIAMOND, source_hz=(50, 0, 0, 50), repeater_hz=(0, 3, 2, 0))
    mixer = PathMixSolver(delay_cost_per_s=0.0)
    assert len(mixer.solve(diamond, [asks(0, 3, 9.0)]).path_flows[0]) == 2
    broken = replace(diamond, repeater_rate_hz=np.array([0.0, 0.0, 2.0, 0.0]))
    (path,) = mixer.solve(broken, [asks(0, 3, 9.0)]).path_flows[0]
    assert (path.nodes, path.rate_hz) == ((0, 2, 3), pytest.approx(2.0))


def test_paths_known_from_better_times_may_be_worth_nothing_now():
    diamond = made_network(DIAMOND, source_hz=(50, 0, 0, 50), repeater_hz=(0, 3, 2, 0))
    mixer = PathMixSolver(delay_cost_per_s=0.1)
    assert mixer.solve(diamond, [asks(0, 3, 1.0)]).delivered_hz > 0.9
    weak = replace(diamond, source_rate_hz=1e-3 * diamond.source_rate_hz)
    assert mixer.solve(weak, [asks(0, 3, 1.0)]).path_flows == ((),)


def test_nothing_asked_and_nothing_to_be_had_are_empty_mixes():
    chain = made_network([(0, 1), (1, 2)], source_hz=(9, 9, 9), repeater_hz=(0, 0, 0))
    assert mixed(chain).path_flows == ()
    assert mixed(chain, asks(0, 2, 0.0)).path_flows == ((),)
    hopeless = mixed(chain, asks(0, 2, 1.0))
    assert (hopeless.path_flows, hopeless.delivered_hz, hopeless.offered_hz) == (((),), 0.0, 1.0)


def test_a_senseless_cost_is_refused():
    with pytest.raises(QdpemError, match="delay_cost_per_s is -1"):
        PathMixSolver(delay_cost_per_s=-1.0)

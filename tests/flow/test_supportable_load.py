"""The supportable load against closed forms and against programmes with every path written out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import linprog

from qdpem.errors import QdpemError
from qdpem.flow.capacity import flow_bound
from qdpem.flow.commodities import Commodity, DistillationOption
from qdpem.flow.supportable_load import find_supportable_load
from qdpem.network.graph import Network
from tests.helpers.networks import connected_ends, made_network, simple_paths


def drawn_network(seed: int, *, nodes: int, links: int) -> tuple[Network, np.random.Generator]:
    draw = np.random.default_rng(seed)
    network = made_network(
        connected_ends(nodes, links, seed=seed),
        source_hz=draw.uniform(0.0, 10.0, nodes),
        repeater_hz=draw.uniform(0.5, 5.0, nodes),
        success=0.3,
    )
    return network, draw


CHAINS = (
    # each allows what the next one allows
    [((4, 1.0), (6, 2.0)), ((3, 1.0), (4, 2.0)), ((2, 1.0),)],
    # the first two do not: neither holds all that the other does
    [((3, 1.0),), ((2, 1.0), (5, 2.0)), ((1, 1.0),)],
)


def commodities_of(draw: np.random.Generator, *, nodes: int, pairs: int) -> list[Commodity]:
    """Several commodities between the same ends, in a shuffled order, so that chains have to be found."""
    ends = draw.permutation([(a, b) for a in range(nodes) for b in range(a + 1, nodes)])[:pairs].tolist()
    commodities = [
        Commodity(
            source=first,
            destination=second,
            rate_hz=draw.uniform(0.1, 1.0),
            options=tuple(DistillationOption(*one) for one in options),
            pairs=1 + place % 2,
        )
        for place, (first, second) in enumerate(ends)
        for options in CHAINS[int(draw.integers(2))]
    ]
    return [commodities[place] for place in draw.permutation(len(commodities))]


def reachable(network: Network, commodities: Sequence[Commodity]) -> list[Commodity]:
    """Those that some path is short enough for."""
    hops = network.hop_distance
    return [
        one
        for one in commodities
        if hops[one.source, one.destination] <= max(option.max_hops for option in one.options)
    ]


def written_out(network: Network, commodities: Sequence[Commodity], served_fraction: float) -> float:
    """max r with r rate_k >= sum x_k and sum x >= share r sum rate: every path of every class a variable."""
    links, nodes, kinds = network.link_count, network.node_count, len(commodities)
    rates = np.array([one.rate_hz for one in commodities])
    rows = kinds + links + 2 * nodes + 1
    columns = []
    for index, one in enumerate(commodities):
        for hops, cost in one.options:
            for path in simple_paths(network, one.source, one.destination, hops=hops):
                column = np.zeros(rows)
                column[index], column[-1] = 1.0, -1.0
                for step in pairwise(path):
                    column[kinds + network.link_between[step]] = one.pairs * cost
                column[[kinds + links + nodes + inner for inner in path[1:-1]]] = one.pairs
                columns.append(column)
    for link, ends in enumerate(network.graph.link_ends.tolist()):
        for node in ends:
            column = np.zeros(rows)
            column[kinds + link] = -network.success_probability[link]
            column[kinds + links + node] = 1.0
            columns.append(column)
    wanted = np.zeros(rows)
    wanted[:kinds], wanted[-1] = -rates, served_fraction * rates.sum()
    columns.append(wanted)
    limits = np.zeros(rows)
    limits[kinds + links : -1] = np.concatenate([network.source_rate_hz, network.repeater_rate_hz])
    aim = np.zeros(len(columns))
    aim[-1] = -1.0
    return -float(linprog(aim, A_ub=np.array(columns).T, b_ub=limits, method="highs").fun) * rates.sum()


def test_two_links_and_one_repeater():
    network = made_network([(0, 1), (1, 2)], source_hz=(9, 0, 9), repeater_hz=(0, 2, 0), success=0.5)
    asked = [
        Commodity(source=0, destination=2, rate_hz=3.0, options=(DistillationOption(2, 1.0),)),
        Commodity(source=0, destination=1, rate_hz=1.0, options=(DistillationOption(1, 1.0),)),
    ]
    # All: swaps carry 2 of the 3/4 that need them, and link 0 both kinds. Half: first those without a swap.
    assert find_supportable_load(network, asked, served_fraction=1.0).rate_hz == pytest.approx(2.0 / 0.75)
    assert find_supportable_load(network, asked, served_fraction=0.5).rate_hz == pytest.approx(2.0 / 0.25)


@pytest.mark.parametrize("served_fraction", [1.0, 0.9, 0.4])
@pytest.mark.parametrize("seed", range(8))
def test_equals_the_programme_with_every_path_written_out(seed, served_fraction):
    network, draw = drawn_network(seed, nodes=7, links=11)
    commodities = reachable(network, commodities_of(draw, nodes=7, pairs=12))
    expected_hz = written_out(network, commodities, served_fraction)
    found = find_supportable_load(network, commodities, served_fraction=served_fraction)
    assert found.rate_hz == pytest.approx(expected_hz, rel=1e-6)
    assert found.bound_hz == pytest.approx(expected_hz, rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_at_the_capacity_the_flow_bound_serves_just_that_share(seed):
    network, draw = drawn_network(seed, nodes=12, links=22)
    commodities = reachable(network, commodities_of(draw, nodes=12, pairs=30))
    total_hz = sum(one.rate_hz for one in commodities)
    capacity_hz = find_supportable_load(network, commodities, served_fraction=0.8).rate_hz

    def served(rate_hz: float) -> float:
        scaled = [replace(one, rate_hz=one.rate_hz * rate_hz / total_hz) for one in commodities]
        return flow_bound(network, scaled).fraction

    assert served(capacity_hz) == pytest.approx(0.8, abs=2e-6)
    assert served(0.9 * capacity_hz) > 0.8 > served(1.1 * capacity_hz)


@pytest.mark.parametrize("seed", range(4))
def test_rate_and_bound_hold_before_they_have_met(seed):
    network, draw = drawn_network(seed, nodes=7, links=11)
    commodities = reachable(network, commodities_of(draw, nodes=7, pairs=12))
    optimum_hz = written_out(network, commodities, 0.9)
    for count in range(4):
        early = find_supportable_load(network, commodities, served_fraction=0.9, max_iterations=count)
        assert early.rate_hz <= optimum_hz * (1.0 + 1e-7)
        assert early.bound_hz >= optimum_hz * (1.0 - 1e-9)


def test_the_unit_of_the_mix_does_not_matter():
    network, draw = drawn_network(3, nodes=7, links=11)
    commodities = reachable(network, commodities_of(draw, nodes=7, pairs=12))
    small = [replace(one, rate_hz=one.rate_hz * 1e-6) for one in commodities]
    found = [find_supportable_load(network, one, served_fraction=0.9).rate_hz for one in (commodities, small)]
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_what_cannot_be_carried_is_said():
    network = made_network([(0, 1), (1, 2)], source_hz=(9, 0, 9), repeater_hz=(0, 0, 0), success=0.5)
    asked = [
        Commodity(source=0, destination=2, rate_hz=1.0, options=(DistillationOption(2, 1.0),)),
        Commodity(source=0, destination=1, rate_hz=3.0, options=(DistillationOption(1, 1.0),)),
    ]
    with pytest.raises(QdpemError, match=r"only 75.0% of the demand has a path .* is served to 90.0%"):
        find_supportable_load(network, asked, served_fraction=0.9)
    assert find_supportable_load(network, asked, served_fraction=0.75).rate_hz == pytest.approx(6.0)
    with pytest.raises(QdpemError, match="ask for nothing"):
        find_supportable_load(network, [], served_fraction=0.9)


def test_a_hundred_nodes_and_three_hundred_classes(capsys):
    network, draw = drawn_network(1, nodes=100, links=300)
    ends = draw.permutation([(a, b) for a in range(100) for b in range(a + 1, 100)])[:300].tolist()
    commodities = [
        Commodity(
            source=a, destination=b, rate_hz=draw.uniform(0.1, 1.0), options=(DistillationOption(28, 1.0),)
        )
        for a, b in ends
    ]
    began_s = time.process_time()
    found = find_supportable_load(network, commodities, served_fraction=0.9, tolerance=1e-3)
    with capsys.disabled():
        took_s = time.process_time() - began_s
        print(f" [{found.columns} columns, {found.iterations} rounds, {took_s:.1f} s of processor] ", end="")
    assert found.rate_hz > 1.0
    assert found.bound_hz - found.rate_hz <= 1e-3 * found.bound_hz

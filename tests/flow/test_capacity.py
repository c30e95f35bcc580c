"""The flow bound against optima known by hand and against programmes with every path written out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import networkx
import numpy as np
import pytest
from scipy.optimize import linprog

from qdpem.errors import QdpemError
from qdpem.flow.capacity import flow_bound
from qdpem.flow.commodities import (
    Commodity,
    DistillationOption,
    LinkPlan,
    hops_within,
    mean_commodities,
)
from qdpem.network.graph import Network
from qdpem.scenario.schema import RequestClass
from tests.helpers.networks import connected_ends, made_network, simple_paths


def asks(source: int, destination: int, rate_hz: float, hops: int = 9, cost: float = 1.0, pairs: int = 1):
    option = DistillationOption(hops, cost)
    return Commodity(source=source, destination=destination, rate_hz=rate_hz, options=(option,), pairs=pairs)


def random_network(seed: int, *, swap_success: float = 0.8) -> tuple[Network, list[Commodity]]:
    draw = np.random.default_rng(seed)
    nodes = 7
    tokens = draw.uniform(0.0, 5.0, nodes) * (draw.random(nodes) < 0.8)
    network = made_network(
        connected_ends(nodes, 11, seed=seed),
        source_hz=draw.uniform(0.0, 10.0, nodes),
        repeater_hz=tokens,
        success=draw.uniform(0.1, 1.0, 11),
        swap_success=swap_success,
    )
    commodities = []
    for source in range(nodes):
        for destination in range(source):
            options = ((2, 1.0), (4, 2.5)) if draw.random() < 0.5 else ((3, 1.0),)
            options = tuple(DistillationOption(*one) for one in options)
            rate_hz, pairs = draw.uniform(0.0, 3.0), int(draw.integers(1, 3))
            commodities.append(
                Commodity(
                    source=source, destination=destination, rate_hz=rate_hz, options=options, pairs=pairs
                )
            )
    return network, commodities


def written_out(network: Network, commodities: Sequence[Commodity]) -> float:
    """The same optimum from every simple path that networkx lists, in one dense programme."""
    ends, links, nodes = network.graph.link_ends, network.link_count, network.node_count
    rows, success = len(commodities) + links + 2 * nodes, network.hardware[0].swap_success_probability
    columns = []
    for index, one in enumerate(commodities):
        for hops, cost in one.options:
            for path in simple_paths(network, one.source, one.destination, hops=hops):
                column = np.zeros(rows)
                column[index] = 1.0
                for step in pairwise(path):
                    link = len(commodities) + network.link_between[step]
                    column[link] = one.pairs * cost / (success if len(path) > 2 else 1.0)
                column[[len(commodities) + links + nodes + inner for inner in path[1:-1]]] = (
                    one.pairs / success
                )
                columns.append(column)
    paths = len(columns)
    for link, (first, second) in enumerate(ends.tolist()):
        for node in (first, second):
            column = np.zeros(rows)
            if network.links[link].source_limited:
                column[len(commodities) + link] = -network.success_probability[link]
            column[len(commodities) + links + node] = 1.0
            columns.append(column)
    own_hz = [
        0.0 if one.source_limited else one.modes * one.success_probability / one.attempt_period_s
        for one in network.links
    ]
    limits = np.concatenate(
        [
            [one.rate_hz for one in commodities],
            own_hz,
            network.source_rate_hz,
            network.repeater_rate_hz,
        ]
    )
    gains = np.concatenate([-np.ones(paths), np.zeros(2 * links)])
    return -float(linprog(gains, A_ub=np.array(columns).T, b_ub=limits, method="highs").fun)


@pytest.mark.parametrize(
    ("source_hz", "repeater_hz", "success", "swap_success", "expected_hz"),
    [
        ((2, 2, 2), 9, 0.5, 1.0, 1.5),  # emissions: 6 x 0.5 pairs over two links
        ((0, 4, 0), 9, 1.0, 1.0, 2.0),  # one source in the middle feeds both
        ((9, 0, 9), 1, 1.0, 1.0, 1.0),  # swap tokens
        ((9, 0, 9), 1, 1.0, 0.5, 0.5),  # each delivery takes two swaps
        ((1, 0, 9), 9, 1.0, 0.5, 0.5),  # each delivery takes two pairs of the weak link
        ((9, 9, 9), 0, 1.0, 1.0, 0.0),  # no repeater, no way through
    ],
)
def test_chain_of_two_links(source_hz, repeater_hz, success, swap_success, expected_hz):
    network = made_network(
        [(0, 1), (1, 2)],
        source_hz=source_hz,
        repeater_hz=(0, repeater_hz, 0),
        success=success,
        swap_success=swap_success,
    )
    bound = flow_bound(network, [asks(0, 2, 100.0)])
    assert bound.delivered_hz == pytest.approx(expected_hz, abs=1e-9)
    assert bound.bound_hz == pytest.approx(expected_hz, abs=1e-6)
    assert bound.fraction == pytest.approx(expected_hz / 100.0, abs=1e-8)


def test_diamond_takes_both_paths_and_both_loads_are_full():
    network = made_network(
        [(0, 1), (0, 2), (1, 3), (2, 3)], source_hz=(50, 0, 0, 50), repeater_hz=(0, 3, 2, 0)
    )
    bound = flow_bound(network, [asks(0, 3, 9.0)])
    assert bound.delivered_hz == pytest.approx(5.0)
    assert bound.repeater_load == pytest.approx([0.0, 1.0, 1.0, 0.0])
    assert bound.link_load == pytest.approx([3 / 50, 2 / 50, 3 / 50, 2 / 50])
    assert bound.source_load == pytest.approx([0.1, 0.0, 0.0, 0.1])


def test_distillation_and_pairs_asked_multiply_the_cost():
    network = made_network([(0, 1)], source_hz=(6, 6), repeater_hz=(0, 0))
    assert flow_bound(network, [asks(0, 1, 99.0, cost=2.0, pairs=3)]).delivered_hz == pytest.approx(2.0)


def test_a_single_link_is_not_charged_for_failing_swaps():
    network = made_network([(0, 1)], source_hz=(3, 0), repeater_hz=(5, 5), swap_success=0.5)
    assert flow_bound(network, [asks(0, 1, 99.0)]).delivered_hz == pytest.approx(3.0)


def test_a_single_link_is_found_beside_a_swapped_path_that_looks_cheaper():
    """At 2/3 a pair the link costs less than 1; were it charged for swaps, the path round would hide it."""
    triangle = made_network(
        [(0, 1), (0, 2), (1, 2)], source_hz=(8, 8, 100), repeater_hz=(0, 0, 2), swap_success=0.5
    )
    options = (DistillationOption(1, 1.5), DistillationOption(2, 1.0))
    asked = Commodity(source=0, destination=1, rate_hz=99.0, options=options)
    assert flow_bound(triangle, [asked]).delivered_hz == pytest.approx(17.0)


def test_hop_limit_shuts_out_the_long_path():
    ring = [(0, 1), (0, 3), (1, 2), (2, 3)]
    network = made_network(ring, source_hz=(4, 0, 0, 4), repeater_hz=(0, 9, 9, 0))
    assert flow_bound(network, [asks(0, 3, 99.0, hops=1)]).delivered_hz == pytest.approx(8.0)
    far = made_network(ring, source_hz=(8, 8, 8, 8), repeater_hz=(0, 9, 9, 0), success=(1, 0.5, 1, 1))
    near = flow_bound(far, [asks(0, 3, 99.0, hops=2)])
    assert near.delivered_hz == pytest.approx(8.0)
    assert flow_bound(far, [asks(0, 3, 99.0, hops=3)]).delivered_hz == pytest.approx(8.0 + 16.0 / 3.0)


def test_what_nothing_can_serve_counts_as_offered():
    network = made_network([(0, 1)], source_hz=(3, 3), repeater_hz=(0, 0))
    hopeless = Commodity(source=0, destination=1, rate_hz=1.0, options=())
    bound = flow_bound(network, [hopeless, asks(0, 1, 1.0)])
    assert (bound.offered_hz, bound.fraction) == pytest.approx((2.0, 0.5))
    assert flow_bound(network, [hopeless]).bound_hz == 0.0
    assert flow_bound(network, []).fraction == 1.0


@pytest.mark.parametrize("swap_success", [1.0, 0.8, 0.3])
@pytest.mark.parametrize("seed", range(12))
def test_equals_the_programme_with_every_path_written_out(seed, swap_success):
    network, commodities = random_network(seed, swap_success=swap_success)
    expected_hz = written_out(network, commodities)
    bound = flow_bound(network, commodities)
    assert bound.delivered_hz == pytest.approx(expected_hz, rel=1e-5)
    assert bound.bound_hz == pytest.approx(expected_hz, rel=1e-5)
    assert bound.bound_hz >= expected_hz * (1.0 - 1e-9)
    for load in (bound.link_load, bound.source_load, bound.repeater_load):
        assert load.min() >= 0.0
        assert load.max() <= 1.0 + 1e-6


@pytest.mark.parametrize("seed", range(6))
def test_the_bound_holds_before_it_has_converged(seed):
    network, commodities = random_network(seed)
    optimum_hz = written_out(network, commodities)
    bounds = [flow_bound(network, commodities, max_iterations=count) for count in range(4)]
    assert bounds[0].delivered_hz == 0.0
    for early in bounds:
        assert early.delivered_hz <= optimum_hz * (1.0 + 1e-9)
        assert early.bound_hz >= optimum_hz * (1.0 - 1e-9)


@pytest.mark.parametrize("field", ["source_rate_hz", "repeater_rate_hz"])
def test_more_capacity_never_delivers_less(field):
    network, commodities = random_network(3)
    delivered = [
        flow_bound(replace(network, **{field: getattr(network, field) * factor}), commodities).delivered_hz
        for factor in (0.25, 0.5, 1.0, 2.0, 4.0)
    ]
    assert (np.diff(delivered) > -1e-6).all()
    assert delivered[-1] > delivered[0] + 0.5


def test_it_does_not_matter_in_which_unit_rates_are_given():
    network, commodities = random_network(5)
    small = replace(
        network,
        source_rate_hz=network.source_rate_hz * 1e-6,
        repeater_rate_hz=network.repeater_rate_hz * 1e-6,
    )
    slow = [replace(one, rate_hz=one.rate_hz * 1e-6) for one in commodities]
    assert flow_bound(small, slow).fraction == pytest.approx(
        flow_bound(network, commodities).fraction, rel=1e-6
    )


@pytest.mark.slow
def test_a_network_of_the_size_of_germany50(capsys):
    draw = np.random.default_rng(1)
    graph = networkx.connected_watts_strogatz_graph(50, 4, 0.2, seed=1)
    network = made_network(
        sorted(tuple(sorted(link)) for link in graph.edges),
        source_hz=np.full(50, 50.0),
        repeater_hz=draw.uniform(0.5, 5.0, 50),
        success=draw.uniform(0.01, 0.2, 100),
    )
    kinds = [
        RequestClass(application="teleportation", fraction=fraction, target_fidelity=target, patience_s=1.0)
        for fraction, target in ((0.5, 0.6), (0.3, 0.8), (0.2, 0.88))
    ]
    weights = draw.uniform(0.0, 1.0, (50, 50))
    np.fill_diagonal(weights, 0.0)
    plans = (LinkPlan(fidelity=0.98), LinkPlan(fidelity=0.99, pairs_per_link=2.05, werner=False))
    commodities = mean_commodities(kinds, network, weights / weights.sum(), rate_hz=40.0, plans=plans)
    assert sum(one.rate_hz for one in commodities) == pytest.approx(40.0)
    begin = time.perf_counter()
    bound = flow_bound(network, commodities)
    with capsys.disabled():
        took_s = time.perf_counter() - begin
        print(
            f" [{len(commodities)} commodities, {bound.columns} columns, {bound.iterations} rounds,"
            f" {took_s:.1f} s] ",
            end="",
        )
    assert bound.bound_hz - bound.delivered_hz <= 2e-6 * bound.bound_hz
    assert 0.0 < bound.fraction < 1.0


@pytest.mark.parametrize(
    ("fidelity", "target", "hops"),
    [(0.98, 0.98, 1), (0.98, 0.9800001, 0), (0.97, 0.9, 3), (1.0, 0.9, 20), (0.25, 0.6, 0)],
)
def test_hops_within_by_the_product_law(fidelity, target, hops):
    assert hops_within(target, LinkPlan(fidelity=fidelity), limit=20) == hops


def test_hops_within_counts_a_noisy_swap_between_every_two_links():
    plan, weight, swap = LinkPlan(fidelity=0.985), 0.98, 0.95
    for hops in range(1, 8):
        target = (3.0 * weight**hops * swap ** (hops - 1) + 1.0) / 4.0
        assert hops_within(target - 1e-9, plan, limit=20, swap_weight=swap) == hops
        assert hops_within(target + 1e-9, plan, limit=20, swap_weight=swap) == hops - 1


@pytest.mark.parametrize("seed", range(5))
def test_no_bell_diagonal_chain_beats_hops_within(seed):
    """Swaps of Bell-diagonal pairs convolve their weights over the Klein four-group."""
    draw = np.random.default_rng(seed)
    fidelity, target = draw.uniform(0.9, 0.99), 0.75
    allowed = hops_within(target, LinkPlan(fidelity=fidelity, werner=False), limit=50)
    for _ in range(20):
        link = np.concatenate([[fidelity], (1.0 - fidelity) * draw.dirichlet([0.3, 0.3, 0.3])])
        chain, hops = link, 1
        while chain[0] >= target and hops <= 50:
            hops += 1
            chain = np.array([sum(chain[i] * link[i ^ j] for i in range(4)) for j in range(4)])
        assert hops - 1 <= allowed


def test_mean_commodities_merge_what_is_served_alike():
    network = made_network([(0, 1), (1, 2)], source_hz=(1, 1, 1), repeater_hz=(1, 1, 1))
    kinds = [
        RequestClass(application="teleportation", fraction=1.0, target_fidelity=0.6, patience_s=1.0),
        RequestClass(application="computing", fraction=1.0, target_fidelity=0.7, patience_s=9.0),
        RequestClass(application="qkd", fraction=2.0, target_fidelity=0.97, patience_s=1.0, pairs=4),
    ]
    weights = np.array([[0.0, 0.3, 0.2], [0.3, 0.0, 0.0], [0.2, 0.0, 0.0]])
    commodities = mean_commodities(kinds, network, weights, rate_hz=10.0, plans=[LinkPlan(fidelity=0.98)])
    found = {(one.source, one.destination, one.options, one.pairs): one.rate_hz for one in commodities}
    assert found == pytest.approx(
        {
            (0, 1, (DistillationOption(2, 1.0),), 1): 3.0,
            (0, 1, (DistillationOption(1, 1.0),), 4): 3.0,
            (0, 2, (DistillationOption(2, 1.0),), 1): 2.0,
            (0, 2, (DistillationOption(1, 1.0),), 4): 2.0,
        }
    )


def test_a_plan_that_costs_more_and_reaches_no_further_is_left_out():
    network = made_network([(0, 1), (1, 2)], source_hz=(1, 1, 1), repeater_hz=(1, 1, 1))
    kind = RequestClass(application="qkd", fraction=1.0, target_fidelity=0.97, patience_s=1.0)
    plans = [
        LinkPlan(fidelity=0.999, pairs_per_link=2.0),
        LinkPlan(fidelity=0.98),
        LinkPlan(fidelity=0.9999, pairs_per_link=4.0),
    ]
    (one,) = mean_commodities(
        [kind], network, np.array([[0, 0, 1.0], [0, 0, 0], [0, 0, 0]]), rate_hz=1.0, plans=plans
    )
    assert one.options == (DistillationOption(1, 1.0), DistillationOption(2, 2.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"destination": 0}, "two nodes"),
        ({"rate_hz": -1.0}, "rate_hz"),
        ({"pairs": 0}, "pairs"),
        ({"options": (DistillationOption(0, 1.0),)}, "option"),
    ],
)
def test_senseless_commodities_are_refused(change, message):
    sound = {"source": 0, "destination": 1, "rate_hz": 1.0, "options": ()}
    with pytest.raises(QdpemError, match=message):
        Commodity(**(sound | change))


def attempting(network: Network, rates_hz: dict[int, float]) -> Network:
    """The network with some links made to attempt by themselves, at rates of their own."""
    links = tuple(
        replace(
            one, source_limited=False, attempt_period_s=2 * one.success_probability / rates_hz[link], modes=2
        )
        if link in rates_hz
        else one
        for link, one in enumerate(network.links)
    )
    return replace(network, links=links)


def test_a_chain_of_a_link_that_attempts_and_one_that_sources_feed():
    """The first passes 1.25 pairs/s by itself; the second takes 3/2 emissions of the one source per pair."""
    plain = made_network([(0, 1), (1, 2)], source_hz=(0, 3, 0), repeater_hz=(0, 9, 0), success=2 / 3)
    assert flow_bound(plain, [asks(0, 2, 100.0)]).delivered_hz == pytest.approx(1.0)
    bound = flow_bound(attempting(plain, {0: 1.25}), [asks(0, 2, 100.0)])
    assert bound.delivered_hz == pytest.approx(1.25)
    assert bound.bound_hz == pytest.approx(1.25, rel=1e-6)
    assert bound.link_load == pytest.approx([1.0, 1.25 / 2.0])
    assert bound.source_load == pytest.approx([0.0, 1.25 * 1.5 / 3.0, 0.0])


@pytest.mark.parametrize("seed", range(4))
def test_links_of_both_limits_in_one_network_against_every_path_written_out(seed):
    network, commodities = random_network(seed)
    mixed = attempting(network, {0: 0.7, 3: 2.0, 6: 0.4})
    found = flow_bound(mixed, commodities, tolerance=1e-9)
    exact = written_out(mixed, commodities)
    assert abs(exact - written_out(network, commodities)) > 0.01
    assert found.delivered_hz == pytest.approx(exact, rel=1e-6)
    assert found.bound_hz == pytest.approx(exact, rel=1e-6)

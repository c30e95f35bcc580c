"""The bounds of small networks, counted by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from physics.hardware import DepolarisingMemory, Fibre, NodeHardware, SourceLink
from qdpem.bounds.constrained_paths import BudgetedPath
from qdpem.bounds.fidelity_reach import FidelityReach
from qdpem.bounds.master import Master
from qdpem.bounds.seed_bounds import bounds_of_sample, find_bounds
from qdpem.bounds.seed_sample import draw_seed_sample, group_requests
from qdpem.demand.streams import generate_arrivals
from qdpem.draws.outcome_draws import swap_draws
from qdpem.errors import QdpemError
from qdpem.metrics.deliveries import deliveries
from qdpem.network.build import build_network, build_physics
from qdpem.network.routing import Routes
from qdpem.scenario.schema import (
    Arm,
    Demand,
    Forecasting,
    Links,
    Nodes,
    RequestClass,
    Scenario,
    Topology,
    Window,
)
from qdpem.simulation.run import simulate
from tests.helpers.greedy import Greedy


def test_one_link_at_work_is_its_bound(line):
    """Two nodes in want of pairs and an arm that always asks: all emissions are used."""
    scenario = line(
        nodes=2, source_rate_hz=5.0, rate_hz=200.0, patience_s=30.0, measured_s=9.0, memories=9999
    )
    run = simulate(scenario, Arm(name="local-minhop"), seed=3)
    found = find_bounds(scenario, seed=3, network=run.network)
    fresh = run.tables["pairs"]["first_parent"] < 0
    # What is on its way when the run ends is lost to the arm: its last pair or two.
    assert found.flow - 2 <= deliveries(run.tables["requests"]) <= found.time <= found.flow
    assert found.flow - 2 <= fresh.sum() <= found.flow
    assert found.links == pytest.approx(1.0)


def test_a_repeater_between_two_good_links_gives_its_tokens(line):
    """Three nodes, only the outer two ask: burst + rate x time swaps, whatever else there is."""
    scenario = line(nodes=3, source_rate_hz=500.0, repeater_rate_hz=4.0, patience_s=30.0, measured_s=9.0)
    demand = replace(scenario.demand, weights="endpoints", rate_hz=100.0)
    scenario = replace(scenario, demand=demand)
    run = simulate(scenario, Arm(name="local-minhop"), seed=3)
    found = find_bounds(scenario, seed=3, network=run.network)
    assert found.flow == math.floor(1.0 + 4.0 * 10.0 - 4.0 * 1e-3)
    assert found.flow - 1 <= deliveries(run.tables["requests"]) <= found.time <= found.flow
    assert found.binding_nodes == (run.network.graph.node_names[1],)


def test_a_server_hands_over_what_fits(line):
    """One swap after the other, each 1/rate long: floor(rate x time)."""
    scenario = line(
        nodes=3, source_rate_hz=500.0, repeater_rate_hz=4.3, repeater_kind="server", measured_s=9.0
    )
    scenario = replace(scenario, nodes=replace(scenario.nodes, swap_time_s=0.0))
    scenario = replace(scenario, demand=replace(scenario.demand, weights="endpoints", rate_hz=100.0))
    assert find_bounds(scenario, seed=3).flow == math.floor(4.3 * 10.0)


def test_what_must_be_made_in_time_is_less_with_time(line):
    """All requests in a burst of patience: with time no more than its tokens, without it those of the run."""
    scenario = line(nodes=3, source_rate_hz=500.0, repeater_rate_hz=4.0, patience_s=0.5, measured_s=19.0)
    scenario = replace(scenario, demand=replace(scenario.demand, weights="endpoints", rate_hz=5.0))
    physics = build_physics(scenario)
    network = build_network(scenario, physics, seed=1)
    reach = FidelityReach(network, physics)
    requests = generate_arrivals(scenario, network, seed=1).requests
    together = replace(
        requests,
        time_s=np.full(len(requests), 10.0),
        deadline_s=np.full(len(requests), 10.5),
        source=np.zeros(len(requests), dtype=np.int64),
        destination=np.full(len(requests), 2, dtype=np.int64),
    )
    sample = draw_seed_sample(network, physics, seed=1, end_s=20.0)
    found = bounds_of_sample(network, reach, together, sample, bin_s=0.25)
    assert found.flow == min(len(requests), 80)
    # Without stock all swaps fall into [10, 10.5], rounded outwards to [9.75, 10.75]: 1 + 4 x 1 tokens.
    assert found.time_without_stock == 4
    age_s = reach.max_age_s(0.7, 2)
    maximum = 1.0 + 4.0 * (0.25 * (math.ceil(10.5 / 0.25 + 1e-5) - math.floor((10.0 - age_s) / 0.25)))
    assert found.time_without_stock < found.time <= maximum


def test_a_diamond_is_filled_on_both_sides_and_one_path_each_is_no_bound():
    """Two paths of two hops over repeaters of 2 and 3 swaps/s carry 5/s and their bursts together.

    A programme over one path for each pair of nodes finds one side only; an arm that uses both passes it.
    """
    scenario = Scenario(
        name="diamond",
        topology=Topology(kind="grid", parameters={"rows": 2, "columns": 2, "hop_km": 2.0}),
        nodes=Nodes(
            hardware=NodeHardware(memory=DepolarisingMemory(depolarising_s=1e4)),
            repeater_rate_hz=1.0,
            source_rate_hz=1000.0,
            swap_time_s=0.0,
            memories=999,
        ),
        links=Links(
            hardware=SourceLink(fibre=Fibre(fixed_loss_db=1.0, loss_db_per_km=0.1), fresh_fidelity=0.96)
        ),
        demand=Demand(
            classes=(RequestClass(application="qkd", fraction=1.0, target_fidelity=0.7, patience_s=9.0),),
            weights="endpoints",
            rate_hz=50.0,
        ),
        forecasting=Forecasting(history_s=20.0),
        window=Window(warm_up_s=0.0, measured_s=10.0),
    )
    physics = build_physics(scenario)
    network = replace(
        build_network(scenario, physics, seed=2), repeater_rate_hz=np.array([0.0, 2.0, 3.0, 0.0])
    )
    found = find_bounds(scenario, seed=2, network=network)
    assert found.flow == (1 + 20) + (1 + 30)
    run = simulate(scenario, Arm(name="local-minhop"), seed=2, policy=Greedy(), network=network)
    delivered = deliveries(run.tables["requests"])
    assert found.flow - 3 <= delivered <= found.time <= found.flow

    sample = draw_seed_sample(network, physics, seed=2, end_s=10.0)
    groups = group_requests(run.arrivals.requests, FidelityReach(network, physics))
    narrow = Master(network, sample.levels, sample.supply(0.0, 10.0), groups)
    path = Routes(network).paths(0, 3)[0]
    narrow.add(0, BudgetedPath(path.links, (1, 1), path.nodes[1:-1]), (0, 0))
    assert narrow.solve().value < delivered


def test_failed_swaps_cost_their_tokens(line):
    """Known draws: so many successes among so many swaps, not half of them."""
    scenario = line(
        nodes=3, source_rate_hz=900.0, repeater_rate_hz=4.0, swap_success_probability=0.5, measured_s=9.0
    )
    scenario = replace(scenario, demand=replace(scenario.demand, weights="endpoints", rate_hz=100.0))
    network = build_network(scenario, build_physics(scenario), seed=5)
    draws = swap_draws(network.graph, seed=5)[1]
    successes = sum(draws.next() < 0.5 for _ in range(math.floor(1.0 + 4.0 * 10.0 - 4.0 * 1e-3)))
    assert find_bounds(scenario, seed=5, network=network).flow == successes


def test_what_cannot_be_reached_without_distillation_takes_two_pairs(line):
    """One link of fidelity 0.98 and a target of 0.985: every pair delivered takes two fresh ones."""
    scenario = line(nodes=2, source_rate_hz=5.0, rate_hz=200.0, target_fidelity=0.985, measured_s=9.0)
    easy = line(nodes=2, source_rate_hz=5.0, rate_hz=200.0, target_fidelity=0.9, measured_s=9.0)
    assert find_bounds(scenario, seed=3).flow == find_bounds(easy, seed=3).flow // 2


def test_repeating_requests_are_counted_in_pairs(line):
    scenario = line(nodes=2, source_rate_hz=5.0, rate_hz=1.0, patience_s=5.0, measured_s=9.0, memories=99)
    classes = (replace(scenario.demand.classes[0], repeat_until_deadline="pair"),)
    scenario = replace(scenario, demand=replace(scenario.demand, classes=classes))
    run = simulate(scenario, Arm(name="local-minhop"), seed=3)
    found = find_bounds(scenario, seed=3, network=run.network)
    assert (found.unit, found.asked) == ("pairs", math.inf)
    delivered = deliveries(run.tables["requests"])
    assert len(run.arrivals.requests) < delivered <= found.time <= found.flow


def test_bins_that_miss_the_end_by_a_rounding_hold_it(line):
    """A patience told as a difference of times is rarely a whole part of the run."""
    scenario = line()
    end_s = scenario.window.end_s
    whole = find_bounds(scenario, seed=1, bin_s=end_s / 100.0)
    just_short = find_bounds(scenario, seed=1, bin_s=end_s / 100.0 * (1.0 - 1e-12))
    assert just_short.time == whole.time


@pytest.mark.parametrize("bin_s", [0.0, 1e-9, 100.0, math.nan])
def test_bins_that_make_no_sense_get_a_sentence(line, bin_s):
    with pytest.raises(QdpemError, match=r"bins of .* s do not fit a run of 21 s"):
        find_bounds(line(), seed=1, bin_s=bin_s)

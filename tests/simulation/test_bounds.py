"""No arm exceeds a bound on any seed, and every limit behind the bounds holds in every run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from physics.hardware import (
    DepolarisingMemory,
    DirectLink,
    DoubleClickLink,
    Fibre,
    NodeHardware,
    RelaxingMemory,
    SourceLink,
)
from physics.plans import Plan
from qdpem.demand.streams import generate_arrivals
from qdpem.errors import QdpemError
from qdpem.events.deliveries import deliveries
from qdpem.events.tables import PAIR_ENDS
from qdpem.flow.budget import Way
from qdpem.flow.master import Master
from qdpem.flow.reach import Reach
from qdpem.network.build import build_network, build_physics
from qdpem.network.coins import swap_coins
from qdpem.network.routing import Routes
from qdpem.policy.interface import Allocation, Decisions
from qdpem.scenario.schema import (
    STANDING,
    Arm,
    ControlPlane,
    Demand,
    Forecasting,
    Links,
    Nodes,
    Outages,
    RandomOutages,
    RequestClass,
    Scenario,
    Topology,
    Uniform,
    Window,
)
from qdpem.simulation.bounds import bounds_of, find_bounds
from qdpem.simulation.realised import draw_sample, wanted
from qdpem.simulation.run import simulate

END_S = 4.0
_TOPOLOGIES = (
    Topology(kind="line", parameters={"nodes": 4, "hop_km": 10.0}),
    Topology(kind="grid", parameters={"rows": 2, "columns": 3, "hop_km": 15.0}),
    Topology(kind="geometric", parameters={"nodes": 7, "side_km": 40.0, "mean_degree": 3.0}),
    Topology(kind="uniform", parameters={"nodes": 8, "side_km": 40.0, "mean_degree": 3.0}),
)
_FIBRE = Fibre(fixed_loss_db=1.0, loss_db_per_km=0.1)
_LINKS = (
    SourceLink(fibre=_FIBRE, fresh_fidelity=0.96),
    SourceLink(fibre=_FIBRE, fresh_fidelity=0.9),
    DirectLink(
        success_probability=0.1, attempt_period_s=0.02, modes=2, fresh_weights=(0.96, 0.02, 0.01, 0.01)
    ),
    DoubleClickLink(fibre=_FIBRE, station_share=0.3, reset_time_s=0.02),
)
_MEMORIES = (DepolarisingMemory(depolarising_s=20.0), RelaxingMemory(relaxation_s=15.0, dephasing_s=8.0))


def draw_scenario(seed: int) -> Scenario:
    """One of many: small, short of everything, with all that may differ drawn."""
    draws = np.random.default_rng(seed)

    def one(values):
        return values[int(draws.integers(len(values)))]

    server = bool(draws.random() < 0.3)
    qubits = {"memories_per_link": 2} if draws.random() < 0.3 else {"memories": int(draws.integers(4, 17))}
    nodes = Nodes(
        hardware=NodeHardware(
            memory=one(_MEMORIES),
            swap_success_probability=one((1.0, 0.7)),
            gate_fidelity=one((1.0, 0.99)),
            bell_measurement=one(("complete", "complete", "boosted", "linear-optics")),
        ),
        repeater_kind="server" if server else "token-bucket",
        repeater_rate_hz=Uniform(low=1.0, high=one((4.0, 12.0))),
        repeater_burst=1.0 if server else one((1.0, 3.0)),
        swap_time_s=0.0 if server else 1e-3,
        source_rate_hz=Uniform(low=2.0, high=one((8.0, 30.0))),
        foreign_stock_share=0.5,
        cutoff_s=one((None, 0.5)),
        swap_order=one(("asap", "nested", "left-to-right")),
        **qubits,
    )
    targets = (("teleportation", 0.6), ("computing", 0.8), ("qkd", 0.88))
    classes = tuple(
        RequestClass(
            application=application,
            share=1.0,
            target_fidelity=target,
            patience_s=one((0.3, 1.0)),
            pairs=int(draws.integers(1, 3)),
            standing=one(STANDING) if draws.random() < 0.15 else "no",
        )
        for application, target in targets[: int(draws.integers(1, 4))]
    )
    away = RandomOutages(mean_up_s=3.0, mean_down_s=0.3) if draws.random() < 0.3 else None
    return Scenario(
        name="short",
        topology=one(_TOPOLOGIES),
        nodes=nodes,
        links=Links(hardware=one(_LINKS), slotted=bool(draws.random() < 0.5)),
        demand=Demand(classes=classes, rate_hz=one((4.0, 15.0, 30.0))),
        control=ControlPlane(zero_delay=bool(draws.random() < 0.5)),
        outages=Outages(links=away),
        forecasting=Forecasting(history_s=20.0),
        window=Window(warm_up_s=1.0, measured_s=END_S - 1.0),
        topology_seed=seed,
    )


class Greedy:
    """Serves each request at once over its shortest path, as early as it can; keeps a pair on every link."""

    name = "greedy"
    asks_at_epochs = True
    news_width = 0

    def __init__(self, rounds: int = 0) -> None:
        self._rounds = rounds

    def reset(self, context) -> None:
        self._context = context

    def decide(self, views) -> Decisions:
        return Decisions(allocations=tuple(one for view in views for one in self._allocations(view)))

    def _allocations(self, view) -> Iterator[Allocation]:
        routes, stocks = self._context.routes, self._context.rights != "serve"
        for place, request in enumerate(view.request_id[0].tolist()):
            source, destination = int(view.request_source[0, place]), int(view.request_destination[0, place])
            deadline_s = float(view.request_deadline_s[0, place])
            if request >= 0 and deadline_s > view.time_s:
                paths = routes.paths(source, destination)
                yield Allocation(
                    source=source,
                    destination=destination,
                    target_fidelity=float(view.request_target_fidelity[0, place]),
                    path=paths[request % len(paths)].nodes if paths else (source, destination),
                    plan=Plan(rounds_per_link=self._rounds),
                    pairs=int(view.request_pairs[0, place]),
                    expires_s=deadline_s,
                    request=request,
                )
        site = int(view.site[0])
        if stocks and site >= 0:
            for other, _ in self._context.network.neighbours[site]:
                if not (view.stock_partner[0] == other).any():
                    yield Allocation(
                        source=site,
                        destination=other,
                        target_fidelity=0.7,
                        path=(site, other),
                        expires_s=view.time_s + 2.0,
                        purpose="stock",
                    )


class Wild:
    """Serves and stocks at random: any plan, any path, over remote stock where it has some."""

    name = "wild"
    asks_at_epochs = True
    news_width = 0

    def __init__(self, seed: int) -> None:
        self._draws = np.random.default_rng(seed)

    def reset(self, context) -> None:
        self._context = context

    def decide(self, views) -> Decisions:
        made = [one for view in views for one in (*self._serve(view), *self._stock(view))]
        return Decisions(allocations=tuple(made))

    def _plan(self, path) -> Plan:
        draws, linked = self._draws, set(pairwise(path)) <= set(self._context.network.link_between)
        return Plan(
            rounds_per_link=int(draws.choice(3, p=(0.7, 0.2, 0.1))),
            end_rounds=int(linked and draws.random() < 0.2),
            schedule=("nested", "pumping")[int(draws.integers(2))],
        )

    def _path(self, view, source: int, destination: int, *, over_stock: bool) -> tuple[int, ...]:
        paths = self._context.routes.paths(source, destination)
        path = paths[int(self._draws.integers(len(paths)))].nodes
        ready = view.stock_ready[0] == 1
        kept = zip(view.stock_owner[0][ready].tolist(), view.stock_partner[0][ready].tolist(), strict=True)
        for owner, partner in kept:
            if over_stock and owner in path[:-1] and partner in path[path.index(owner) + 2 :]:
                return path[: path.index(owner) + 1] + path[path.index(partner) :]
        return path

    def _serve(self, view) -> Iterator[Allocation]:
        for place, request in enumerate(view.request_id[0].tolist()):
            deadline_s = float(view.request_deadline_s[0, place])
            if request < 0 or deadline_s <= view.time_s:
                continue
            ends = int(view.request_source[0, place]), int(view.request_destination[0, place])
            path = self._path(view, *ends, over_stock=view.request_standing[0, place] == 0)
            yield Allocation(
                source=ends[0],
                destination=ends[1],
                target_fidelity=float(view.request_target_fidelity[0, place]),
                path=path,
                plan=self._plan(path),
                pairs=int(view.request_pairs[0, place]),
                expires_s=deadline_s,
                request=request,
            )

    def _stock(self, view) -> Iterator[Allocation]:
        site, nodes = int(view.site[0]), self._context.network.node_count
        destination = int(self._draws.integers(nodes))
        if site in (-1, destination) or self._draws.random() < 0.7:
            return
        path = self._path(view, site, destination, over_stock=True)
        if len(path) > 2 or path in self._context.network.link_between:
            yield Allocation(
                source=site,
                destination=destination,
                target_fidelity=0.6,
                path=path,
                plan=self._plan(path),
                expires_s=view.time_s + float(self._draws.uniform(0.2, 3.0)),
                purpose="stock",
            )


ARMS = (
    (Arm(name="local-minhop"), None),
    (Arm(name="local-minhop", rights="serve"), Greedy()),
    (Arm(name="local-minhop", rights="elementary"), Greedy()),
    (Arm(name="local-minhop", rights="serve"), Greedy(rounds=1)),
    (Arm(name="local-minhop", rights="virtual"), Wild(1)),
    (Arm(name="central-live", rights="remote", knowledge="clairvoyant"), None),
    (Arm(name="local-stock", rights="virtual", knowledge="clairvoyant"), None),
    (Arm(name="dpem", rights="virtual", knowledge="clairvoyant"), None),
)


def assert_limits_hold(tables, network, sample, *, seed: int) -> None:
    """Births and swaps of a run never exceed what a window holds, in windows drawn at random."""
    pairs, draws = tables["pairs"], np.random.default_rng(seed)
    born_s, links = pairs["born_s"], pairs["link"]
    fresh = (pairs["first_parent"] < 0) & (links >= 0)
    begun_s = born_s[fresh] - sample.birth_s[links[fresh]]
    own, sender = links[fresh], pairs["sender"][fresh]
    ends = {
        int(one): set(pair) for one, *pair in zip(pairs["pair"], pairs["first"], pairs["second"], strict=True)
    }
    swapped = np.flatnonzero(pairs["outcome"] >= 0)
    at = [
        next(iter(ends[int(pairs["first_parent"][row])] & ends[int(pairs["second_parent"][row])]))
        for row in swapped.tolist()
    ]
    swap_node, swap_s = np.array(at, dtype=np.int64), born_s[swapped]
    chance = network.success_probability
    edges = [(0.0, sample.end_s)] + [tuple(sorted(draws.uniform(0.0, sample.end_s, 2))) for _ in range(60)]
    for from_s, until_s in edges:
        supply = sample.supply(from_s, until_s)
        inside = (begun_s >= from_s) & (begun_s <= until_s)
        for tier, most in enumerate(supply.emissions.tolist()):
            node, limit = sample.tiers.node[tier], sample.tiers.probability[tier]
            assert (inside & (sender == node) & (chance[own] <= limit)).sum() <= most
        late = inside & (born_s[fresh] <= until_s) & (sender < 0)
        counts = np.bincount(own[late], minlength=network.link_count)
        assert (counts <= supply.attempts).all(), (counts, supply.attempts)
        begun = swap_s - sample.swap_time_s[swap_node] >= from_s - 1e-9
        counts = np.bincount(swap_node[begun & (swap_s <= until_s)], minlength=network.node_count)
        assert (counts <= supply.swaps).all(), (counts, supply.swaps, from_s, until_s)


def assert_reach_holds(tables, network, physics) -> int:
    """No pair that met its request's target came further, or from longer ago, than `Reach` allows.

    Returns how many pairs were looked at.
    """
    reach, pairs, requests = Reach(network, physics), tables["pairs"], tables["requests"]
    row = {int(one): place for place, one in enumerate(pairs["pair"])}
    request_of = dict(
        zip(
            tables["allocations"]["allocation"].tolist(),
            tables["allocations"]["request"].tolist(),
            strict=True,
        )
    )
    asked = {int(one): place for place, one in enumerate(requests["request"])}

    def leaves(place: int, *, distilled: bool) -> Iterator[tuple[int, bool]]:
        parents = int(pairs["first_parent"][place]), int(pairs["second_parent"][place])
        if parents[0] < 0:
            yield place, distilled
        elif pairs["outcome"][place] >= 0:
            for parent in parents:
                yield from leaves(row[parent], distilled=distilled)
        else:
            yield from leaves(row[parents[0]], distilled=True)

    seen = 0
    for place in np.flatnonzero(pairs["end"] == PAIR_ENDS.index("delivered")).tolist():
        request = asked.get(request_of.get(int(pairs["allocation"][place]), -1))
        if request is None or pairs["fidelity"][place] < requests["target_fidelity"][request]:
            continue
        target, found = float(requests["target_fidelity"][request]), list(leaves(place, distilled=False))
        single = [leaf for leaf, distilled in found if not distilled]
        assert len(single) <= reach.hops(target)
        if len(single) == len(found):
            distance = int(
                network.hop_distance[requests["source"][request], requests["destination"][request]]
            )
            oldest_s = float(pairs["born_s"][single].min())
            assert oldest_s >= requests["time_s"][request] - reach.life_s(target, distance) - 1e-6
        seen += 1
    return seen


@pytest.mark.parametrize("seed", range(14))
def test_no_arm_passes_a_bound_nor_any_limit_behind_it(seed):
    scenario = draw_scenario(seed)
    physics, found, seen = build_physics(scenario), None, 0
    for turn, (arm, policy) in enumerate(ARMS):
        if (turn + seed) % 2 and turn != 4:
            continue
        run = simulate(scenario, arm, seed=seed, policy=policy)
        if found is None:
            sample = draw_sample(run.network, physics, seed=seed, end_s=END_S)
            found = find_bounds(scenario, seed=seed, network=run.network)
            assert found.time_without_stock <= found.time <= found.flow
        delivered = deliveries(run.tables["requests"])
        assert delivered <= found.time
        if run.arm.rights == "serve":
            assert delivered <= found.time_without_stock
        assert_limits_hold(run.tables, run.network, sample, seed=seed)
        seen += assert_reach_holds(run.tables, run.network, physics)
    assert seen > 0


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
    demand = replace(scenario.demand, weights="ends", rate_hz=100.0)
    scenario = replace(scenario, demand=demand)
    run = simulate(scenario, Arm(name="local-minhop"), seed=3)
    found = find_bounds(scenario, seed=3, network=run.network)
    assert found.flow == math.floor(1.0 + 4.0 * 10.0 - 4.0 * 1e-3)
    assert found.flow - 1 <= deliveries(run.tables["requests"]) <= found.time <= found.flow
    assert found.dearest_nodes == (run.network.graph.node_names[1],)


def test_a_server_hands_over_what_fits(line):
    """One swap after the other, each 1/rate long: floor(rate x time)."""
    scenario = line(
        nodes=3, source_rate_hz=500.0, repeater_rate_hz=4.3, repeater_kind="server", measured_s=9.0
    )
    scenario = replace(scenario, nodes=replace(scenario.nodes, swap_time_s=0.0))
    scenario = replace(scenario, demand=replace(scenario.demand, weights="ends", rate_hz=100.0))
    assert find_bounds(scenario, seed=3).flow == math.floor(4.3 * 10.0)


def test_what_must_be_made_in_time_is_less_with_time(line):
    """All requests in a burst of patience: with time no more than its tokens, without it those of the run."""
    scenario = line(nodes=3, source_rate_hz=500.0, repeater_rate_hz=4.0, patience_s=0.5, measured_s=19.0)
    scenario = replace(scenario, demand=replace(scenario.demand, weights="ends", rate_hz=5.0))
    physics = build_physics(scenario)
    network = build_network(scenario, physics, seed=1)
    reach = Reach(network, physics)
    requests = generate_arrivals(scenario, network, seed=1).requests
    together = replace(
        requests,
        time_s=np.full(len(requests), 10.0),
        deadline_s=np.full(len(requests), 10.5),
        source=np.zeros(len(requests), dtype=np.int64),
        destination=np.full(len(requests), 2, dtype=np.int64),
    )
    sample = draw_sample(network, physics, seed=1, end_s=20.0)
    found = bounds_of(network, reach, together, sample, bin_s=0.25)
    assert found.flow == min(len(requests), 80)
    # Without stock all swaps fall into [10, 10.5], rounded outwards to [9.75, 10.75]: 1 + 4 x 1 tokens.
    assert found.time_without_stock == 4
    life_s = reach.life_s(0.7, 2)
    most = 1.0 + 4.0 * (0.25 * (math.ceil(10.5 / 0.25 + 1e-5) - math.floor((10.0 - life_s) / 0.25)))
    assert found.time_without_stock < found.time <= most


def test_a_diamond_is_filled_on_both_sides_and_one_path_each_is_no_bound():
    """Two ways of two hops over repeaters of 2 and 3 swaps/s carry 5/s and their bursts together.

    A programme over one path for each pair of nodes finds one side alone; an arm that uses both passes it.
    """
    scenario = replace(
        draw_scenario(0),
        topology=Topology(kind="grid", parameters={"rows": 2, "columns": 2, "hop_km": 2.0}),
        nodes=Nodes(
            hardware=NodeHardware(memory=DepolarisingMemory(depolarising_s=1e4)),
            repeater_rate_hz=1.0,
            source_rate_hz=1000.0,
            swap_time_s=0.0,
            memories=999,
        ),
        links=Links(hardware=_LINKS[0]),
        demand=Demand(
            classes=(RequestClass(application="qkd", share=1.0, target_fidelity=0.7, patience_s=9.0),),
            weights="ends",
            rate_hz=50.0,
        ),
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

    sample = draw_sample(network, physics, seed=2, end_s=10.0)
    groups = wanted(run.arrivals.requests, Reach(network, physics))
    narrow = Master(network, sample.tiers, sample.supply(0.0, 10.0), groups)
    path = Routes(network).paths(0, 3)[0]
    narrow.add(0, Way(path.links, (1, 1), path.nodes[1:-1]), (0, 0))
    assert narrow.solve().value < delivered


def test_failed_swaps_cost_their_tokens(line):
    """Known coins: so many successes among so many swaps, not half of them."""
    scenario = line(
        nodes=3, source_rate_hz=900.0, repeater_rate_hz=4.0, swap_success_probability=0.5, measured_s=9.0
    )
    scenario = replace(scenario, demand=replace(scenario.demand, weights="ends", rate_hz=100.0))
    network = build_network(scenario, build_physics(scenario), seed=5)
    coins = swap_coins(network.graph, seed=5)[1]
    successes = sum(coins.next() < 0.5 for _ in range(math.floor(1.0 + 4.0 * 10.0 - 4.0 * 1e-3)))
    assert find_bounds(scenario, seed=5, network=network).flow == successes


def test_what_cannot_be_reached_without_distillation_takes_two_pairs(line):
    """One link of fidelity 0.98 and a target of 0.985: every pair delivered takes two fresh ones."""
    scenario = line(nodes=2, source_rate_hz=5.0, rate_hz=200.0, target_fidelity=0.985, measured_s=9.0)
    easy = line(nodes=2, source_rate_hz=5.0, rate_hz=200.0, target_fidelity=0.9, measured_s=9.0)
    assert find_bounds(scenario, seed=3).flow == find_bounds(easy, seed=3).flow // 2


def test_standing_requests_are_counted_in_pairs(line):
    scenario = line(nodes=2, source_rate_hz=5.0, rate_hz=1.0, patience_s=5.0, measured_s=9.0, memories=99)
    classes = (replace(scenario.demand.classes[0], standing="pair"),)
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

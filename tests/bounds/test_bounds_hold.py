"""No arm exceeds a bound on any seed, and every limit behind the bounds holds in every run."""

from __future__ import annotations

from collections.abc import Iterator

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
from qdpem.bounds.fidelity_reach import FidelityReach
from qdpem.bounds.seed_bounds import find_bounds
from qdpem.bounds.seed_sample import draw_seed_sample
from qdpem.events.words import PairOutcome
from qdpem.metrics.deliveries import deliveries
from qdpem.network.build import build_physics
from qdpem.scenario.schema import (
    Arm,
    ControlSettings,
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
from qdpem.scenario.words import Repetition
from qdpem.simulation.run import simulate
from tests.helpers.gamblers import Gambler
from tests.helpers.greedy import Greedy

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
    DoubleClickLink(fibre=_FIBRE, station_position=0.3, reset_time_s=0.02),
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
        remote_storage_quota=0.5,
        cutoff_s=one((None, 0.5)),
        swap_order=one(("asap", "nested", "left-to-right")),
        **qubits,
    )
    targets = (("teleportation", 0.6), ("computing", 0.8), ("qkd", 0.88))
    classes = tuple(
        RequestClass(
            application=application,
            fraction=1.0,
            target_fidelity=target,
            patience_s=one((0.3, 1.0)),
            pairs=int(draws.integers(1, 3)),
            repeat_until_deadline=one(tuple(Repetition)) if draws.random() < 0.15 else "no",
        )
        for application, target in targets[: int(draws.integers(1, 4))]
    )
    unavailable = RandomOutages(mean_up_s=3.0, mean_down_s=0.3) if draws.random() < 0.3 else None
    return Scenario(
        name="short",
        topology=one(_TOPOLOGIES),
        nodes=nodes,
        links=Links(hardware=one(_LINKS), slotted=bool(draws.random() < 0.5)),
        demand=Demand(classes=classes, rate_hz=one((4.0, 15.0, 30.0))),
        control=ControlSettings(zero_delay=bool(draws.random() < 0.5)),
        outages=Outages(links=unavailable),
        forecasting=Forecasting(history_s=20.0),
        window=Window(warm_up_s=1.0, measured_s=END_S - 1.0),
        topology_seed=seed,
    )


ARMS = (
    (Arm(name="local-minhop"), lambda: None),
    (Arm(name="local-minhop", pregeneration="none"), Greedy),
    (Arm(name="local-minhop", pregeneration="link"), Greedy),
    (Arm(name="local-minhop", pregeneration="none"), lambda: Greedy(rounds=1)),
    (Arm(name="local-minhop", pregeneration="virtual-link"), lambda: Gambler(1)),
    (Arm(name="central-expected-delay", pregeneration="end-to-end", forecaster="clairvoyant"), lambda: None),
    (Arm(name="local-stock", pregeneration="virtual-link", forecaster="clairvoyant"), lambda: None),
    (Arm(name="dpem", pregeneration="virtual-link", forecaster="clairvoyant"), lambda: None),
)


def assert_limits_hold(tables, network, sample, *, seed: int) -> None:
    """FreshPairs and swaps of a run never exceed what a window holds, in windows drawn at random."""
    pairs, draws = tables["pairs"], np.random.default_rng(seed)
    born_s, links = pairs["born_s"], pairs["link"]
    fresh = (pairs["first_parent"] < 0) & (links >= 0)
    begun_s = born_s[fresh] - sample.birth_s[links[fresh]]
    own, sender = links[fresh], pairs["sender"][fresh]
    ends = {
        int(one): set(pair) for one, *pair in zip(pairs["pair"], pairs["first"], pairs["second"], strict=True)
    }
    swapped = np.flatnonzero(pairs["bell_outcome"] >= 0)
    at = [
        next(iter(ends[int(pairs["first_parent"][row])] & ends[int(pairs["second_parent"][row])]))
        for row in swapped.tolist()
    ]
    swap_node, swap_s = np.array(at, dtype=np.int64), born_s[swapped]
    probability = network.success_probability
    edges = [(0.0, sample.end_s)] + [tuple(sorted(draws.uniform(0.0, sample.end_s, 2))) for _ in range(60)]
    for from_s, until_s in edges:
        supply = sample.supply(from_s, until_s)
        inside = (begun_s >= from_s) & (begun_s <= until_s)
        for level, maximum in enumerate(supply.emissions.tolist()):
            node, limit = sample.levels.node[level], sample.levels.probability[level]
            assert (inside & (sender == node) & (probability[own] <= limit)).sum() <= maximum
        late = inside & (born_s[fresh] <= until_s) & (sender < 0)
        counts = np.bincount(own[late], minlength=network.link_count)
        assert (counts <= supply.attempts).all(), (counts, supply.attempts)
        begun = swap_s - sample.swap_time_s[swap_node] >= from_s - 1e-9
        counts = np.bincount(swap_node[begun & (swap_s <= until_s)], minlength=network.node_count)
        assert (counts <= supply.swaps).all(), (counts, supply.swaps, from_s, until_s)


def assert_reach_holds(tables, network, physics) -> int:
    """No pair that met its request's target came further, or from longer ago, than `FidelityReach` allows.

    Returns how many pairs were looked at.
    """
    reach, pairs, requests = FidelityReach(network, physics), tables["pairs"], tables["requests"]
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
        elif pairs["bell_outcome"][place] >= 0:
            for parent in parents:
                yield from leaves(row[parent], distilled=distilled)
        else:
            yield from leaves(row[parents[0]], distilled=True)

    seen = 0
    for place in np.flatnonzero(pairs["outcome"] == PairOutcome.DELIVERED.code).tolist():
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
            assert oldest_s >= requests["time_s"][request] - reach.max_age_s(target, distance) - 1e-6
        seen += 1
    return seen


@pytest.mark.mostly_repeated(6)
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(14))
def test_no_arm_passes_a_bound_nor_any_limit_behind_it(seed):
    scenario = draw_scenario(seed)
    physics, found, seen = build_physics(scenario), None, 0
    for turn, (arm, made) in enumerate(ARMS):
        if (turn + seed) % 2 and turn != 4:
            continue
        run = simulate(scenario, arm, seed=seed, policy=made())
        if found is None:
            sample = draw_seed_sample(run.network, physics, seed=seed, end_s=END_S)
            found = find_bounds(scenario, seed=seed, network=run.network)
            assert found.time_without_stock <= found.time <= found.flow
        delivered = deliveries(run.tables["requests"])
        assert delivered <= found.time
        if run.arm.pregeneration == "none":
            assert delivered <= found.time_without_stock
        assert_limits_hold(run.tables, run.network, sample, seed=seed)
        seen += assert_reach_holds(run.tables, run.network, physics)
    assert seen > 0


HARD_PRESSED_ARMS = (
    Arm(name="central-expected-delay", parameters={"max_unloaded_delay": 4.0, "max_loaded_delay": 32.0}),
    Arm(
        name="central-expected-delay",
        pregeneration="virtual-link",
        forecaster="constant",
        parameters={"max_unloaded_delay": 4.0, "max_loaded_delay": 32.0},
    ),
    Arm(name="central-multicommodity", parameters={"delay_cost_per_s": 0.01}),
    Arm(name="central-multicommodity", pregeneration="link", forecaster="constant"),
    Arm(name="central-qleap", parameters={"overflow": "queue"}),
    Arm(name="central-maxweight"),
    Arm(name="local-expected-delay", parameters={"max_unloaded_delay": 4.0, "max_loaded_delay": 32.0}),
    Arm(name="local-price-based"),
    Arm(name="local-maxweight"),
    Arm(name="local-continuous"),
)


def draw_hard_pressed(seed: int) -> Scenario:
    """Where a bound can be reached: more is asked than can be carried, without light delay or decay."""
    draws = np.random.default_rng(seed)

    def one(values):
        return values[int(draws.integers(len(values)))]

    return Scenario(
        name="hard-pressed",
        topology=one(_TOPOLOGIES),
        nodes=Nodes(
            hardware=NodeHardware(
                memory=DepolarisingMemory(depolarising_s=1e4),
                swap_success_probability=one((1.0, 0.7)),
            ),
            repeater_rate_hz=Uniform(low=1.0, high=one((2.0, 6.0))),
            repeater_burst=one((1.0, 3.0)),
            swap_time_s=1e-6,
            source_rate_hz=Uniform(low=one((2.0, 20.0)), high=30.0),
            memories=64,
        ),
        links=Links(hardware=SourceLink(fibre=_FIBRE, fresh_fidelity=0.99)),
        demand=Demand(
            classes=(
                RequestClass(
                    application="teleportation",
                    fraction=1.0,
                    target_fidelity=0.6,
                    patience_s=one((2.0, 6.0)),
                ),
            ),
            rate_hz=one((15.0, 30.0)),
        ),
        control=ControlSettings(zero_delay=True),
        forecasting=Forecasting(history_s=20.0),
        window=Window(warm_up_s=1.0, measured_s=11.0),
        topology_seed=seed,
    )


@pytest.mark.mostly_repeated(2)
@pytest.mark.slow
@pytest.mark.parametrize(("seed", "reached"), [(2, 0.93), (4, 0.98), (5, 0.96)])
def test_arms_come_up_to_the_bound_and_no_further(seed, reached):
    """Supply binds, not demand, and the best arm reaches this share of the bound: were it lower by as much as
    is missing to 1, an arm would pass it. Seen were .937, .987 and .970."""
    scenario = draw_hard_pressed(seed)
    found, fractions = find_bounds(scenario, seed=seed), []
    assert found.time < 0.9 * found.asked
    for arm in HARD_PRESSED_ARMS:
        run = simulate(scenario, arm, seed=seed)
        maximum = found.time_without_stock if run.arm.pregeneration == "none" else found.time
        fractions.append(deliveries(run.tables["requests"]) / maximum)
    assert max(fractions) <= 1.0
    assert max(fractions) >= reached

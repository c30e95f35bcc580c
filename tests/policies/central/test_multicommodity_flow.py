"""The flow's mix on a diamond: what is solved and drawn, what follows from queues, news and forecasts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from qdpem.events.recorder import MemoryRecorder
from qdpem.flow.commodities import DistillationOption
from qdpem.policies.inventory.demand_estimate import DemandEstimate, RequestKind
from qdpem.policies.multicommodity_flow import (
    CentralMulticommodity,
    MulticommodityParameters,
    draw_order,
)
from qdpem.policies.routing.distillation_reach import DistillationReach
from qdpem.policies.routing.path_mix import PathMix, path_mixes_of_arrays, path_mixes_to_arrays
from qdpem.policy.conformance import check_policy
from qdpem.policy.interface import ORDERED_SWAPS, Context, Observation
from qdpem.policy.synthetic import small_context
from qdpem.policy.validation import validate
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Arm
from qdpem.simulation.arms import resolve_arm
from qdpem.simulation.run import Simulation, simulate
from tests.helpers.exploit_field import FIELD

FALSE_ALARM = 1e-3
# A diamond from 0 to 3 over 1 or 2, and a leaf 4 that hangs on 1.
ENDS = ((0, 1), (0, 2), (1, 3), (1, 4), (2, 3))
OVER_1, OVER_2 = (0, 1, 3), (0, 2, 3)


Build = Callable[..., Any]


@pytest.fixture(scope="session")
def diamond(made_context: Build) -> Callable[..., Context]:
    return partial(made_context, ENDS, repeater_hz=(0, 3, 2, 0, 0), source_hz=1e3)


def with_history(observations: Observation, *rates: tuple[int, int, float]) -> Observation:
    """TopPairs that were asked for at these rates before the run."""
    for column, (source, destination, rate_hz) in enumerate(rates):
        observations.top_pair_source[0, column] = source
        observations.top_pair_destination[0, column] = destination
        observations.top_pair_rate_hz[0, column] = rate_hz
    return observations


def policy_on(context: Context, **parameters: object) -> CentralMulticommodity:
    policy = CentralMulticommodity(MulticommodityParameters(**parameters))  # type: ignore[arg-type]
    policy.reset(context)
    return policy


def fractions(policy: CentralMulticommodity, low: int, high: int) -> dict[tuple[int, ...], float]:
    return {
        nodes: float(fraction)
        for (first, last, _, _), mix in policy.path_mixes.items()
        if (first, last) == (low, high)
        for nodes, fraction in zip(mix.paths, mix.fractions, strict=True)
    }


def within(counts: np.ndarray, expected: np.ndarray) -> bool:
    """A two-sided test of counts: whether the chi-square lies within its middle 1 - FALSE_ALARM."""
    statistic = float(((counts - expected) ** 2 / expected).sum())
    low, high = chi2.ppf([FALSE_ALARM / 2, 1.0 - FALSE_ALARM / 2], len(counts) - 1)
    return bool(low <= statistic <= high)


def test_ways_are_drawn_by_their_shares_and_none_with_the_rest() -> None:
    draws, wanted = np.random.default_rng(1), np.array([0.5, 0.3, 0.1])
    orders = [tuple(draw_order(wanted, draws).tolist()) for _ in range(4000)]
    first = Counter(order[0] if order else -1 for order in orders)
    counts = np.array([first[way] for way in (0, 1, 2, -1)])
    assert within(counts, 4000 * np.array([0.5, 0.3, 0.1, 0.1]))
    assert all(sorted(order) == [0, 1, 2] for order in orders if order)
    # Given the first, the second is drawn by what the others have: 3 to 1 after way 0.
    second = Counter(order[1] for order in orders if order and order[0] == 0)
    counts = np.array([second[1], second[2]])
    assert within(counts, counts.sum() * np.array([0.75, 0.25]))


@pytest.mark.slow
def test_requests_go_by_the_flow_that_the_solver_found(diamond: Build, seen: Build) -> None:
    """Repeaters of 3/s and 2/s, 10/s asked: the flow serves a half, three fifths of that over the first."""
    context = diamond()
    policy = policy_on(context, delay_cost_per_s=0.0, max_path_delay=1e9, max_fallback_delay=0.0)
    taken: Counter[tuple[int, ...]] = Counter()
    for call in range(3000):
        observations = with_history(seen(context, (0, 3, 0.7), first_id=call), (0, 3, 6.0), (3, 0, 4.0))
        made = policy.act(observations).allocations
        taken[made[0].path if made else ()] += 1
    assert fractions(policy, 0, 3) == pytest.approx({OVER_1: 0.3, OVER_2: 0.2}, rel=1e-2)
    counts = np.array([taken[OVER_1], taken[OVER_2], taken[()]])
    mixed = fractions(policy, 0, 3)
    expected = 3000 * np.array([mixed[OVER_1], mixed[OVER_2], 1.0 - sum(mixed.values())])
    assert within(counts, expected)


def test_a_chain_of_two_links_is_planned_for_what_its_repeater_carries(
    made_context: Build, seen: Build
) -> None:
    context = made_context([(0, 1), (1, 2)], repeater_hz=(0, 4, 0), source_hz=1e3)
    policy = policy_on(context, delay_cost_per_s=0.0)
    policy.act(with_history(seen(context, (2, 0, 0.7)), (0, 2, 5.0)))
    assert fractions(policy, 0, 2) == pytest.approx({(0, 1, 2): 0.8}, rel=2e-2)


def test_either_direction_is_the_same_class_and_paths_are_turned(diamond: Build, seen: Build) -> None:
    context = diamond()
    policy = policy_on(context)
    observations = with_history(seen(context, (3, 0, 0.7)), (0, 3, 1.0))
    (made,) = policy.act(observations).allocations
    validate(policy.act(observations), observations, context, policy_name=policy.name)
    assert made.path in (OVER_1[::-1], OVER_2[::-1])


def test_a_later_solution_follows_the_demand(diamond: Build, seen: Build) -> None:
    """0 to 4 goes over 1 alone. When it is asked for much, 0 to 3 is left with the way over 2."""
    context = diamond()
    policy = policy_on(context, demand_time_constant_s=5.0, period_s=1.0, delay_cost_per_s=0.1)
    policy.act(with_history(seen(context, (0, 3, 0.7)), (0, 3, 2.0)))
    before = fractions(policy, 0, 3)
    assert before[OVER_1] > 0.3
    for call in range(200):
        requests = ((0, 4, 0.7), (0, 3, 0.7)) if call % 2 else ((0, 4, 0.7),)
        policy.act(seen(context, *requests, time_s=10.0 + 0.4 * call, first_id=10 + 2 * call))
    after = fractions(policy, 0, 3)
    assert after.get(OVER_1, 0.0) < 0.5 * before[OVER_1]
    assert after[OVER_2] > before[OVER_2]
    assert sum(fractions(policy, 0, 4).values()) > 0.3


def test_between_solutions_the_mix_stays(diamond: Build, seen: Build) -> None:
    context = diamond()
    policy = policy_on(context, period_s=5.0)
    policy.act(with_history(seen(context, (0, 3, 0.7)), (0, 3, 2.0)))
    first = policy.path_mixes
    policy.act(seen(context, (0, 4, 0.7), time_s=14.9, first_id=7))
    assert policy.path_mixes is first
    policy.act(seen(context, (0, 4, 0.7), time_s=15.0, first_id=9))
    assert policy.path_mixes is not first


def test_a_forecast_scales_what_a_source_is_planned_for(diamond: Build, seen: Build) -> None:
    context = diamond()
    estimate = DemandEstimate(context, demand_time_constant_s=100.0, period_s=2.0)
    observations = with_history(seen(context, (0, 3, 0.7)), (0, 3, 1.0), (3, 1, 0.5))
    estimate.update(observations)
    plain = {(low, high): rate_hz for low, high, _, rate_hz in estimate.rates(observations)}
    assert plain == pytest.approx({(0, 3): 1.0 + 0.01, (1, 3): 0.5})
    observations.forecast[0, 0] = np.arange(8.0)
    # The mean of the next two seconds is 1/2 request for source 0; source 3 has no forecast.
    assert {one[:2]: one[3] for one in estimate.rates(observations)} == pytest.approx(
        {(0, 3): 0.5, (1, 3): 0.5}
    )


def test_counts_fade_and_the_mix_of_a_pair_is_shrunk_to_that_of_all(diamond: Build, seen: Build) -> None:
    context = diamond()
    estimate = DemandEstimate(context, demand_time_constant_s=10.0, period_s=1.0)
    estimate.update(seen(context, *[(0, 3, 0.7)] * 3, (0, 4, 0.8)))
    rates = {one[:3]: one[3] for one in estimate.rates(seen(context))}
    of_pair = 0.3 * np.array([3.0 + 7.5, 2.5]) / 13.0
    assert rates[0, 3, RequestKind(0.7, 1)] == pytest.approx(of_pair[0])
    assert rates[0, 3, RequestKind(0.8, 1)] == pytest.approx(of_pair[1])
    estimate.decay(20.0)
    faded = {one[:3]: one[3] for one in estimate.rates(seen(context))}
    assert sum(faded.values()) == pytest.approx(0.4 / np.e)
    estimate.update(seen(context, (0, 3, 0.7), time_s=20.0))
    assert sum(one[3] for one in estimate.rates(seen(context))) == pytest.approx(0.4 / np.e + 0.1)


def test_a_request_that_waits_counts_once(diamond: Build, seen: Build) -> None:
    context = diamond()
    estimate = DemandEstimate(context, demand_time_constant_s=10.0, period_s=1.0)
    for time_s in (10.0, 10.3, 10.6):
        observations = seen(context, (0, 3, 0.7), time_s=time_s)
        observations.request_deadline_s[0, 0] = 11.0
        estimate.update(observations)
    assert estimate.total[0, 3] == pytest.approx(np.exp(0.0))


def test_a_path_that_is_too_late_is_passed_over_and_left_where_all_are(diamond: Build, seen: Build) -> None:
    context = diamond(repeater_hz=(0, 5, 5, 0, 0))
    observations = with_history(seen(context, (0, 3, 0.7)), (0, 3, 1.0))
    observations.status[0, 1, ORDERED_SWAPS] = 30.0
    for seed in range(10):
        policy = policy_on(
            diamond(repeater_hz=(0, 5, 5, 0, 0), seed=seed), max_path_delay=0.8, max_fallback_delay=0.8
        )
        (made,) = policy.act(observations).allocations
        assert made.path == OVER_2
    observations.status[0, 2, ORDERED_SWAPS] = 30.0
    policy = policy_on(context, max_path_delay=0.8, max_fallback_delay=0.8)
    assert policy.act(observations).allocations == ()
    # It is looked at again after an epoch of 0.1 s, not at once.
    observations.status[0, :, ORDERED_SWAPS] = 0.0
    assert policy.act(replace(observations, time_s=10.05)).allocations == ()
    assert len(policy.act(replace(observations, time_s=10.2)).allocations) == 1


def test_what_the_flow_leaves_out_is_tried_only_where_it_may(diamond: Build, seen: Build) -> None:
    context = diamond(repeater_hz=(0, 0.01, 0, 0, 0))
    observations = with_history(seen(context, (0, 3, 0.7)), (0, 3, 100.0))
    assert (
        policy_on(context, delay_cost_per_s=0.0, max_fallback_delay=0.0).act(observations).allocations == ()
    )
    (made,) = policy_on(context, delay_cost_per_s=0.0, max_fallback_delay=1.0).act(observations).allocations
    assert made.path == OVER_1


def test_news_of_an_outage_is_solved_for_at_once(diamond: Build, seen: Build) -> None:
    context = diamond(repeater_hz=(0, 3, 3, 0, 0))
    policy = policy_on(context, period_s=1e3)
    observations = with_history(seen(context, (0, 3, 0.7)), (0, 3, 2.0))
    policy.act(observations)
    assert set(fractions(policy, 0, 3)) == {OVER_1, OVER_2}
    for gone in ({"unavailable_node": np.array([[1]])}, {"unavailable_link": np.array([[0]])}):
        policy.act(replace(observations, **gone))
        assert set(fractions(policy, 0, 3)) == {OVER_2}
    policy.act(observations)
    assert set(fractions(policy, 0, 3)) == {OVER_1, OVER_2}


def test_reach_is_that_of_paths_as_they_are(made_context: Build) -> None:
    """All links alike: so many hops are an option exactly where a real path of so many meets the target."""
    nodes = 9
    ends = [(node, node + 1) for node in range(nodes - 1)]
    context = made_context(ends, repeater_hz=[5.0] * nodes, fidelity=0.95)
    reach = DistillationReach(context, storage_fraction=0.0)
    for target in (0.7, 0.8, 0.93):
        found = dict.fromkeys(range(3), 0)
        for option in reach.options(target, nodes - 1):
            found[reach.rounds(option.pairs_per_link)] = option.max_hops
        best = 0
        for rounds in range(3):
            real = max(
                (
                    hops
                    for hops in range(1, nodes)
                    if context.estimates.fidelity(context.routes.paths(0, hops)[0], rounds=rounds) >= target
                ),
                default=0,
            )
            assert found[rounds] == (real if real > best else 0)
            best = max(best, real)
    assert reach.options(0.7, 2) == (DistillationOption(2, 1.0),)


HIGH_LOAD = """
name = "high load"
topology_seed = 4
[topology]
kind = "geometric"
parameters = {{ nodes = {nodes}, side_km = 20.0, mean_degree = {mean_degree} }}
[nodes]
source_rate_hz = {{ low = 20.0, high = 60.0 }}
repeater_rate_hz = {{ low = {low_hz}, high = {high_hz} }}
memories = 400
[nodes.hardware]
memory = {{ kind = "depolarising", depolarising_s = 1e6 }}
[links]
light_delay = false
processing_delay_s = 0.0
[demand]
rate_hz = 20.0
[[demand.classes]]
application = "teleportation"
fraction = 1.0
target_fidelity = 0.7
patience_s = 60.0
[control]
zero_delay = true
[window]
warm_up_s = 60
measured_s = 60
"""
OVERLOADED = {"nodes": 12, "mean_degree": 3.4, "low_hz": 1.0, "high_hz": 20.0}
UNEVEN = {"nodes": 16, "mean_degree": 4.0, "low_hz": 0.5, "high_hz": 12.0}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("network", "parameters", "minimum"),
    [(OVERLOADED, {"max_fallback_delay": 0.0}, 0.97), (UNEVEN, {}, 0.99)],
    ids=["overloaded", "uneven"],
)
def test_it_comes_within_three_per_cent_of_the_flow_bound(
    network: dict[str, float], parameters: dict[str, float], minimum: float, seed: int
) -> None:
    """Of the seed's own bound, over the whole run; fewest hops lose at least 1.7 times as much of it.

    With 30 % more asked than can be carried, the flow says whom to leave; nobody else is served (`spare`).
    """
    from qdpem.bounds.seed_bounds import find_bounds
    from qdpem.metrics.deliveries import deliveries

    scenario = parse_scenario(HIGH_LOAD.format(**network))
    bound = find_bounds(scenario, seed=seed, kind="flow")
    assert bound.flow < 0.9 * bound.asked

    def fraction(arm: Arm) -> float:
        run = simulate(scenario, arm, seed=seed)
        assert run.tables is not None
        return deliveries(run.tables["requests"]) / bound.flow

    reached = fraction(Arm(name="central-multicommodity", parameters=parameters))
    assert minimum <= reached <= 1.0
    assert 1.0 - fraction(Arm(name="local-minhop")) >= 1.7 * (1.0 - reached)


@pytest.mark.slow
def test_a_copy_goes_on_to_the_bit_as_the_original_would() -> None:
    """Between two solutions of the flow as well: what it was solved to and begins with is saved."""
    scenario = parse_scenario(FIELD)
    arm = Arm(
        name="central-multicommodity",
        pregeneration="link",
        parameters={"period_s": 3.0, "demand_time_constant_s": 5.0},
    )

    def run(copied_s: float) -> dict[str, Any]:
        recorder = MemoryRecorder()
        simulation = Simulation(scenario, arm, seed=1, recorder=recorder)
        policy, copied = simulation.policy, False
        while (observations := simulation.advance()) is not None:
            if observations.time_s > copied_s and not copied:
                saved, copied = policy.state(), True
                policy = resolve_arm(simulation.arm).build_policy()
                policy.reset(simulation.context)
                policy.load_state(saved)
            simulation.apply(policy.act(observations))
        return recorder.tables()

    alone, copied = run(math.inf), run(7.1)
    for name, columns in alone.items():
        for column, values in columns.items():
            assert values.tobytes() == copied[name][column].tobytes(), (name, column)


def test_mixes_are_the_same_from_their_arrays() -> None:
    """Several ways and options, one of each, and a class that the flow leaves out."""
    plain, twice = DistillationOption(4, 1.0), DistillationOption(7, 2.125)
    path_mixes = {
        (0, 3, (plain, twice), 1): PathMix((OVER_1, OVER_2), (0, 1), np.array([0.25, 0.5])),
        (1, 4, (plain,), 2): PathMix(((1, 4),), (2,), np.array([1.0])),
        (0, 4, (), 1): PathMix((), (), np.zeros(0)),
    }
    assert path_mixes_of_arrays(path_mixes_to_arrays({})) == {}
    found = path_mixes_of_arrays(path_mixes_to_arrays(path_mixes))
    assert list(found) == list(path_mixes)
    for key, (paths, rounds, fractions) in path_mixes.items():
        assert (found[key].paths, found[key].rounds) == (paths, rounds)
        assert found[key].fractions.tolist() == fractions.tolist()


@pytest.mark.mostly_slow
@pytest.mark.parametrize("pregeneration", ["none", "link", "end-to-end", "virtual-link"])
def test_conformance_with_every_right(pregeneration) -> None:
    context = small_context(control="central", pregeneration=pregeneration)
    factory = lambda: CentralMulticommodity(MulticommodityParameters(period_s=0.5))  # noqa: E731
    assert [check for check in check_policy(factory, context, calls=8) if not check.passed] == []


@pytest.mark.parametrize(
    "name", ["period_s", "demand_time_constant_s", "delay_cost_per_s", "max_path_delay", "max_fallback_delay"]
)
def test_senseless_parameters_are_a_sentence(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is -1"):
        MulticommodityParameters(**{name: -1.0})

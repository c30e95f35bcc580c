"""Control planes: what each may know and when, and the controller's queue against its closed form."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from qdpem.events.recorder import MemoryRecorder
from qdpem.events.words import AllocationOutcome, DecisionReason, PairOutcome, RequestOutcome
from qdpem.metrics.reward import rewards
from qdpem.policy.interface import FREE_MEMORIES, ORDERED_PAIRS, TOKENS, Decisions
from qdpem.scenario.schema import Arm, Reward, Window
from qdpem.simulation.run import simulate
from qdpem.simulation.simulation import Simulation
from tests.helpers.scripts import order

DELAY_S = 20.0 / 2e5 + 1e-5
LOCAL = Arm(name="local-minhop", pregeneration="end-to-end")
CENTRAL = Arm(name="central-fcfs", pregeneration="end-to-end")


def _with_plane(scenario, **changes):
    return replace(scenario, control=replace(scenario.control, **changes))


def _short(scenario):
    """Half a second of it: what is asked for comes soon."""
    return replace(scenario, window=Window(warm_up_s=0.01, measured_s=0.49))


@pytest.mark.mostly_repeated(1)
@pytest.mark.slow
@pytest.mark.parametrize("load", [0.3, 0.7])
def test_the_controllers_queue_waits_as_md1(line, script, load):
    """Poisson arrivals, one server, service s: mean wait rho s / (2 (1 - rho)), Pollaczek-Khinchine.

    Twenty batches give the error of the mean; |t| < 5 with 19 degrees is a false alarm below 1e-4.
    """
    rate_hz, service_s = 200.0, load / 200.0
    scenario = line(nodes=3, rate_hz=rate_hz, patience_s=0.2, measured_s=79.0)
    scenario = _with_plane(scenario, service_time_s=service_s)
    policy = script(lambda observations: Decisions())
    run = simulate(scenario, CENTRAL, seed=1, policy=policy)
    requests = run.arrivals.requests
    travel_s = run.network.distance_s[requests.source, run.network.median_node]
    heard_s = np.sort(requests.time_s + travel_s)
    decided_s = np.array(
        [observations.time_s for observations in policy.seen if observations.reason[0] == 0]
    )[: len(heard_s)]
    wait_s = decided_s - heard_s[: len(decided_s)] - service_s
    assert wait_s.min() > -1e-9
    means = np.array([batch.mean() for batch in np.array_split(wait_s, 20)])
    expected_s = load * service_s / (2.0 * (1.0 - load))
    assert abs(means.mean() - expected_s) < 5.0 * means.std(ddof=1) / math.sqrt(20)
    # The bound itself is tight enough to tell M/D/1 from M/M/1, which waits twice as long.
    assert 5.0 * means.std(ddof=1) / math.sqrt(20) < 0.3 * expected_s


def test_the_controller_has_heard_of_requests_that_die_in_its_queue(line, script):
    """An overloaded controller decides on few requests, but knows who asked: all that reached it."""
    scenario = _with_plane(line(nodes=3, rate_hz=50.0, patience_s=0.2, measured_s=10.0), service_time_s=0.5)
    policy = script(lambda observations: Decisions())
    policy.acts_every_epoch = True
    run = simulate(scenario, CENTRAL, seed=2, policy=policy)
    last = policy.seen[-1]
    known = last.top_pair_rate_hz[0][last.top_pair_source[0] >= 0].sum() * (math.floor(last.time_s) + 20.0)
    asked = (run.arrivals.requests.time_s < math.floor(last.time_s)).sum() + len(run.arrivals.history)
    assert known == pytest.approx(asked, abs=2)


@pytest.mark.mostly_slow
@pytest.mark.parametrize("zero_delay", [False, True])
def test_the_controller_sees_stock_as_late_as_word_of_it(line, script, arrive, zero_delay):
    """A pair between 0 and 1 appears to the controller at node 2 two delays after both its ends know."""
    arrive([(0.02, 0, 1)])
    orders = [Decisions(allocations=(order((0, 1), 3.0),))]
    policy = script(
        lambda observations: orders.pop() if observations.reason[0] == 0 and orders else Decisions()
    )
    policy.acts_every_epoch = True
    # Without word there is nothing between the epochs of 0.1 ms: the views sample the time finely.
    scenario = _with_plane(
        _short(line(nodes=5)), decision_epoch_s=1e-4, zero_delay=zero_delay, service_time_s=0.0
    )
    tables = simulate(scenario, CENTRAL, seed=3, policy=policy).tables
    done_s = float(tables["allocations"]["end_s"][0])
    assert tables["allocations"]["outcome"][0] == AllocationOutcome.DONE.code
    ready_s = [
        observations.time_s for observations in policy.seen if (observations.stock_ready[0] == 1).any()
    ]
    making_s = [
        observations.time_s for observations in policy.seen if (observations.stock_ready[0] == 0).any()
    ]
    late_s = 0.0 if zero_delay else 2 * DELAY_S
    assert done_s + late_s <= min(ready_s) <= done_s + late_s + 1e-4 + 1e-9
    assert max(making_s) <= done_s + late_s


def test_a_drop_by_the_controller_is_carried_out_when_the_command_arrives(line, script, arrive):
    """The owner, two hops from the controller, drops its half then; its partner one message later. It counts
    as expired unused, so that the owner pays for it."""
    arrive([(1.0, 0, 1), (2.0, 3, 4)])
    dropped_s = []

    def rule(observations):
        if observations.reason[0] == 0 and observations.time_s < 1.9:
            return Decisions(allocations=(order((0, 1), 9.0),))
        if observations.reason[0] == 0:
            dropped_s.append(observations.time_s)
            return Decisions(discards=(int(observations.stock_id[0, 0]),))
        return Decisions()

    tables = simulate(line(nodes=5), CENTRAL, seed=3, policy=script(rule)).tables
    pairs = tables["pairs"]
    assert pairs["outcome"].tolist() == [PairOutcome.EXPIRED.code]
    assert pairs["end_s"][0] == pytest.approx(dropped_s[0] + 2 * DELAY_S, abs=1e-12)
    earned = rewards(tables, weights=Reward(expired=0.25))
    assert list(zip(earned.time_s, earned.site, earned.amount, strict=True)) == [
        (pairs["end_s"][0], 0, -0.25)
    ]


@pytest.mark.slow
def test_a_local_site_counts_stock_on_order_until_it_hears_of_the_failure(line, script, arrive):
    """The order fails four hops away: until word is back the site still believes it is being made."""
    arrive([(0.02, 0, 4)])
    orders = [Decisions(allocations=(order((0, 1, 2, 3, 4), 9.0, pairs=5),))]
    policy = script(
        lambda observations: orders.pop() if observations.reason[0] == 0 and orders else Decisions()
    )
    policy.acts_every_epoch = True
    # Node 4 admits four halves of other nodes' stock: five are refused there.
    scenario = _with_plane(_short(line(nodes=5, hop_km=200.0)), decision_epoch_s=1e-4)
    tables = simulate(scenario, LOCAL, seed=3, policy=policy).tables
    delay_s = 200.0 / 2e5 + 1e-5
    assert tables["allocations"]["refused_at"].tolist() == [4]
    refused_s = float(tables["allocations"]["end_s"][0])
    assert refused_s == pytest.approx(0.02 + 4 * delay_s, abs=1e-12)
    making_s = [
        observations.time_s
        for observations in policy.seen
        if 0 in observations.site.tolist()
        and (observations.stock_ready[observations.site.tolist().index(0)] == 0).any()
    ]
    assert refused_s + 4 * delay_s - 1e-4 <= max(making_s) <= refused_s + 4 * delay_s


@pytest.mark.parametrize("arm", [LOCAL, CENTRAL], ids=["local", "central"])
def test_retries_back_off_and_end(line, script, arrive, arm):
    """Refused for ever: 1 + retries attempts, each after a uniform wait below a limit that doubles."""
    arrive([(1.0, 0, 1)], pairs=17)
    rule = lambda observations: Decisions(  # noqa: E731
        allocations=tuple(
            order((0, 1), 6.0, request=int(request), pairs=17)
            for request in observations.request_id[0]
            if request >= 0
        )
    )
    policy = script(rule)
    scenario = _with_plane(line(nodes=2), retries=3, back_off_s=0.1, service_time_s=0.0)
    run = simulate(scenario, arm, seed=4, policy=policy)
    tables = run.tables
    assert tables["requests"]["attempts"].tolist() == [4]
    assert tables["requests"]["outcome"].tolist() == [RequestOutcome.REJECTED.code]
    asked = [observations for observations in policy.seen if (observations.request_id[0] >= 0).any()]
    gaps_s = np.diff([observations.time_s for observations in asked])
    assert [DecisionReason.from_code(int(observations.reason[0])) for observations in asked] == [
        "arrival",
        *["refusal"] * 3,
    ]
    limits_s = 0.1 * 2.0 ** np.arange(3) + 3 * DELAY_S
    assert (gaps_s <= limits_s).all()
    assert gaps_s.max() > 0.1 - 1e-9 or gaps_s.min() > 1e-3


def test_news_is_exactly_as_old_as_its_delay_rounded_to_the_epoch(line):
    """Each neighbour's row is what held at the newest epoch whose message has arrived; its age says so."""
    scenario = line(nodes=4, rate_hz=30.0, measured_s=3.0, hop_km=2000.0, memories=6, patience_s=0.5)
    simulation = Simulation(scenario, LOCAL, seed=5, recorder=MemoryRecorder())
    simulation.policy.acts_every_epoch = True
    delay_s, epoch_s = 2000.0 / 2e5 + 1e-5, scenario.control.decision_epoch_s
    truth: dict[int, np.ndarray] = {}
    compared = 0
    while (observations := simulation.advance()) is not None:
        count = round(observations.time_s / epoch_s)
        if (
            observations.reason[0] == DecisionReason.EPOCH.code
            and abs(observations.time_s - count * epoch_s) < 1e-9
        ):
            truth.setdefault(count, observations.status[:, 0, [FREE_MEMORIES, TOKENS]])
        newest = max(math.floor((observations.time_s - delay_s) / epoch_s + 1e-9), 0)
        for row in range(len(observations)):
            for place, node in enumerate(observations.observed_node[row].tolist()):
                if place == 0:
                    assert observations.status_age_s[row, 0] == 0.0
                elif node >= 0 and newest in truth:
                    assert observations.status_age_s[row, place] == pytest.approx(
                        observations.time_s - newest * epoch_s
                    )
                    seen = observations.status[row, place, [FREE_MEMORIES, TOKENS]]
                    assert np.allclose(seen, truth[newest][node])
                    compared += 1
        simulation.apply(simulation.policy.act(observations))
    assert compared > 200


def test_news_of_far_nodes_comes_late_to_the_controller(line, script, arrive):
    """Rows of the controller are older the farther the node; its own book is exact."""
    arrive([(1.0, 0, 1), (1.2, 0, 1)])
    orders = [Decisions(allocations=(order((0, 1), 9.0, pairs=3),))]
    policy = script(
        lambda observations: orders.pop() if observations.reason[0] == 0 and orders else Decisions()
    )
    policy.acts_every_epoch = True
    scenario = _with_plane(
        line(nodes=5, hop_km=10000.0, measured_s=1.0, source_rate_hz=1e-6), decision_epoch_s=0.02
    )
    simulate(scenario, CENTRAL, seed=3, policy=policy)
    ordered_s = next(observations.time_s for observations in policy.seen if observations.reason[0] == 0)
    hop_s = 10000.0 / 2e5 + 1e-5
    booked = [
        observations.time_s for observations in policy.seen if observations.status[0, 0, ORDERED_PAIRS] == 3
    ]
    assert min(booked) == pytest.approx(ordered_s + 0.02, abs=0.02)
    seen_s = [
        observations.time_s for observations in policy.seen if observations.status[0, 0, FREE_MEMORIES] < 16
    ]
    # The command travels two hops, the first epoch after it is reported, and the report travels back.
    assert ordered_s + 4 * hop_s <= min(seen_s) <= ordered_s + 4 * hop_s + 2 * 0.02 + 1e-9
    ages = policy.seen[-1].status_age_s[0]
    assert ages[2] <= ages[1] <= ages[0]


def test_a_reserve_message_ahead_of_a_failed_swap_still_takes_qubits(line, script, arrive):
    """Nobody knows of a failure before word of it: nodes ahead grant and hold whatever was lost behind."""
    arrive([(1.0, 0, 7)])
    orders = [Decisions(allocations=(order(tuple(range(8)), 6.0, request=0),))]
    scenario = line(nodes=8, hop_km=20.0, source_rate_hz=1e6, swap_success_probability=0.0, measured_s=0.1)
    # Word of a lost pair and of the qubits that are free again takes longer than the reserve message.
    object.__setattr__(scenario.links, "processing_delay_s", 0.003)
    policy = script(
        lambda observations: orders.pop() if orders and observations.reason[0] == 0 else Decisions()
    )
    simulation = Simulation(scenario, LOCAL, seed=1, recorder=MemoryRecorder(), policy=policy)
    held = [0] * 8
    taken = simulation._state.memories.take
    simulation._state.memories.take = lambda node, count, *, inventory: (
        held.__setitem__(node, held[node] + count) or taken(node, count, inventory=inventory)
    )
    while (observations := simulation.advance()) is not None:
        simulation.apply(policy.act(observations))
    # Swaps fail at node 1 when reserve messages are between 4 and 7; they go on all the same. What is lost is
    # begun again: inner nodes take the two qubits once more for each failure they hear of.
    assert held[0] == held[7] == 1
    assert all(taken >= 2 and taken % 2 == 0 for taken in held[1:7])
    assert held[1] > 2


def test_nodes_that_have_not_heard_of_a_failure_release_at_the_expiry(line, script, arrive):
    """Refused four hops away; before word of it is back the order expires, and the qubits are free then."""
    arrive([(0.02, 0, 4)])
    delay_s = 200.0 / 2e5 + 1e-5
    expires_s = 0.02 + 5.5 * delay_s
    orders = [Decisions(allocations=(order((0, 1, 2, 3, 4), expires_s, pairs=5),))]
    policy = script(
        lambda observations: orders.pop() if observations.reason[0] == 0 and orders else Decisions()
    )
    policy.acts_every_epoch = True
    scenario = _with_plane(_short(line(nodes=5, hop_km=200.0)), decision_epoch_s=1e-4)
    simulate(scenario, LOCAL, seed=3, policy=policy)
    held_s = [
        observations.time_s
        for observations in policy.seen
        if 0 in observations.site.tolist()
        and observations.status[observations.site.tolist().index(0), 0, FREE_MEMORIES] < 16
    ]
    assert expires_s - 1e-4 <= max(held_s) <= expires_s


def test_the_book_counts_the_pairs_that_each_link_makes(line, script, arrive):
    """Rounds (2, 0, 1): four, one and two pairs are on order at the ends of the three links."""
    arrive([(1.0, 0, 3), (1.5, 0, 3)], patience_s=4.0)
    orders = [Decisions(allocations=(order((0, 1, 2, 3), 4.9, request=0, rounds=(2, 0, 1)),))]
    policy = script(
        lambda observations: orders.pop() if observations.reason[0] == 0 and orders else Decisions()
    )
    simulate(line(nodes=4, source_rate_hz=0.1, measured_s=4.0), CENTRAL, seed=5, policy=policy)
    later = next(observations for observations in policy.seen if observations.time_s >= 1.5)
    assert later.status[0, :, ORDERED_PAIRS].tolist() == [4.0, 5.0, 3.0, 2.0]

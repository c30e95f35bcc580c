"""Runs of a few events on tiny lines, every time worked out here from the drawn emissions and the delays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qdpem.events.words import AllocationOutcome, ClaimOutcome, PairOutcome, RefusalCause, RequestOutcome
from qdpem.policy.interface import Decisions
from qdpem.rng import stream
from qdpem.scenario.schema import Arm
from qdpem.simulation.run import simulate
from tests.helpers.scripts import each, order

ETA = 10 ** (-(2.6 + 0.24 * 20.0) / 10)
DELAY_S = 20.0 / 2e5 + 1e-5


def _successes(name, *, seed, until_s=20.0, rate_hz=60.0):
    """Times of the emissions of a source that would succeed on its links, all of transmissivity ETA."""
    generator, times, last_s = stream(seed, f"source/{name}"), [], 0.0
    while last_s < until_s:
        block = last_s + np.cumsum(generator.exponential(1.0 / (rate_hz * ETA), 256))
        generator.random(256)
        times += block.tolist()
        last_s = block[-1]
    return np.array(times)


def _first(times, after_s):
    return float(times[np.searchsorted(times, after_s, side="right")])


def _serve(path, *, expires_s=6.0, pairs=1, rounds=0, request=0, target_fidelity=0.7):
    one = order(path, expires_s, pairs=pairs, rounds=rounds, request=request, target_fidelity=target_fidelity)
    return lambda observations: Decisions(allocations=(one,))


def _stock(path, *, expires_s=5.0, pairs=1):
    return lambda observations: Decisions(allocations=(order(path, expires_s, pairs=pairs),))


@pytest.mark.parametrize("seed", range(6))
def test_a_served_path_of_two_links_local(line, script, arrive, seed):
    """Grants go hop by hop; the node in the middle swaps when it knows both; the last word ends it."""
    arrive([(1.0, 0, 2)])
    run = simulate(
        line(nodes=3), Arm(name="local-minhop"), seed=seed, policy=script(each([_serve((0, 1, 2))]))
    )
    names = run.network.graph.node_names
    known = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    # Link 0 starts when 0 has heard 1's grant, link 1 when 1 has heard 2's.
    free = {node: _successes(names[node], seed=seed) for node in range(3)}
    began = (1.0 + 2 * DELAY_S, 1.0 + 3 * DELAY_S)
    # Node 1's source works for the claim made first (same deadline, lower id) until that is served.
    time_0 = {node: _first(free[node], began[0]) for node in (0, 1)}
    sender_0 = min(time_0, key=time_0.get)
    sent_0 = time_0[sender_0]
    busy_1 = max(began[1], sent_0)
    time_1 = {1: _first(free[1], busy_1), 2: _first(free[2], began[1])}
    sender_1 = min(time_1, key=time_1.get)
    sent_1 = time_1[sender_1]
    known[0][1] = sent_0 + DELAY_S * (2 if sender_0 == 1 else 1)
    known[1][1] = sent_1 + DELAY_S * (2 if sender_1 == 1 else 1)
    known[0][0] = sent_0 + DELAY_S * (2 if sender_0 == 0 else 1)
    known[1][2] = sent_1 + DELAY_S * (2 if sender_1 == 2 else 1)
    swap_s = max(known[0][1], known[1][1]) + 1e-3
    end_s = max(swap_s + DELAY_S, known[0][0], known[1][2])
    requests, pairs = run.tables["requests"], run.tables["pairs"]
    assert requests["outcome"][0] == RequestOutcome.DELIVERED.code
    assert requests["end_s"][0] == pytest.approx(end_s, abs=1e-9)
    # Each half is stored from its own beginning to the swap, then both until the destination hears.
    ready_s = max(swap_s + DELAY_S, known[1][2])
    stored_s = sum(2 * (swap_s - sent) - DELAY_S for sent in (sent_0, sent_1)) + 2 * (ready_s - swap_s)
    weight = ((4 * 0.98 - 1) / 3) ** 2 * math.exp(-stored_s / 60.0)
    assert pairs["fidelity"][pairs["outcome"] == PairOutcome.DELIVERED.code] == pytest.approx(
        (3 * weight + 1) / 4, abs=1e-10
    )


@pytest.mark.parametrize("zero_delay", [False, True])
def test_a_served_link_central(line, script, arrive, zero_delay):
    """Request to the controller, service, command to both ends, emission, herald, answer."""
    arrive([(1.0, 0, 1)])
    scenario = line(nodes=5)
    plane = type(scenario.control)(service_time_s=0.05, zero_delay=zero_delay)
    object.__setattr__(scenario, "control", plane)
    policy = script(each([_serve((0, 1))]))
    run = simulate(scenario, Arm(name="central-fcfs"), seed=3, policy=policy)
    names = run.network.graph.node_names
    controller_s = 0.0 if zero_delay else 2 * DELAY_S
    decided_s = 1.0 + controller_s + (0.0 if zero_delay else 0.05)
    assert policy.seen[0].time_s == pytest.approx(decided_s, abs=1e-12)
    began_s = decided_s + controller_s
    sent_s = min(_first(_successes(names[node], seed=3), began_s) for node in (0, 1))
    assert run.tables["requests"]["end_s"][0] == pytest.approx(sent_s + 2 * DELAY_S, abs=1e-9)


def test_distillation_waits_for_both_pairs_to_be_known_and_compares_readings(line, script, arrive):
    """One round on one link: the second pair known at both ends, the gates, then one delay."""
    arrive([(1.0, 0, 1)])
    run = simulate(
        line(nodes=2), Arm(name="local-minhop"), seed=4, policy=script(each([_serve((0, 1), rounds=1)]))
    )
    names = run.network.graph.node_names
    both = np.sort(np.concatenate([_successes(name, seed=4) for name in names]))
    sent = both[both > 1.0 + 2 * DELAY_S][:2]
    gates_s = sent[1] + 2 * DELAY_S + 1e-3
    pairs = run.tables["pairs"]
    child = pairs["first_parent"] >= 0
    assert pairs["born_s"][child][0] == pytest.approx(gates_s, abs=1e-9)
    assert run.tables["requests"]["end_s"][0] == pytest.approx(gates_s + DELAY_S, abs=1e-9)


@pytest.mark.parametrize("rounds", [1, 2])
def test_failed_distillation_makes_anew_just_what_it_spent(line, script, arrive, rounds):
    """Of 2^r raw pairs each failure at level k (0 first) costs 2^(k+1) more; qubits never run over."""
    arrive([(1.0 + 10.0 * k, 0, 1) for k in range(12)], patience_s=9.0)
    scenario = line(nodes=2, measured_s=130.0, memories=2**rounds, source_rate_hz=400.0)
    object.__setattr__(scenario.links.hardware, "fresh_fidelity", 0.8)
    serve = lambda observations: Decisions(  # noqa: E731
        allocations=tuple(
            order((0, 1), float(deadline_s), request=int(request), rounds=rounds)
            for request, deadline_s in zip(
                observations.request_id[0], observations.request_deadline_s[0], strict=True
            )
            if request >= 0
        )
    )
    tables = simulate(scenario, Arm(name="local-minhop"), seed=2, policy=script(serve)).tables
    pairs, done = tables["pairs"], tables["allocations"]["outcome"] == AllocationOutcome.DONE.code
    assert done.sum() == 12
    failures = 0
    for allocation in range(12):
        mine = pairs["allocation"] == allocation
        fresh = (mine & (pairs["first_parent"] < 0)).sum()
        spent = (mine & (pairs["outcome"] == PairOutcome.DISTILLED.code)).sum() // 2
        made = (mine & (pairs["first_parent"] >= 0)).sum()
        # Successes make a pair of two; raw = 2^r + what the failures spent, counted level by level.
        level = _levels(pairs, mine)
        again = sum(2 ** (k + 1) for k in _failed_levels(pairs, mine, level))
        assert fresh == 2**rounds + again
        failures += int(spent - made)
    assert failures > 0


def _levels(pairs, mine):
    """Round of each pair: 0 for fresh ones, one more than its parents'."""
    level: dict[int, int] = {}
    for row in np.flatnonzero(mine):
        parent = int(pairs["first_parent"][row])
        level[int(pairs["pair"][row])] = 0 if parent < 0 else -1
    waiting = {pair for pair, value in level.items() if value < 0}
    parents = dict(zip(pairs["pair"].tolist(), pairs["first_parent"].tolist(), strict=True))
    for pair in sorted(waiting):
        level[pair] = level[parents[pair]] + 1
    return level


def _failed_levels(pairs, mine, level):
    """Levels of the failed distillations: spent pairs that are nobody's parents, two by two."""
    parents = set(pairs["first_parent"].tolist()) | set(pairs["second_parent"].tolist())
    spent = mine & (pairs["outcome"] == PairOutcome.DISTILLED.code)
    lost = [level[int(pair)] for pair in pairs["pair"][spent] if int(pair) not in parents]
    assert all(lost.count(k) % 2 == 0 for k in set(lost))
    return [k for k in set(lost) for _ in range(lost.count(k) // 2)]


def test_serving_from_stock_takes_one_message_and_ages_both_halves_until_then(line, script, arrive):
    """A stocked remote pair is given at the arrival; the partner knows one message later."""
    arrive([(1.0, 0, 2), (4.0, 0, 2)])
    made = [_stock((0, 1, 2), expires_s=8.0), _serve((0, 2), expires_s=9.0, request=1)]
    run = simulate(
        line(nodes=3, depolarising_s=20.0, target_fidelity=0.6),
        Arm(name="local-minhop", pregeneration="end-to-end"),
        seed=5,
        policy=script(each(made)),
    )
    requests, pairs = run.tables["requests"], run.tables["pairs"]
    served = int(np.flatnonzero(requests["request"] == 1)[0])
    assert requests["outcome"][served] == RequestOutcome.DELIVERED.code
    assert requests["end_s"][served] == pytest.approx(4.0 + 2 * DELAY_S, abs=1e-9)
    assert requests["hops"][served] == 0
    pair = int(np.flatnonzero(pairs["outcome"] == PairOutcome.DELIVERED.code)[0])
    by_id = {int(identity): row for row, identity in enumerate(pairs["pair"])}
    swapped_s = pairs["born_s"][pair]
    stored_s = 2 * (4.0 + 2 * DELAY_S - swapped_s)
    for parent in ("first_parent", "second_parent"):
        stored_s += 2 * (swapped_s - pairs["born_s"][by_id[int(pairs[parent][pair])]]) + DELAY_S
    weight = ((4 * 0.98 - 1) / 3) ** 2 * math.exp(-stored_s / 20.0)
    assert pairs["fidelity"][pair] == pytest.approx((3 * weight + 1) / 4, abs=1e-10)


@pytest.mark.parametrize(("memories", "end"), [(5, "delivered"), (4, "expired")])
def test_each_link_holds_the_qubits_of_its_own_rounds_and_takes_its_own_stock(
    line, script, arrive, memories, end
):
    """Rounds (0, 2): four qubits at either end of the second link, and the first goes over a stocked pair.

    Without the rounds of the second link the target would be out of reach, of fresh pairs too (.9604).
    """
    arrive([(1.0, 0, 1), (4.0, 0, 2)])
    made = [
        _stock((0, 1), expires_s=8.0),
        _serve((0, 1, 2), expires_s=6.0, request=1, rounds=(0, 2), target_fidelity=0.97),
    ]
    tables = simulate(
        line(nodes=3, memories=memories, source_rate_hz=400.0, depolarising_s=6000.0),
        Arm(name="local-minhop", pregeneration="link"),
        seed=5,
        policy=script(each(made)),
    ).tables
    steps, pairs = tables["path_steps"], tables["pairs"]
    assert steps["rounds"][steps["allocation"] == 1].tolist() == [0, 2, 0]
    asked = tables["requests"]["request"] == 1
    assert [RequestOutcome.from_code(code) for code in tables["requests"]["outcome"][asked]] == [end]
    fresh = (pairs["allocation"] == 1) & (pairs["first_parent"] < 0)
    assert 0 not in pairs["link"][fresh]
    kept = pairs["owner"] == 0
    if end == "delivered":
        assert fresh.sum() >= 4
        assert [PairOutcome.from_code(code) for code in pairs["outcome"][kept]] == ["swapped"]
    else:
        refused = tables["allocations"]["cause"] == RefusalCause.MEMORY.code
        assert refused.tolist() == [False, True]
        assert not fresh.any()


def test_a_refused_allocation_leaves_the_stock_of_the_node_that_refuses(line, script, arrive):
    """Node 1 has a stocked pair for one hop and no qubit for the other: it refuses, and keeps its pair."""
    arrive([(1.0, 1, 2), (2.99, 1, 0), (3.0, 0, 3)])
    made = [
        _stock((1, 2), expires_s=9.0),
        _serve((1, 0), expires_s=7.0, request=1, pairs=1, rounds=2),
        _serve((0, 1, 2, 3), expires_s=8.0, request=2),
    ]
    tables = simulate(
        line(nodes=4, memories=5, source_rate_hz=40.0),
        Arm(name="local-minhop", pregeneration="link"),
        seed=5,
        policy=script(each(made)),
    ).tables
    refused = tables["allocations"]["outcome"] == AllocationOutcome.REFUSED.code
    assert tables["allocations"]["refused_at"][refused].tolist() == [1]
    stocked = tables["pairs"]["owner"] == 1
    assert tables["pairs"]["outcome"][stocked].tolist() == [PairOutcome.EXPIRED.code]
    assert tables["pairs"]["end_s"][stocked].tolist() == [9.0]


def test_an_order_of_two_stocked_pairs_where_one_is_there_is_stale_and_costs_nothing(line, script, arrive):
    """The owner finds one of two: it says stale, and the one stays until it expires."""
    arrive([(1.0, 0, 2), (4.0, 0, 2)], pairs=2)
    made = [_stock((0, 1, 2), expires_s=8.0), _serve((0, 2), expires_s=9.0, request=1, pairs=2)]
    run = simulate(
        line(nodes=3), Arm(name="local-minhop", pregeneration="end-to-end"), seed=5, policy=script(each(made))
    )
    allocations, pairs = run.tables["allocations"], run.tables["pairs"]
    refused = allocations["outcome"] == AllocationOutcome.REFUSED.code
    assert allocations["cause"][refused].tolist() == [RefusalCause.STALE.code]
    stocked = pairs["owner"] >= 0
    assert pairs["outcome"][stocked].tolist() == [PairOutcome.EXPIRED.code]
    assert pairs["end_s"][stocked].tolist() == [8.0]


def test_a_virtual_link_joins_links_that_are_distilled(line, script, arrive):
    """Links of the path are distilled, the stocked remote pair is taken as it is."""
    arrive([(1.0, 0, 3), (4.0, 0, 3)])
    made = [_stock((0, 1, 2), expires_s=9.0), _serve((0, 2, 3), expires_s=9.0, request=1, rounds=1)]
    run = simulate(
        line(nodes=4),
        Arm(name="local-minhop", pregeneration="virtual-link"),
        seed=5,
        policy=script(each(made)),
    )
    requests, allocations = run.tables["requests"], run.tables["allocations"]
    assert requests["outcome"][requests["request"] == 1] == RequestOutcome.DELIVERED.code
    steps = run.tables["path_steps"]
    assert steps["rounds"][steps["allocation"] == 1].tolist() == [0, 1, 0]
    # What the swap made belongs to the allocation that made it, not to the one that made the stock.
    pairs = run.tables["pairs"]
    pair = pairs["outcome"] == PairOutcome.DELIVERED.code
    assert pairs["allocation"][pair] == allocations["allocation"][allocations["request"] == 1]


def test_stock_can_be_made_over_a_stocked_pair(line, script, arrive):
    """With virtual links a longer stocked pair is made out of a shorter one."""
    arrive([(1.0, 0, 3), (4.0, 0, 3)])
    made = [_stock((0, 1, 2), expires_s=9.0), _stock((0, 2, 3), expires_s=9.0)]
    run = simulate(
        line(nodes=4),
        Arm(name="local-minhop", pregeneration="virtual-link"),
        seed=5,
        policy=script(each(made)),
    )
    assert (run.tables["allocations"]["outcome"] == AllocationOutcome.DONE.code).all()
    pairs = run.tables["pairs"]
    assert ((pairs["owner"] == 0) & (pairs["second"] == 3)).sum() == 1


def test_a_claim_still_open_at_the_end_has_its_losses_counted(line, script, arrive):
    """Sixteen claims wait for one link; those open at the run's end have lost emissions."""
    arrive([(1.0, 0, 1)], patience_s=100.0, pairs=16)
    rule = each([_serve((0, 1), expires_s=101.0, pairs=16)])
    # 20 emissions a second that could succeed reach the link: some but not sixteen in a tenth of a second.
    scenario = line(nodes=2, measured_s=0.15)
    tables = simulate(scenario, Arm(name="local-minhop"), seed=8, policy=script(rule)).tables
    claims = tables["claims"]
    granted, still_open = claims["outcome"] == ClaimOutcome.GRANTED.code, claims["outcome"] == 0
    assert granted.sum() >= 1
    assert still_open.sum() >= 1
    # Each grant took an emission from all that still wait, from the first one on.
    assert claims["contended"][still_open].all()
    first_s = claims["end_s"][granted].min()
    assert np.allclose((claims["end_s"] - claims["contended_s"])[still_open], first_s, atol=1e-12)


def test_a_key_from_stock_is_measured_when_the_partner_knows_which_pair(line, script, arrive):
    """Key distribution waits for no correction, but both halves of a stocked pair wait for one message."""
    arrive([(1.0, 0, 1), (2.0, 0, 1)], application=2)
    made = [_stock((0, 1), expires_s=6.0), _serve((0, 1), expires_s=7.0, request=1)]
    pairs = simulate(
        line(nodes=2, depolarising_s=20.0, hop_km=100.0, source_rate_hz=3e3),
        Arm(name="local-minhop", pregeneration="link"),
        seed=5,
        policy=script(each(made)),
    ).tables["pairs"]
    row = int(np.flatnonzero(pairs["outcome"] == PairOutcome.DELIVERED.code)[0])
    delay_s = 100.0 / 2e5 + 1e-5
    stored_s = 2 * (2.0 + delay_s - pairs["born_s"][row]) + delay_s
    weight = ((4 * 0.98 - 1) / 3) * math.exp(-stored_s / 20.0)
    assert pairs["fidelity"][row] == pytest.approx((3 * weight + 1) / 4, abs=1e-12)

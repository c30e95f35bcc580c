"""Forced outages, event by event: who lets go of what, and when."""

from __future__ import annotations

import numpy as np
import pytest

from qdpem.events.words import (
    AllocationOutcome,
    ClaimOutcome,
    DecisionReason,
    PairOutcome,
    RefusalCause,
    RequestOutcome,
)
from qdpem.metrics.metrics import measure
from qdpem.policy.interface import Decisions
from qdpem.scenario.words import OutageKind
from tests.helpers.halted import CENTRAL, DELAY_S, LOCAL, Halted, cut_off, on_arrival, stock_on_arrival

REFUSED, OUTAGE = AllocationOutcome.REFUSED.code, RefusalCause.OUTAGE.code


def test_a_link_is_cut_local(line, script, arrive):
    """Its ends let go at once, the source hears after the message delay, and tries again."""
    arrive([(1.0, 0, 3)])
    policy = script(on_arrival((0, 1, 2, 3)))
    cut_s = 1.0 + 6.5 * DELAY_S
    run = Halted(cut_off(line(nodes=4, source_rate_hz=1e-3), "link", "n1/n2", cut_s, 3.0), LOCAL, policy)
    # All have granted, and all links are at work.
    assert run.until(np.nextafter(cut_s, 0.0)).held == [1, 2, 2, 1]
    assert len(run.state.claims.open) == 3
    assert run.until(cut_s).held == [1, 0, 0, 1]
    # The two ends of the cut withdraw for the links beside it as well.
    assert not run.state.claims.open
    assert run.until(cut_s + 0.999 * DELAY_S).held == [1, 0, 0, 1]
    assert run.until(cut_s + 1.001 * DELAY_S).held == [0, 0, 0, 0]
    tables = run.finish()
    allocations, claims = tables["allocations"], tables["claims"]
    assert allocations["outcome"].tolist() == [REFUSED]
    assert allocations["cause"].tolist() == [OUTAGE]
    assert allocations["end_s"][0] == cut_s
    assert allocations["refused_at"][0] == 1
    assert (claims["outcome"] == ClaimOutcome.WITHDRAWN.code).all()
    assert (claims["end_s"] == cut_s).all()
    assert {name: column.tolist() for name, column in tables["outages"].items()} == {
        "kind": [OutageKind.LINK.code], "node": [-1], "link": [1], "from_s": [cut_s], "until_s": [3.0],
    }  # fmt: skip
    # Back at its site once the word has come and a back-off has passed; the cut itself is news before.
    retried_s = next(v.time_s for v in policy.seen if v.reason[0] == DecisionReason.REFUSAL.code)
    assert cut_s + DELAY_S < retried_s <= cut_s + DELAY_S + 0.02
    assert measure(tables, start_s=0.0, end_s=21.0)["refusals_outage_per_request"] == 1.0


def test_a_link_is_cut_central(line, script, arrive):
    """Both ends let go at once; all others hear through the controller, which sits at node 1."""
    arrive([(1.0, 0, 3)])
    cut_s = 1.1
    scenario = cut_off(line(nodes=4, source_rate_hz=1e-3), "link", "n2/n3", cut_s, 3.0)
    run = Halted(scenario, CENTRAL, script(on_arrival((0, 1, 2, 3))))
    assert run.simulation._control_plane.controller == 1
    assert run.until(np.nextafter(cut_s, 0.0)).held == [1, 2, 2, 1]
    assert run.until(cut_s).held == [1, 2, 0, 0]
    # One hop to the controller, at node 1, and two to node 0.
    assert run.until(cut_s + 1.001 * DELAY_S).held == [1, 0, 0, 0]
    assert run.until(cut_s + 2.001 * DELAY_S).held == [0, 0, 0, 0]
    allocations = run.finish()["allocations"]
    assert (allocations["outcome"][0], allocations["cause"][0], allocations["end_s"][0]) == (
        REFUSED,
        OUTAGE,
        cut_s,
    )


@pytest.mark.parametrize("arm", [LOCAL, CENTRAL], ids=lambda arm: arm.name)
def test_a_link_that_is_away_is_refused_when_it_is_needed(line, script, arrive, arm):
    """A plane that is asked for a dead link says so as soon as its pairs are wanted."""
    arrive([(1.0, 0, 1)])
    scenario = cut_off(line(nodes=3), "link", "n0/n1", 0.5, 1.5)
    tables = Halted(scenario, arm, script(on_arrival((0, 1)))).finish()
    allocations = tables["allocations"]
    assert allocations["cause"].tolist() == [OUTAGE]
    assert not len(tables["claims"]["claim"])
    assert not len(tables["pairs"]["pair"])
    # Local: node 0 would generate when it hears node 1's grant. Central: node 1 is where the controller is;
    # node 0 gets its command last.
    hops = 2 if arm is LOCAL else 1
    asked_s = 1.0 if arm is LOCAL else 1.0 + DELAY_S + 1e-3
    assert allocations["end_s"][0] == pytest.approx(asked_s + hops * DELAY_S, abs=1e-12)


def test_light_on_its_way_through_a_cut_link_is_lost(line, script, arrive):
    """An emission that would have made a pair, heralded while the link is away, makes none."""
    arrive([(1.0, 0, 1)], patience_s=15.0)
    scenario = line(nodes=2)
    policy = script(on_arrival((0, 1)))
    whole = Halted(scenario, LOCAL, policy).finish()
    born_s = float(whole["pairs"]["born_s"][0])
    cut_s = born_s - 0.5 * DELAY_S
    run = Halted(cut_off(scenario, "link", "n0/n1", cut_s, 16.5), LOCAL, script(on_arrival((0, 1))))
    run.until(cut_s)
    assert not run.state.claims.open
    assert not run.state.ledger.live
    tables = run.finish()
    assert not len(tables["pairs"]["pair"])
    assert tables["claims"]["outcome"].tolist() == [ClaimOutcome.GRANTED.code]
    assert tables["allocations"]["end_s"][0] == born_s
    assert tables["allocations"]["cause"][0] == OUTAGE


def test_stored_pairs_survive_their_link_but_not_their_node(line, script, arrive):
    """Stock outlives a cut; when the partner fails it is lost, and the owner's qubit is free one delay on."""
    arrive([(1.0, 0, 2)], patience_s=15.0)
    rule = stock_on_arrival((0, 1), expires_s=18.0)
    scenario = cut_off(line(nodes=3, source_rate_hz=600.0), "link", "n0/n1", 3.0, 4.0)
    scenario = cut_off(scenario, "node", "n1", 5.0, 6.0)
    run = Halted(scenario, LOCAL, script(rule)).until(2.9)
    (pair,) = run.state.ledger.live.values()
    assert run.held == [1, 1, 0]
    assert run.until(4.5).held == [1, 1, 0]
    assert pair.id in run.state.ledger.live
    assert run.until(5.0).held == [1, 0, 0]
    assert not run.state.ledger.live
    # What the owner believes changes when the word has come.
    assert run.state.inventory.seen[0]
    assert not run.state.inventory.owned[0]
    run.until(5.0 + 1.001 * DELAY_S)
    assert run.held == [0, 0, 0]
    assert not run.state.inventory.seen[0]
    pairs = run.finish()["pairs"]
    assert (pairs["end_s"][0], pairs["outcome"][0]) == (5.0, PairOutcome.LOST.code)


def test_an_end_that_fails_before_it_hears_frees_its_qubit_once(line, script, arrive):
    """Both ends of a stocked pair fail one after the other, the second while word is on its way."""
    arrive([(1.0, 0, 1)], patience_s=15.0)
    rule = stock_on_arrival((0, 1), expires_s=18.0)
    scenario = cut_off(line(nodes=2, source_rate_hz=600.0), "node", "n0", 5.0, 7.0)
    scenario = cut_off(scenario, "node", "n1", 5.0 + 0.5 * DELAY_S, 6.0)
    run = Halted(scenario, LOCAL, script(rule)).until(5.0)
    assert run.held == [0, 1]
    assert run.until(5.0 + 0.5 * DELAY_S).held == [0, 0]
    assert run.until(5.0 + 2 * DELAY_S).held == [0, 0]
    assert run.state.memories.foreign == [0, 0]


def test_a_node_fails_with_pairs_in_the_making(line, script, arrive):
    """Half-made paths through it end; its neighbours let go when they hear, one link's delay later."""
    arrive([(1.0, 0, 3)])
    # Node 2 never swaps within the run, so pairs wait at it.
    scenario = line(nodes=4, source_rate_hz=6000.0, repeater_rate_hz=30.0)
    run = Halted(cut_off(scenario, "node", "n2", 1.5), LOCAL, script(on_arrival((0, 1, 2, 3))))
    tables = run.finish()
    assert tables["requests"]["outcome"].tolist() == [RequestOutcome.DELIVERED.code]
    # Halted a moment before its swap: three link pairs live, two of them with a half at node 2.
    swapped_s = tables["pairs"]["end_s"][tables["pairs"]["outcome"] == PairOutcome.SWAPPED.code]
    fails_s = float(swapped_s.min()) - 1e-4
    run = Halted(cut_off(scenario, "node", "n2", fails_s, 9.0), LOCAL, script(on_arrival((0, 1, 2, 3))))
    run.until(np.nextafter(fails_s, 0.0))
    assert run.held == [1, 2, 2, 1]
    assert len(run.state.ledger.live) == 3
    run.until(fails_s)
    assert run.held == [1, 2, 0, 1]
    assert [(pair.first, pair.second) for pair in run.state.ledger.live.values()] == [(0, 1)]
    assert run.until(fails_s + 1.001 * DELAY_S).held == [1, 0, 0, 0]
    assert run.until(fails_s + 2.001 * DELAY_S).held == [0, 0, 0, 0]
    allocations = run.finish()["allocations"]
    assert (allocations["cause"][0], allocations["end_s"][0], allocations["refused_at"][0]) == (
        OUTAGE,
        fails_s,
        2,
    )


def test_pairs_held_for_a_request_are_lost_with_its_destination(line, script, arrive):
    """Two pairs are asked for; one waits for the other when the destination fails."""
    arrive([(1.0, 0, 1)], pairs=2, patience_s=15.0)
    scenario = line(nodes=2)
    whole = Halted(scenario, LOCAL, script(on_arrival((0, 1), pairs=2))).finish()
    first_s, second_s = np.sort(whole["pairs"]["born_s"])
    fails_s = float(0.5 * (first_s + second_s))
    run = Halted(cut_off(scenario, "node", "n1", fails_s, 16.5), LOCAL, script(on_arrival((0, 1), pairs=2)))
    run.until(np.nextafter(fails_s, 0.0))
    (request,) = run.state.requests.open.values()
    assert len(request.held) == 1
    assert run.held == [2, 2]
    assert run.until(fails_s).held == [2, 0]
    assert not request.held
    assert request.open
    assert not run.state.ledger.live
    assert run.until(fails_s + 1.001 * DELAY_S).held == [0, 0]
    assert run.finish()["requests"]["outcome"].tolist() == [RequestOutcome.EXPIRED.code]


@pytest.mark.parametrize("arm", [LOCAL, CENTRAL], ids=lambda arm: arm.name)
def test_requests_of_a_node_that_fails(line, script, arrive, arm):
    """Waiting ones are given up when their site hears, later ones at once; after its return all is well."""
    arrive([(1.0, 0, 2), (2.5, 0, 2), (4.0, 0, 2)], patience_s=4.0)
    scenario = cut_off(line(nodes=3, source_rate_hz=600.0), "node", "n0", 2.0, 3.0)
    # The first is left to wait.
    rule = on_arrival((0, 1, 2))
    policy = script(lambda observations: rule(observations) if observations.time_s > 1.5 else Decisions())
    requests = Halted(scenario, arm, policy).finish()["requests"]
    by_time = np.argsort(requests["time_s"])
    assert [RequestOutcome.from_code(code) for code in requests["outcome"][by_time]] == [
        "rejected",
        "rejected",
        "delivered",
    ]
    heard_s = 2.0 if arm is LOCAL else 2.0 + DELAY_S
    assert requests["end_s"][by_time][:2] == pytest.approx([heard_s, 2.5], abs=1e-12)
    # The site was never asked about the second.
    assert [float(v.time_s) for v in policy.seen if 2.0 < v.time_s < 4.0 and (v.request_id == 1).any()] == []


def test_a_dead_node_is_silent_and_its_neighbour_gives_up_after_the_time_of_an_answer(line, script, arrive):
    arrive([(1.0, 0, 2)])
    run = Halted(cut_off(line(nodes=3), "node", "n2", 0.99999), LOCAL, script(on_arrival((0, 1, 2))))
    # The reserve message is at node 2 two delays after the arrival; node 1 gets no answer one later.
    assert run.until(1.0 + 2.5 * DELAY_S).held[1:] == [2, 0]
    assert run.until(1.0 + 3.001 * DELAY_S).held[1:] == [0, 0]
    allocations = run.finish()["allocations"]
    assert allocations["cause"].tolist() == [OUTAGE]
    assert allocations["refused_at"].tolist() == [2]

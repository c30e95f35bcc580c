"""Outages in a run: forced ones event by event, who hears of them when, and that nothing leaks."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from physics.hardware import Fibre
from physics.plans import Plan
from qdpem.events.metrics import measure
from qdpem.events.recorder import MemoryRecorder
from qdpem.events.tables import (
    ALLOCATION_ENDS,
    CAUSES,
    CLAIM_ENDS,
    OUTAGE_KINDS,
    OUTCOMES,
    PAIR_ENDS,
    REASONS,
    TABLES,
)
from qdpem.network.outages import Away
from qdpem.policy.interface import Allocation, Decisions, Views
from qdpem.scenario.load import load_scenario, parse_scenario
from qdpem.scenario.schema import Arm, Join, Outages, RandomOutages, ScheduledOutage
from qdpem.simulation.run import Simulation, simulate

CHAIN = Path(__file__).parents[2] / "scenarios" / "chain.toml"
DELAY_S = 20.0 / 2e5 + 1e-5
LOCAL, CENTRAL = Arm(name="local-minhop", rights="virtual"), Arm(name="central-fcfs", rights="virtual")
ARMS = (
    Arm(name="local-minhop"),
    Arm(name="local-stock"),
    Arm(name="central-fcfs"),
    Arm(name="central-stock", policy="central-live", rights="remote", knowledge="constant"),
    Arm(name="dpem"),
)
REFUSED, OUTAGE = ALLOCATION_ENDS.index("refused"), CAUSES.index("outage")


def _away(scenario, kind, name, from_s, until_s=None):
    one = ScheduledOutage(kind=kind, name=name, from_s=from_s, until_s=until_s)
    return replace(scenario, outages=Outages(scheduled=(*scenario.outages.scheduled, one)))


def _serve(views, path, *, pairs=1):
    """Serve the one request that waits over `path`, until its deadline."""
    return Allocation(
        source=path[0],
        destination=path[-1],
        target_fidelity=0.7,
        path=path,
        expires_s=float(views.request_deadline_s[0, 0]),
        plan=Plan(),
        pairs=pairs,
        request=int(views.request_id[0, 0]),
    )


def _on_arrival(path, *, pairs=1):
    """A rule that serves each request once, when it arrives, and leaves it alone afterwards."""
    return lambda views: (
        Decisions(allocations=(_serve(views, path, pairs=pairs),))
        if views.reason[0] == REASONS.index("arrival")
        else Decisions()
    )


class Watched:
    """A run with a rule, stopped at given times to be looked at."""

    def __init__(self, scenario, arm, policy, *, seed=0):
        self.recorder = MemoryRecorder()
        self.simulation = Simulation(scenario, arm, seed=seed, recorder=self.recorder, policy=policy)
        self.world = self.simulation._world
        self._policy = policy

    def until(self, time_s):
        """Run up to and with everything due at `time_s`."""
        stop = []
        self.world.clock.at(time_s, stop.append, True)
        while not stop:
            awake = self.simulation._desk.awake
            if not awake:
                self.world.clock.step()
            else:
                self.simulation.apply(self._policy.decide(self.simulation.advance()))
        return self

    def finish(self):
        while (views := self.simulation.advance()) is not None:
            self.simulation.apply(self._policy.decide(views))
        return self.recorder.tables()

    @property
    def held(self):
        return [self.world.memories.held(node) for node in range(self.simulation.network.node_count)]

    @property
    def heard(self):
        return list(self.simulation._outages.heard)


def test_a_link_is_cut_local(line, script, arrive):
    """Its ends let go at once, the source hears after the message delay, and tries again."""
    arrive([(1.0, 0, 3)])
    policy = script(_on_arrival((0, 1, 2, 3)))
    cut_s = 1.0 + 6.5 * DELAY_S
    run = Watched(_away(line(nodes=4, source_rate_hz=1e-3), "link", "n1/n2", cut_s, 3.0), LOCAL, policy)
    # All have granted, and all links are at work.
    assert run.until(np.nextafter(cut_s, 0.0)).held == [1, 2, 2, 1]
    assert len(run.world.claims.open) == 3
    assert run.until(cut_s).held == [1, 0, 0, 1]
    # The two ends of the cut withdraw for the links beside it as well.
    assert not run.world.claims.open
    assert run.until(cut_s + 0.999 * DELAY_S).held == [1, 0, 0, 1]
    assert run.until(cut_s + 1.001 * DELAY_S).held == [0, 0, 0, 0]
    tables = run.finish()
    allocations, claims = tables["allocations"], tables["claims"]
    assert allocations["end"].tolist() == [REFUSED]
    assert allocations["cause"].tolist() == [OUTAGE]
    assert allocations["end_s"][0] == cut_s
    assert allocations["refused_at"][0] == 1
    assert (claims["end"] == CLAIM_ENDS.index("withdrawn")).all()
    assert (claims["end_s"] == cut_s).all()
    assert {name: column.tolist() for name, column in tables["outages"].items()} == {
        "kind": [OUTAGE_KINDS.index("link")], "node": [-1], "link": [1], "from_s": [cut_s], "until_s": [3.0],
    }  # fmt: skip
    # Back at its site once the word has come and a back-off has passed; the cut itself is news before.
    retried_s = next(v.time_s for v in policy.seen if v.reason[0] == REASONS.index("refusal"))
    assert cut_s + DELAY_S < retried_s <= cut_s + DELAY_S + 0.02
    assert measure(tables, start_s=0.0, end_s=21.0)["conflicts_outage_per_request"] == 1.0


def test_a_link_is_cut_central(line, script, arrive):
    """Both ends let go at once; all others hear through the controller, which sits at node 1."""
    arrive([(1.0, 0, 3)])
    cut_s = 1.1
    scenario = _away(line(nodes=4, source_rate_hz=1e-3), "link", "n2/n3", cut_s, 3.0)
    run = Watched(scenario, CENTRAL, script(_on_arrival((0, 1, 2, 3))))
    assert run.simulation._desk.controller == 1
    assert run.until(np.nextafter(cut_s, 0.0)).held == [1, 2, 2, 1]
    assert run.until(cut_s).held == [1, 2, 0, 0]
    # One hop to the controller, at node 1, and two to node 0.
    assert run.until(cut_s + 1.001 * DELAY_S).held == [1, 0, 0, 0]
    assert run.until(cut_s + 2.001 * DELAY_S).held == [0, 0, 0, 0]
    allocations = run.finish()["allocations"]
    assert (allocations["end"][0], allocations["cause"][0], allocations["end_s"][0]) == (
        REFUSED,
        OUTAGE,
        cut_s,
    )


@pytest.mark.parametrize("arm", [LOCAL, CENTRAL], ids=lambda arm: arm.name)
def test_a_link_that_is_away_is_refused_when_it_is_needed(line, script, arrive, arm):
    """A plane that is asked for a dead link says so as soon as its pairs are wanted."""
    arrive([(1.0, 0, 1)])
    scenario = _away(line(nodes=3), "link", "n0/n1", 0.5, 1.5)
    tables = Watched(scenario, arm, script(_on_arrival((0, 1)))).finish()
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
    policy = script(_on_arrival((0, 1)))
    whole = Watched(scenario, LOCAL, policy).finish()
    born_s = float(whole["pairs"]["born_s"][0])
    cut_s = born_s - 0.5 * DELAY_S
    run = Watched(_away(scenario, "link", "n0/n1", cut_s, 16.5), LOCAL, script(_on_arrival((0, 1))))
    run.until(cut_s)
    assert not run.world.claims.open
    assert not run.world.ledger.live
    tables = run.finish()
    assert not len(tables["pairs"]["pair"])
    assert tables["claims"]["end"].tolist() == [CLAIM_ENDS.index("granted")]
    assert tables["allocations"]["end_s"][0] == born_s
    assert tables["allocations"]["cause"][0] == OUTAGE


def _stock(views, path, *, expires_s):
    return Allocation(
        source=path[0],
        destination=path[-1],
        target_fidelity=0.7,
        path=path,
        expires_s=expires_s,
        purpose="stock",
    )


def test_stored_pairs_survive_their_link_but_not_their_node(line, script, arrive):
    """Stock outlives a cut; when the partner fails it is lost, and the owner's qubit is free one delay on."""
    arrive([(1.0, 0, 2)], patience_s=15.0)
    rule = lambda views: (  # noqa: E731
        Decisions(allocations=(_stock(views, (0, 1), expires_s=18.0),))
        if views.reason[0] == REASONS.index("arrival")
        else Decisions()
    )
    scenario = _away(line(nodes=3, source_rate_hz=600.0), "link", "n0/n1", 3.0, 4.0)
    scenario = _away(scenario, "node", "n1", 5.0, 6.0)
    run = Watched(scenario, LOCAL, script(rule)).until(2.9)
    (pair,) = run.world.ledger.live.values()
    assert run.held == [1, 1, 0]
    assert run.until(4.5).held == [1, 1, 0]
    assert pair.id in run.world.ledger.live
    assert run.until(5.0).held == [1, 0, 0]
    assert not run.world.ledger.live
    # What the owner believes changes when the word has come.
    assert run.world.stock.seen[0]
    assert not run.world.stock.owned[0]
    run.until(5.0 + 1.001 * DELAY_S)
    assert run.held == [0, 0, 0]
    assert not run.world.stock.seen[0]
    pairs = run.finish()["pairs"]
    assert (pairs["end_s"][0], pairs["end"][0]) == (5.0, PAIR_ENDS.index("lost"))


def test_an_end_that_fails_before_it_hears_frees_its_qubit_once(line, script, arrive):
    """Both ends of a stocked pair fail one after the other, the second while word is on its way."""
    arrive([(1.0, 0, 1)], patience_s=15.0)
    rule = lambda views: (  # noqa: E731
        Decisions(allocations=(_stock(views, (0, 1), expires_s=18.0),))
        if views.reason[0] == REASONS.index("arrival")
        else Decisions()
    )
    scenario = _away(line(nodes=2, source_rate_hz=600.0), "node", "n0", 5.0, 7.0)
    scenario = _away(scenario, "node", "n1", 5.0 + 0.5 * DELAY_S, 6.0)
    run = Watched(scenario, LOCAL, script(rule)).until(5.0)
    assert run.held == [0, 1]
    assert run.until(5.0 + 0.5 * DELAY_S).held == [0, 0]
    assert run.until(5.0 + 2 * DELAY_S).held == [0, 0]
    assert run.world.memories.foreign == [0, 0]


def test_a_node_fails_with_pairs_in_the_making(line, script, arrive):
    """Half-made paths through it end; its neighbours let go when they hear, one link's delay later."""
    arrive([(1.0, 0, 3)])
    # Node 2 never swaps within the run, so pairs wait at it.
    scenario = line(nodes=4, source_rate_hz=6000.0, repeater_rate_hz=30.0)
    run = Watched(_away(scenario, "node", "n2", 1.5), LOCAL, script(_on_arrival((0, 1, 2, 3))))
    tables = run.finish()
    assert tables["requests"]["outcome"].tolist() == [OUTCOMES.index("delivered")]
    # Halted a moment before its swap: three link pairs live, two of them with a half at node 2.
    swapped_s = tables["pairs"]["end_s"][tables["pairs"]["end"] == PAIR_ENDS.index("swapped")]
    fails_s = float(swapped_s.min()) - 1e-4
    run = Watched(_away(scenario, "node", "n2", fails_s, 9.0), LOCAL, script(_on_arrival((0, 1, 2, 3))))
    run.until(np.nextafter(fails_s, 0.0))
    assert run.held == [1, 2, 2, 1]
    assert len(run.world.ledger.live) == 3
    run.until(fails_s)
    assert run.held == [1, 2, 0, 1]
    assert [(pair.first, pair.second) for pair in run.world.ledger.live.values()] == [(0, 1)]
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
    whole = Watched(scenario, LOCAL, script(_on_arrival((0, 1), pairs=2))).finish()
    first_s, second_s = np.sort(whole["pairs"]["born_s"])
    fails_s = float(0.5 * (first_s + second_s))
    run = Watched(_away(scenario, "node", "n1", fails_s, 16.5), LOCAL, script(_on_arrival((0, 1), pairs=2)))
    run.until(np.nextafter(fails_s, 0.0))
    (request,) = run.world.requests.open.values()
    assert len(request.held) == 1
    assert run.held == [2, 2]
    assert run.until(fails_s).held == [2, 0]
    assert not request.held
    assert request.open
    assert not run.world.ledger.live
    assert run.until(fails_s + 1.001 * DELAY_S).held == [0, 0]
    assert run.finish()["requests"]["outcome"].tolist() == [OUTCOMES.index("expired")]


@pytest.mark.parametrize("arm", [LOCAL, CENTRAL], ids=lambda arm: arm.name)
def test_requests_of_a_node_that_fails(line, script, arrive, arm):
    """Waiting ones are given up when their site hears, later ones at once; after its return all is well."""
    arrive([(1.0, 0, 2), (2.5, 0, 2), (4.0, 0, 2)], patience_s=4.0)
    scenario = _away(line(nodes=3, source_rate_hz=600.0), "node", "n0", 2.0, 3.0)
    # The first is left to wait.
    rule = _on_arrival((0, 1, 2))
    policy = script(lambda views: rule(views) if views.time_s > 1.5 else Decisions())
    requests = Watched(scenario, arm, policy).finish()["requests"]
    by_time = np.argsort(requests["time_s"])
    assert [OUTCOMES[code] for code in requests["outcome"][by_time]] == ["rejected", "rejected", "delivered"]
    heard_s = 2.0 if arm is LOCAL else 2.0 + DELAY_S
    assert requests["end_s"][by_time][:2] == pytest.approx([heard_s, 2.5], abs=1e-12)
    # The site was never asked about the second.
    assert [float(v.time_s) for v in policy.seen if 2.0 < v.time_s < 4.0 and (v.request_id == 1).any()] == []


def test_a_dead_node_is_silent_and_its_neighbour_gives_up_after_the_time_of_an_answer(line, script, arrive):
    arrive([(1.0, 0, 2)])
    run = Watched(_away(line(nodes=3), "node", "n2", 0.99999), LOCAL, script(_on_arrival((0, 1, 2))))
    # The reserve message is at node 2 two delays after the arrival; node 1 gets no answer one later.
    assert run.until(1.0 + 2.5 * DELAY_S).held[1:] == [2, 0]
    assert run.until(1.0 + 3.001 * DELAY_S).held[1:] == [0, 0]
    allocations = run.finish()["allocations"]
    assert allocations["cause"].tolist() == [OUTAGE]
    assert allocations["refused_at"].tolist() == [2]


def test_news_arrives_exactly_after_the_delay(line, script, arrive):
    """Link 2-3 of five nodes: its ends know at once, node 0 after two delays; and likewise for nodes."""
    arrive([(20.0, 0, 1)])
    scenario = _away(line(nodes=5), "link", "n2/n3", 2.0, 3.0)
    scenario = _away(scenario, "node", "n4", 5.0, 6.0)
    run = Watched(scenario, LOCAL, script(lambda views: Decisions()))
    nothing, cut, dead = Away(), Away(links=frozenset({2})), Away(nodes=frozenset({4}))
    for start_s, hops, before, after in (
        (2.0, (2, 1, 0, 0, 1), nothing, cut),
        (3.0, (2, 1, 0, 0, 1), cut, nothing),
        (5.0, (4, 3, 2, 1, 0), nothing, dead),
        (6.0, (4, 3, 2, 1, 0), dead, nothing),
    ):
        assert run.until(np.nextafter(start_s, 0.0)).heard == [before] * 5
        for step in range(5):
            run.until(start_s + step * DELAY_S + 1e-9)
            assert run.heard == [after if distance <= step else before for distance in hops]
            run.until(start_s + (step + 1) * DELAY_S - 1e-9)
            assert run.heard == [after if distance <= step else before for distance in hops]


@pytest.mark.parametrize("zero_delay", [False, True])
def test_news_reaches_the_controller(line, script, arrive, zero_delay):
    arrive([(20.0, 0, 1)])
    scenario = _away(line(nodes=5), "node", "n4", 5.0, 6.0)
    scenario = replace(scenario, control=replace(scenario.control, zero_delay=zero_delay))
    run = Watched(scenario, CENTRAL, script(lambda views: Decisions()))
    dead, wait_s = Away(nodes=frozenset({4})), 0.0 if zero_delay else 2 * DELAY_S
    assert run.until(np.nextafter(5.0, 0.0)).heard == [Away()]
    assert run.until(5.0).heard == [dead if zero_delay else Away()]
    assert run.until(5.0 + wait_s + 1e-9).heard == [dead]
    assert run.until(6.0 + wait_s + 1e-9).heard == [Away()]


def test_a_site_with_requests_waiting_is_asked_when_the_news_comes(line, script, arrive):
    """What could not be served while the link was away is served once its return is known."""
    arrive([(1.0, 0, 3)], patience_s=10.0)
    scenario = _away(line(nodes=4), "link", "n2/n3", 0.5, 2.0)
    simulation = Simulation(scenario, Arm(name="local-minhop"), seed=0, recorder=MemoryRecorder())
    asked = []
    while (views := simulation.advance()) is not None:
        decisions = simulation.policy.decide(views)
        asked.append((views.time_s, REASONS[int(views.reason[0])], views.away(), len(decisions.allocations)))
        simulation.apply(decisions)
    away = Away(links=frozenset({2}))
    assert asked[:2] == [
        (1.0, "arrival", away, 0),
        (pytest.approx(2.0 + 2 * DELAY_S, abs=1e-12), "outage", Away(), 1),
    ]


ALL_COLUMNS = tuple(item.name for item in fields(Views) if item.name != "time_s")


def _unpadded(view, name):
    """One column of a view of one site; how far it is padded depends on who else is asked."""
    values = np.where(np.isnan(column := getattr(view, name)[0]), -1, column)
    return np.trim_zeros(np.atleast_1d(values) + 1, "b").tolist()


def test_nothing_is_known_before_the_news(line):
    """All that site 0 sees is the same, with and without a failure far off, until word can have come."""
    cut_s, delay_s = 3.0, 2000.0 / 2e5 + 1e-5

    def seen(outages):
        scenario = line(nodes=5, hop_km=2000.0, source_rate_hz=600.0, patience_s=2.0, measured_s=4.0)
        link = replace(scenario.links.hardware, fibre=Fibre(loss_db_per_km=0.001))
        scenario = replace(
            scenario,
            links=replace(scenario.links, hardware=link),
            control=replace(scenario.control, decision_epoch_s=0.004),
            outages=outages,
        )
        simulation = Simulation(scenario, Arm(name="local-stock"), seed=2, recorder=MemoryRecorder())
        found = []
        while (views := simulation.advance()) is not None:
            if 0 in views.site:
                found.append(views[views.site.tolist().index(0)])
            simulation.apply(simulation.policy.decide(views))
        return found

    for kind, name, hops in (("node", "n4", 4), ("link", "n3/n4", 3)):
        with_it = seen(Outages(scheduled=(ScheduledOutage(kind=kind, name=name, from_s=cut_s),)))
        without = seen(Outages())
        heard_s = cut_s + hops * delay_s
        compared = 0
        for mine, other in zip(with_it, without, strict=False):
            if mine.time_s >= heard_s:
                break
            compared += mine.time_s > cut_s
            assert mine.time_s == other.time_s
            for field in ALL_COLUMNS:
                assert _unpadded(mine, field) == _unpadded(other, field), (field, mine.time_s)
        # Some of them were after the failure, and the first after the news knows.
        assert compared >= 5
        assert next(mine.away() for mine in with_it if mine.time_s >= heard_s)


def test_the_controller_fails_and_returns(line, script, arrive):
    """What was granted runs on; what comes meanwhile waits, or expires, and is taken up in order."""
    arrive([(1.0, 0, 1), (2.5, 0, 1), (2.6, 1, 2), (2.7, 2, 1)], patience_s=2.0)
    scenario = _away(line(nodes=3, source_rate_hz=600.0), "controller", "", 1.0 + 2 * DELAY_S + 2e-3, 4.65)

    def rule(views):
        waiting = [column for column, name in enumerate(views.request_id[0].tolist()) if name >= 0]
        made = []
        for column in waiting:
            ends = int(views.request_source[0, column]), int(views.request_destination[0, column])
            made.append(
                Allocation(
                    source=ends[0],
                    destination=ends[1],
                    target_fidelity=0.7,
                    path=ends,
                    expires_s=float(views.request_deadline_s[0, column]),
                    request=int(views.request_id[0, column]),
                )
            )
        return Decisions(allocations=tuple(made))

    policy = script(rule)
    tables = Watched(scenario, CENTRAL, policy).finish()
    requests = tables["requests"]
    order = np.argsort(requests["request"])
    outcomes = [OUTCOMES[code] for code in requests["outcome"][order]]
    # The first was granted before the failure; two expire before its return, one does not.
    assert outcomes[0] == "delivered"
    assert requests["end_s"][order][0] > 1.0 + 2 * DELAY_S + 2e-3
    assert outcomes[1:3] == ["expired", "expired"]
    assert requests["end_s"][order][1] == 4.5
    # Each held-up request has its service time again: the third one's is over after the second's.
    asked_s = [view.time_s for view in policy.seen]
    assert asked_s == pytest.approx([1.0 + DELAY_S + 1e-3, 4.65 + 3e-3], abs=1e-12)


def test_word_of_a_refusal_goes_along_the_path_while_the_controller_is_away(line, script, arrive):
    """A link is cut while nobody is there to tell the nodes: they tell each other, which is shorter here."""
    arrive([(1.0, 3, 5)])
    whole = _away(line(nodes=6, source_rate_hz=1e-3), "link", "n3/n4", 1.1, 3.0)
    for scenario, hops in ((whole, 4), (_away(whole, "controller", "", 1.05, 3.0), 2)):
        run = Watched(scenario, CENTRAL, script(_on_arrival((3, 4, 5))))
        assert run.simulation._desk.controller == 2
        assert run.until(1.1 + (hops - 0.01) * DELAY_S).held[3:] == [0, 0, 1]
        assert run.until(1.1 + (hops + 0.01) * DELAY_S).held[3:] == [0, 0, 0]


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_a_node_that_joins_serves_from_then_on(line, arm):
    """Growth: no pair ends at node 2 before it joins, and all is known and used soon after."""
    scenario = line(nodes=4, rate_hz=8.0, measured_s=29.0)
    scenario = replace(scenario, outages=Outages(joins=(Join(node="n2", at_s=15.0),)))
    tables = simulate(scenario, arm, seed=3).tables
    pairs, requests = tables["pairs"], tables["requests"]
    with_it = (pairs["first"] == 2) | (pairs["second"] == 2)
    assert pairs["born_s"][with_it].min() > 15.0
    delivered = requests["outcome"] == OUTCOMES.index("delivered")
    own = requests["source"] == 2
    early = requests["time_s"] < 15.0
    assert (requests["outcome"][own & early] == OUTCOMES.index("rejected")).all()
    through = (np.minimum(requests["source"], requests["destination"]) < 2) & (
        np.maximum(requests["source"], requests["destination"]) == 3
    )
    for mine in (own, through):
        assert (mine & early).any()
        assert not delivered[mine & early & (requests["deadline_s"] < 15.0)].any()
        assert delivered[mine & ~early].mean() > 0.5
    # Nodes 0 and 1 had each other all the time.
    assert delivered[(requests["source"] < 2) & (requests["destination"] < 2) & early].mean() > 0.5
    assert tables["outages"]["until_s"].tolist() == [15.0]


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_built_in_arms_route_around_what_they_have_heard_of(arm):
    """On a grid: of allocations made once the news is everywhere, none goes over what is away."""
    scenario = parse_scenario(GRID)
    tables = simulate(scenario, arm, seed=1).tables
    heard_s = 5.0 + 8 * DELAY_S
    steps, claims, allocations = tables["path_steps"], tables["claims"], tables["allocations"]
    # Pairs between n0 and n1 may still come from stock; claims and ends tell what asks for the link.
    over = set(steps["allocation"][steps["node"] == 4].tolist())
    over |= set(claims["allocation"][claims["link"] == 0].tolist())
    over |= set(allocations["allocation"][allocations["cause"] == OUTAGE].tolist())
    hit = np.isin(allocations["allocation"], list(over))
    before, after = allocations["time_s"] <= 5.0, allocations["time_s"] > heard_s
    assert (hit & before).sum() > 10
    assert (hit & after).sum() == 0
    assert after.sum() > 50
    # There are ways round, so most requests of the others are still served.
    requests = tables["requests"]
    late = (requests["time_s"] > heard_s) & (requests["source"] != 4) & (requests["destination"] != 4)
    assert (requests["outcome"][late] == OUTCOMES.index("delivered")).mean() > 0.5


GRID = """
name = "grid"
[topology]
kind = "grid"
parameters = { rows = 3, columns = 3, hop_km = 20.0 }
[nodes]
source_rate_hz = 120.0
repeater_rate_hz = 30.0
[nodes.hardware]
memory = { kind = "depolarising", depolarising_s = 60.0 }
[demand]
rate_hz = 8.0
[[demand.classes]]
application = "teleportation"
share = 1.0
target_fidelity = 0.7
patience_s = 1.0
[forecasting]
history_s = 20
[window]
warm_up_s = 1
measured_s = 14
[outages]
scheduled = [
    { kind = "node", name = "n4", from_s = 5.0 },
    { kind = "link", name = "n0/n1", from_s = 5.0 },
]
"""


RANDOM = Outages(
    links=RandomOutages(mean_up_s=3.0, mean_down_s=0.5),
    nodes=RandomOutages(mean_up_s=6.0, mean_down_s=0.5),
    controller=RandomOutages(mean_up_s=5.0, mean_down_s=0.5),
)


def test_outages_and_requests_are_the_same_in_every_arm(line):
    scenario = replace(line(nodes=5, measured_s=14.0), outages=RANDOM)
    tables = [simulate(scenario, arm, seed=6).tables for arm in ARMS]
    plain = simulate(replace(scenario, outages=Outages()), ARMS[0], seed=6).tables
    for other in tables:
        for column in tables[0]["outages"]:
            assert tables[0]["outages"][column].tobytes() == other["outages"][column].tobytes()
        for asked in ("request", "time_s", "source", "destination", "deadline_s"):
            order = np.argsort(other["requests"]["request"])
            whole = np.argsort(plain["requests"]["request"])
            assert np.array_equal(other["requests"][asked][order], plain["requests"][asked][whole])
    assert len(tables[0]["outages"]["kind"]) > 10


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_outages_that_never_come_change_no_byte(line, arm):
    scenario = line(nodes=5, measured_s=6.0)
    later = Outages(scheduled=(ScheduledOutage(kind="node", name="n1", from_s=1e6),))
    first, second = (
        simulate(replace(scenario, outages=outages), arm, seed=4).tables for outages in (Outages(), later)
    )
    for table in TABLES:
        for column in table.names:
            assert first[table.name][column].tobytes() == second[table.name][column].tobytes()


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
@pytest.mark.parametrize(
    "changes",
    [
        {"memories": 4, "rate_hz": 25.0},
        {"swap_success_probability": 0.6, "rate_hz": 15.0, "pairs": 2},
        {"target_fidelity": 0.93, "rate_hz": 15.0},
    ],
    ids=["memory short", "swaps fail", "distilled"],
)
def test_nothing_leaks_at_any_decision_or_change(line, arm, changes):
    """The run checks itself after each change; here also at every decision, and that the run goes on."""
    scenario = replace(line(nodes=5, measured_s=14.0, **changes), outages=RANDOM)
    recorder = MemoryRecorder()
    simulation = Simulation(scenario, arm, seed=8, recorder=recorder)
    checked = []
    check = simulation._outages._check
    simulation._outages._check = lambda: (check(), checked.append(simulation.now_s))
    while (views := simulation.advance()) is not None:
        simulation.check()
        assert not any(simulation._world.absent.sites[site] for site in views.site.tolist())
        simulation.apply(simulation.policy.decide(views))
    tables = recorder.tables()
    outages = tables["outages"]
    times_s = np.concatenate([outages["from_s"], outages["until_s"]])
    assert checked == sorted(times_s[times_s <= simulation.now_s].tolist())
    requests = tables["requests"]
    delivered_s = requests["end_s"][requests["outcome"] == OUTCOMES.index("delivered")]
    assert (np.histogram(delivered_s, bins=3, range=(0.0, 15.0))[0] > 0).all()
    assert (tables["allocations"]["cause"] == OUTAGE).sum() > 0


@pytest.mark.parametrize("standing", ["pair", "link"])
@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_a_standing_request_outlives_many_outages_of_its_only_way(arm, standing):
    """A link that fails every second: the request is served anew each time, for all it had, and asks on.

    It was refused far more often than the `retries` of one pair.
    """
    scenario = load_scenario(
        CHAIN,
        (
            "topology.parameters.nodes=3",
            f"demand.classes.0.standing={standing}",
            "window.warm_up_s=0",
            "window.measured_s=10",
            "outages.links={ mean_up_s = 0.5, mean_down_s = 0.1 }",
        ),
    )
    tables = simulate(scenario, arm, seed=3).tables
    requests, allocations, pairs = (tables[name] for name in ("requests", "allocations", "pairs"))
    assert requests["outcome"].tolist() == [OUTCOMES.index("open")]
    ended = (allocations["end"] == REFUSED) & (allocations["cause"] == OUTAGE)
    assert ended.sum() > 2 * scenario.control.retries
    last_s = pairs["end_s"][pairs["end"] == PAIR_ENDS.index("delivered")].max()
    up_s = max(until_s for until_s in tables["outages"]["until_s"] if until_s < 9.5)
    assert last_s > up_s

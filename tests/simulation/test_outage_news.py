"""Who hears of an outage when, and that nobody knows before."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from physics.hardware import Fibre
from qdpem.events.recorder import MemoryRecorder
from qdpem.events.words import DecisionReason, RequestOutcome
from qdpem.network.outages import Unavailable
from qdpem.policy.interface import Allocation, Decisions, Observation
from qdpem.scenario.schema import Arm, Outages, ScheduledOutage
from qdpem.simulation.simulation import Simulation
from tests.helpers.halted import CENTRAL, DELAY_S, LOCAL, Halted, cut_off, on_arrival


def test_news_arrives_exactly_after_the_delay(line, script, arrive):
    """Link 2-3 of five nodes: its ends know at once, node 0 after two delays; and likewise for nodes."""
    arrive([(20.0, 0, 1)])
    scenario = cut_off(line(nodes=5), "link", "n2/n3", 2.0, 3.0)
    scenario = cut_off(scenario, "node", "n4", 5.0, 6.0)
    run = Halted(scenario, LOCAL, script(lambda observations: Decisions()))
    nothing, cut, dead = Unavailable(), Unavailable(links=frozenset({2})), Unavailable(nodes=frozenset({4}))
    for start_s, hops, before, after in (
        (2.0, (2, 1, 0, 0, 1), nothing, cut),
        (3.0, (2, 1, 0, 0, 1), cut, nothing),
        (5.0, (4, 3, 2, 1, 0), nothing, dead),
        (6.0, (4, 3, 2, 1, 0), dead, nothing),
    ):
        assert run.until(np.nextafter(start_s, 0.0)).believed == [before] * 5
        for step in range(5):
            run.until(start_s + step * DELAY_S + 1e-9)
            assert run.believed == [after if distance <= step else before for distance in hops]
            run.until(start_s + (step + 1) * DELAY_S - 1e-9)
            assert run.believed == [after if distance <= step else before for distance in hops]


@pytest.mark.parametrize("zero_delay", [False, True])
def test_news_reaches_the_controller(line, script, arrive, zero_delay):
    arrive([(20.0, 0, 1)])
    scenario = cut_off(line(nodes=5), "node", "n4", 5.0, 6.0)
    scenario = replace(scenario, control=replace(scenario.control, zero_delay=zero_delay))
    run = Halted(scenario, CENTRAL, script(lambda observations: Decisions()))
    dead, wait_s = Unavailable(nodes=frozenset({4})), 0.0 if zero_delay else 2 * DELAY_S
    assert run.until(np.nextafter(5.0, 0.0)).believed == [Unavailable()]
    assert run.until(5.0).believed == [dead if zero_delay else Unavailable()]
    assert run.until(5.0 + wait_s + 1e-9).believed == [dead]
    assert run.until(6.0 + wait_s + 1e-9).believed == [Unavailable()]


def test_a_site_with_requests_waiting_is_asked_when_the_news_comes(line, script, arrive):
    """What could not be served while the link was away is served once its return is known."""
    arrive([(1.0, 0, 3)], patience_s=10.0)
    scenario = cut_off(line(nodes=4), "link", "n2/n3", 0.5, 2.0)
    simulation = Simulation(scenario, Arm(name="local-minhop"), seed=0, recorder=MemoryRecorder())
    asked = []
    while (observations := simulation.advance()) is not None:
        decisions = simulation.policy.act(observations)
        asked.append(
            (
                observations.time_s,
                DecisionReason.from_code(int(observations.reason[0])),
                observations.unavailable(),
                len(decisions.allocations),
            )
        )
        simulation.apply(decisions)
    unavailable = Unavailable(links=frozenset({2}))
    assert asked[:2] == [
        (1.0, "arrival", unavailable, 0),
        (pytest.approx(2.0 + 2 * DELAY_S, abs=1e-12), "outage", Unavailable(), 1),
    ]


ALL_COLUMNS = tuple(item.name for item in fields(Observation) if item.name != "time_s")


def _unpadded(observation, name):
    """One column of a view of one site; how far it is padded depends on who else is asked."""
    values = np.where(np.isnan(column := getattr(observation, name)[0]), -1, column)
    return np.trim_zeros(np.atleast_1d(values) + 1, "b").tolist()


@pytest.mark.slow
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
        while (observations := simulation.advance()) is not None:
            if 0 in observations.site:
                found.append(observations[observations.site.tolist().index(0)])
            simulation.apply(simulation.policy.act(observations))
        return found

    without = seen(Outages())
    for kind, name, hops in (("node", "n4", 4), ("link", "n3/n4", 3)):
        with_it = seen(Outages(scheduled=(ScheduledOutage(kind=kind, name=name, from_s=cut_s),)))
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
        assert next(mine.unavailable() for mine in with_it if mine.time_s >= heard_s)


def test_the_controller_fails_and_returns(line, script, arrive):
    """What was granted runs on; what comes meanwhile waits, or expires, and is taken up in order."""
    arrive([(1.0, 0, 1), (2.5, 0, 1), (2.6, 1, 2), (2.7, 2, 1)], patience_s=2.0)
    scenario = cut_off(line(nodes=3, source_rate_hz=600.0), "controller", "", 1.0 + 2 * DELAY_S + 2e-3, 4.65)

    def rule(observations):
        waiting = [column for column, name in enumerate(observations.request_id[0].tolist()) if name >= 0]
        made = []
        for column in waiting:
            ends = (
                int(observations.request_source[0, column]),
                int(observations.request_destination[0, column]),
            )
            made.append(
                Allocation(
                    source=ends[0],
                    destination=ends[1],
                    target_fidelity=0.7,
                    path=ends,
                    expires_s=float(observations.request_deadline_s[0, column]),
                    request=int(observations.request_id[0, column]),
                )
            )
        return Decisions(allocations=tuple(made))

    policy = script(rule)
    tables = Halted(scenario, CENTRAL, policy).finish()
    requests = tables["requests"]
    order = np.argsort(requests["request"])
    outcomes = [RequestOutcome.from_code(code) for code in requests["outcome"][order]]
    # The first was granted before the failure; two expire before its return, one does not.
    assert outcomes[0] == "delivered"
    assert requests["end_s"][order][0] > 1.0 + 2 * DELAY_S + 2e-3
    assert outcomes[1:3] == ["expired", "expired"]
    assert requests["end_s"][order][1] == 4.5
    # Each held-up request has its service time again: the third one's is over after the second's.
    asked_s = [observation.time_s for observation in policy.seen]
    assert asked_s == pytest.approx([1.0 + DELAY_S + 1e-3, 4.65 + 3e-3], abs=1e-12)


def test_word_of_a_refusal_goes_along_the_path_while_the_controller_iscut_off(line, script, arrive):
    """A link is cut while nobody is there to tell the nodes: they tell each other, which is shorter here."""
    arrive([(1.0, 3, 5)])
    whole = cut_off(line(nodes=6, source_rate_hz=1e-3), "link", "n3/n4", 1.1, 3.0)
    for scenario, hops in ((whole, 4), (cut_off(whole, "controller", "", 1.05, 3.0), 2)):
        run = Halted(scenario, CENTRAL, script(on_arrival((3, 4, 5))))
        assert run.simulation._control_plane.controller == 2
        assert run.until(1.1 + (hops - 0.01) * DELAY_S).held[3:] == [0, 0, 1]
        assert run.until(1.1 + (hops + 0.01) * DELAY_S).held[3:] == [0, 0, 0]

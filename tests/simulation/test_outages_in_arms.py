"""Outages under every arm: routed round, outlived, the same for all, and that nothing leaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qdpem.events.recorder import MemoryRecorder
from qdpem.events.tables import kept_at
from qdpem.events.words import AllocationOutcome, PairOutcome, RefusalCause, RequestOutcome
from qdpem.scenario.load import load_scenario, parse_scenario
from qdpem.scenario.schema import Arm, Join, Outages, RandomOutages, ScheduledOutage
from qdpem.simulation.run import simulate
from qdpem.simulation.simulation import Simulation
from tests.helpers.halted import DELAY_S

CHAIN = Path(__file__).parents[2] / "scenarios" / "chain.toml"
ARMS = (
    Arm(name="local-minhop"),
    Arm(name="local-stock"),
    Arm(name="central-fcfs"),
    Arm(
        name="central-stock",
        policy="central-expected-delay",
        pregeneration="end-to-end",
        forecaster="constant",
    ),
    Arm(name="dpem"),
)
REFUSED, OUTAGE = AllocationOutcome.REFUSED.code, RefusalCause.OUTAGE.code


@pytest.mark.mostly_slow
@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_a_node_that_joins_serves_from_then_on(line, arm):
    """Growth: no pair ends at node 2 before it joins, and all is known and used soon after."""
    scenario = line(nodes=4, rate_hz=8.0, measured_s=29.0)
    scenario = replace(scenario, outages=Outages(joins=(Join(node="n2", at_s=15.0),)))
    tables = simulate(scenario, arm, seed=3).tables
    pairs, requests = tables["pairs"], tables["requests"]
    with_it = (pairs["first"] == 2) | (pairs["second"] == 2)
    assert pairs["born_s"][with_it].min() > 15.0
    delivered = requests["outcome"] == RequestOutcome.DELIVERED.code
    own = requests["source"] == 2
    early = requests["time_s"] < 15.0
    assert (requests["outcome"][own & early] == RequestOutcome.REJECTED.code).all()
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


@pytest.mark.mostly_slow
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
    assert (requests["outcome"][late] == RequestOutcome.DELIVERED.code).mean() > 0.5


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
fraction = 1.0
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


@pytest.mark.slow
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


@pytest.mark.mostly_slow
@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_outages_that_never_come_change_no_byte(line, arm):
    scenario = line(nodes=5, measured_s=6.0)
    later = Outages(scheduled=(ScheduledOutage(kind="node", name="n1", from_s=1e6),))
    first, second = (
        simulate(replace(scenario, outages=outages), arm, seed=4).tables for outages in (Outages(), later)
    )
    for table in kept_at("events"):
        for column in table.names:
            assert first[table.name][column].tobytes() == second[table.name][column].tobytes()


@pytest.mark.mostly_repeated(6)
@pytest.mark.mostly_slow(3)
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
    while (observations := simulation.advance()) is not None:
        simulation.check()
        assert not any(
            simulation._state.availability.site_unavailable[site] for site in observations.site.tolist()
        )
        simulation.apply(simulation.policy.act(observations))
    tables = recorder.tables()
    outages = tables["outages"]
    times_s = np.concatenate([outages["from_s"], outages["until_s"]])
    assert checked == sorted(times_s[times_s <= simulation.now_s].tolist())
    requests = tables["requests"]
    delivered_s = requests["end_s"][requests["outcome"] == RequestOutcome.DELIVERED.code]
    assert (np.histogram(delivered_s, bins=3, range=(0.0, 15.0))[0] > 0).all()
    assert (tables["allocations"]["cause"] == OUTAGE).sum() > 0


@pytest.mark.mostly_repeated(3)
@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize("repeat_until_deadline", ["pair", "link"])
@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_a_repeating_request_outlives_many_outages_of_its_only_way(arm, repeat_until_deadline):
    """A link that fails every second: the request is served anew each time, for all it had, and asks on.

    It was refused far more often than the `retries` of one pair.
    """
    scenario = load_scenario(
        CHAIN,
        (
            "topology.parameters.nodes=3",
            f"demand.classes.0.repeat_until_deadline={repeat_until_deadline}",
            "window.warm_up_s=0",
            "window.measured_s=10",
            "outages.links={ mean_up_s = 0.5, mean_down_s = 0.1 }",
        ),
    )
    tables = simulate(scenario, arm, seed=3).tables
    requests, allocations, pairs = (tables[name] for name in ("requests", "allocations", "pairs"))
    assert requests["outcome"].tolist() == [RequestOutcome.OPEN.code]
    ended = (allocations["outcome"] == REFUSED) & (allocations["cause"] == OUTAGE)
    assert ended.sum() > 2 * scenario.control.retries
    last_s = pairs["end_s"][pairs["outcome"] == PairOutcome.DELIVERED.code].max()
    up_s = max(until_s for until_s in tables["outages"]["until_s"] if until_s < 9.5)
    assert last_s > up_s

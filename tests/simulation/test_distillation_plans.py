"""Plans in time: nested and pumping rounds on links, rounds between the ends, in the network as in theory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physics.plans import Plan, estimate
from qdpem import open_record
from qdpem.events.recorder import MemoryRecorder
from qdpem.events.words import PairOutcome, RequestOutcome
from qdpem.network.build import build_network, build_physics
from qdpem.policy.interface import Allocation, Decisions
from qdpem.records.audit.audit import audit
from qdpem.records.writer import RecordWriter
from qdpem.scenario.schema import Arm
from qdpem.simulation.simulation import Simulation

LOCAL, CENTRAL = Arm(name="local-minhop"), Arm(name="central-fcfs")
PLANS = [
    Plan(rounds_per_link=2),
    Plan(rounds_per_link=2, schedule="pumping"),
    Plan(rounds_per_link=1, schedule="pumping", protocol="bbpssw"),
    Plan(end_rounds=1),
    Plan(rounds_per_link=1, end_rounds=1),
    Plan(rounds_per_link=(2, 0)),
    Plan(rounds_per_link=(0, 2), schedule="pumping", end_rounds=1),
]
FAR = {"depolarising_s": 1e9, "source_rate_hz": 3000.0, "repeater_rate_hz": 3000.0, "memories": 64}
"""Nothing decays and nothing is short, so that what is delivered is what the plan gives."""


def serve(plan, path, observations):
    """Serve every waiting request over `path` with `plan`."""
    made = []
    for column, request in enumerate(observations.request_id[0].tolist()):
        if request >= 0:
            made.append(
                Allocation(
                    source=path[0],
                    destination=path[-1],
                    target_fidelity=0.7,
                    path=path,
                    expires_s=float(observations.request_deadline_s[0, column]),
                    plan=plan,
                    pairs=int(observations.request_pairs[0, column]),
                    request=request,
                )
            )
    return Decisions(allocations=tuple(made))


def run(scenario, arm, policy, *, recorder):
    """Step through a run, and check after every decision that nothing leaked."""
    simulation = Simulation(scenario, arm, seed=7, recorder=recorder, policy=policy)
    while (observations := simulation.advance()) is not None:
        simulation.apply(policy.act(observations))
        simulation.check()


@pytest.mark.mostly_slow(6)
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("arm", [LOCAL, CENTRAL])
def test_what_is_delivered_is_what_the_plan_gives(line, script, arrive, plan, arm):
    path = (0, 1, 2)
    arrive([(1.0 + 0.05 * count, 0, 2) for count in range(40)], patience_s=4.0)
    scenario = line(nodes=3, measured_s=8.0, **FAR)
    object.__setattr__(scenario.nodes.hardware, "gate_fidelity", 0.995)
    recorder = MemoryRecorder()
    run(scenario, arm, script(lambda observations: serve(plan, path, observations)), recorder=recorder)
    tables = recorder.tables()
    assert (tables["requests"]["outcome"] == RequestOutcome.DELIVERED.code).all()
    physics = build_physics(scenario)
    network = build_network(scenario, physics, seed=7)
    expected = estimate(
        plan, model=physics, links=list(network.links), nodes=list(network.hardware), ages_s=[0.0, 0.0]
    )
    assert tables["requests"]["fidelity"] == pytest.approx(expected.fidelity, abs=1e-6)


@pytest.mark.mostly_slow(3)
@pytest.mark.parametrize("plan", PLANS)
def test_fresh_pairs_taken_are_those_the_plan_expects(line, script, arrive, plan):
    """Fresh pairs per delivery on each link against the expectation, within 4.5 standard errors (7e-6)."""
    count = 300
    arrive([(1.0 + 0.02 * place, 0, 2) for place in range(count)], patience_s=6.0)
    scenario = line(nodes=3, measured_s=14.0, **{**FAR, "memories": 512})
    object.__setattr__(scenario.links.hardware, "fresh_fidelity", 0.85)
    recorder = MemoryRecorder()
    run(scenario, LOCAL, script(lambda observations: serve(plan, (0, 1, 2), observations)), recorder=recorder)
    tables = recorder.tables()
    pairs = tables["pairs"]
    fresh = (pairs["first_parent"] < 0) & (pairs["link"] >= 0)
    taken = np.stack(
        [
            np.bincount(pairs["allocation"][fresh & (pairs["link"] == link)], minlength=count)
            for link in range(2)
        ],
        axis=1,
    )
    physics = build_physics(scenario)
    network = build_network(scenario, physics, seed=7)
    expected = estimate(
        plan, model=physics, links=list(network.links), nodes=list(network.hardware), ages_s=[0.0, 0.0]
    ).pairs_per_link
    error = taken.std(axis=0, ddof=1) / np.sqrt(count)
    assert (pairs["outcome"] == PairOutcome.DISTILLED.code).sum() > count
    assert (np.abs(taken.mean(axis=0) - expected) <= 4.5 * error + 1e-12).all()


@pytest.mark.mostly_repeated(2)
@pytest.mark.mostly_slow
@pytest.mark.parametrize("plan", PLANS[1:])
def test_failed_rounds_and_swaps_leak_nothing_and_can_be_audited(line, script, arrive, tmp_path, plan):
    arrive([(1.0 + 0.1 * count, 0, 3) for count in range(20)], patience_s=0.6, pairs=2)
    scenario = line(
        nodes=4, measured_s=3.0, memories=16, swap_success_probability=0.7, source_rate_hz=400.0,
        depolarising_s=1.0,
    )  # fmt: skip
    path = tmp_path / "record.h5"
    if isinstance(plan.rounds_per_link, tuple):
        plan = replace(plan, rounds_per_link=(*plan.rounds_per_link, 1))
    policy = script(lambda observations: serve(plan, (0, 1, 2, 3), observations))
    with RecordWriter(path, scenario=scenario, arm=LOCAL, seed=7) as recorder:
        run(scenario, LOCAL, policy, recorder=recorder)
        recorder.close_complete({}, {})
    found = audit(open_record(path))
    assert not found.findings
    assert found.distillations > 10

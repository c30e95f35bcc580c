"""Pairs that both ends find below their request's target: they are discarded and asked for again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qdpem.events.words import AllocationOutcome, PairOutcome, RequestOutcome
from qdpem.records.audit.audit import audit
from qdpem.records.reader import open_record
from qdpem.records.writer import RecordWriter
from qdpem.scenario.schema import Arm
from qdpem.simulation.run import simulate
from qdpem.simulation.simulation import Simulation
from tests.helpers.watching import watch

TARGET = 0.85
DELIVERED, LOW_FIDELITY = RequestOutcome.DELIVERED.code, RequestOutcome.LOW_FIDELITY.code
# Planners that believe no pair ever waits send requests over paths that are too slow for their memories.
BLIND = {"storage_fraction": 0.0, "retry_low_fidelity": True}
LOCAL = Arm(name="blind", policy="local-minhop", parameters=BLIND)
CENTRAL = Arm(name="blind", policy="central-fcfs", parameters=BLIND)


@pytest.fixture
def fading(line):
    """A line whose memories lose the target while links wait for each other; patience for more tries."""

    def build(**changes):
        about = {"depolarising_s": 0.6, "target_fidelity": TARGET, "rate_hz": 4.0, "patience_s": 3.0}
        return line(**(about | changes))

    return build


def without_retries(scenario):
    return replace(scenario, control=replace(scenario.control, retries=0))


def share(tables, code):
    return float((tables["requests"]["outcome"] == code).mean())


@pytest.mark.mostly_repeated(3)
@pytest.mark.parametrize("application", ["teleportation", "qkd"])
@pytest.mark.parametrize("arm", [LOCAL, CENTRAL], ids=["local", "central"])
@pytest.mark.parametrize("pairs", [1, 2])
def test_time_that_is_left_is_used_and_nothing_leaks(fading, application, arm, pairs, tmp_path):
    """A request with a retry left never ends below its target; nothing leaks; an audit replays all."""
    scenario = fading(application=application, pairs=pairs)
    path = tmp_path / "run.h5"
    with RecordWriter(path, scenario=scenario, arm=arm, seed=1) as recorder:
        simulation = Simulation(scenario, arm, seed=1, recorder=recorder)
        watch(simulation, every=20)
        while (observations := simulation.advance()) is not None:
            simulation.apply(simulation.policy.act(observations))
    found = audit(open_record(path))
    assert found.passed, found.findings[:3]
    tables = open_record(path).tables
    requests = tables["requests"]
    low = requests["outcome"] == LOW_FIDELITY
    # Retries are the only limit: a request has up to `retries` attempts after its first.
    assert (requests["attempts"][low] > scenario.control.retries).all()
    assert requests["attempts"].max() <= scenario.control.retries + 1
    delivered = requests["outcome"] == DELIVERED
    assert (requests["attempts"][delivered] > 1).any()
    if application == "teleportation":
        assert (requests["fidelity"][delivered] >= TARGET).all()


def test_a_discarded_pair_has_expired_below_the_target_and_its_request_is_asked_about_at_once(fading):
    tables = simulate(fading(rate_hz=1.0, measured_s=60.0), LOCAL, seed=1).tables
    allocations, pairs, requests = (tables[name] for name in ("allocations", "pairs", "requests"))
    discarded = np.flatnonzero(
        (pairs["outcome"] == PairOutcome.EXPIRED.code)
        & np.isin(pairs["end_s"], allocations["end_s"][allocations["outcome"] == AllocationOutcome.DONE.code])
    )
    assert len(discarded) > 5
    assert (pairs["fidelity"][discarded] < TARGET).all()
    for row in discarded.tolist():
        (request,) = allocations["request"][allocations["allocation"] == pairs["allocation"][row]]
        asked = requests["request"] == request
        assert [(pairs["first"][row], pairs["second"][row])] == list(
            zip(requests["source"][asked], requests["destination"][asked], strict=True)
        )
        later = allocations["time_s"][allocations["request"] == request]
        if requests["outcome"][asked] == DELIVERED:
            assert pairs["end_s"][row] in later


def test_more_is_delivered_than_by_a_policy_that_does_not_ask(fading):
    """Three paired seeds, each of which gains .02 or more; without the retry the gain is 0 to the bit."""
    scenario = fading()
    gains = []
    for seed in range(3):
        retried = simulate(scenario, LOCAL, seed=seed).tables
        declined = simulate(scenario, replace(LOCAL, parameters={"storage_fraction": 0.0}), seed=seed).tables
        assert share(retried, LOW_FIDELITY) < 0.5 * share(declined, LOW_FIDELITY)
        gains.append(share(retried, DELIVERED) - share(declined, DELIVERED))
    assert min(gains) > 0.02, gains


def test_without_retries_a_low_pair_ends_its_request(fading):
    tables = simulate(without_retries(fading()), LOCAL, seed=1).tables
    assert (tables["requests"]["outcome"] == LOW_FIDELITY).sum() > 5
    assert tables["requests"]["attempts"].max() == 1

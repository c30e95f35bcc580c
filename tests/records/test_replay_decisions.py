"""The decisions of a record, carried out again without its policy, give the same bits."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qdpem.errors import RecordError
from qdpem.events.words import Purpose
from qdpem.records.reader import open_record
from qdpem.records.replay.logged_decisions import LoggedDecisions
from qdpem.records.replay.replay import replay
from qdpem.records.writer import RecordWriter
from qdpem.registry import list_names
from qdpem.scenario.schema import Arm
from qdpem.simulation.arms import resolve_arm
from qdpem.simulation.run import simulate
from tests.helpers.audited import DISTILLED, OUTAGES, STOCKED, StoppedError, make_scenario
from tests.helpers.gamblers import Gambler
from tests.helpers.recorded import record_run
from tests.helpers.resealed import resealed

STOCKED_FULL = STOCKED | {"level": "full", "measured_s": 2.0}


@pytest.mark.mostly_slow(cases=6)
@pytest.mark.parametrize(
    "policy", ["local-stock", "central-planned-stock", "local-price-based", *list_names("policy")]
)
def test_decisions_of_every_policy_with_outages_give_the_same_bits(policy: str, tmp_path: Path) -> None:
    record = record_run(tmp_path / "run.h5", Arm(name=policy), outages=OUTAGES, **STOCKED_FULL)
    decided = record.tables["decided_allocations"]
    assert len(decided["decision"]) > 0
    if "stock" in policy:
        assert (decided["purpose"] == Purpose.STOCK.code).sum() > 3
    # A policy and a forecaster that are not installed are not missed.
    arm = replace(record.arm, policy="gone", forecaster="gone")
    found = replay(replace(record, arm=arm, provenance={**record.provenance}), decisions=True)
    assert found.differences == ()
    assert "forecasts" in found.left_out
    assert found.data_sets > 150


def test_plans_with_rounds_on_every_link_come_back_as_they_were(tmp_path: Path) -> None:
    record = record_run(
        tmp_path / "run.h5", Arm(name="central-qleap"), level="full", measured_s=2.0, **DISTILLED
    )
    assert (record.tables["decided_steps"]["rounds"] > 0).any()
    assert replay(record, decisions=True).identical


def test_discards_and_messages_are_carried_out_again(tmp_path: Path) -> None:
    """A policy that does anything that rules allow: it splits requests, discards stock, retries."""
    scenario = make_scenario(outages=OUTAGES, **STOCKED_FULL)
    arm = resolve_arm(Arm(name="local-minhop", pregeneration="virtual-link", forecaster="none"))
    with RecordWriter(tmp_path / "run.h5", scenario=scenario, arm=arm.arm, seed=11) as writer:
        simulate(scenario, arm, seed=11, recorder=writer, policy=Gambler(3))
        writer.close_complete({}, {})
    record = open_record(tmp_path / "run.h5")
    assert len(record.tables["discards"]["pair"]) > 0
    found = replay(record, decisions=True)
    assert {each.table for each in found.differences} == {"metrics"}


def test_an_allocation_whose_request_ended_is_logged_without_an_id(tmp_path: Path) -> None:
    """Of allocations decided together, the first may be refused and end its request before the others."""
    scenario = make_scenario(**STOCKED_FULL | {"rate_hz": 40.0, "pairs": 3})
    scenario = replace(
        scenario, control=replace(scenario.control, retries=0), nodes=replace(scenario.nodes, memories=2)
    )
    arm = resolve_arm(Arm(name="local-minhop", pregeneration="virtual-link", forecaster="none"))
    with RecordWriter(tmp_path / "run.h5", scenario=scenario, arm=arm.arm, seed=11) as writer:
        simulate(scenario, arm, seed=11, recorder=writer, policy=Gambler(3))
        writer.close_complete({}, {})
    record = open_record(tmp_path / "run.h5")
    assert (record.tables["decided_allocations"]["allocation"] == -1).any()
    found = replay(record, decisions=True)
    assert {each.table for each in found.differences} == {"metrics"}


def test_the_decisions_of_a_run_that_stopped_are_carried_out_as_far_as_they_go(tmp_path: Path) -> None:
    def stop(time_s: float) -> None:
        if time_s >= 2.0:
            raise StoppedError

    scenario, arm = make_scenario(level="full", measured_s=30.0), resolve_arm(Arm(name="local-stock"))
    with (
        pytest.raises(StoppedError),
        RecordWriter(tmp_path / "run.h5", scenario=scenario, arm=arm.arm, seed=11) as writer,
    ):
        simulate(scenario, arm, seed=11, recorder=writer, on_progress=stop)
    assert replay(open_record(tmp_path / "run.h5"), decisions=True).identical


def test_where_a_replay_parts_from_its_record_comes_first(tmp_path: Path) -> None:
    record = record_run(tmp_path / "run.h5", Arm(name="local-minhop"), level="full", measured_s=1.0)
    with resealed(record.path) as file:
        row = 6
        before = int(file["decisions/deciding_node"][row])
        file["decisions/deciding_node"][row] = (before + 1) % 5
    first, *_ = replay(open_record(record.path), decisions=True).differences
    assert (first.table, first.column, first.row) == ("decisions", "deciding_node", row)
    assert (first.first, first.second) == (str((before + 1) % 5), str(before))


def test_a_changed_decision_is_found_by_what_follows_from_it(tmp_path: Path) -> None:
    record = record_run(tmp_path / "run.h5", Arm(name="local-minhop"), level="full", measured_s=1.0)
    with resealed(record.path) as file:
        file["decided_allocations/expires_s"][2] = np.nextafter(file["decided_allocations/expires_s"][2], 0.0)
    (difference,) = replay(open_record(record.path), decisions=True).differences
    assert difference.data_set == "allocations/expires_s"


def test_a_record_without_decisions_in_full_is_refused(tmp_path: Path) -> None:
    record = record_run(tmp_path / "run.h5", Arm(name="local-minhop"), measured_s=1.0)
    assert "decided_allocations" not in record.tables
    with pytest.raises(RecordError, match="recorded at level 'events'"):
        replay(record, decisions=True)


def test_the_log_gives_back_what_the_policy_gave(tmp_path: Path) -> None:
    scenario, arm = make_scenario(**STOCKED_FULL), resolve_arm(Arm(name="local-planned-stock"))
    given = []
    policy = arm.build_policy()
    act = policy.act

    def noting(observations):
        given.append(act(observations))
        return given[-1]

    policy.act = noting
    with RecordWriter(tmp_path / "run.h5", scenario=scenario, arm=arm.arm, seed=11) as writer:
        simulate(scenario, arm, seed=11, recorder=writer, policy=policy)
        writer.close_complete({}, {})
    repeated = []
    logged = LoggedDecisions(open_record(tmp_path / "run.h5"))

    def repeating(observations):
        repeated.append(LoggedDecisions.act(logged, observations))
        return repeated[-1]

    logged.act = repeating
    simulate(scenario, arm, seed=11, policy=logged)
    assert [one.allocations for one in repeated] == [one.allocations for one in given]
    assert [one.discards for one in repeated] == [one.discards for one in given]


@pytest.mark.slow
def test_decisions_of_dpem_are_replayed_without_torch(tmp_path: Path) -> None:
    record_run(tmp_path / "run.h5", Arm(name="dpem"), level="full", measured_s=1.0)
    code = (
        "import sys; sys.modules['torch'] = None; import qdpem;"
        f"found = qdpem.replay(qdpem.open_record({str(tmp_path / 'run.h5')!r}), decisions=True);"
        "print(found.identical, 'qdpem.policies.dpem.agent' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", "False"]

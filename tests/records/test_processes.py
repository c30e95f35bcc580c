"""A record says which process made each request, and keeps what a mixture asked for through the audit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qdpem.records.audit.audit import audit
from qdpem.records.reader import Record, open_record
from qdpem.records.writer import RecordWriter
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Arm
from qdpem.simulation.arms import resolve_arm
from qdpem.simulation.run import Run, simulate
from tests.helpers.row import row_text

CLASS = "{application='computing',fraction=1.0,target_fidelity=0.6,patience_s=1.0,pairs=2}"
MIXTURE = (
    f"demand.processes.jobs={{kind='timetable',fraction=0.5,jitter_s=0.3,classes=[{CLASS}]}}",
    f"demand.processes.talks={{kind='session',fraction=0.2,on_s=3.0,off_s=3.0,classes=[{CLASS}]}}",
    "demand.rate_hz=8",
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Run]:
    path: Path = tmp_path_factory.mktemp("mixture") / "one.h5"
    text = row_text(description="a mixture", measured_s=8.0, seeds=(3,))
    scenario, arm = parse_scenario(text, overrides=MIXTURE), resolve_arm(Arm(name="local-stock")).arm
    with RecordWriter(path, scenario=scenario, arm=arm, seed=3) as writer:
        run = simulate(scenario, arm, seed=3, recorder=writer)
        writer.close_complete({}, {})
    return open_record(path), run


def test_the_table_of_processes_has_their_names_and_rates(recorded) -> None:
    processes = recorded[0].tables["processes"]
    assert processes["name"].tolist() == ["poisson", "jobs", "talks"]
    assert processes["process"].tolist() == [0, 1, 2]
    assert processes["rate_hz"] == pytest.approx([2.4, 4.0, 1.6])


def test_each_request_names_the_process_that_made_it(recorded) -> None:
    record, run = recorded
    requests, asked = record.tables["requests"], run.arrivals.requests
    order = np.argsort(requests["request"])
    assert np.array_equal(requests["request"][order], asked.id)
    assert np.array_equal(requests["process"][order], asked.process)
    assert set(asked.process.tolist()) == {0, 1, 2}
    assert np.array_equal(requests["pairs"] == 2, requests["process"] > 0)


def test_an_audit_of_a_mixture_passes(recorded) -> None:
    found = audit(recorded[0])
    assert found.passed
    assert found.compared > 0


def test_scenario_and_seed_give_the_requests_again(recorded) -> None:
    record, run = recorded
    again = simulate(record.scenario, record.arm, seed=record.seed)
    for column, values in again.tables["requests"].items():
        assert np.array_equal(values, record.tables["requests"][column], equal_nan=True), column
    assert again.arrivals.requests.time_s.tobytes() == run.arrivals.requests.time_s.tobytes()

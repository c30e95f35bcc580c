"""A record of a run on a trace: its digest, an audit without the file, and the record as a trace itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qdpem.demand.streams import generate_arrivals
from qdpem.errors import ScenarioError
from qdpem.network.build import build_network, build_physics
from qdpem.records.audit.audit import audit
from qdpem.records.reader import Record, open_record
from qdpem.records.writer import RecordWriter
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.arms import resolve_arm
from qdpem.simulation.fingerprint import input_digest, trace_digests
from qdpem.simulation.run import simulate
from tests.helpers.row import row_text

CLASS = "{application='computing',fraction=1.0,target_fidelity=0.6,patience_s=1.0,pairs=2}"
TRAFFIC = """time_s,n0>n1,n2>n0,n3>n4
0,1,2,0
10,3,2,1
20,1,2,1
"""
REPLAYED = ("time_s", "source", "destination", "target_fidelity", "pairs", "deadline_s", "application")


def on_trace(path: Path, *keys: str, rate_hz: float = 8.0) -> Scenario:
    table = f"kind='trace',fraction=1.0,path='{path}',classes=[{CLASS}]"
    text = row_text(description="a trace", measured_s=4.0, seeds=(3,))
    process = f"demand.processes.traffic={{{table}{''.join(f',{key}' for key in keys)}}}"
    return parse_scenario(text, overrides=["demand.classes=[]", process, f"demand.rate_hz={rate_hz}"])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Scenario]:
    """A record whose trace is no longer there."""
    folder = tmp_path_factory.mktemp("trace")
    traffic = folder / "traffic.csv"
    traffic.write_text(TRAFFIC)
    scenario = on_trace(traffic, "start_s=15")
    arm = resolve_arm(Arm(name="local-stock", forecaster="bayes-filter")).arm
    path = folder / "one.h5"
    with RecordWriter(path, scenario=scenario, arm=arm, seed=3) as writer:
        simulate(scenario, arm, seed=3, recorder=writer)
        writer.close_complete({}, {})
    traffic.unlink()
    return open_record(path), scenario


def test_requests_name_the_trace_and_its_digest_is_kept(recorded, tmp_path) -> None:
    record, _ = recorded
    assert record.tables["processes"]["name"].tolist() == ["traffic"]
    assert (record.tables["requests"]["process"] == 0).all()
    other = tmp_path / "elsewhere.csv"
    other.write_text(TRAFFIC)
    assert record.provenance["traces"] == trace_digests(on_trace(other))
    assert record.provenance["inputs"] == input_digest(on_trace(other))
    other.write_text(TRAFFIC.replace("20,1", "20,9"))
    assert record.provenance["traces"] != trace_digests(on_trace(other))
    assert record.provenance["inputs"] != input_digest(on_trace(other))


def test_an_audit_needs_no_trace(recorded) -> None:
    found = audit(recorded[0])
    assert found.passed
    assert found.compared > 0


def test_a_new_run_without_the_file_says_so(recorded) -> None:
    record, scenario = recorded
    network = build_network(scenario, build_physics(scenario), seed=3)
    with pytest.raises(ScenarioError, match=r"demand\.processes\.traffic\.path: there is nothing at"):
        generate_arrivals(record.scenario, network, seed=3)


def test_a_record_as_a_trace_gives_its_requests_to_the_last_bit(recorded) -> None:
    record, _ = recorded
    rows = record.tables["requests"]
    order = np.argsort(rows["request"])
    span_s = np.ptp(rows["time_s"])
    scenario = on_trace(record.path, "thinned=false", rate_hz=(len(order) - 1) / span_s)
    network = build_network(scenario, build_physics(scenario), seed=7)
    again = generate_arrivals(scenario, network, seed=7)
    assert len(again.history) == 0
    for column in REPLAYED:
        np.testing.assert_array_equal(getattr(again.requests, column), rows[column][order], err_msg=column)
    part = replace(scenario, demand=replace(scenario.demand, rate_hz=0.5))
    with pytest.raises(ScenarioError, match="should be as many"):
        generate_arrivals(part, network, seed=7)

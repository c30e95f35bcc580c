"""Finished records of small runs on a line of nodes, with metrics, as `qdpem run` makes them."""

from __future__ import annotations

from pathlib import Path

from qdpem.records.reader import Record, open_record
from qdpem.records.recording import record_simulation
from qdpem.records.writer import RecordWriter
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.arms import resolve_arm
from tests.helpers.audited import make_scenario


def record_run(path: Path, arm: Arm, *, scenario: Scenario | None = None, **changes: object) -> Record:
    """The record of a run of `scenario`, or of the line of `tests.helpers.audited` with these changes."""
    scenario = scenario or make_scenario(**changes)
    resolved = resolve_arm(arm)
    with RecordWriter(path, scenario=scenario, arm=resolved.arm, seed=11) as writer:
        record_simulation(writer, scenario, resolved, seed=11, files=resolved.read_learned_files())
    return open_record(path)

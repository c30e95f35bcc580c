"""Records of small runs, and how to change them afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from qdpem.events.words import PairOutcome
from qdpem.records.audit.audit import Audit
from qdpem.records.reader import Record, open_record
from qdpem.records.writer import RecordWriter
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.run import simulate
from tests.helpers.resealed import resealed

RELAXING = '{ kind = "relaxing", relaxation_s = 1.5, dephasing_s = 0.9 }'
DEPOLARISING = '{ kind = "depolarising", depolarising_s = 2.0 }'
LINE = """
name = "line"
[topology]
kind = "line"
parameters = {{ nodes = 5, hop_km = 20.0 }}
[nodes]
source_rate_hz = 60.0
repeater_rate_hz = 30.0
[nodes.hardware]
memory = {memory}
swap_success_probability = {swap_success_probability}
gate_fidelity = {gate_fidelity}
readout_fidelity = {gate_fidelity}
bell_measurement = "{bell_measurement}"
[links.hardware]
fresh_fidelity = {fresh_fidelity}
[demand]
rate_hz = {rate_hz}
[[demand.classes]]
application = "{application}"
fraction = 1.0
target_fidelity = {target_fidelity}
patience_s = {patience_s}
pairs = {pairs}
[forecasting]
history_s = 20
[window]
warm_up_s = 1
measured_s = {measured_s}
[record]
level = "{level}"
[outages]
{outages}
"""
OUTAGES = """
links = { mean_up_s = 1.0, mean_down_s = 0.2 }
nodes = { mean_up_s = 2.0, mean_down_s = 0.2 }
controller = { mean_up_s = 2.0, mean_down_s = 0.2 }
"""
DEFAULTS = {
    "memory": RELAXING,
    "swap_success_probability": 1.0,
    "bell_measurement": "complete",
    "gate_fidelity": 0.98,
    "fresh_fidelity": 0.97,
    "rate_hz": 8.0,
    "application": "teleportation",
    "target_fidelity": 0.6,
    "patience_s": 1.0,
    "pairs": 1,
    "measured_s": 3.0,
    "level": "events",
    "outages": "",
}
DISTILLED = {"target_fidelity": 0.8, "rate_hz": 5.0, "fresh_fidelity": 0.95, "gate_fidelity": 0.995}
STOCKED = {
    "rate_hz": 4.0,
    "measured_s": 6.0,
    "memory": '{ kind = "relaxing", relaxation_s = 40.0, dephasing_s = 20.0 }',
}
LOCAL = Arm(name="local-minhop")
STOCK = Arm(name="local-stock")


def make_scenario(**changes: object) -> Scenario:
    assert set(changes) <= set(DEFAULTS)
    return parse_scenario(LINE.format(**{**DEFAULTS, **changes}))


class StoppedError(Exception):
    """Ends a run in a test."""


def write(
    path: Path, arm: Arm = LOCAL, *, seed: int = 11, stop_s: float = np.inf, **changes: object
) -> Record:
    """The record of a small run; with `stop_s` it stops there, as after a crash."""

    def stop(now_s: float) -> None:
        if now_s >= stop_s:
            raise StoppedError

    scenario = make_scenario(**changes)
    try:
        with RecordWriter(path, scenario=scenario, arm=arm, seed=seed) as writer:
            simulate(scenario, arm, seed=seed, recorder=writer, on_progress=stop)
            writer.close_complete({}, {})
    except StoppedError:
        pass
    return open_record(path)


def tamper(record: Record, change: Callable[[Any], None]) -> Record:
    with resealed(record.path) as file:
        change(file)
    return open_record(record.path)


def rows(record: Record, end: str, *, link: bool | None = None) -> list[int]:
    pairs = record.tables["pairs"]
    found = pairs["outcome"] == PairOutcome(end).code
    if link is not None:
        found &= (pairs["link"] >= 0) == link
    return np.flatnonzero(found).tolist()


def sentences(found: Audit) -> str:
    return " | ".join(one.what for one in found.findings)

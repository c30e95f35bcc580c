"""Records of made-up runs: rows drawn at random in every table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from physics.hardware import DepolarisingMemory, NodeHardware
from qdpem.events.full_tables import REWARDS
from qdpem.events.recorder import MemoryRecorder, Recorder
from qdpem.events.tables import TABLES, TEXT
from qdpem.metrics.metrics import measure
from qdpem.records.writer import RecordWriter
from qdpem.scenario.schema import Arm, Demand, Nodes, Recording, RequestClass, Scenario, Topology, Window
from qdpem.scenario.words import RecordLevel

ARM = Arm(
    name="dpem-no-forecast", policy="dpem", control="local", pregeneration="end-to-end", forecaster="none",
    parameters={"slots": 3, "floor": 0.25},
)  # fmt: skip


def make_scenario(level: str = "events") -> Scenario:
    return Scenario(
        name="two nodes",
        topology=Topology(kind="line", parameters={"nodes": 2}),
        nodes=Nodes(
            source_rate_hz=5.0,
            repeater_rate_hz=2.0,
            hardware=NodeHardware(memory=DepolarisingMemory(depolarising_s=math.inf)),
        ),
        demand=Demand(
            rate_hz=3.0,
            classes=(RequestClass(application="qkd", fraction=1.0, target_fidelity=0.9, patience_s=1.0),),
        ),
        window=Window(warm_up_s=1.0, measured_s=9.0),
        record=Recording(level=level),
    )


def fill(recorder: Recorder, *, seconds: int = 10, rows_each: int = 50, seed: int = 3) -> None:
    """A made-up run: `rows_each` rows in every table each second, and two notes for the decisions."""
    shared, own = np.random.default_rng(seed), np.random.default_rng(seed + 1000)
    for second in range(1, seconds + 1):
        # A record computes its rewards itself.
        for table in (each for each in TABLES if recorder.wants(each) and each is not REWARDS):
            append = recorder.appender(table)
            # Of their own, so that the other tables are the same at every level.
            draw = own if table.level == "full" else shared
            rows = rows_each if table.level == "events" or second == 1 else 1
            for row in zip(
                *(draw_values(draw, column, second, rows) for column in table.columns), strict=True
            ):
                append(row)
        recorder.policy_outputs(
            {
                "value": shared.random(7),
                "option": shared.integers(0, 9, (7, 3)),
                "features": shared.random((7, 4, 5)),
            }
        )
        recorder.tick(float(second))


def draw_values(draw: np.random.Generator, column: Any, second: int, rows: int) -> list[Any]:
    if column.words:
        return draw.integers(0, len(column.words), rows).tolist()
    if column.dtype == TEXT:
        return [f"Köln {number}" for number in draw.integers(0, 100, rows)]
    if column.dtype == "float64":
        values = (column.name != "fidelity") * (second - 1) + draw.random(rows)
        return np.where((draw.random(rows) < 0.1) & (column.unit == ""), math.nan, values).tolist()
    return draw.integers(-1, 100, rows).tolist()


def write_record(path: Path, *, level: str = "events", seconds: int = 10, seed: int = 3) -> MemoryRecorder:
    memory = MemoryRecorder(RecordLevel.FULL if level == "full" else RecordLevel.EVENTS)
    fill(memory, seconds=seconds, seed=seed)
    with RecordWriter(path, scenario=make_scenario(level), arm=ARM, seed=17) as writer:
        fill(writer, seconds=seconds, seed=seed)
        writer.embed("policy.npz", bytes(range(200)))
        writer.close_complete(measure(writer.tables(), start_s=1.0, end_s=10.0), {"wall_s": 1.5})
    return memory

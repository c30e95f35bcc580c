"""One task of a study: simulated into its record, and measured. It needs nothing that reports need.

Worker processes import this module, and `qdpem run` does.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from qdpem.demand.offered_load import OfferedLoad, find_offered_load
from qdpem.errors import QdpemError
from qdpem.network.build import build_network, build_physics
from qdpem.network.graph import Network
from qdpem.records.reader import Record
from qdpem.records.recording import record_simulation
from qdpem.records.writer import RecordWriter
from qdpem.registry import plugin_fault
from qdpem.study.analysis.outcome import Outcome
from qdpem.study.plan import Task
from qdpem.study.progress import ProgressReporter


def record_run(
    task: Task,
    *,
    network: Network | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Outcome:
    """Simulate one task into its record and measure it. If it fails, the record stays, marked incomplete.

    `network` may be one already built for the task's scenario and seed. Raises the errors of the simulation
    and of the record.
    """
    began_s = time.perf_counter()
    with RecordWriter(task.path, scenario=task.scenario, arm=task.arm.arm, seed=task.seed) as writer:
        recorded = record_simulation(
            writer,
            task.scenario,
            task.arm,
            seed=task.seed,
            files=task.arm.read_learned_files(),
            network=network,
            load=task.load,
            on_progress=on_progress,
        )
    return Outcome(
        arm=task.arm.name,
        seed=task.seed,
        path=task.path,
        metrics=recorded.metrics,
        asked_hz=recorded.run.load.rate_hz,
        decision_ms=_decision_ms(recorded.wall),
        wall_s=time.perf_counter() - began_s,
    )


def run_task(task: Task, report: ProgressReporter) -> Outcome:
    """`record_run` for a worker: every error comes back as a sentence in the outcome."""
    failed = partial(Outcome, arm=task.arm.name, seed=task.seed, path=task.path)
    errors = task.path.with_suffix(".error.txt")
    try:
        outcome = record_run(task, on_progress=report)
        # The traceback of an earlier attempt no longer applies.
        errors.unlink(missing_ok=True)
    except (QdpemError, OSError) as error:
        return failed(fault=str(error))
    except MemoryError:
        return failed(fault="memory ran out; fewer --workers need less")
    except Exception as error:
        try:
            errors.write_text(traceback.format_exc(), encoding="utf-8")
        except OSError:  # the disk may be full
            return failed(fault=f"{type(error).__name__}: {error}")
        culprit = plugin_fault(error) or f"{type(error).__name__}: {error} (a bug in qdpem)"
        return failed(fault=f"{culprit}; the traceback is in SEED.error.txt beside the record")
    return outcome


def recorded_outcome(record: Record) -> Outcome:
    """The outcome that a finished record holds."""
    return Outcome(
        arm=record.arm.name,
        seed=record.seed,
        path=record.path,
        metrics=record.metrics,
        asked_hz=float(record.tables["demand"]["rate_hz"][0]),
        decision_ms=_decision_ms(record.provenance),
        reused=True,
        wall_s=float(record.provenance.get("wall_s", float("nan"))),
    )


def seed_load(task: Task) -> tuple[int, OfferedLoad | None]:
    """The seed of a task and its load, for a worker; None if it cannot be found, which the run reports."""
    try:
        physics = build_physics(task.scenario)
        network = build_network(task.scenario, physics, seed=task.seed)
        return task.seed, find_offered_load(task.scenario, network, physics, seed=task.seed)
    except QdpemError:
        return task.seed, None


def _decision_ms(wall: Mapping[str, Any]) -> float:
    """Wall time of a decision for one site, from the wall times that a record keeps."""
    asked = float(wall.get("sites_asked", 0.0))
    return 1e3 * float(wall.get("decide_s", math.nan)) / asked if asked else math.nan

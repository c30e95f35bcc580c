"""The bounds of a study's seeds: found by workers, and kept beside the records."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from qdpem.bounds.seed_bounds import BoundKind, Bounds, find_bounds
from qdpem.errors import QdpemError
from qdpem.metrics.deliveries import deliveries
from qdpem.scenario.load import scenario_hash
from qdpem.scenario.schema import Scenario
from qdpem.simulation.fingerprint import code_digest, input_digest
from qdpem.strict_json import json_text, json_value
from qdpem.study.analysis.metric_formats import BOUND_FRACTIONS, BOUND_HEADINGS
from qdpem.study.analysis.outcome import Outcome
from qdpem.study.progress import ProgressReporter, StudyProgress
from qdpem.study.workers import run_watched

LIMIT_S = 300.0
"""Wall seconds after which a time bound is no longer improved."""

_MAX_WALL_S = 2.0 * LIMIT_S
"""The wall seconds that both time bounds of a seed may take. A flow bound takes few of them."""


@dataclass(frozen=True, kw_only=True)
class BoundTask:
    """The bounds of one seed and the file that keeps them; `scenario` is without its [study] table."""

    scenario: Scenario
    seed: int
    kind: BoundKind
    path: Path


@dataclass(frozen=True, kw_only=True)
class BoundedOutcomes:
    """Outcomes with their fractions of the bounds, the bounds by seed, and a sentence for each problem."""

    outcomes: tuple[Outcome, ...]
    bounds: Mapping[int, Bounds] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def with_bound_fractions(
    outcomes: Sequence[Outcome],
    *,
    seeds: Sequence[int],
    scenario: Scenario,
    kind: str,
    directory: Path,
    fresh: bool,
    engine: str,
    workers: int | None,
    progress: Callable[[StudyProgress], None] | None = None,
) -> BoundedOutcomes:
    """The outcomes; those on `seeds` also state their deliveries as fractions of their seed's bounds.

    Deliveries and bounds are of the whole run, warm-up included.

    Args:
        outcomes: finished and failed tasks of the study.
        seeds: the seeds whose bounds are found, if they have an outcome that did not fail.
        scenario: the scenario without its [study] table.
        kind: "none", "flow" or "time".
        directory: bounds are kept in `directory`/bounds/SEED.json, and reused for the same scenario and code.
        fresh: find all bounds again.
        engine: "serial" or "loky".
        workers: tasks at a time; one per core when None.
        progress: receives the progress of the bounds.
    """
    if kind == "none":
        return BoundedOutcomes(outcomes=tuple(outcomes))
    finished = dict.fromkeys(
        outcome.seed for outcome in outcomes if outcome.seed in seeds and outcome.metrics is not None
    )
    tasks = [
        BoundTask(
            scenario=scenario,
            seed=seed,
            kind="time" if kind == "time" else "flow",
            path=directory / "bounds" / f"{seed}.json",
        )
        for seed in finished
    ]
    kept = {} if fresh else _read_all(tasks)
    missing = [task for task in tasks if task.seed not in kept]
    new = _find_all(missing, engine=engine, workers=workers, progress=progress)
    bounds = {seed: value for seed, value in new.items() if isinstance(value, Bounds)} | kept
    bounded = tuple(_with_fractions(outcome, bounds.get(outcome.seed)) for outcome in outcomes)
    notes = [f"no bound for seed {seed}: {value}" for seed, value in new.items() if isinstance(value, str)]
    return BoundedOutcomes(outcomes=bounded, bounds=bounds, notes=(*notes, *_broken_bounds(bounded)))


def _read_all(tasks: Iterable[BoundTask]) -> dict[int, Bounds]:
    """Seed -> its bounds, for every task whose file can be reused."""
    return {task.seed: bounds for task in tasks if (bounds := read_bounds(task)) is not None}


def _find_all(
    tasks: Sequence[BoundTask],
    *,
    engine: str,
    workers: int | None,
    progress: Callable[[StudyProgress], None] | None,
) -> dict[int, Bounds | str]:
    """Seed -> its bounds, or a sentence that states why there are none."""
    results = run_watched(
        _find,
        tasks,
        labels=[f"bounds {task.seed}" for task in tasks],
        length_s=_MAX_WALL_S,
        engine=engine,
        workers=workers,
        progress=progress,
        work="bounds",
        on_death=lambda _, sentence: sentence,
    )
    return {tasks[index].seed: bounds for index, bounds in results}


def _find(task: BoundTask, report: ProgressReporter) -> Bounds | str:
    """The bounds of a task's seed, for a worker; a sentence if they cannot be found.

    Reports wall seconds, always fewer than both time bounds may take: a full `_MAX_WALL_S` means finished.
    """
    began_s = time.monotonic()

    def report_wall_time(*_: object) -> None:
        # 0 would mean a task that has not started.
        report(min(max(time.monotonic() - began_s, 1e-3), 0.999 * _MAX_WALL_S))

    report_wall_time()
    try:
        bounds = find_bounds(
            task.scenario, seed=task.seed, kind=task.kind, limit_s=LIMIT_S, on_progress=report_wall_time
        )
        write_bounds(task, bounds)
    except (QdpemError, OSError) as error:
        return str(error)
    return bounds


def read_bounds(task: BoundTask) -> Bounds | None:
    """The bounds in the task's file; None if there are none of this scenario, code and kind."""
    stored = _stored(task.path)
    if stored is None:
        return None
    origin, bounds, kind = stored
    return None if origin != _origin(task) or (task.kind == "time" and kind != "time") else bounds


def _stored(path: Path) -> tuple[Mapping[str, Any], Bounds, str] | None:
    """What the bounds in a file are of, the bounds and their kind; None for a missing or damaged file."""
    try:
        content = json_value(path.read_text(encoding="utf-8"))
        origin, kind = dict(content["of"]), str(content["kind"])
        values: dict[str, Any] = content["bounds"]
        if set(values) != {item.name for item in fields(Bounds)}:
            return None
        # JSON knows lists only.
        frozen: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return origin, Bounds(**frozen), kind
    # A damaged file counts as missing: its bounds are found again.
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def with_stored_bounds(
    outcomes: Sequence[Outcome], *, scenario: Scenario, directory: Path
) -> BoundedOutcomes:
    """The outcomes with their fractions of the bounds that a study has left in `directory`/bounds.

    Whatever code found them; those of another scenario are left out. `scenario` is without [study].
    """
    bounds = {}
    for seed in dict.fromkeys(outcome.seed for outcome in outcomes):
        stored = _stored(directory / "bounds" / f"{seed}.json")
        if stored is not None and stored[0].get("scenario_hash") == scenario_hash(scenario):
            bounds[seed] = stored[1]
    bounded = tuple(_with_fractions(outcome, bounds.get(outcome.seed)) for outcome in outcomes)
    return BoundedOutcomes(outcomes=bounded, bounds=bounds)


def write_bounds(task: BoundTask, bounds: Bounds) -> None:
    """Write the bounds to the task's file, whole or not at all."""
    task.path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = task.path.with_suffix(".part")
    text = json_text({"of": _origin(task), "kind": task.kind, "bounds": asdict(bounds)}, indent=2)
    unfinished.write_text(text, encoding="utf-8")
    # A rename is atomic: an interruption leaves no half-written file under this name.
    unfinished.replace(task.path)


def _origin(task: BoundTask) -> dict[str, object]:
    return {
        "scenario_hash": scenario_hash(task.scenario),
        "seed": task.seed,
        "code": code_digest(task.scenario),
        "inputs": input_digest(task.scenario),
    }


def _with_fractions(outcome: Outcome, bounds: Bounds | None) -> Outcome:
    from qdpem.records.reader import open_record

    if outcome.metrics is None or bounds is None:
        return outcome
    delivered = deliveries(open_record(outcome.path).tables["requests"])
    fractions: Mapping[str, float] = {
        metric_format.name: delivered / maximum
        if (maximum := float(getattr(bounds, name))) > 0.0
        else math.nan
        for metric_format, name in zip(BOUND_FRACTIONS, BOUND_HEADINGS, strict=True)
    }
    return replace(outcome, metrics={**outcome.metrics, **fractions})


def _broken_bounds(outcomes: Iterable[Outcome]) -> list[str]:
    """A sentence for every outcome that delivered more than a bound of its seed: such a bound is wrong."""
    return [
        f"{outcome.arm}, seed {outcome.seed}, delivered more than its"
        f" {metric_format.heading.removeprefix('of ')} allows: this is a bug in qdpem"
        for outcome in outcomes
        for metric_format in BOUND_FRACTIONS[:2]
        if outcome.metrics is not None and outcome.metrics.get(metric_format.name, 0.0) > 1.0
    ]

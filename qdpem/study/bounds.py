"""What no arm could exceed, once per seed of a study: worked out by workers, kept beside the records."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from qdpem.bounds.seed_bounds import BoundKind, Bounds, find_bounds
from qdpem.errors import QdpemError
from qdpem.metrics.deliveries import deliveries
from qdpem.parallel import run_tasks
from qdpem.scenario.load import scenario_hash
from qdpem.scenario.schema import Scenario
from qdpem.simulation.fingerprint import code_digest
from qdpem.study.analysis.metric_formats import BOUND_HEADINGS, BOUND_SHARES
from qdpem.study.analysis.outcome import Outcome
from qdpem.study.progress import ProgressReporter, StudyProgress, watched

LIMIT_S = 300.0
"""Wall seconds after which a bound with time stops improving."""

_LONGEST_S = 2.0 * LIMIT_S
"""What both bounds with time may take; a flow bound is quick, and comes to its end at once."""


@dataclass(frozen=True, kw_only=True)
class BoundTask:
    """One seed's bounds and the file that keeps them; `scenario` is without its [study] table."""

    scenario: Scenario
    seed: int
    kind: BoundKind
    path: Path


@dataclass(frozen=True, kw_only=True)
class BoundedOutcomes:
    """Outcomes with their shares, the bounds of each seed, and sentences on what went wrong."""

    outcomes: tuple[Outcome, ...]
    bounds: Mapping[int, Bounds] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A task and where its worker tells how far it is."""

    task: BoundTask
    tick: ProgressReporter


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
    """The outcomes, those of `seeds` with their deliveries as shares of their seed's bounds.

    Deliveries are those of the whole run, warm-up included, as the bounds are. Bounds worked out before for
    the same scenario by the same code are read from `directory`/bounds/SEED.json unless `fresh`.
    """
    if kind == "none":
        return BoundedOutcomes(outcomes=tuple(outcomes))
    asked = dict.fromkeys(one.seed for one in outcomes if one.seed in seeds and one.metrics is not None)
    tasks = [
        BoundTask(
            scenario=scenario,
            seed=seed,
            kind="time" if kind == "time" else "flow",
            path=directory / "bounds" / f"{seed}.json",
        )
        for seed in asked
    ]
    kept = {} if fresh else {task.seed: found for task in tasks if (found := read_bounds(task)) is not None}
    left = [task for task in tasks if task.seed not in kept]
    worked_out = _work_out(left, engine=engine, workers=workers, progress=progress)
    notes = [f"no bound for seed {seed}: {one}" for seed, one in worked_out.items() if isinstance(one, str)]
    known = {seed: one for seed, one in worked_out.items() if isinstance(one, Bounds)} | kept
    shared = [_shared(one, known.get(one.seed)) for one in outcomes]
    notes += [
        f"{one.arm}, seed {one.seed}, delivered more than its {measure.heading.removeprefix('of ')} allows:"
        " a fault in qdpem"
        for one in shared
        for measure in BOUND_SHARES[:2]
        if one.metrics is not None and one.metrics.get(measure.metric, 0.0) > 1.0
    ]
    return BoundedOutcomes(outcomes=tuple(shared), bounds=known, notes=tuple(notes))


def _work_out(
    tasks: Sequence[BoundTask],
    *,
    engine: str,
    workers: int | None,
    progress: Callable[[StudyProgress], None] | None,
) -> dict[int, Bounds | str]:
    """Seed -> its bounds or why there are none; `progress` hears how much of its time each has taken."""
    if not tasks:
        return {}
    labels = [f"bounds {task.seed}" for task in tasks]
    with watched(labels, length_s=_LONGEST_S, progress=progress, work="bounds") as tickers:
        jobs = [_Job(task=task, tick=tick) for task, tick in zip(tasks, tickers, strict=True)]
        return dict(run_tasks(_find, jobs, engine=engine, workers=workers))


def read_bounds(task: BoundTask) -> Bounds | None:
    """The bounds that a file keeps; None if there are none of this scenario, code and kind."""
    try:
        kept = json.loads(task.path.read_text(encoding="utf-8"))
        if kept["of"] != _origin(task) or (task.kind == "time" and kept["kind"] != "time"):
            return None
        values: dict[str, Any] = {
            name: math.nan if value is None else value for name, value in kept["bounds"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    known = {item.name for item in fields(Bounds)}
    return Bounds(**values) if set(values) == known else None


def write_bounds(task: BoundTask, found: Bounds) -> None:
    """Keep the bounds, whole or not at all."""
    values = {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(found).items()
    }
    task.path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = task.path.with_suffix(".part")
    text = json.dumps({"of": _origin(task), "kind": task.kind, "bounds": values}, indent=2)
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(task.path)


def _origin(task: BoundTask) -> dict[str, object]:
    return {
        "scenario_hash": scenario_hash(task.scenario),
        "seed": task.seed,
        "code": code_digest(task.scenario),
    }


def _find(job: _Job) -> tuple[int, Bounds | str]:
    """The bounds of a task's seed, for a worker; a sentence if they cannot be found.

    It tells the wall seconds it has taken, of at most the limit of both bounds with time.
    """
    task, began_s = job.task, time.monotonic()

    def tell(*_: object) -> None:
        job.tick(min(max(time.monotonic() - began_s, 1e-3), 0.999 * _LONGEST_S))

    tell()
    try:
        found = find_bounds(task.scenario, seed=task.seed, kind=task.kind, limit_s=LIMIT_S, on_progress=tell)
        write_bounds(task, found)
    except (QdpemError, OSError) as error:
        return task.seed, str(error)
    finally:
        job.tick(_LONGEST_S)
    return task.seed, found


def _shared(outcome: Outcome, found: Bounds | None) -> Outcome:
    from qdpem.records.reader import open_record

    if outcome.metrics is None or found is None:
        return outcome
    delivered = deliveries(open_record(outcome.path).tables["requests"])
    fractions: Mapping[str, float] = {
        measure.metric: delivered / maximum if (maximum := float(getattr(found, name))) > 0.0 else math.nan
        for measure, name in zip(BOUND_SHARES, BOUND_HEADINGS, strict=True)
    }
    return replace(outcome, metrics={**outcome.metrics, **fractions})

"""Running a study: every task in its own file, on an engine, with nothing lost when one of them fails."""

from __future__ import annotations

import importlib.util
import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from qdpem.demand.offered_load import OfferedLoad, find_offered_load
from qdpem.errors import QdpemError, StudyError
from qdpem.network.build import build_network, build_physics
from qdpem.network.graph import Network
from qdpem.parallel import run_tasks
from qdpem.scenario.schema import Scenario
from qdpem.study.analysis.metric_formats import DECISION, headline_formats_of
from qdpem.study.analysis.outcome import Outcome
from qdpem.study.analysis.reference_arm import find_reference_arm
from qdpem.study.analysis.results import StudyResult
from qdpem.study.bounds import BoundedOutcomes, with_bound_fractions
from qdpem.study.plan import Planned, StudyPlan, Task, learned_files, plan_study, without_study
from qdpem.study.progress import ProgressReporter, StudyProgress, watched
from qdpem.study.report.csv import results_csv, write_whole
from qdpem.study.report.html import write_report
from qdpem.study.report.markdown import results_markdown
from qdpem.study.report.report_figures import build_appendix

_REPORT_PACKAGES = ("jinja2", "matplotlib", "pandas", "statsmodels")


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A task and where its worker tells how far it is."""

    task: Task
    tick: ProgressReporter


def run_study(
    scenario: Scenario,
    *,
    directory: str | Path,
    fresh: bool = False,
    engine: str | None = None,
    workers: int | None = None,
    progress: Callable[[StudyProgress], None] | None = None,
    command: str = "",
) -> StudyResult:
    """Run the arms and seeds of `scenario`'s [study] table; write report.html, results.csv, results.md.

    Where the reference is the strongest arm without a forecast, those that may be it run on the tuning seeds
    first. Finished records of the same scenario and arm are kept unless `fresh`. A task that fails becomes a
    sentence in `StudyResult.faults`; the others go on. `engine` and `workers` override the scenario's.
    `command` is what the report prints under "how to reproduce". Raises StudyError when there is nothing
    to run, every task failed, or the packages of the report are not installed.
    """
    _require_report_packages()
    began_s = time.monotonic()
    directory = Path(directory)
    plan = plan_study(scenario, directory=directory, fresh=fresh)
    kept = [_reuse(planned) for planned in plan.planned if planned.keep]
    table = scenario.study
    engine = engine or (table.engine if table else "loky")
    workers = workers or (table.workers if table else None)
    jobs = _with_loads(
        [planned for planned in plan.planned if not planned.keep], engine=engine, workers=workers
    )
    made = _run_jobs(jobs, length_s=scenario.window.end_s, engine=engine, workers=workers, progress=progress)
    bounded = with_bound_fractions(
        [_with_decision(one) for one in (*kept, *made)],
        seeds=plan.seeds,
        scenario=without_study(scenario),
        kind=table.bounds if table else "none",
        directory=directory,
        fresh=fresh,
        engine=engine,
        workers=workers,
        progress=progress,
    )
    result = _gather(scenario, directory, plan, bounded, wall_s=time.monotonic() - began_s)
    if all(outcome.fault for outcome in result.outcomes):
        raise StudyError("every task of the study failed:\n  " + "\n  ".join(result.faults))
    report, sheet = directory / "report.html", directory / "results.csv"
    write_whole(sheet, results_csv(result))
    write_whole(directory / "results.md", results_markdown(result))
    write_report(result, path=report, appendix=build_appendix(result, command=command))
    return replace(result, report=report, table=sheet)


def record_run(
    task: Task,
    *,
    network: Network | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Outcome:
    """Simulate one task into its record and measure it. The record stays, marked incomplete, if it fails.

    `network` may be one already built for the task's scenario and seed. Raises whatever the simulation or
    the record raises.
    """
    from qdpem.metrics.metrics import measure
    from qdpem.records.writer import RecordWriter
    from qdpem.simulation.run import simulate

    began_s = time.perf_counter()
    window = task.scenario.window
    with RecordWriter(task.path, scenario=task.scenario, arm=task.arm, seed=task.seed) as writer:
        for name, data in learned_files(task.arm).items():
            writer.embed(name, data)
        run = simulate(
            task.scenario,
            task.arm,
            seed=task.seed,
            recorder=writer,
            network=network,
            load=task.load,
            on_progress=on_progress,
        )
        metrics = measure(writer.tables(), start_s=window.warm_up_s, end_s=window.end_s)
        wall_s = time.perf_counter() - began_s
        wall = {"wall_s": wall_s, "decide_s": run.decide_s, "sites_asked": run.asked, "events": run.events}
        writer.close_complete(metrics, wall)
    return Outcome(
        arm=task.arm.name,
        seed=task.seed,
        path=task.path,
        metrics=metrics,
        asked_hz=run.load.rate_hz,
        decision_ms=_decision_ms(wall),
        wall_s=wall_s,
    )


def run_task(job: _Job) -> Outcome:
    """`record_run` for a worker: whatever goes wrong comes back as a sentence."""
    task = job.task
    failed = partial(Outcome, arm=task.arm.name, seed=task.seed, path=task.path)
    errors = task.path.with_suffix(".error.txt")
    try:
        outcome = record_run(task, on_progress=job.tick)
        errors.unlink(missing_ok=True)
    except (QdpemError, OSError) as error:
        return failed(fault=str(error))
    except Exception as error:
        try:
            errors.write_text(traceback.format_exc(), encoding="utf-8")
        except OSError:
            return failed(fault=f"{type(error).__name__}: {error}")
        return failed(
            fault=f"{type(error).__name__}: {error} (a fault in qdpem;"
            " its traceback stands beside the record, in SEED.error.txt)"
        )
    finally:
        job.tick(task.scenario.window.end_s)
    return outcome


def seed_load(task: Task) -> tuple[int, OfferedLoad | None]:
    """The load of a task's seed, for a worker; None if it cannot be found, which the task will tell."""
    try:
        physics = build_physics(task.scenario)
        network = build_network(task.scenario, physics, seed=task.seed)
        return task.seed, find_offered_load(task.scenario, network, physics, seed=task.seed)
    except QdpemError:
        return task.seed, None


def _with_loads(planned: Sequence[Planned], *, engine: str, workers: int | None) -> list[Planned]:
    """The same tasks with their loads, where finding them takes time: once per seed, not once per arm."""
    first = {one.task.seed: one.task for one in planned if one.task.scenario.demand.load_factor is not None}
    if not first:
        return list(planned)
    loads = dict(run_tasks(seed_load, list(first.values()), engine=engine, workers=workers))
    return [replace(one, task=replace(one.task, load=loads[one.task.seed])) for one in planned]


def _run_jobs(
    planned: Sequence[Planned],
    *,
    length_s: float,
    engine: str,
    workers: int | None,
    progress: Callable[[StudyProgress], None] | None,
) -> list[Outcome]:
    if not planned:
        return []
    outcomes: list[Outcome] = []
    notes = {(one.task.arm.name, one.task.seed): one.note for one in planned}
    labels = [f"{one.task.arm.name} {one.task.seed}" for one in planned]
    with watched(labels, length_s=length_s, progress=progress) as tickers:
        jobs = [_Job(task=one.task, tick=tick) for one, tick in zip(planned, tickers, strict=True)]
        try:
            for outcome in run_tasks(run_task, jobs, engine=engine, workers=workers):
                outcomes.append(replace(outcome, note=notes[outcome.arm, outcome.seed]))
        except BrokenExecutor as error:
            raise StudyError(
                f"a worker process died, perhaps for want of memory ({error}); finished records are kept,"
                " so the same command goes on from here; --workers 1 needs the least memory"
            ) from error
    return outcomes


def _reuse(planned: Planned) -> Outcome:
    from qdpem.records.reader import open_record

    task = planned.task
    record = open_record(task.path)
    return Outcome(
        arm=task.arm.name,
        seed=task.seed,
        path=task.path,
        metrics=record.metrics,
        asked_hz=float(record.tables["demand"]["rate_hz"][0]),
        decision_ms=_decision_ms(record.provenance),
        reused=True,
        wall_s=float(record.provenance.get("wall_s", float("nan"))),
    )


def _decision_ms(wall: Mapping[str, Any]) -> float:
    """Wall time of a decision for each site asked, from what a record says of it."""
    asked = float(wall.get("sites_asked", 0.0))
    return 1e3 * float(wall.get("decide_s", math.nan)) / asked if asked else math.nan


def _with_decision(outcome: Outcome) -> Outcome:
    if outcome.metrics is None:
        return outcome
    return replace(outcome, metrics={**outcome.metrics, DECISION.metric: outcome.decision_ms})


def _gather(
    scenario: Scenario, directory: Path, plan: StudyPlan, bounded: BoundedOutcomes, *, wall_s: float
) -> StudyResult:
    order = {(one.task.arm.name, one.task.seed): place for place, one in enumerate(plan.planned)}
    outcomes = sorted(bounded.outcomes, key=lambda outcome: order[outcome.arm, outcome.seed])
    tuning = [one for one in outcomes if one.arm in plan.contenders and one.seed in plan.tuning_seeds]
    strongest = None
    if plan.contenders:
        measure = headline_formats_of(scenario.demand)[0][0]
        strongest = find_reference_arm(plan.contenders, tuning, seeds=plan.tuning_seeds, measure=measure)
    return StudyResult(
        scenario=scenario,
        directory=directory,
        arms=plan.arms,
        seeds=plan.seeds,
        reference=strongest.name if strongest else plan.reference,
        outcomes=tuple(one for one in outcomes if one.seed in plan.seeds),
        wall_s=wall_s,
        strongest=strongest,
        tuning=tuple(tuning),
        bounds=bounded.bounds,
        bound_notes=bounded.notes,
    )


def _require_report_packages() -> None:
    missing = [name for name in _REPORT_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise StudyError(
            f"a study needs {', '.join(missing)} for its report;"
            " install them with: pip install 'qdpem[report]'"
        )

"""Running a study: every task into its own record, with nothing lost when one of them fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qdpem.errors import StudyError
from qdpem.extras import require_packages
from qdpem.file_lock import held
from qdpem.parallel import run_tasks
from qdpem.records.reader import open_record
from qdpem.scenario.schema import Scenario
from qdpem.simulation.fingerprint import input_digest
from qdpem.study.analysis.metric_formats import DECISION, primary_formats_of
from qdpem.study.analysis.outcome import Outcome
from qdpem.study.analysis.reference_arm import find_reference_arm
from qdpem.study.analysis.results import StudyResult
from qdpem.study.bounds import BoundedOutcomes, with_bound_fractions
from qdpem.study.manifest import begin_results, study_manifest
from qdpem.study.plan import StudyPlan, Task, plan_study, without_study
from qdpem.study.progress import StudyProgress
from qdpem.study.report.appendix import build_appendix
from qdpem.study.report.csv import results_csv, write_text_file
from qdpem.study.report.html import write_report
from qdpem.study.report.markdown import results_markdown
from qdpem.study.tasks import recorded_outcome, run_task, seed_load
from qdpem.study.workers import run_watched

_RESULTS = ("report.html", "results.csv", "results.md")
_REPORT_PACKAGES = ("jinja2", "matplotlib", "pandas", "statsmodels")


@dataclass(frozen=True, kw_only=True)
class _Workers:
    """The engine, the tasks at a time, and the receiver of the progress."""

    engine: str
    workers: int | None
    progress: Callable[[StudyProgress], None] | None


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
    """Run the arms and seeds of the scenario's [study] table; write report.html, results.csv and results.md.

    If the reference is the strongest arm without a forecast, the arms that may be it run on the tuning seeds
    first. A task that fails becomes a sentence in `StudyResult.faults`, and the others continue. Raises
    StudyError when there is nothing to run, when every task failed and when the map file changed meanwhile,
    MissingPackagesError when the report's packages are not installed, and HeldError when another process runs
    a study in the directory. Results of another study move to `directory`/earlier; a note in the result says
    so.

    Args:
        scenario: a scenario with a [study] table.
        directory: where records and reports are written.
        fresh: make all runs again; otherwise finished records of the same scenario, map, arm and code are
            reused.
        engine: "serial" or "loky"; the scenario's when None.
        workers: tasks at a time; the scenario's when None, and one per core if it states none.
        progress: receives the progress of the runs, then that of the bounds.
        command: the command line that the report prints under "How to reproduce".
    """
    # Before the runs, which may take hours.
    require_packages(_REPORT_PACKAGES, extra="report", user="a study's report")
    began_s = time.monotonic()
    directory = Path(directory)
    # Before anything in it is looked at: making a plan turns what killed runs have left into records.
    with held(directory):
        return _run_study(
            scenario,
            directory=directory,
            fresh=fresh,
            engine=engine,
            workers=workers,
            progress=progress,
            command=command,
            began_s=began_s,
        )


def _run_study(
    scenario: Scenario,
    *,
    directory: Path,
    fresh: bool,
    engine: str | None,
    workers: int | None,
    progress: Callable[[StudyProgress], None] | None,
    command: str,
    began_s: float,
) -> StudyResult:
    """`run_study` in a directory that is held, with `began_s` of the monotonic clock."""
    plan = plan_study(scenario, directory=directory, fresh=fresh)
    study = scenario.study
    assert study is not None  # plan_study has raised StudyError otherwise
    on_workers = _Workers(engine=engine or study.engine, workers=workers or study.workers, progress=progress)
    bounded = with_bound_fractions(
        _outcomes(plan, length_s=scenario.window.end_s, on_workers=on_workers),
        seeds=plan.seeds,
        scenario=without_study(scenario),
        kind=study.bounds,
        directory=directory,
        fresh=fresh,
        engine=on_workers.engine,
        workers=on_workers.workers,
        progress=progress,
    )
    if input_digest(scenario) != plan.inputs:
        raise StudyError(
            "the map file of the topology changed while the study ran, so that its runs cannot be compared;"
            " run it again: what was made with the present map is reused"
        )
    result = gather(scenario, directory, plan, bounded, wall_s=time.monotonic() - began_s)
    if all(outcome.fault for outcome in result.outcomes):
        raise StudyError("every task of the study failed:\n  " + "\n  ".join(result.faults))
    return _write_reports(result, command=command)


def _lost(task: Task, sentence: str) -> Outcome:
    """The outcome of a task whose worker died every time."""
    return Outcome(arm=task.arm.name, seed=task.seed, path=task.path, fault=sentence)


def _outcomes(plan: StudyPlan, *, length_s: float, on_workers: _Workers) -> list[Outcome]:
    """The outcome of every task: those of reused records first."""
    reused = [recorded_outcome(open_record(planned.task.path)) for planned in plan.planned if planned.reuse]
    pending = [planned for planned in plan.planned if not planned.reuse]
    tasks = _with_loads([planned.task for planned in pending], on_workers)
    notes = {index: planned.note for index, planned in enumerate(pending)}
    results = run_watched(
        run_task,
        tasks,
        labels=[f"{task.arm.name} {task.seed}" for task in tasks],
        length_s=length_s,
        engine=on_workers.engine,
        workers=on_workers.workers,
        progress=on_workers.progress,
        on_death=_lost,
        on_retry=lambda index, sentence: notes.update({index: f"{tasks[index].label}: {sentence}"}),
    )
    made = [replace(outcome, note=notes[index]) for index, outcome in results]
    return [with_decision_time(outcome) for outcome in (*reused, *made)]


def _with_loads(tasks: Sequence[Task], on_workers: _Workers) -> list[Task]:
    """The tasks with their loads, where finding one takes time: once per seed, not once per arm."""
    by_seed = {task.seed: task for task in tasks if task.scenario.demand.load_factor is not None}
    if not by_seed:
        return list(tasks)
    loads = dict(
        run_tasks(seed_load, list(by_seed.values()), engine=on_workers.engine, workers=on_workers.workers)
    )
    return [replace(task, load=loads[task.seed]) for task in tasks]


def with_decision_time(outcome: Outcome) -> Outcome:
    """The outcome with the wall time of a decision among its metrics."""
    if outcome.metrics is None:
        return outcome
    return replace(outcome, metrics={**outcome.metrics, DECISION.name: outcome.decision_ms})


def gather(
    scenario: Scenario, directory: Path, plan: StudyPlan, bounded: BoundedOutcomes, *, wall_s: float
) -> StudyResult:
    """The result of a plan whose tasks have these outcomes, in the order of the plan."""
    tasks = [planned.task for planned in plan.planned]
    order = {(task.arm.name, task.seed): position for position, task in enumerate(tasks)}
    # Workers finish in any order, on which reports must not depend.
    outcomes = sorted(bounded.outcomes, key=lambda outcome: order[outcome.arm, outcome.seed])
    tuning = [
        outcome
        for outcome in outcomes
        if outcome.arm in plan.contenders and outcome.seed in plan.tuning_seeds
    ]
    reference_arm = None
    if plan.contenders:
        metric_format = primary_formats_of(scenario.demand)[0]
        reference_arm = find_reference_arm(
            plan.contenders, tuning, seeds=plan.tuning_seeds, metric_format=metric_format
        )
    return StudyResult(
        scenario=scenario,
        directory=directory,
        arms=plan.arms,
        seeds=plan.seeds,
        reference=reference_arm.name if reference_arm else plan.reference,
        outcomes=tuple(outcome for outcome in outcomes if outcome.seed in plan.seeds),
        wall_s=wall_s,
        reference_arm=reference_arm,
        tuning=tuple(tuning),
        bounds=bounded.bounds,
        bound_notes=bounded.notes,
    )


def _write_reports(result: StudyResult, *, command: str) -> StudyResult:
    """Write the three reports; the result with their paths."""
    report, table = result.directory / "report.html", result.directory / "results.csv"
    manifest = study_manifest(result.scenario, result.arms, command=command)
    note = begin_results(result.directory, manifest, files=_RESULTS)
    result = replace(result, directory_notes=(note,) if note else ())
    write_text_file(table, results_csv(result))
    write_text_file(result.directory / "results.md", results_markdown(result))
    write_report(result, path=report, appendix=build_appendix(result, command=command))
    return replace(result, report=report, table=table)

"""`qdpem study`: all arms on all seeds, with tables and a report."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qdpem.cli.completion import complete_arm
from qdpem.cli.console import console, progress_bars
from qdpem.cli.options import Fresh, Overrides, Oversize, ScenarioWord, Workers, output_directory
from qdpem.cli.size import check_size, runs_at_once

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from qdpem.scenario.schema import Scenario
    from qdpem.study.analysis.results import StudyResult
    from qdpem.study.progress import StudyProgress


def study(
    scenario: ScenarioWord,
    fresh: Fresh = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Directory of records and reports; by default output/<file stem>[,<--set>...], without keys"
            " of [study] other than arms.",
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without",
            metavar="ARM",
            help="Leave an arm out, and a claim about it. Repeatable.",
            autocompletion=complete_arm,
        ),
    ] = None,
    workers: Workers = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="serial or loky; the scenario's by default.")
    ] = None,
    overrides: Overrides = None,
    oversize: Oversize = False,
) -> None:
    """Run all arms on all seeds of the scenario's study, compare them and write a report."""
    from qdpem.scenario.arm_selection import without_arms
    from qdpem.scenario.load import load_scenario
    from qdpem.study.report.terminal import print_study

    loaded = without_arms(load_scenario(scenario, overrides or ()), without or ())
    if (plan := loaded.study) is not None:
        tasks = len(plan.arms) * len(plan.seeds)
        runs = runs_at_once(workers or plan.workers, tasks, engine=engine or plan.engine)
        check_size(loaded, oversize=oversize, runs=runs)
    directory = out or output_directory(scenario, overrides)
    command = _command(scenario, out=out, without=without or [], overrides=overrides or [])
    if loaded.study is not None and loaded.study.sweep:
        _sweep(loaded, directory, fresh=fresh, engine=engine, workers=workers, command=command)
        return
    result = _study(loaded, directory, fresh=fresh, engine=engine, workers=workers, command=command)
    terminal = console()
    for note in result.notes:
        terminal.print(note, style="yellow", markup=False)
    print_study(result, console=terminal)
    reused = sum(outcome.reused for outcome in result.runs)
    detail = f", {reused} of them reused" if reused else ""
    terminal.print(f"{len(result.runs)} runs{detail}, {result.wall_s:.0f} s")
    terminal.print(f"report: {result.report}", markup=False, soft_wrap=True)
    terminal.print(f"table: {result.table}", markup=False, soft_wrap=True)
    if result.faults:
        raise typer.Exit(1)


def _sweep(
    scenario: Scenario,
    directory: Path,
    *,
    fresh: bool,
    engine: str | None,
    workers: int | None,
    command: str,
) -> None:
    """Run one study per cell, then print the tables of all cells."""
    from qdpem.study.sweep import run_sweep, sweep_tables

    with progress_bars() as bars:
        sweep = run_sweep(
            scenario,
            directory=directory,
            fresh=fresh,
            engine=engine,
            workers=workers,
            progress=lambda name: progress_callback(bars, name),
            command=command,
        )
    terminal = console()
    for table in sweep_tables(sweep):
        terminal.print(table)
    for fault in sweep.faults:
        terminal.print(f"failed: {fault}", style="bold red", markup=False, soft_wrap=True)
    if sweep.note:
        terminal.print(sweep.note, style="yellow", markup=False, soft_wrap=True)
    terminal.print(f"{len(sweep.cells)} studies, each with its report in its own directory")
    terminal.print(f"summary: {sweep.summary}", markup=False, soft_wrap=True)
    if sweep.faults:
        raise typer.Exit(1)


def _study(
    scenario: Scenario,
    directory: Path,
    *,
    fresh: bool,
    engine: str | None,
    workers: int | None,
    command: str,
) -> StudyResult:
    from qdpem.study.run import run_study

    with progress_bars() as bars:
        return run_study(
            scenario,
            directory=directory,
            fresh=fresh,
            engine=engine,
            workers=workers,
            progress=progress_callback(bars, scenario.name),
            command=command,
        )


def progress_callback(
    bars: Progress, name: str, *, after: str = "writing the report"
) -> Callable[[StudyProgress], None]:
    """A receiver of progress that draws one bar for all tasks and one for each running task.

    `name` labels the bar of all tasks, and `after` is its text once all tasks are done.
    """
    overall = bars.add_task(name, total=None, detail="preparing")
    running_bars: dict[str, TaskID] = {}

    def show(update: StudyProgress) -> None:
        done = update.finished == update.tasks
        detail = after if done else f"{update.finished} of {update.tasks} {update.work}"
        # The duration of a bound is unknown: only finished bounds let the bar estimate the time left.
        completed_s = update.done_s if update.work == "runs" else update.finished * update.length_s
        bars.update(overall, total=update.total_s, completed=completed_s, detail=detail)
        running = dict(update.running)
        for label in running_bars.keys() - running.keys():
            bars.remove_task(running_bars.pop(label))
        for label, time_s in running.items():
            if label not in running_bars:
                running_bars[label] = bars.add_task(f"  {label}", total=update.length_s, detail="")
            reached = f"{time_s:.0f} of {update.length_s:g} s" if update.work == "runs" else ""
            bars.update(running_bars[label], completed=time_s, detail=reached)

    return show


def _command(scenario: str, *, out: Path | None, without: list[str], overrides: list[str]) -> str:
    """The command line that repeats the study."""
    words = ["qdpem", "study", scenario]
    words += ["--out", str(out)] if out else []
    for name in without:
        words += ["--without", name]
    for override in overrides:
        words += ["--set", override]
    return shlex.join(words)

"""`qdpem study`: all arms on all seeds, a table and a report."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qdpem.cli.console import console, progress_bars
from qdpem.cli.options import OUTPUT, Fresh, Overrides, ScenarioFile, Workers

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from qdpem.scenario.schema import Scenario
    from qdpem.study.analysis.results import StudyResult
    from qdpem.study.progress import StudyProgress


def study(
    scenario: ScenarioFile,
    fresh: Fresh = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Where records and report go; output/<scenario> otherwise."
        ),
    ] = None,
    workers: Workers = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="serial or loky; the scenario's otherwise.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Run the arms and seeds of the scenario's study table, compare them and write a report."""
    from qdpem.scenario.load import load_scenario
    from qdpem.study.report.terminal import print_study

    question = load_scenario(scenario, overrides or ())
    directory = out or OUTPUT / scenario.stem
    command = _command(scenario, out=out, overrides=overrides or [])
    if question.study is not None and question.study.sweep:
        _grid(question, directory, fresh=fresh, engine=engine, workers=workers, command=command)
        return
    result = _study(question, directory, fresh=fresh, engine=engine, workers=workers, command=command)
    shown = console()
    for note in result.notes:
        shown.print(note, style="yellow", markup=False)
    print_study(result, console=shown)
    reused = sum(outcome.reused for outcome in result.runs)
    kept = f", {reused} of them kept from before" if reused else ""
    shown.print(f"{len(result.runs)} runs{kept}, {result.wall_s:.0f} s")
    shown.print(f"report: {result.report}", markup=False, soft_wrap=True)
    shown.print(f"table: {result.table}", markup=False, soft_wrap=True)
    if result.faults:
        raise typer.Exit(1)


def _grid(
    question: Scenario,
    directory: Path,
    *,
    fresh: bool,
    engine: str | None,
    workers: int | None,
    command: str,
) -> None:
    """One study per cell, then the tables of them all."""
    from qdpem.study.sweep import run_sweep, sweep_tables

    with progress_bars() as bars:
        found = run_sweep(
            question,
            directory=directory,
            fresh=fresh,
            engine=engine,
            workers=workers,
            watch=lambda name: progress_callback(bars, name),
            command=command,
        )
    shown = console()
    for table in sweep_tables(found):
        shown.print(table)
    for fault in found.faults:
        shown.print(f"failed: {fault}", style="bold red", markup=False, soft_wrap=True)
    shown.print(f"{len(found.cells)} studies, each with its report in a directory of its own")
    shown.print(f"summary: {found.summary}", markup=False, soft_wrap=True)
    if found.faults:
        raise typer.Exit(1)


def _study(
    question: Scenario,
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
            question,
            directory=directory,
            fresh=fresh,
            engine=engine,
            workers=workers,
            progress=progress_callback(bars, question.name),
            command=command,
        )


def progress_callback(
    bars: Progress, name: str, *, after: str = "writing the report"
) -> Callable[[StudyProgress], None]:
    """Draws the moments of many runs, then of bounds: one bar for all, one for each on its way."""
    overall = bars.add_task(name, total=None, detail="preparing")
    shown: dict[str, TaskID] = {}

    def tell(moment: StudyProgress) -> None:
        done = moment.finished == moment.tasks
        detail = after if done else f"{moment.finished} of {moment.tasks} {moment.work}"
        # How long a bound takes is not known: only those that are found say how long the others will.
        reached = moment.done_s if moment.work == "runs" else moment.finished * moment.length_s
        bars.update(overall, total=moment.total_s, completed=reached, detail=detail)
        running = dict(moment.running)
        for label in shown.keys() - running.keys():
            bars.remove_task(shown.pop(label))
        for label, time_s in running.items():
            if label not in shown:
                shown[label] = bars.add_task(f"  {label}", total=moment.length_s, detail="")
            far = f"{time_s:.0f} of {moment.length_s:g} s" if moment.work == "runs" else ""
            bars.update(shown[label], completed=time_s, detail=far)

    return tell


def _command(scenario: Path, *, out: Path | None, overrides: list[str]) -> str:
    """The command line that gives the same study again."""
    words = ["qdpem", "study", str(scenario)]
    words += ["--out", str(out)] if out else []
    for override in overrides:
        words += ["--set", override]
    return shlex.join(words)

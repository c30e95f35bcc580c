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
    from qdpem.study.progress import Moment
    from qdpem.study.results import StudyResult


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
    from qdpem.study.terminal import print_study

    question = load_scenario(scenario, overrides or ())
    directory = out or OUTPUT / scenario.stem
    command = _command(scenario, out=out, overrides=overrides or [])
    result = _study(question, directory, fresh=fresh, engine=engine, workers=workers, command=command)
    shown = console()
    for note in result.notes:
        shown.print(note, style="yellow", markup=False)
    print_study(result, console=shown)
    reused = sum(outcome.reused for outcome in result.outcomes)
    kept = f", {reused} of them kept from before" if reused else ""
    shown.print(f"{len(result.outcomes)} runs{kept}, {result.wall_s:.0f} s")
    shown.print(f"report: {result.report}", markup=False, soft_wrap=True)
    if result.faults:
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
    from qdpem.study.run import study as run_study

    with progress_bars() as bars:
        return run_study(
            question,
            directory=directory,
            fresh=fresh,
            engine=engine,
            workers=workers,
            progress=_teller(bars, question),
            command=command,
        )


def _teller(bars: Progress, question: Scenario) -> Callable[[Moment], None]:
    """Draws a study's moments: one bar for all of it, one for every run on its way."""
    length_s = question.window.end_s
    overall = bars.add_task(question.name, total=None, detail="preparing")
    shown: dict[str, TaskID] = {}

    def tell(moment: Moment) -> None:
        done = moment.finished == moment.tasks
        detail = "writing the report" if done else f"{moment.finished} of {moment.tasks} runs"
        bars.update(overall, total=moment.total_s, completed=moment.simulated_s, detail=detail)
        running = dict(moment.running)
        for label in shown.keys() - running.keys():
            bars.remove_task(shown.pop(label))
        for label, time_s in running.items():
            if label not in shown:
                shown[label] = bars.add_task(f"  {label}", total=length_s, detail="")
            bars.update(shown[label], completed=time_s, detail=f"{time_s:.0f} of {length_s:g} s")

    return tell


def _command(scenario: Path, *, out: Path | None, overrides: list[str]) -> str:
    """The command line that gives the same study again."""
    words = ["qdpem", "study", str(scenario)]
    words += ["--out", str(out)] if out else []
    for override in overrides:
        words += ["--set", override]
    return shlex.join(words)

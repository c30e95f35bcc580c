"""`qdpem tune`: find an arm's tunable parameters on the tuning seeds."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qdpem.cli.commands.study import progress_callback
from qdpem.cli.console import console, progress_bars
from qdpem.cli.options import ArmName, Overrides, Oversize, ScenarioWord, Workers, output_directory
from qdpem.cli.size import check_size, runs_at_once

if TYPE_CHECKING:
    from qdpem.scenario.schema import Scenario
    from qdpem.simulation.arms import ResolvedArm
    from qdpem.study.tuning.halving import Halving
    from qdpem.study.tuning.tune import Tuning


def tune(
    scenario: ScenarioWord,
    arm: ArmName,
    budget: Annotated[
        int,
        typer.Option(
            "--budget", metavar="N", help="Runs. One run is one candidate on one seed over the whole window."
        ),
    ] = 64,
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="LIST", help="Tuning seeds, like 0-19 or 0,2,5-9.")
    ] = "0-99",
    contention_weight: Annotated[
        float,
        typer.Option(
            "--contention-weight",
            metavar="W",
            min=0.0,
            help="What a contended claim per request costs in delivered requests; several weights find the"
            " frontier of an arm.",
        ),
    ] = 0.0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Directory of the results; by default tuned in output/<file stem>[,<--set>...].",
        ),
    ] = None,
    workers: Workers = None,
    overrides: Overrides = None,
    oversize: Oversize = False,
) -> None:
    """Find an arm's tunable parameters by successive halving. The same command continues a stopped search."""
    from qdpem.scenario.load import load_scenario
    from qdpem.simulation.arms import find_arm

    loaded = load_scenario(scenario, overrides or ())
    resolved = find_arm(loaded, arm)
    check_size(loaded, oversize=oversize, runs=runs_at_once(workers, budget))
    directory = out or output_directory(scenario, overrides) / "tuned"
    tuning = _tune(
        loaded,
        resolved,
        directory,
        budget=budget,
        seeds=parse_seeds(seeds),
        contention_weight=contention_weight,
        workers=workers,
    )
    command = ["qdpem", "tune", scenario, "--arm", arm, "--budget", str(budget), "--seeds", seeds]
    if contention_weight:
        command += ["--contention-weight", f"{contention_weight:g}"]
    for override in overrides or ():
        command += ["--set", override]
    _print(tuning, command=shlex.join(command), path=directory / f"{resolved.name}.toml")


def _print(tuning: Tuning, *, command: str, path: Path) -> None:
    """Print the result, and write the chosen arm to `path` under the same sentences."""
    from qdpem.study.report.csv import write_text_file
    from qdpem.study.tuning.report import finalists_table, tuning_sentences
    from qdpem.study.tuning.tune import snippet

    terminal = console()
    terminal.print(finalists_table(tuning))
    sentences = tuning_sentences(tuning)
    for sentence in sentences:
        terminal.print(f"- {sentence}", markup=False)
    for fault in tuning.faults:
        terminal.print(f"failed: {fault}", style="bold red", markup=False, soft_wrap=True)
    write_text_file(path, snippet(tuning, comments=[command, *sentences]))
    terminal.print(f"{tuning.made} runs made, {tuning.reused} reused")
    terminal.print(f"arm: {path}", markup=False, soft_wrap=True)


def _tune(
    scenario: Scenario,
    arm: ResolvedArm,
    directory: Path,
    *,
    budget: int,
    seeds: tuple[int, ...],
    contention_weight: float,
    workers: int | None,
) -> Tuning:
    from qdpem.study.tuning.tune import tune as run_tuning

    length_s = scenario.window.end_s

    def print_plan(plan: Halving) -> None:
        unit = f"one run is one candidate on one seed for {length_s:g} simulated s"
        console().print(f"budget {plan.budget} runs ({unit}): {plan}")

    with progress_bars() as bars:
        return run_tuning(
            scenario,
            arm,
            budget=budget,
            trials=directory / f"{arm.name}.jsonl",
            seeds=seeds,
            contention_weight=contention_weight,
            workers=workers,
            progress=progress_callback(bars, f"tuning {arm.name}", after="comparing"),
            on_plan=print_plan,
        )


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds of a list such as "0-3,7", in its order. Raises StudyError for any other text.

    >>> parse_seeds("0-3,7")
    (0, 1, 2, 3, 7)
    """
    from qdpem.errors import StudyError

    seeds: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()) or (dash and int(high) < int(low)):
            raise StudyError(f"{text!r} is not a list of seeds; it should be like 0-19 or 0,2,5-9")
        seeds += range(int(low), int(high if dash else low) + 1)
    return tuple(seeds)

"""`qdpem run`: one arm on one seed, into one record."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qdpem.cli.console import console, progress_bars
from qdpem.cli.network import network_with_summary, print_summary
from qdpem.cli.options import MAX_SEED, ArmName, Json, Overrides, Oversize, ScenarioWord, output_directory

if TYPE_CHECKING:
    from rich.table import Table

    from qdpem.demand.offered_load import OfferedLoad
    from qdpem.network.graph import Network
    from qdpem.study.analysis.outcome import Outcome
    from qdpem.study.plan import Task


def run(
    scenario: ScenarioWord,
    arm: ArmName = "local-minhop",
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=MAX_SEED, help="The seed of all random draws.")
    ] = 1000,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE.h5",
            help="The record; by default <arm>/<seed>.h5 in output/<file stem>[,<--set>...], so that"
            " other values of --set give another file.",
        ),
    ] = None,
    overrides: Overrides = None,
    oversize: Oversize = False,
    as_json: Json = False,
) -> None:
    """Simulate one arm on one seed and record it."""
    from qdpem.scenario.load import load_scenario
    from qdpem.simulation.arms import find_arm
    from qdpem.study.plan import Task, without_study

    loaded = load_scenario(scenario, overrides or ())
    resolved = find_arm(loaded, arm)
    network, summary = network_with_summary(loaded, seed=seed, oversize=oversize)
    terminal = console(stderr=as_json)
    print_summary(summary, console=terminal)
    path = out or output_directory(scenario, overrides) / resolved.name / f"{seed}.h5"
    task = Task(scenario=without_study(loaded), arm=resolved, seed=seed, path=path, load=summary.load)
    outcome = _simulate(task, network)
    terminal.print(_table(task, outcome, summary.load))
    terminal.print(f"record: {path}", markup=False, soft_wrap=True)
    if as_json:
        typer.echo(_json_line(task, outcome, summary.load))


def _simulate(task: Task, network: Network) -> Outcome:
    from qdpem.study.tasks import record_run

    with progress_bars() as bars:
        length_s = task.scenario.window.end_s
        bar = bars.add_task(task.label, total=length_s, detail=f"0 of {length_s:g} s")

        def show(time_s: float) -> None:
            bars.update(bar, completed=time_s, detail=f"{time_s:.0f} of {length_s:g} s")

        return record_run(task, network=network, on_progress=show)


def _table(task: Task, outcome: Outcome, load: OfferedLoad) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from qdpem.study.analysis.metric_formats import (
        APPLICATION_FORMATS,
        PAIR_FIDELITY,
        PAIR_WAITING,
        metric_formats_of,
    )
    from qdpem.study.report.wording import arm_factors

    table = Table(title=task.label, caption=arm_factors(task.arm.arm), box=SIMPLE_HEAD, title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("meaning", style="dim")
    metrics = outcome.metrics or {}
    own = [each for each in APPLICATION_FORMATS if math.isfinite(metrics[each.name])]
    for metric in (*metric_formats_of(task.scenario.demand), *own):
        if metric not in (PAIR_WAITING, PAIR_FIDELITY):
            table.add_row(metric.heading, metric.text(metrics[metric.name]), metric.unit, metric.meaning)
    for metric, name in ((PAIR_WAITING, "pair_waiting"), (PAIR_FIDELITY, "pair_fidelity")):
        value = _with_error(metrics, name, metric.scale)
        table.add_row(metric.heading, value, metric.unit, f"{metric.meaning} ± standard error")
    if task.scenario.demand.arrivals == "batch":
        table.add_row("requests at t = 0", *_outcomes(task.path))
    else:
        traced = any(process.kind == "trace" for process in task.scenario.demand.processes.values())
        span = "mean over whole traces" if traced else "mean over the run"
        table.add_row("request rate", f"{load.rate_hz:.4g}", "1/s", span)
        measured = f"{metrics['requests_measured']:.0f}"
        table.add_row("requests measured", measured, "", "arrived in the window with a deadline inside it")
    table.add_row("wall time", f"{outcome.wall_s:.1f}", "s", "of the simulation")
    return table


def _outcomes(path: Path) -> tuple[str, str]:
    """The number of requests in a record, and the numbers of their outcomes."""
    from qdpem.events.words import RequestOutcome
    from qdpem.records.reader import open_record

    outcomes = open_record(path).tables["requests"]["outcome"]
    counts = {word: int((outcomes == word.code).sum()) for word in RequestOutcome}
    words = [f"{count} {word.replace('_', ' ')}" for word, count in counts.items() if count]
    return str(len(outcomes)), ", ".join(words)


def _with_error(metrics: Mapping[str, float], name: str, scale: float) -> str:
    """A mean over pairs and its standard error, to two digits of the error; "± –" if pairs are too few."""
    unit = "_s" if scale != 1.0 else ""
    mean, error = scale * metrics[f"{name}{unit}"], scale * metrics[f"{name}_error{unit}"]
    if not math.isfinite(mean):
        return "–"
    if not error > 0.0:
        return f"{mean:.4g}" if error == 0.0 else f"{mean:.4g} ± –"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def _json_line(task: Task, outcome: Outcome, load: OfferedLoad) -> str:
    arm = task.arm.arm
    values = {
        "scenario": task.scenario.name,
        "arm": arm.name,
        "control": arm.control,
        "pregeneration": arm.pregeneration,
        "forecaster": arm.forecaster,
        "policy": arm.policy,
        "seed": task.seed,
        "load": _finite(asdict(load)),
        "record": str(task.path),
        "wall_s": outcome.wall_s,
        "metrics": _finite(outcome.metrics or {}),
    }
    return json.dumps(values, allow_nan=False)


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}

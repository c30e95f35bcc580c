"""`qdpem bound`: the most that any arm can deliver on one seed, and the resources that limit it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from qdpem.cli.console import console, progress_bars
from qdpem.cli.options import MAX_SEED, Json, Overrides, ScenarioWord

if TYPE_CHECKING:
    from rich.table import Table

    from qdpem.bounds.seed_bounds import Bounds
    from qdpem.bounds.time_bound import Progress
    from qdpem.scenario.schema import Scenario


class Kind(StrEnum):
    """The bounds that are computed."""

    FLOW = "flow"
    TIME = "time"


def bound(
    scenario: ScenarioWord,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=MAX_SEED, help="The seed of all random draws.")
    ] = 1000,
    kind: Annotated[
        Kind, typer.Option("--kind", help="flow ignores time and takes seconds; time takes minutes.")
    ] = Kind.TIME,
    bin_s: Annotated[
        float | None,
        typer.Option(
            "--bin", metavar="SECONDS", help="Resolution of time; a finer bound is tighter and slower."
        ),
    ] = None,
    limit_s: Annotated[
        float,
        typer.Option(
            "--limit",
            metavar="SECONDS",
            min=0.0,
            help="Wall time after which a time bound is no longer improved.",
        ),
    ] = 120.0,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Bound the deliveries of any arm on one seed, without time and in time."""
    from qdpem.scenario.load import load_scenario
    from qdpem.study.plan import without_study

    loaded = without_study(load_scenario(scenario, overrides or ()))
    bounds = _find(loaded, seed=seed, kind=kind, bin_s=bin_s, limit_s=limit_s)
    terminal = console(stderr=as_json)
    terminal.print(_table(f"{loaded.name}, seed {seed}", bounds))
    for sentence in _sentences(bounds):
        terminal.print(sentence, markup=False)
    if as_json:
        values = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(bounds).items()
        }
        typer.echo(json.dumps({"scenario": loaded.name, "seed": seed, **values}, allow_nan=False))


def _find(scenario: Scenario, *, seed: int, kind: Kind, bin_s: float | None, limit_s: float) -> Bounds:
    from qdpem.bounds.seed_bounds import find_bounds

    with progress_bars() as bars:
        bar = bars.add_task("flow bound", total=None, detail="")

        def show(name: str, progress: Progress) -> None:
            detail = (
                f"round {progress.rounds}: {progress.value:.0f} to {progress.bound:.0f},"
                f" {progress.columns} columns, {progress.cuts} cuts"
            )
            bars.update(bar, description=name, detail=detail)

        return find_bounds(
            scenario, seed=seed, kind=kind.value, bin_s=bin_s, limit_s=limit_s, on_progress=show
        )


def _table(title: str, bounds: Bounds) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    table.add_column(f"upper bounds on deliveries in {bounds.end_s:g} s")
    table.add_column(bounds.unit, justify="right")
    table.add_column("fraction of requested", justify="right")
    for heading, value in (
        ("without time", bounds.flow),
        ("in time, with stock", bounds.time),
        ("in time, without stock", bounds.time_without_stock),
    ):
        if not math.isnan(value):
            known = math.isfinite(bounds.asked) and bounds.asked > 0.0
            fraction = value / bounds.asked if known else math.nan
            table.add_row(heading, f"{value:.0f}", "–" if math.isnan(fraction) else f"{fraction:.3f}")
    return table


def _sentences(bounds: Bounds) -> list[str]:
    """The demand, the resources that limit the bound, and the time that it took."""
    demand = (
        f"{bounds.asked:.0f} requests" if math.isfinite(bounds.asked) else "unlimited: some requests renew"
    )
    sentences = [f"demand: {demand}"]
    if not math.isnan(bounds.demand):
        sentences.append(
            f"limits of the bound: demand {bounds.demand:.0%}, repeaters {bounds.repeaters:.0%},"
            f" links and their sources {bounds.links:.0%}"
        )
    if bounds.binding_nodes:
        sentences.append(f"most limiting repeaters: {', '.join(bounds.binding_nodes)}")
    if bounds.binding_links:
        sentences.append(f"most limiting links: {', '.join(bounds.binding_links)}")
    if not bounds.converged:
        sentences.append(
            "a time bound stopped at its limit: a larger --limit or a wider --bin may make it tighter"
        )
    wall_time = f"wall time: {bounds.flow_wall_s:.1f} s for the flow"
    if not math.isnan(bounds.time_wall_s):
        wall_time += f", {bounds.time_wall_s:.1f} s for time in bins of {bounds.bin_s:.3g} s"
    return [*sentences, wall_time]

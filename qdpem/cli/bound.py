"""`qdpem bound`: what no arm can exceed on one seed, and what keeps it there."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from qdpem.cli.console import console, progress_bars
from qdpem.cli.options import Json, Overrides, ScenarioFile

if TYPE_CHECKING:
    from rich.table import Table

    from qdpem.bounds.seed_bounds import Bounds
    from qdpem.bounds.time_bound import Progress
    from qdpem.scenario.schema import Scenario


class Kind(StrEnum):
    """How much is worked out."""

    FLOW = "flow"
    TIME = "time"


def bound(
    scenario: ScenarioFile,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The root of all chance.")] = 1000,
    kind: Annotated[
        Kind, typer.Option("--kind", help="flow leaves time out and takes seconds; time takes minutes.")
    ] = Kind.TIME,
    bin_s: Annotated[
        float | None,
        typer.Option(
            "--bin", metavar="SECONDS", help="How finely time is told; finer is tighter and slower."
        ),
    ] = None,
    limit_s: Annotated[
        float,
        typer.Option("--limit", metavar="SECONDS", min=0.0, help="Each time bound stops improving then."),
    ] = 120.0,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Bound what any arm can deliver on one seed, with time left out and with it."""
    from qdpem.scenario.load import load_scenario
    from qdpem.study.plan import without_study

    question = without_study(load_scenario(scenario, overrides or ()))
    found = _find(question, seed=seed, kind=kind, bin_s=bin_s, limit_s=limit_s)
    shown = console(stderr=as_json)
    shown.print(_table(f"{question.name}, seed {seed}", found))
    for sentence in _sentences(found):
        shown.print(sentence, markup=False)
    if as_json:
        values = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(found).items()
        }
        typer.echo(json.dumps({"scenario": question.name, "seed": seed, **values}, allow_nan=False))


def _find(question: Scenario, *, seed: int, kind: Kind, bin_s: float | None, limit_s: float) -> Bounds:
    from qdpem.bounds.seed_bounds import find_bounds

    with progress_bars() as bars:
        bar = bars.add_task("flow bound", total=None, detail="")

        def tell(name: str, far: Progress) -> None:
            detail = (
                f"round {far.rounds}: {far.value:.0f} to {far.bound:.0f}, {far.columns} ways, {far.cuts} cuts"
            )
            bars.update(bar, description=name, detail=detail)

        return find_bounds(
            question, seed=seed, kind=kind.value, bin_s=bin_s, limit_s=limit_s, on_progress=tell
        )


def _table(title: str, found: Bounds) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    table.add_column(f"no arm delivers more in {found.end_s:g} s")
    table.add_column(found.unit, justify="right")
    table.add_column("of all asked", justify="right")
    for heading, value in (
        ("time left out", found.flow),
        ("in time, with stock", found.time),
        ("in time, without stock", found.time_without_stock),
    ):
        if not math.isnan(value):
            fraction = value / found.asked if math.isfinite(found.asked) and found.asked > 0.0 else math.nan
            table.add_row(heading, f"{value:.0f}", "–" if math.isnan(fraction) else f"{fraction:.3f}")
    return table


def _sentences(found: Bounds) -> list[str]:
    """What was asked, what binds, and what it took."""
    asked = f"{found.asked:.0f} requests arrive" if math.isfinite(found.asked) else "some ask without end"
    told = [f"asked: {asked}"]
    if not math.isnan(found.demand):
        told.append(
            f"what binds: demand {found.demand:.0%}, repeaters {found.repeaters:.0%},"
            f" links and their sources {found.links:.0%} of the bound"
        )
    if found.binding_nodes:
        told.append(f"repeaters that bind most: {', '.join(found.binding_nodes)}")
    if found.binding_links:
        told.append(f"links that bind most: {', '.join(found.binding_links)}")
    took = f"time taken: {found.flow_wall_s:.1f} s for the flow"
    if not math.isnan(found.time_wall_s):
        took += f", {found.time_wall_s:.1f} s for time in bins of {found.bin_s:.3g} s"
    if not found.converged:
        told.append("a time bound stopped at its limit: --limit, or a wider --bin, may lower it")
    return [*told, took]

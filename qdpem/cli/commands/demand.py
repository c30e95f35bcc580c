"""`qdpem demand`: what the demand of a scenario is like, as tables and as a picture."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qdpem.cli.console import console, progress_bars
from qdpem.cli.options import MAX_SEED, Json, Overrides, Oversize, ScenarioWord
from qdpem.cli.size import check_size

if TYPE_CHECKING:
    from rich.table import Table

    from qdpem.scenario.schema import Scenario
    from qdpem.study.analysis.demand_profile import DemandProfile
    from qdpem.study.report.demand_tables import TextTable


def demand(
    scenario: ScenarioWord,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=MAX_SEED, help="The seed of all random draws.")
    ] = 1000,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Also draw it: a picture (.png, .svg), or a page with picture and tables (.html).",
        ),
    ] = None,
    overrides: Overrides = None,
    oversize: Oversize = False,
    as_json: Json = False,
) -> None:
    """Describe the demand of a scenario: totals, places, burstiness, memory, predictability."""
    from qdpem.scenario.load import load_scenario
    from qdpem.study.plan import without_study
    from qdpem.study.report.demand_page import check_picture, write_demand_picture
    from qdpem.study.report.demand_tables import demand_heading, demand_json, demand_tables

    loaded = without_study(load_scenario(scenario, overrides or ()))
    if out is not None:
        check_picture(out, loaded)
    check_size(loaded, oversize=oversize)
    profile = _profile(loaded, seed=seed)
    terminal = console(stderr=as_json)
    terminal.print(demand_heading(profile), soft_wrap=True)
    for table in demand_tables(profile):
        # A title of the table itself would wrap at its width.
        terminal.print(f"\n{table.title}", soft_wrap=True)
        terminal.print(_table(table))
    if out is not None:
        words = ["qdpem", "demand", scenario, "--seed", str(seed), "--out", str(out)]
        words += [word for each in overrides or () for word in ("--set", each)]
        write_demand_picture(profile, path=out, command=shlex.join(words))
        terminal.print(f"picture: {out}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(demand_json(profile), allow_nan=False))


def _profile(scenario: Scenario, *, seed: int) -> DemandProfile:
    from qdpem.study.analysis.demand_profile import profile_demand

    with progress_bars() as bars:
        bars.add_task(f"demand of {scenario.name}", total=None, detail="draw and score")
        return profile_demand(scenario, seed=seed)


def _table(table: TextTable) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    shown = Table(box=SIMPLE_HEAD)
    for place, head in enumerate(table.heads):
        shown.add_column(head, justify="left" if place < table.words else "right")
    for row in table.rows:
        shown.add_row(*row)
    return shown

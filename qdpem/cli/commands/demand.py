"""`qdpem demand`: what the demand of a scenario is like, as tables and as a picture."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qdpem.cli.console import console, progress_bars, rich_table
from qdpem.cli.options import MAX_SEED, Json, Overrides, Oversize, ScenarioWord
from qdpem.cli.size import check_size

if TYPE_CHECKING:
    from qdpem.scenario.schema import Scenario
    from qdpem.study.analysis.demand.profile import DemandProfile


def demand(
    scenario: ScenarioWord,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=MAX_SEED, help="The seed of all random draws.")
    ] = 0,
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
        terminal.print(rich_table(table.heads, table.rows, words=table.words))
    if out is not None:
        words = ["qdpem", "demand", scenario, "--seed", str(seed), "--out", str(out)]
        words += [word for each in overrides or () for word in ("--set", each)]
        write_demand_picture(profile, path=out, command=shlex.join(words))
        terminal.print(f"picture: {out}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(demand_json(profile), allow_nan=False))


def _profile(scenario: Scenario, *, seed: int) -> DemandProfile:
    from qdpem.study.analysis.demand.profile import profile_demand

    with progress_bars() as bars:
        bars.add_task(f"demand of {scenario.name}", total=None, detail="draw and score")
        return profile_demand(scenario, seed=seed)

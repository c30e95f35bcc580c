"""`qdpem forecast`: how well each forecaster foresees the demand of a scenario."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qdpem.cli.console import console, progress_bars, rich_table
from qdpem.cli.options import MAX_SEED, Json, Overrides, Oversize, ScenarioWord
from qdpem.cli.size import check_size

if TYPE_CHECKING:
    from qdpem.scenario.schema import Scenario
    from qdpem.study.analysis.forecast_ladder import ForecastLadder


def forecast(
    scenario: ScenarioWord,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=MAX_SEED, help="The seed of all random draws.")
    ] = 0,
    forecasters: Annotated[
        str,
        typer.Option(
            "--forecasters",
            metavar="A,B,...",
            help="Forecasters to score; all but placebos by default. ewma and bayes-filter always are.",
        ),
    ] = "",
    per_step: Annotated[
        bool, typer.Option("--per-step", help="Also print CRPS and WAPE of each step ahead.")
    ] = False,
    pair: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--pair", metavar="A B", help="The two nodes to draw; those with most requests by default."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Also draw forecast against fact: a picture (.png, .svg)."
        ),
    ] = None,
    overrides: Overrides = None,
    oversize: Oversize = False,
    as_json: Json = False,
) -> None:
    """Score forecasters on the demand of a scenario, without simulating a network."""
    from qdpem.scenario.load import load_scenario
    from qdpem.study.plan import without_study
    from qdpem.study.report.figures.forecast_figure import check_ladder_picture, write_ladder_picture
    from qdpem.study.report.forecast_tables import (
        ladder_heading,
        ladder_json,
        ladder_sentences,
        ladder_tables,
    )

    loaded = without_study(load_scenario(scenario, overrides or ()))
    if out is not None:
        check_ladder_picture(out)
    check_size(loaded, oversize=oversize)
    names = tuple(name.strip() for name in forecasters.split(",") if name.strip())
    ladder = _scored_ladder(loaded, seed=seed, names=names, pair=pair)
    terminal = console(stderr=as_json)
    terminal.print(ladder_heading(ladder), soft_wrap=True)
    for table in ladder_tables(ladder, per_step=per_step):
        # A title of the table itself would wrap at its width.
        terminal.print(f"\n{table.title}", soft_wrap=True)
        terminal.print(rich_table(table.heads, table.rows, words=table.words))
    for sentence in ladder_sentences(ladder):
        terminal.print(sentence, soft_wrap=True)
    if out is not None:
        write_ladder_picture(ladder, path=out)
        terminal.print(f"picture: {out}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(ladder_json(ladder), allow_nan=False))


def _scored_ladder(
    scenario: Scenario, *, seed: int, names: tuple[str, ...], pair: tuple[str, str] | None
) -> ForecastLadder:
    from qdpem.study.analysis.forecast_ladder import score_ladder

    with progress_bars() as bars:
        task = bars.add_task(f"forecasts of {scenario.name}", total=None, detail="")
        return score_ladder(
            scenario, seed=seed, names=names, pair=pair, begun=lambda name: bars.update(task, detail=name)
        )

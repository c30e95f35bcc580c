"""`qdpem replay`: a run simulated again from its record, and compared bit for bit."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qdpem.cli.console import console, progress_bars, rich_table
from qdpem.cli.options import Json

if TYPE_CHECKING:
    from qdpem.records.reader import Record
    from qdpem.records.replay.replay import Replay

SHOWN = 10
"""The number of differing data sets that are printed."""


def replay(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="A record (HDF5) of `run` or `study`.")],
    decisions: Annotated[
        bool,
        typer.Option(
            "--decisions",
            help="Carry out the recorded decisions again, without the policy and its forecaster; needs a"
            " record of level full.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Simulate a record's run again and compare every data set bit for bit. Exit 1 if they differ."""
    from qdpem.records.reader import open_record

    opened = open_record(record)
    if opened.warning:
        typer.echo(f"warning: {opened.warning}", err=True)
    began_s = time.perf_counter()
    result = _replay(opened, decisions=decisions)
    wall_s = time.perf_counter() - began_s
    if result.warning:
        typer.echo(f"warning: {result.warning}", err=True)
    terminal = console(stderr=as_json)
    terminal.print(_verdict(opened, result, wall_s=wall_s), markup=False, soft_wrap=True)
    if result.differences:
        rows = [
            (each.table, each.column, str(each.row) if each.row >= 0 else "-", each.first, each.second)
            for each in result.differences[:SHOWN]
        ]
        terminal.print(rich_table(("table", "column", "row", "record", "replay"), rows, words=2))
        if len(result.differences) > SHOWN:
            terminal.print(f"and {len(result.differences) - SHOWN} more", markup=False)
    if as_json:
        values = asdict(result) | {"record": str(record), "identical": result.identical, "wall_s": wall_s}
        typer.echo(json.dumps(values, allow_nan=False))
    if not result.identical:
        raise typer.Exit(1)


def _replay(record: Record, *, decisions: bool) -> Replay:
    from qdpem.records.replay.replay import replay as run_again

    length_s = record.scenario.window.end_s
    with progress_bars() as bars:
        bar = bars.add_task(f"replaying {record.path.name}", total=length_s, detail="")

        def show(time_s: float) -> None:
            bars.update(bar, completed=time_s, detail=f"{time_s:.0f} of {length_s:g} s")

        return run_again(record, decisions=decisions, progress=show)


def _verdict(record: Record, result: Replay, *, wall_s: float) -> str:
    """One line: whether the replay is the record to the bit and, if not, where the first difference is."""
    run = f"{record.arm.name}, seed {record.seed}"
    if result.left_out:
        run += f", without {', '.join(result.left_out)}"
    if result.identical:
        return (
            f"identical: {result.data_sets} data sets with {result.values} values of {run}, replayed in"
            f" {wall_s:.1f} s"
        )
    first = result.differences[0]
    place = f"row {first.row}" if first.row >= 0 else "the whole data set"
    return (
        f"different: {len(result.differences)} of {result.data_sets} data sets of {run}, first"
        f" {first.table}/{first.column}, {place}: {first.first} in the record, {first.second} in the replay"
    )

"""`qdpem audit`: a record replayed under another physics model."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qdpem.cli.console import console, progress_bars
from qdpem.cli.options import Json

if TYPE_CHECKING:
    from rich.table import Table

    from qdpem.records.audit.audit import Audit, Finding
    from qdpem.records.reader import Record

SHOWN = 10
"""The number of findings that are printed, the worst first."""


def audit(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="A record (HDF5) of `run` or `study`.")],
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="NAME",
            help="A physics model; by default the reference of the record's model.",
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="The largest deviation that is not a finding.")
    ] = 1e-9,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, help="Audit about this many pairs, drawn by the seed; all by default."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay a record under another physics model and compare. Exit 1 if they differ."""
    from qdpem.records.reader import open_record

    opened = open_record(record)
    if opened.warning:
        typer.echo(f"warning: {opened.warning}", err=True)
    began_s = time.perf_counter()
    result = _audit(opened, against=against, tolerance=tolerance, limit=limit)
    wall_s = time.perf_counter() - began_s
    terminal = console(stderr=as_json)
    for sentence in _sentences(result, wall_s=wall_s):
        terminal.print(sentence, markup=False)
    if result.findings:
        terminal.print(_table(result.findings[:SHOWN]))
        if len(result.findings) > SHOWN:
            terminal.print(f"and {len(result.findings) - SHOWN} more", markup=False)
    if as_json:
        typer.echo(_json_line(record, result, wall_s=wall_s))
    if not result.passed:
        raise typer.Exit(1)


def _audit(record: Record, *, against: str | None, tolerance: float, limit: int | None) -> Audit:
    from qdpem.records.audit.audit import audit as replay

    with progress_bars() as bars:
        bar = bars.add_task(f"auditing {record.path.name}", total=None, detail="")

        def show(done: int, total: int) -> None:
            bars.update(bar, total=total, completed=done, detail=f"{done} of {total} pairs")

        return replay(record, against=against, tolerance=tolerance, limit=limit, progress=show)


def _sentences(result: Audit, *, wall_s: float) -> list[str]:
    sentences = [
        f"{result.compared} of {result.pairs} pairs made under {result.physics!r} were replayed under"
        f" {result.reference!r}: {result.swaps} swaps, {result.distillations} distillations, {wall_s:.1f} s"
    ]
    if result.pairs == 0:
        sentences.append("no pair was born in this run: only the links were compared")
    if result.unknown:
        sentences.append(f"{result.unknown} pairs could not be replayed: their origin is unknown")
    if not result.drawn:
        sentences.append(
            "random outcomes were taken from the record, which another version of qdpem made, and not drawn"
            " again"
        )
    count = len(result.findings)
    verdict = "no difference is larger" if result.passed else f"{count} finding{'s' * (count > 1)}"
    sentences.append(f"worst deviation {result.worst:.1e}, tolerance {result.tolerance:.0e}: {verdict}")
    return sentences


def _table(findings: tuple[Finding, ...]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD)
    table.add_column("pair", justify="right")
    table.add_column("made by")
    table.add_column("quantity")
    for heading in ("recorded", "replayed", "deviation"):
        table.add_column(heading, justify="right")
    for finding in findings:
        pair = str(finding.pair) if finding.pair >= 0 else "-"
        table.add_row(pair, finding.operation, Text(finding.what), *map(_number, _values(finding)))
    return table


def _values(finding: Finding) -> tuple[float, float, float]:
    return finding.recorded, finding.replayed, finding.deviation


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.10g}" if math.isfinite(value) else "impossible"


def _json_line(path: Path, result: Audit, *, wall_s: float) -> str:
    """The audit with its worst findings, and the number of all findings."""
    values = asdict(result) | {
        "record": str(path),
        "passed": result.passed,
        "wall_s": wall_s,
        "findings_count": len(result.findings),
        "findings": [_finite(asdict(finding)) for finding in result.findings[:SHOWN]],
    }
    return json.dumps(values, allow_nan=False)


def _finite(values: dict[str, object]) -> dict[str, object]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }

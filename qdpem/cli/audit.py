"""`qdpem audit`: a record lived again under another physics model."""

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
"""Findings that are listed; the worst come first."""


def audit(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="A record (HDF5) of `run` or `study`.")],
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="NAME",
            help="A physics model; the reference that the record's names otherwise.",
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="Largest deviation that is not a finding.")
    ] = 1e-9,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Audit about this many pairs, drawn by the seed; all otherwise."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay a record under another physics model and compare; exit 1 if they differ."""
    from qdpem.records.reader import open_record

    opened = open_record(record)
    if opened.warning:
        typer.echo(f"warning: {opened.warning}", err=True)
    began_s = time.perf_counter()
    found = _audit(opened, against=against, tolerance=tolerance, limit=limit)
    wall_s = time.perf_counter() - began_s
    shown = console(stderr=as_json)
    for sentence in _sentences(found, wall_s=wall_s):
        shown.print(sentence, markup=False)
    if found.findings:
        shown.print(_table(found.findings[:SHOWN]))
        if len(found.findings) > SHOWN:
            shown.print(f"and {len(found.findings) - SHOWN} more", markup=False)
    if as_json:
        typer.echo(_json_line(record, found, wall_s=wall_s))
    if not found.passed:
        raise typer.Exit(1)


def _audit(record: Record, *, against: str | None, tolerance: float, limit: int | None) -> Audit:
    from qdpem.records.audit.audit import audit as replay

    with progress_bars() as bars:
        bar = bars.add_task(f"auditing {record.path.name}", total=None, detail="")

        def tell(done: int, total: int) -> None:
            bars.update(bar, total=total, completed=done, detail=f"{done} of {total} pairs")

        return replay(record, against=against, tolerance=tolerance, limit=limit, progress=tell)


def _sentences(found: Audit, *, wall_s: float) -> list[str]:
    said = [
        f"{found.compared} of {found.pairs} pairs made under {found.physics!r} were replayed under"
        f" {found.reference!r}: {found.swaps} swaps, {found.distillations} distillations, {wall_s:.1f} s"
    ]
    if found.pairs == 0:
        said.append("no pair was born in this run: only the links were there to compare")
    if found.unknown:
        said.append(f"{found.unknown} pairs could not be replayed: what they were made of is not known")
    if not found.drawn:
        said.append(
            "Outcomes were taken as recorded, not drawn again: another version of qdpem made the record"
        )
    count = len(found.findings)
    verdict = "nothing differs by more" if found.passed else f"{count} finding{'s' * (count > 1)}"
    said.append(f"worst deviation {found.worst:.1e}, tolerance {found.tolerance:.0e}: {verdict}")
    return said


def _table(findings: tuple[Finding, ...]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD)
    table.add_column("pair", justify="right")
    table.add_column("made by")
    table.add_column("what")
    for heading in ("recorded", "replayed", "off by"):
        table.add_column(heading, justify="right")
    for one in findings:
        pair = str(one.pair) if one.pair >= 0 else "-"
        table.add_row(pair, one.operation, Text(one.what), *map(_number, _values(one)))
    return table


def _values(one: Finding) -> tuple[float, float, float]:
    return one.recorded, one.replayed, one.deviation


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.10g}" if math.isfinite(value) else "cannot be"


def _json_line(path: Path, found: Audit, *, wall_s: float) -> str:
    """All but the findings not shown; their number stands beside the worst of them."""
    values = asdict(found) | {
        "record": str(path),
        "passed": found.passed,
        "wall_s": wall_s,
        "findings_count": len(found.findings),
        "findings": [_finite(asdict(one)) for one in found.findings[:SHOWN]],
    }
    return json.dumps(values, allow_nan=False)


def _finite(values: dict[str, object]) -> dict[str, object]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }

"""`qdpem export`: a record's tables as CSV or Parquet."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """The file format of a table."""

    CSV = "csv"
    PARQUET = "parquet"


def export(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="A record (HDF5) of `run` or `study`.")],
    format: Annotated[Format, typer.Option("--format", help="csv or parquet.")] = Format.CSV,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Directory of the files; by default one named like the record."
        ),
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option("--table", metavar="NAME", help="Only this table. Repeatable.")
    ] = None,
) -> None:
    """Write each table of a record to a file."""
    from qdpem.records.export import export as write
    from qdpem.records.reader import open_record

    opened = open_record(record)
    if opened.warning:
        typer.echo(f"warning: {opened.warning}", err=True)
    for path in write(opened, out or record.with_suffix(""), format=format.value, tables=table):
        typer.echo(path)

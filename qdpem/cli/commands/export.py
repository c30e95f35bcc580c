"""`qdpem export`: the tables of a record, or of all records of a study, as files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qdpem.records.reader import Record
    from qdpem.study.analysis.results import StudyResult
    from qdpem.study.sweep import SweepResult


class Format(StrEnum):
    """The file format of a table."""

    CSV = "csv"
    PARQUET = "parquet"
    NETCDF = "netcdf"
    LATEX = "latex"


def export(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RECORD|STUDY", help="A record (HDF5) of `run` or `study`, or the directory of a study."
        ),
    ],
    format: Annotated[Format, typer.Option("--format", help="csv, parquet, netcdf or latex.")] = Format.CSV,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Directory of the files; by default one named like the record, or `export` in the study's.",
        ),
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option("--table", metavar="NAME", help="Only this table. Repeatable.")
    ] = None,
) -> None:
    """Write each table of a record, or of all records of a study, to a file."""
    from qdpem.study.export.export import export as write

    directory = out or (source / "export" if source.is_dir() else source.with_suffix(""))
    for path in write(_opened(source), directory, format=format.value, tables=table):
        typer.echo(path)


def _opened(source: Path) -> Record | StudyResult | SweepResult:
    from qdpem.records.reader import open_record
    from qdpem.study.stored_study import open_study

    if source.is_dir():
        result = open_study(source)
        for fault in result.faults:
            typer.echo(f"left out: {fault}", err=True)
        return result
    record = open_record(source)
    if record.warning:
        typer.echo(f"warning: {record.warning}", err=True)
    return record

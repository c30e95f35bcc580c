"""Exports the tables of a record, a study or a sweep: CSV, Parquet, netCDF or LaTeX, one file per table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

from qdpem.errors import RecordError, UnknownNameError
from qdpem.study.analysis.results import StudyResult
from qdpem.study.export.csv_file import write_csv
from qdpem.study.export.exported_table import ExportedTable
from qdpem.study.export.latex_file import write_latex, write_results_latex
from qdpem.study.export.netcdf_file import write_netcdf
from qdpem.study.export.parquet_file import write_parquet
from qdpem.study.export.sources import METRICS_TABLE, RESULTS_TABLE, Source, tables_of

Format: TypeAlias = Literal["csv", "parquet", "netcdf", "latex"]

_Writer: TypeAlias = Callable[[Path, ExportedTable], None]
_WRITERS: Mapping[str, tuple[_Writer, str]] = MappingProxyType(
    {
        "csv": (write_csv, ".csv"),
        "parquet": (write_parquet, ".parquet"),
        "netcdf": (write_netcdf, ".nc"),
        "latex": (write_latex, ".tex"),
    }
)
FORMATS = tuple(_WRITERS)
"""The formats of `export`."""


def export(
    source: Source, directory: str | Path, *, format: Format, tables: Sequence[str] | None = None
) -> list[Path]:
    """Write each table of a record, or of all records of a study or sweep, to a file; returns the paths.

    The tables of a study have the columns `arm` and `seed` first, those of a sweep also the values of its
    axes; `metrics` has a row for each run and `results` one for each arm. Failed runs are left out. Every
    file holds its provenance and the unit of every column:

    - csv: in lines before the heads that begin with #. Codes are words, and floats keep every bit.
    - parquet: as metadata of the schema and of its fields. Codes are dictionaries. Needs the extra `report`.
    - netcdf: as attributes, with codes by the CF conventions. Needs the extra `report`.
    - latex: as comments, and units in the heads; tables in the style of booktabs.

    Args:
        source: a record, or the result of a study or sweep (`open_study`).
        directory: where the files are written; it is created.
        format: "csv", "parquet", "netcdf" or "latex".
        tables: names of tables. By default all, but for LaTeX only `metrics` and `results`.

    Raises UnknownNameError for a format, or a table that the source does not have, RecordError when a file
    cannot be written, and MissingPackagesError.
    """
    if format not in _WRITERS:
        raise UnknownNameError("export format", format, FORMATS)
    known = tables_of(source)
    for name in tables or ():
        if name not in known:
            raise UnknownNameError("table", name, list(known))
    chosen = list(tables or known)
    if format == "latex" and not tables:
        chosen = [name for name in (METRICS_TABLE, RESULTS_TABLE) if name in known]
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return [_write(known[name](), source, directory, format) for name in chosen]
    except OSError as error:
        raise RecordError(f"the export to {directory} stopped: {error}") from error


def _write(table: ExportedTable, source: Source, directory: Path, format: str) -> Path:
    write, ending = _WRITERS[format]
    path = directory / f"{table.name}{ending}"
    if format == "latex" and table.name == RESULTS_TABLE and isinstance(source, StudyResult):
        # As its report shows it: thirty columns of means and bounds are no table for readers.
        write_results_latex(path, table, source)
    else:
        write(path, table)
    return path

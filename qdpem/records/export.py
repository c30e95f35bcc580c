"""Exports records as plain tables for other programs: CSV, or Parquet with units."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qdpem.errors import RecordError, UnknownNameError
from qdpem.events.tables import TABLES, Column, Table
from qdpem.extras import require_packages
from qdpem.metrics.metrics import METRICS
from qdpem.records.reader import Record

METRIC_COLUMNS = (
    Column("metric", "object", "", "name of the metric"),
    Column("value", "float64", "", "value of the metric, in its unit"),
    Column("unit", "object", "", "unit of the value; empty for a pure number"),
)
_BLOCK_ROWS = 65536


def export(
    record: Record,
    directory: str | Path,
    *,
    format: Literal["csv", "parquet"],
    tables: Sequence[str] | None = None,
) -> list[Path]:
    """Write `<directory>/<table>.<format>` for every table of the record, and its metrics; returns the paths.

    `tables` selects some of them by name; "metrics" is one of the names. Codes become their words
    ("delivered"). CSV keeps floats to the last bit. Parquet also keeps types, codes as dictionaries, and the
    unit and meaning of each column as field metadata; it needs the extra `report`. Raises UnknownNameError
    for a table that the record does not have, and RecordError when a file cannot be written.
    """
    if format not in ("csv", "parquet"):
        raise UnknownNameError("export format", format, ("csv", "parquet"))
    known = [*record.tables, *(["metrics"] if record.metrics else [])]
    for name in tables or ():
        if name not in known:
            raise UnknownNameError("table", name, known)
    directory = Path(directory)
    write = _write_csv if format == "csv" else _write_parquet
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return [write(directory / f"{name}.{format}", *_content(record, name)) for name in (tables or known)]
    except OSError as error:
        raise RecordError(f"the export to {directory} stopped: {error}") from error


def _content(record: Record, name: str) -> tuple[tuple[Column, ...], Mapping[str, NDArray[Any]]]:
    if name != "metrics":
        values = record.tables[name]
        return tuple(column for column in _table(name).columns if column.name in values), values
    units = {metric.name: metric.unit for metric in METRICS}
    names = list(record.metrics)
    content = {
        "metric": np.array(names, dtype=object),
        "value": np.array(list(record.metrics.values())),
        "unit": np.array([units.get(metric, "") for metric in names], dtype=object),
    }
    return METRIC_COLUMNS, content


def _table(name: str) -> Table:
    return next(table for table in TABLES if table.name == name)


def _write_csv(path: Path, columns: tuple[Column, ...], values: Mapping[str, NDArray[Any]]) -> Path:
    rows = len(values[columns[0].name])
    # The csv module writes line ends itself. Blocks keep the Python objects of a long table out of memory.
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(column.name for column in columns)
        for first in range(0, rows, _BLOCK_ROWS):
            block = (_words(column, values[column.name][first : first + _BLOCK_ROWS]) for column in columns)
            writer.writerows(zip(*block, strict=True))
    return path


def _words(column: Column, values: NDArray[Any]) -> list[Any]:
    # Python floats: their text is the shortest that reads back to the same bits.
    numbers = values.tolist()
    return [column.words[code] for code in numbers] if column.words else numbers


def _write_parquet(path: Path, columns: tuple[Column, ...], values: Mapping[str, NDArray[Any]]) -> Path:
    require_packages(["pyarrow"], extra="report", user="export to parquet")
    import pyarrow
    import pyarrow.parquet

    arrays, fields = [], []
    for column in columns:
        column_values = values[column.name]
        array = pyarrow.array(
            _words(column, column_values) if column_values.dtype.kind == "U" else column_values
        )
        if column.words:
            # The codes are the indices already.
            array = pyarrow.DictionaryArray.from_arrays(array, list(column.words))
        arrays.append(array)
        metadata = {"units": column.unit, "meaning": column.meaning}
        fields.append(pyarrow.field(column.name, array.type, metadata=metadata))
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields)), path)
    return path

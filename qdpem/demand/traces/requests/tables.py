"""Lists of requests as tables: CSV, with the standard library, and Parquet, with pyarrow."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qdpem.demand.traces.csv_rows import CsvTable, csv_table
from qdpem.demand.traces.file_content import shown_value
from qdpem.demand.traces.requests.columns import OPTIONAL, ignored_note, requests_from_columns
from qdpem.demand.traces.requests.request_list import RequestList
from qdpem.demand.traces.timestamps import TIME_COLUMNS, parse_times
from qdpem.errors import QdpemError
from qdpem.extras import require_packages

_COLUMNS = (*TIME_COLUMNS, "source", "destination", *OPTIONAL, "deadline_s", "application")
_MISSPELT = re.compile(
    r"(time|timestamp|arrival|patience|deadline)(_?(s|ms|us|ns|min|h|d|sec|seconds))?"
    r"|(target_?)?fidelity|pairs?|app|applications?|src|dst|target",
    re.IGNORECASE,
)
"""Names that mean one of the columns, in another unit or spelling: an error, not a guess."""
_SHOULD = {
    "target_fidelity": (0.0, 1.0, "a number above 0 and at most 1, or nothing"),
    "pairs": (0.0, math.inf, "a whole number of 1 or more, or nothing"),
    "patience_s": (0.0, math.inf, "seconds above 0, or nothing"),
    "deadline_s": (-math.inf, math.inf, "seconds of the same clock as the time, or nothing"),
}


def csv_requests(text: str, name: str) -> RequestList:
    """The requests in CSV `text`; see `read_requests`."""
    table = csv_table(text, name)
    kind = _check_header(table.header, name)
    rows = list(table.rows)
    if not rows:
        raise QdpemError(f"{name} has no row after its header; should have one per request")
    columns = {
        label: [cells[column].strip() for _, cells in rows] for column, label in enumerate(table.header)
    }
    values = _parsed(columns, kind, _Places(table, [row for row, _ in rows]))
    return _with_note(requests_from_columns(values, origin=name), table.header, name)


def _parsed(columns: Mapping[str, list[str]], kind: str, place: _Places) -> dict[str, Any]:
    """The columns of a list of requests, as numbers and names; raises QdpemError for the first wrong cell."""
    values: dict[str, Any] = {
        "time_s": _ascending(kind, columns[kind], place),
        "source": _texts("source", columns, place),
        "destination": _texts("destination", columns, place),
    }
    for row, (source, destination) in enumerate(zip(values["source"], values["destination"], strict=True)):
        if source == destination:
            where = place.of(row, "destination")
            raise QdpemError(f"{where} is {destination!r}, as its source; should be another node")
    for label in _SHOULD:
        if label in columns:
            values[label] = [_number(text, label, place, row) for row, text in enumerate(columns[label])]
    if "application" in columns:
        values["application"] = [text or None for text in columns["application"]]
    return values


class _Places:
    """Where a cell of a table stands."""

    def __init__(self, table: CsvTable, rows: list[int]) -> None:
        self._table, self._rows = table, rows

    def of(self, row: int, label: str) -> str:
        column = self._table.header.index(label) + 1
        return f"{self._table.name}, row {self._rows[row]}, column {column} ({label})"


def _check_header(header: tuple[str, ...], name: str) -> str:
    """The name of the column of times. Raises QdpemError for missing columns and names with another unit."""
    kinds = [label for label in header if label in TIME_COLUMNS]
    for label in header:
        if label not in _COLUMNS and _MISSPELT.fullmatch(label):
            raise QdpemError(
                f"{name}, column {header.index(label) + 1} is called {label!r}; should be one of"
                f" {', '.join(_COLUMNS)}, in that unit"
            )
    if len(kinds) != 1 or "source" not in header or "destination" not in header:
        raise QdpemError(
            f"{name} has the columns {shown_value(', '.join(header))}; should have time_s (seconds) or time"
            " (dates and times), source and destination"
        )
    if "deadline_s" in header and ("patience_s" in header or "time" in header):
        other = "patience_s" if "patience_s" in header else "time as dates"
        raise QdpemError(f"{name} has {other} and deadline_s; should have patience_s without deadline_s")
    return kinds[0]


def _ascending(kind: str, texts: list[str], place: _Places) -> list[float]:
    time_s = parse_times(kind, texts, lambda row: place.of(row, kind)).tolist()
    for row in range(1, len(time_s)):
        if time_s[row] < time_s[row - 1]:
            raise QdpemError(
                f"{place.of(row, kind)} is {texts[row]!r}, before {texts[row - 1]!r} of the row above; rows"
                " should be in order of time"
            )
    return list(time_s)


def _texts(label: str, columns: Mapping[str, list[str]], place: _Places) -> list[str]:
    for row, text in enumerate(columns[label]):
        if not text:
            raise QdpemError(f"{place.of(row, label)} is empty; should be the name of a node")
    return columns[label]


def _number(text: str, label: str, place: _Places, row: int) -> float:
    if not text:
        return math.nan
    low, high, should = _SHOULD[label]
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    in_range = low < value <= high and math.isfinite(value)
    if text.lower() != "nan" and (not in_range or (label == "pairs" and value % 1.0 > 0.0)):
        raise QdpemError(f"{place.of(row, label)} is {shown_value(text)}; should be {should}")
    return value


def parquet_requests(path: Path) -> RequestList:
    """The requests in a Parquet file, whose columns are those of the CSV form, `time` as timestamps.

    Raises MissingPackagesError without pyarrow.
    """
    require_packages(["pyarrow"], extra="report", user=f"reading {path}, a Parquet file,")
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise QdpemError(f"{path} cannot be read as Parquet: {error}") from error
    kind = _check_header(tuple(table.column_names), str(path))
    columns = {label: table[label].to_pylist() for label in table.column_names if label in _COLUMNS}
    for label in (kind, "source", "destination"):
        if None in columns[label]:
            row = columns[label].index(None) + 1
            raise QdpemError(f"{path}, row {row}, column {label} has no value; should have one")
    if kind == "time":
        times = [str(value) for value in columns.pop("time")]
        columns["time_s"] = parse_times(
            kind, times, lambda row: f"{path}, row {row + 1}, column time"
        ).tolist()
    made = requests_from_columns(columns, origin=str(path))
    return _with_note(made, table.column_names, str(path))


def _with_note(requests: RequestList, header: Sequence[str], name: str) -> RequestList:
    ignored = [label for label in header if label not in _COLUMNS]
    return replace(requests, notes=(*requests.notes, *ignored_note(ignored, name)))


def write_requests(requests: RequestList, path: str | Path) -> None:
    """Write a CSV file that `read_requests` reads back to the last bit; gzip if it ends in `.gz`.

    Raises QdpemError for a name with blanks at its ends and for a file that cannot be written.
    """
    path = Path(path)
    for word in {*requests.source, *requests.destination, *requests.application} - {None}:
        if word != str(word).strip() or not word:
            raise QdpemError(f"a name is {word!r}; should not be empty, nor have blanks at its ends")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["time_s", "source", "destination", *OPTIONAL, "application"])
    for row in zip(
        requests.time_s.tolist(),
        requests.source,
        requests.destination,
        requests.target_fidelity.tolist(),
        [value if np.isnan(value) else int(value) for value in requests.pairs],
        requests.patience_s.tolist(),
        requests.application,
        strict=True,
    ):
        writer.writerow(["" if isinstance(cell, float) and math.isnan(cell) else cell for cell in row])
    content = text.getvalue().encode()
    try:
        path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    except OSError as error:
        raise QdpemError(f"{path} cannot be written: {error.strerror or error}") from error

"""The recorder: where event rows go. In memory here; `records` streams the same rows to HDF5."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qdpem.events.tables import TABLES, Columns, Table, Tables

Row = tuple[Any, ...]

_TURNED_ROWS = 512
"""Turned into columns together: every column goes through them anew, so the cache should hold them."""


class Recorder(Protocol):
    """What the simulation needs of a recorder. MUST keep rows in the order given."""

    def appender(self, table: Table) -> Callable[[Row], None]:
        """A function that takes one row of `table`, in column order; a no-op for a table not kept."""

    def policy_outputs(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        """What a policy noted for the sites just asked: first axis as the last rows of `decisions`."""

    def tick(self, time_s: float) -> None:
        """Called once per simulated second: rows given so far may be written out."""


class MemoryRecorder:
    """Keeps every row in memory; `tables()` gives columns as arrays."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = {table.name: [] for table in TABLES}
        self.outputs: list[dict[str, NDArray[Any]]] = []

    def appender(self, table: Table) -> Callable[[Row], None]:
        return self._rows[table.name].append

    def policy_outputs(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        self.outputs.append(dict(outputs))

    def tick(self, time_s: float) -> None:
        pass

    def tables(self) -> Tables:
        """Table name -> column name -> array, all tables, empty ones too."""
        return {table.name: columns_of(table, self._rows[table.name]) for table in TABLES}


def columns_of(table: Table, rows: list[Row]) -> Columns:
    """Rows of one table as one array per column, with the table's types."""
    columns = {column.name: np.empty(len(rows), dtype=column.dtype) for column in table.columns}
    for first in range(0, len(rows), _TURNED_ROWS):
        part = rows[first : first + _TURNED_ROWS]
        for column, values in zip(columns.values(), zip(*part, strict=True), strict=True):
            column[first : first + len(part)] = values
    return columns

"""Recorders take the event rows of a run: in memory here, into an HDF5 file in `records`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qdpem.events.tables import TABLES, TEXT, Column, Columns, Table, Tables, kept_at
from qdpem.scenario.words import RecordLevel

Row = tuple[Any, ...]
"""The values of one row, in the order of the columns. `named_row` makes one from named values."""

_ROWS_PER_PASS = 512
"""Rows converted together. Each column passes over all of them, so the processor's cache should hold them."""


class Recorder(Protocol):
    """Takes the rows of a simulation. A recorder MUST keep them in the order given."""

    def wants(self, table: Table) -> bool:
        """Whether rows of `table` are wanted; those of a table of level "full" are not made otherwise."""

    def appender(self, table: Table) -> Callable[[Row], None]:
        """A function that takes one row of `table`, as `named_row` makes it."""

    def policy_outputs(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Take the outputs of a policy for the sites just asked, one row for each of the last `decisions`."""

    def tick(self, time_s: float) -> None:
        """Called once per simulated second, when the rows given so far may be written out."""


class MemoryRecorder:
    """Keeps the rows of all tables of a record of this level, and the outputs of a policy, in memory.

    Raises ValueError for a word that is no level.
    """

    def __init__(self, level: RecordLevel | str = RecordLevel.EVENTS) -> None:
        levels = [item.value for item in RecordLevel]
        if level not in levels:
            raise ValueError(f"the record level is {level!r}; it must be one of {', '.join(levels)}")
        self._level = RecordLevel(level)
        self._rows: dict[str, list[Row]] = {table.name: [] for table in TABLES}
        self.outputs: list[dict[str, NDArray[Any]]] = []

    def wants(self, table: Table) -> bool:
        return self._level.at_least(table.level)

    def appender(self, table: Table) -> Callable[[Row], None]:
        # The bound method of the list: a row costs no call of Python code.
        return self._rows[table.name].append

    def policy_outputs(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        self.outputs.append(dict(outputs))

    def tick(self, time_s: float) -> None:
        pass

    def tables(self) -> Tables:
        """All tables of its level recorded so far, including empty ones."""
        return {table.name: columns_of(table, self._rows[table.name]) for table in kept_at(self._level)}


def named_row(table: Table) -> Callable[..., Row]:
    """A function that takes the values of a row by the names of their columns, and puts them in order.

    It raises TypeError for a column that is missing or that the table does not have.

    >>> from qdpem.events.tables import FORECASTS
    >>> named_row(FORECASTS)(node=3, step=1, mean=0.5, time_s=2.0)
    (2.0, 3, 1, 0.5)
    """
    names = ", ".join(table.names)
    # Compiled, as the standard library compiles the constructors of its named tuples. A named tuple itself
    # would take several times as long at every row, and the garbage collector would visit it for ever.
    make: Callable[..., Row] = eval(f"lambda *, {names}: ({names},)")
    return make


def columns_of(table: Table, rows: list[Row]) -> Columns:
    """The rows of one table as one array per column, with the types of the table."""
    columns = {column.name: np.empty(len(rows), dtype=_array_type(column)) for column in table.columns}
    for first in range(0, len(rows), _ROWS_PER_PASS):
        part = rows[first : first + _ROWS_PER_PASS]
        # `zip(*part)` turns rows into columns; numpy then converts each column in one call.
        for array, values in zip(columns.values(), zip(*part, strict=True), strict=True):
            array[first : first + len(part)] = values
    for column in table.columns:
        if column.dtype == TEXT:
            # Now that all are known, numpy can choose the width of the longest.
            columns[column.name] = columns[column.name].astype(np.str_)
    return columns


def _array_type(column: Column) -> str:
    return "object" if column.dtype == TEXT else column.dtype

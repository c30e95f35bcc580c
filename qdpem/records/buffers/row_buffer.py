"""The rows of one table that have not been written out yet."""

from __future__ import annotations

import numpy as np

from qdpem.events.recorder import Row, columns_of
from qdpem.events.tables import Columns, Table

_MIN_ROWS_TO_CONVERT = 512
"""Fewer rows save little memory as columns."""


class RowBuffer:
    """Takes new rows in `rows` and keeps older ones as columns, which need a fraction of the memory."""

    def __init__(self, table: Table) -> None:
        self.rows: list[Row] = []
        self._table = table
        self._parts: list[Columns] = []
        self._converted_rows = 0

    def __len__(self) -> int:
        return self._converted_rows + len(self.rows)

    def settle(self) -> None:
        """Convert the rows to columns if there are many, while the processor's cache still holds them."""
        if len(self.rows) >= _MIN_ROWS_TO_CONVERT:
            self._convert()

    def columns(self) -> Columns:
        """All rows as one array per column. The rows stay until `clear`."""
        self._convert()
        return {name: np.concatenate([part[name] for part in self._parts]) for name in self._table.names}

    def clear(self) -> None:
        """Drop all rows, which have been written."""
        self._parts.clear()
        self.rows.clear()
        self._converted_rows = 0

    def _convert(self) -> None:
        self._parts.append(columns_of(self._table, self.rows))
        self._converted_rows += len(self.rows)
        # Emptied in place, because recorders hold the `append` of this very list.
        self.rows.clear()

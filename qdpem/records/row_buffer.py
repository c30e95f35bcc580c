"""Rows of one table that wait to be written out."""

from __future__ import annotations

import numpy as np

from qdpem.events.recorder import Row, columns_of
from qdpem.events.tables import Columns, Table

_WORTH_TURNING = 512
"""Rows; of fewer, columns take hardly less."""


class RowBuffer:
    """New rows go to `rows`; those of before are kept as columns, which take a fraction of the room."""

    def __init__(self, table: Table) -> None:
        self.rows: list[Row] = []
        self._table = table
        self._parts: list[Columns] = []
        self._turned = 0

    def __len__(self) -> int:
        return self._turned + len(self.rows)

    def settle(self) -> None:
        """Turn the rows into columns, if they are many: while the processor's cache still holds them."""
        if len(self.rows) >= _WORTH_TURNING:
            self._turn()

    def columns(self) -> Columns:
        """All rows as one array per column; they stay until `clear`."""
        self._turn()
        return {name: np.concatenate([part[name] for part in self._parts]) for name in self._table.names}

    def clear(self) -> None:
        """The rows are written: let them go."""
        self._parts.clear()
        self.rows.clear()
        self._turned = 0

    def _turn(self) -> None:
        self._parts.append(columns_of(self._table, self.rows))
        self._turned += len(self.rows)
        self.rows.clear()

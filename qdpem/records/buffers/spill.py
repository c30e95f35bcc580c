"""Tables that a record leaves out, kept in unnamed files until its metrics are computed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from qdpem.events.recorder import columns_of
from qdpem.events.tables import Columns, Table


class Spill:
    """Blocks of rows on disk, in `directory`, so that unrecorded rows do not fill the memory.

    The files have no names, so the system deletes them when the process ends, even when it is killed.
    """

    def __init__(self, tables: Sequence[Table], *, directory: Path) -> None:
        self._tables = {table.name: table for table in tables}
        self._files: dict[str, IO[bytes]] = {}
        self._directory = directory

    def __contains__(self, name: str) -> bool:
        return name in self._tables

    def add(self, name: str, block: Columns) -> None:
        """Write one block of rows of the table `name`. Raises OSError when that fails."""
        if name not in self._files:
            self._files[name] = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115
        file = self._files[name]
        # `read` leaves the position elsewhere.
        file.seek(0, os.SEEK_END)
        for column in self._tables[name].names:
            np.save(file, block[column], allow_pickle=False)
        # Now, so that a full disk is noticed at this block.
        file.flush()

    def read(self, name: str) -> Columns:
        """All rows of the table `name` so far, as one array per column."""
        table = self._tables[name]
        # The empty part gives the columns their types when there are no blocks.
        parts = [*self._blocks(table), columns_of(table, [])]
        return {column: np.concatenate([part[column] for part in parts]) for column in table.names}

    def close(self) -> None:
        """Delete all rows."""
        for file in self._files.values():
            file.close()

    def _blocks(self, table: Table) -> Iterator[Columns]:
        file = self._files.get(table.name)
        if file is None:
            return
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        while file.tell() < end:
            # Arrays follow each other in the file, each with its own header, as `add` wrote them.
            yield {name: np.load(file, allow_pickle=False) for name in table.names}

"""The journal of one run: locked from its first byte to its last, and only ever appended to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.file_lock import open_locked
from qdpem.records.journal.contents import END, FILE, FLUSH, HEADER, OUTPUTS, ROWS
from qdpem.records.journal.frames import MAGIC, encode


def journal_path(record: Path) -> Path:
    """Where the journal of a record is: beside it, with ".journal" after its name."""
    return record.with_name(f"{record.name}.journal")


class Journal:
    """A new journal at `path`, for this process alone until `close`.

    Methods raise OSError when the disk is full; what was written before that stays. Raises HeldError when
    another process holds the journal, and FileExistsError when a run that was killed has left one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = open_locked(path)
        if os.fstat(self._descriptor).st_size:
            self.close()
            raise FileExistsError(path)
        self._end = 0

    def begin(
        self, attributes: Mapping[str, Any], provenance: Mapping[str, Any], tables: tuple[str, ...]
    ) -> None:
        """Write what the record says of itself, and the names of its tables."""
        header = {"attributes": attributes, "provenance": provenance, "tables": tables}
        self._append([MAGIC, encode(HEADER, header, {})])

    def flush(
        self,
        tables: Mapping[str, Mapping[str, NDArray[Any]]],
        outputs: Mapping[str, NDArray[Any]],
        *,
        time_s: float,
    ) -> None:
        """Write rows of tables, and of the policy outputs, as recorded until `time_s`."""
        frames = [
            encode(ROWS, {"table": name, "rows": _rows(columns)}, columns) for name, columns in tables.items()
        ]
        if outputs:
            frames.append(encode(OUTPUTS, {"rows": _rows(outputs)}, outputs))
        self._append([*frames, encode(FLUSH, {"time_s": time_s}, {})])

    def embed(self, name: str, data: bytes) -> None:
        """Write a file."""
        self._append([encode(FILE, {"name": name}, {name: np.frombuffer(data, dtype=np.uint8)})])

    def end(self, metrics: Mapping[str, float], wall: Mapping[str, float]) -> None:
        """Write the metrics and the wall-clock figures: the run has come to its end."""
        values = np.array(list(metrics.values()), dtype=np.float64)
        facts = {
            "metrics": list(metrics),
            "wall": {name: np.asarray(value).item() for name, value in wall.items()},
        }
        self._append([encode(END, facts, {"value": values})])

    @property
    def descriptor(self) -> int:
        """The open file."""
        return self._descriptor

    def close(self) -> None:
        """Close the file, which frees the lock."""
        os.close(self._descriptor)

    def _append(self, parts: list[bytes]) -> None:
        """Write the parts behind the last flush; if that fails, the file is as it was before.

        The bytes go to the operating system, which outlives a killed process. Without fsync a power cut may
        lose them.
        """
        place, view = self._end, memoryview(b"".join(parts))
        try:
            while view:
                written = os.pwrite(self._descriptor, view, place)
                place, view = place + written, view[written:]
        except OSError:
            # Half a flush would be ignored by readers, but its bytes may be what the disk lacks.
            os.ftruncate(self._descriptor, self._end)
            raise
        self._end = place


def _rows(columns: Mapping[str, NDArray[Any]]) -> int:
    return len(next(iter(columns.values())))

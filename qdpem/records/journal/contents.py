"""What a journal holds: the header of its record, rows, policy outputs, files, and metrics at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.records.journal.frames import Frame, frames, is_cut_short

HEADER, ROWS, OUTPUTS, FILE, FLUSH, END = "header", "rows", "outputs", "file", "flush", "end"
_COMMITS = (HEADER, FILE, FLUSH, END)
"""The frames after which all that stands before them counts: a flush is kept whole or not at all."""

_EMPTY = {"f": np.nan, "i": -1, "u": 0}


@dataclass(eq=False)
class Contents:
    """What stands in the open journal `descriptor` up to its last whole flush.

    `attributes`, `provenance`: those of the record. `tables`: name -> frames of its rows. `outputs`: frames
    of policy outputs. `files`: name -> frame. `metrics` is None unless the run was `complete`. `end` is the
    byte after the last whole flush. If bytes follow it, `provenance` has their number: as `torn_bytes` if
    they are the beginning of a flush that a kill cut short, else as `damaged_bytes`, and `damaged` is True.
    """

    descriptor: int
    attributes: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[Frame]] = field(default_factory=dict)
    outputs: list[Frame] = field(default_factory=list)
    files: dict[str, Frame] = field(default_factory=dict)
    metrics: dict[str, float] | None = None
    end: int = 0
    damaged: bool = False

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return self.metrics is not None

    @property
    def rows(self) -> int:
        """The number of rows of all tables."""
        return sum(frame.facts["rows"] for table in self.tables.values() for frame in table)

    def column(self, table: str, name: str, *, dtype: str) -> NDArray[Any]:
        """One column of a table, all rows."""
        parts = [frame.read(self.descriptor, name) for frame in self.tables.get(table, [])]
        return np.concatenate([*parts, np.empty(0, dtype=dtype)])

    def output(self, name: str) -> NDArray[Any]:
        """One policy output, a row for each row of `decisions`."""
        return np.concatenate(list(output_parts(self.outputs, name, self.descriptor)))

    def output_names(self) -> tuple[str, ...]:
        """The names of the policy outputs, in the order in which they first came."""
        return tuple(dict.fromkeys(name for frame in self.outputs for name in frame.names))

    def file(self, name: str) -> NDArray[Any]:
        """The bytes of an embedded file."""
        return self.files[name].read(self.descriptor, name)


def output_parts(outputs: list[Frame], name: str, descriptor: int) -> Iterator[NDArray[Any]]:
    """The rows of one policy output, a part for each frame; empty values where it had not come yet."""
    dtype, shape = next(
        (dtype, shape) for frame in outputs for known, dtype, shape in frame.layout if known == name
    )
    empty = empty_value(np.dtype(dtype))
    for frame in outputs:
        if name in frame.names:
            yield frame.read(descriptor, name)
        else:
            yield np.full((frame.facts["rows"], *shape[1:]), empty, dtype=dtype)


def empty_value(dtype: np.dtype[Any]) -> float:
    """What a decision without an output gets: NaN, or -1 for an integer, or 0 for an unsigned one."""
    return _EMPTY[dtype.kind]


def read_contents(descriptor: int) -> Contents | None:
    """The contents of the open journal `descriptor`; None if not even its header is whole."""
    contents = Contents(descriptor)
    pending: list[Frame] = []
    # Before it is read: a writer at work makes it longer, and what it adds meanwhile is no damage.
    size, whole = os.fstat(descriptor).st_size, 0
    for frame in frames(descriptor):
        pending.append(frame)
        whole = frame.end
        if frame.kind in _COMMITS:
            for waiting in pending:
                _add(contents, waiting)
            pending.clear()
            contents.end = frame.end
    contents.damaged = not is_cut_short(descriptor, start=whole, size=size)
    if left_out := os.fstat(descriptor).st_size - contents.end:
        contents.provenance["damaged_bytes" if contents.damaged else "torn_bytes"] = left_out
    return contents if contents.attributes else None


def _add(contents: Contents, frame: Frame) -> None:
    facts = frame.facts
    if frame.kind == HEADER:
        contents.attributes, contents.provenance = dict(facts["attributes"]), dict(facts["provenance"])
        contents.tables = {name: [] for name in facts["tables"]}
    elif frame.kind == ROWS:
        contents.tables[facts["table"]].append(frame)
    elif frame.kind == OUTPUTS:
        contents.outputs.append(frame)
    elif frame.kind == FILE:
        contents.files[facts["name"]] = frame
    elif frame.kind == FLUSH:
        contents.provenance["written_until_s"] = facts["time_s"]
    else:
        contents.metrics = _metrics(frame, contents.descriptor)
        contents.provenance |= facts["wall"]


def _metrics(frame: Frame, descriptor: int) -> dict[str, float]:
    return dict(zip(frame.facts["metrics"], frame.read(descriptor, "value").tolist(), strict=True))

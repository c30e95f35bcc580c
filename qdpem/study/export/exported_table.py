"""A table to be written: its columns with their units, its rows in blocks, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

from qdpem.events.tables import Column

Block: TypeAlias = Mapping[str, NDArray[Any]]
"""Some rows of a table: an array for each column, codes as codes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedTable:
    """A table of a record, or of all records of a study.

    `blocks()` gives its rows from the first on, in one block for each record, so that a study need not fit
    into memory. `facts` are its provenance, written into every file.
    """

    name: str
    columns: tuple[Column, ...]
    blocks: Callable[[], Iterator[Block]]
    facts: Mapping[str, str]


def words_of(column: Column, values: NDArray[Any]) -> list[Any]:
    """The values as Python objects, codes as their words; "" for a code without one."""
    # Python floats: their text is the shortest that reads back to the same bits.
    items: list[Any] = values.tolist()
    if not column.words:
        return items
    return [column.words[code] if 0 <= code < len(column.words) else "" for code in items]

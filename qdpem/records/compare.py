"""Compares the data of two records bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.records.reader import open_file
from qdpem.records.schema import CHUNK_ROWS

_BLOCK_CHUNKS = 16
_MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first place where a data set of two records differs.

    `table` is the group, such as "claims", and `column` the data set in it; where a row has several numbers,
    the place follows in brackets ("features[3,1]"). `row` is -1 if the data sets differ as a whole: one is
    missing, or has another type or number of rows. `first` and `second` are the two values, codes as words.
    """

    table: str
    column: str
    row: int
    first: str
    second: str

    @property
    def data_set(self) -> str:
        """The path of the column in the file."""
        return f"{self.table}/{self.column.partition('[')[0]}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How many data sets and values were compared, and the first difference of each that differs."""

    data_sets: int
    values: int
    differences: tuple[Difference, ...]


def differing_data_sets(path_a: str | Path, path_b: str | Path) -> list[str]:
    """The data sets that differ in name, type, shape or any bit (NaN equals the same NaN), ascending.

    Attributes are not compared, because wall-clock figures, dates and facts about the machine are attributes.
    Two runs of one scenario, arm and seed therefore give []. Raises RecordError for a file that is no record.
    """
    found = compare_records(path_a, path_b).differences
    return sorted({difference.data_set for difference in found})


def compare_records(
    path_a: str | Path,
    path_b: str | Path,
    *,
    left_out: frozenset[str] = frozenset(),
    prefix: bool = False,
    extra: bool = True,
) -> Comparison:
    """Compare all data sets of two records, bit for bit, in the order in which they stand in the first.

    Args:
        path_a: the first record.
        path_b: the second record.
        left_out: groups that are not compared.
        prefix: whether the second may have more rows than the first, which a run that stopped wrote.
        extra: whether a data set that only the second has is a difference.

    Raises RecordError for a file that is no record.
    """
    with open_file(Path(path_a)) as file_a, open_file(Path(path_b)) as file_b:
        sets_a, sets_b = (
            {name: data for name, data in _data_sets(file) if name.partition("/")[0] not in left_out}
            for file in (file_a, file_b)
        )
        found: list[Difference] = []
        for name in sets_a:
            if (difference := _difference(name, sets_a[name], sets_b.get(name), prefix=prefix)) is not None:
                found.append(difference)
        if extra and not prefix:
            found += [_whole(name, _MISSING, "present") for name in sets_b if name not in sets_a]
        values = sum(int(np.prod(data.shape)) for data in sets_a.values())
    order = {name: place for place, name in enumerate(sets_a)}
    found.sort(key=lambda difference: order.get(difference.data_set, len(order)))
    return Comparison(data_sets=len(sets_a), values=values, differences=tuple(found))


def _data_sets(file: Any) -> Iterator[tuple[str, Any]]:
    """Every data set with its path, in the order in which the tables of a record stand."""
    data_sets: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        # Groups have no dtype. `visititems` goes on as long as this function returns None.
        if hasattr(item, "dtype"):
            data_sets[name] = item

    file.visititems(visit)
    yield from data_sets.items()


def _difference(name: str, first: Any, second: Any, *, prefix: bool) -> Difference | None:
    if second is None:
        return _whole(name, "present", _MISSING)
    if first.dtype != second.dtype:
        return _whole(name, f"type {first.dtype}", f"type {second.dtype}")
    if first.shape[1:] != second.shape[1:] or first.ndim != second.ndim:
        return _whole(name, f"shape {first.shape}", f"shape {second.shape}")
    if first.ndim == 0:
        # Bytes, because NaN differs from itself and 0.0 equals -0.0.
        same = first[()].tobytes() == second[()].tobytes()
        return None if same else _whole(name, _text(first, first[()]), _text(second, second[()]))
    if (difference := _first_row(name, first, second)) is not None:
        return difference
    if len(second) < len(first) or (len(second) > len(first) and not prefix):
        return _whole(name, f"{len(first)} rows", f"{len(second)} rows")
    return None


def _first_row(name: str, first: Any, second: Any) -> Difference | None:
    """The first row in which two data sets of one type differ, among those that both have."""
    rows = min(len(first), len(second))
    # Whole chunks, so that none is decompressed twice.
    step = _BLOCK_CHUNKS * (first.chunks[0] if first.chunks else CHUNK_ROWS)
    for start in range(0, rows, step):
        ours, theirs = first[start : min(start + step, rows)], second[start : min(start + step, rows)]
        if _bits(ours) == _bits(theirs):
            continue
        row, *place = _first_place(ours, theirs)
        table, _, column = name.rpartition("/")
        brackets = f"[{','.join(map(str, place))}]" if place else ""
        index = (row, *place)
        return Difference(
            table=table,
            column=column + brackets,
            row=start + row,
            first=_text(first, ours[index]),
            second=_text(second, theirs[index]),
        )
    return None


def _bits(values: NDArray[Any]) -> object:
    # The bytes of an array of objects, which text is, are addresses.
    return values.tolist() if values.dtype.kind == "O" else values.tobytes()


def _first_place(ours: NDArray[Any], theirs: NDArray[Any]) -> tuple[int, ...]:
    """The index of the first element whose bits differ."""
    if ours.dtype.kind == "O":
        unlike = ours != theirs
    else:
        size = ours.dtype.itemsize
        bits_a, bits_b = (
            np.ascontiguousarray(values).view(np.uint8).reshape(*values.shape, size)
            for values in (ours, theirs)
        )
        unlike = (bits_a != bits_b).any(axis=-1)
    return tuple(int(place) for place in np.argwhere(unlike)[0])


def _text(data: Any, value: Any) -> str:
    """A value as a reader knows it: a code as its word, and a number with all its digits."""
    words = data.attrs.get("words")
    if words is not None and 0 <= value < len(words):
        return str(words[value])
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value.item() if isinstance(value, np.generic) else value)


def _whole(name: str, first: str, second: str) -> Difference:
    table, _, column = name.rpartition("/")
    return Difference(table=table, column=column, row=-1, first=first, second=second)

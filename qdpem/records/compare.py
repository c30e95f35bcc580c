"""Compares the data of two records bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from qdpem.records.reader import open_file
from qdpem.records.schema import CHUNK_ROWS


def differing_data_sets(path_a: str | Path, path_b: str | Path) -> list[str]:
    """The data sets that differ in name, type, shape or any bit (NaN equals the same NaN), ascending.

    Attributes are not compared, because wall-clock figures, dates and facts about the machine are attributes.
    Two runs of one scenario, arm and seed therefore give []. Raises RecordError for a file that is no record.
    """
    with open_file(Path(path_a)) as file_a, open_file(Path(path_b)) as file_b:
        sets_a, sets_b = _data_sets(file_a), _data_sets(file_b)
        names = sorted(sets_a.keys() | sets_b.keys())
        return [
            name
            for name in names
            if name not in sets_a or name not in sets_b or not _same(sets_a[name], sets_b[name])
        ]


def _data_sets(file: Any) -> dict[str, Any]:
    data_sets: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        # Groups have no dtype. `visititems` goes on as long as this function returns None.
        if hasattr(item, "dtype"):
            data_sets[name] = item

    file.visititems(visit)
    return data_sets


def _same(first: Any, second: Any) -> bool:
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    if first.ndim == 0:
        # Bytes, because NaN differs from itself and 0.0 equals -0.0.
        return bool(first[()].tobytes() == second[()].tobytes())
    # Whole chunks, so that none is decompressed twice.
    step = 16 * (first.chunks[0] if first.chunks else CHUNK_ROWS)
    return all(
        _bits(first[row : row + step]) == _bits(second[row : row + step])
        for row in range(0, len(first), step)
    )


def _bits(values: NDArray[Any]) -> object:
    # The bytes of an array of objects, which text is, are addresses.
    return values.tolist() if values.dtype.kind == "O" else values.tobytes()

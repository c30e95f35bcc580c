"""Whether two records hold the same data, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qdpem.records.reader import open_file
from qdpem.records.schema import CHUNK_ROWS


def differing_data_sets(path_a: str | Path, path_b: str | Path) -> list[str]:
    """The data sets that differ in name, type, shape or any bit (NaN equals the same NaN), ascending.

    Attributes are not compared: wall-clock figures, dates and host facts live there and nowhere else, so
    two runs of one scenario, arm and seed give []. Raises RecordError for a file that is no record.
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
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if hasattr(item, "dtype"):
            found[name] = item

    file.visititems(visit)
    return found


def _same(one: Any, other: Any) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.ndim == 0:
        return bool(one[()].tobytes() == other[()].tobytes())
    step = 16 * (one.chunks[0] if one.chunks else CHUNK_ROWS)
    return all(
        one[first : first + step].tobytes() == other[first : first + step].tobytes()
        for first in range(0, len(one), step)
    )

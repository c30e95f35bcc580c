"""Rows of unlike length, such as paths and sets of nodes, as one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_NOTHING = -1


def padded(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """The rows, whole numbers of 0 or more, one below the other, int64 [R, W] with -1 after the end of each.

    >>> padded([(1, 2), (3,)]).tolist()
    [[1, 2], [3, -1]]
    """
    found = np.full((len(rows), max(map(len, rows), default=0)), _NOTHING, dtype=np.int64)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found


def unpadded(rows: NDArray[np.int64]) -> list[tuple[int, ...]]:
    """The rows that `padded` put together.

    >>> unpadded(padded([(1, 2), (), (3,)]))
    [(1, 2), (), (3,)]
    """
    return [tuple(one for one in row if one != _NOTHING) for row in rows.tolist()]

"""Rows of different lengths, such as paths and sets of nodes, as one padded array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qdpem.arrays import Ints

_PADDING = -1


def padded(rows: Sequence[Sequence[int]]) -> Ints:
    """The rows of nonnegative integers as an array int64 [R, W], with -1 after the end of each.

    >>> padded([(1, 2), (3,)]).tolist()
    [[1, 2], [3, -1]]
    """
    array = np.full((len(rows), max(map(len, rows), default=0)), _PADDING, dtype=np.int64)
    for index, row in enumerate(rows):
        array[index, : len(row)] = row
    return array


def unpadded(rows: Ints) -> list[tuple[int, ...]]:
    """The rows of an array that `padded` made.

    >>> unpadded(padded([(1, 2), (), (3,)]))
    [(1, 2), (), (3,)]
    """
    return [tuple(value for value in row if value != _PADDING) for row in rows.tolist()]

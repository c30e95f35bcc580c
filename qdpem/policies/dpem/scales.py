"""Scales that map any quantity to about -1 to 1, the same for every network, so that none is learned."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from qdpem.arrays import Floats

Number = TypeVar("Number", float, Floats)


def saturate(value: Number) -> Number:
    """x / (1 + x), which maps [0, inf) onto [0, 1).

    >>> saturate(3.0)
    0.75
    """
    return value / (1.0 + value)


def share(part: Number, other: Number) -> Number:
    """part / (part + other) of two amounts that are not negative: 1/2 where both are equal.

    >>> share(1.0, 3.0)
    0.25
    """
    # 1e-9 only avoids 0 / 0.
    return part / (part + other + 1e-9)


def finite(value: Floats) -> Floats:
    """The value, or 0 where it is not finite because the site has not heard it."""
    return np.where(np.isfinite(value), value, 0.0)

"""What the fields of hardware are asked when it is built: type and range, or a sentence. NumPy only."""

from __future__ import annotations

import math
import operator
from dataclasses import fields
from typing import Any, Final

import numpy as np

LEAST_LIFETIME: Final = 1e-100
"""The least decay constant, in seconds or attempts: rates above its inverse would overflow when used."""


def require(holds: bool, name: str, value: object, allowed: str) -> None:
    """Raise ValueError, naming the argument, its value and what is allowed, unless it `holds`."""
    if not holds:
        raise ValueError(f"{name} is {value!r}; it must be {allowed}")


def take_floats(part: Any) -> None:
    """Ask each field of `part` declared as a float to be a real number, and make Python's of NumPy's.

    Raises ValueError for anything else, truth values, text and None included.
    """
    for item in fields(part):
        if item.type == "float":
            value = getattr(part, item.name)
            object.__setattr__(part, item.name, as_float(item.name, value))


def as_float(name: str, value: object) -> float:
    """`value` as a float, or an int as it is; ValueError for what is no real number or too large a one."""
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    require(real, name, value, "a number")
    try:
        number = float(value)  # type: ignore[arg-type]  # it is real
    except OverflowError:
        raise ValueError(f"{name} has {len(str(value))} digits; it must be a number below 1.8e308") from None
    return value if type(value) is int else number


def take_whole(part: Any, name: str, allowed: str, *, most: float = math.inf) -> None:
    """Make an int of field `name`; raises ValueError for what is no whole number from 1 to `most`."""
    value = getattr(part, name)
    require(not isinstance(value, bool) and hasattr(value, "__index__"), name, value, allowed)
    whole = operator.index(value)
    require(1 <= whole <= most, name, value, allowed)
    object.__setattr__(part, name, whole)


def require_probability(name: str, value: float) -> None:
    """From 0 to 1."""
    require(0.0 <= value <= 1.0, name, value, "between 0 and 1")


def require_chance(name: str, value: float) -> None:
    """A probability of something that can happen."""
    require(0.0 < value <= 1.0, name, value, "above 0 and at most 1")


def require_amount(name: str, value: float) -> None:
    """0 or more, and finite."""
    require(0.0 <= value < math.inf, name, value, "0 or more, and finite")


def require_lifetime(name: str, value: float) -> None:
    """A decay constant; inf for none."""
    require(value > 0.0, name, value, "above 0 (inf: no decay)")
    require(value >= LEAST_LIFETIME, name, value, f"{LEAST_LIFETIME:g} or more (inf: no decay)")


def require_kind(kind: str, right: str) -> None:
    """The `kind` that names the class in scenario files."""
    require(kind == right, "kind", kind, repr(right))


def require_instance(name: str, value: object, kind: type) -> None:
    """An instance of the class `kind`."""
    require(isinstance(value, kind), name, value, f"a {kind.__name__}")

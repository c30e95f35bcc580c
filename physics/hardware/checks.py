"""Checks of hardware fields when it is built: type and range, or a ValueError that says both. NumPy only."""

from __future__ import annotations

import math
import operator
from dataclasses import fields
from typing import Any, Final

import numpy as np

MIN_LIFETIME: Final = 1e-100
"""The smallest decay constant, in seconds or attempts: rates above its inverse would overflow when used."""


def require(holds: bool, name: str, value: object, allowed: str) -> None:
    """Raise ValueError with the argument's name, its value and the allowed values, unless `holds`."""
    if not holds:
        raise ValueError(f"{name} is {value!r}; it must be {allowed}")


def take_floats(part: Any) -> None:
    """Convert every field of `part` that is declared as a float from a NumPy number to a Python one.

    Raises ValueError for anything but a real number; booleans, text and None are refused too.
    """
    for item in fields(part):
        # Annotations are text in modules that import `annotations` from __future__.
        if item.type == "float":
            value = getattr(part, item.name)
            # The classes are frozen; this is part of building them.
            object.__setattr__(part, item.name, as_float(item.name, value))


def as_float(name: str, value: object) -> float:
    """`value` as a float; an int stays an int. Raises ValueError unless it is a real number below 1.8e308."""
    is_real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    require(is_real, name, value, "a number")
    try:
        number = float(value)  # type: ignore[arg-type]  # checked to be real
    except OverflowError:
        raise ValueError(f"{name} has {len(str(value))} digits; it must be a number below 1.8e308") from None
    return value if type(value) is int else number


def take_integer(part: Any, name: str, allowed: str, *, maximum: float = math.inf) -> None:
    """Convert the field `name` to an int. Raises ValueError unless it is whole, from 1 to `maximum`."""
    value = getattr(part, name)
    # `__index__` admits the integers of NumPy and refuses floats; booleans have it too.
    require(not isinstance(value, bool) and hasattr(value, "__index__"), name, value, allowed)
    whole = operator.index(value)
    require(1 <= whole <= maximum, name, value, allowed)
    object.__setattr__(part, name, whole)


def require_probability(name: str, value: float) -> None:
    """Raise ValueError unless `value` is between 0 and 1."""
    require(0.0 <= value <= 1.0, name, value, "between 0 and 1")


def require_positive_probability(name: str, value: float) -> None:
    """Raise ValueError unless `value` is above 0 and at most 1."""
    require(0.0 < value <= 1.0, name, value, "above 0 and at most 1")


def require_amount(name: str, value: float) -> None:
    """Raise ValueError unless `value` is 0 or more, and finite."""
    require(0.0 <= value < math.inf, name, value, "0 or more, and finite")


def require_lifetime(name: str, value: float) -> None:
    """Raise ValueError unless `value` is a decay constant of `MIN_LIFETIME` or more; inf: no decay."""
    require(value > 0.0, name, value, "above 0 (inf: no decay)")
    require(value >= MIN_LIFETIME, name, value, f"{MIN_LIFETIME:g} or more (inf: no decay)")


def require_kind(kind: str, expected: str) -> None:
    """Raise ValueError unless `kind` is `expected`, the name of the class in scenario files."""
    require(kind == expected, "kind", kind, repr(expected))


def require_instance(name: str, value: object, kind: type) -> None:
    """Raise ValueError unless `value` is an instance of `kind`."""
    require(isinstance(value, kind), name, value, f"a {kind.__name__}")

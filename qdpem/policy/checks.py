"""A rule that an implementation keeps or breaks, for the conformance checks of policies and forecasters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.errors import QdpemError


@dataclass(frozen=True, kw_only=True)
class Check:
    """One rule, whether the implementation keeps it, and the evidence."""

    rule: str
    passed: bool
    detail: str


class RuleViolationError(Exception):
    """A rule is broken; the message is the evidence."""


def run_check(rule: str, check: Callable[[], str]) -> Check:
    """Run `check`, which returns its evidence. An exception of the implementation breaks the rule."""
    try:
        return Check(rule=rule, passed=True, detail=check())
    except (RuleViolationError, QdpemError) as error:
        return Check(rule=rule, passed=False, detail=str(error))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return Check(rule=rule, passed=False, detail=f"raised {type(error).__name__}: {error}")


def require_same_arrays(
    first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]], subject: str
) -> None:
    """Raise RuleViolationError unless both hold the same names, dtypes, shapes and bytes."""
    if first.keys() != second.keys():
        raise RuleViolationError(f"{subject} differs: arrays {sorted(first)} and {sorted(second)}")
    for name, array in first.items():
        if not identical(array, second[name]):
            raise RuleViolationError(f"{subject} differs in array {name!r}")


def identical(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Whether dtype, shape and bytes are equal. NaN equals NaN, and 0.0 differs from -0.0.

    >>> identical(np.array([np.nan]), np.array([np.nan])), identical(np.array([0.0]), np.array([-0.0]))
    (True, False)
    """
    same_layout = first.dtype == second.dtype and first.shape == second.shape
    return same_layout and first.tobytes() == second.tobytes()


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Up to `wanted` indices spread over range(count), the first and the last among them.

    >>> evenly_spaced(9, 3)
    [0, 4, 8]
    """
    return sorted(set(np.linspace(0, count - 1, min(wanted, count)).astype(int).tolist()))

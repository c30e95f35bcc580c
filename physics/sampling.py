"""The rule by which every model turns a uniform `u` into a result, so that equal models choose alike.

Probabilities that differ only by rounding must not make two models choose differently. Thresholds are
therefore compared at twelve decimals: 1/4 stays 1/4 however it was summed up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from physics.interface import PROTOCOLS

_DECIMALS = 12
_NEAR = 1e-12
"""A threshold farther than this from `u` lies on the same side after rounding, so rounding is skipped."""

MIN_FORCED_PROBABILITY = 1e-9
"""An outcome at or below this probability cannot be forced."""

_INTEGERS = (int, np.integer)


def succeeds(u: float, probability: float) -> bool:
    """True when u < p. Raises ValueError for a `u` outside [0, 1)."""
    check_uniform(u)
    gap = probability - u
    return gap > _NEAR or (gap > -_NEAR and u < round(probability, _DECIMALS))


def choose(u: float, probabilities: Sequence[float]) -> int | None:
    """The first index whose cumulative probability is above `u`; None when `u` is not below their sum.

    Probabilities that sum to 1 up to rounding give an index for every `u` below 1.

    >>> choose(0.3, [0.25, 0.25, 0.25, 0.25])
    1
    """
    cumulative = 0.0
    for index, probability in enumerate(probabilities):
        cumulative += probability
        gap = cumulative - u
        if gap > _NEAR or (gap > -_NEAR and u < round(cumulative, _DECIMALS)):
            return index
    return None


def after_success(u: float, success_probability: float) -> float | None:
    """None when `u` means failure, else `u` rescaled: again uniform on [0, 1), for the next choice.

    Raises ValueError for a `u` outside [0, 1).
    """
    check_uniform(u)
    return u / success_probability if u < success_probability else None


def check_uniform(u: float) -> None:
    """Raise ValueError unless `u` lies in [0, 1)."""
    if not 0.0 <= u < 1.0:
        raise ValueError(f"u is {u!r}; it must be 0 or more and below 1: a uniform on [0, 1)")


def check_possible(outcome: int, probability: float) -> None:
    """Raise ValueError for an outcome that is too unlikely for the given states to be forced.

    At a probability below 1e-9 rounding errors would make up a noticeable part of the state.
    """
    if not probability > MIN_FORCED_PROBABILITY:
        raise ValueError(f"outcome {outcome} has probability {probability:.3g} here; it cannot be forced")


def check_outcome(outcome: int) -> None:
    """Raise ValueError unless `outcome` is an integer, 0, 1, 2 or 3."""
    # The integers of NumPy count. Booleans do not, although True is an int.
    is_whole = isinstance(outcome, _INTEGERS) and outcome is not True and outcome is not False
    if not (is_whole and 0 <= outcome <= 3):
        raise ValueError(f"outcome is {outcome!r}; it must be 0, 1, 2 or 3 (Phi+, Phi-, Psi+, Psi-)")


def check_duration(duration_s: float) -> None:
    """Raise ValueError unless `duration_s` is a finite number of 0 or more."""
    if not 0.0 <= duration_s < math.inf:
        raise ValueError(f"duration_s is {duration_s!r}; it must be 0 or more, and finite")


def check_attempts(attempts: tuple[float, float]) -> None:
    """Raise ValueError unless both counts are finite numbers of 0 or more."""
    if not (len(attempts) == 2 and all(0.0 <= count < math.inf for count in attempts)):
        raise ValueError(f"attempts are {attempts!r}; they must be two numbers of 0 or more, and finite")


def check_protocol(protocol: str) -> None:
    """Raise ValueError unless `protocol` is one that this package knows."""
    if protocol not in PROTOCOLS:
        known = " or ".join(map(repr, PROTOCOLS))
        raise ValueError(f"protocol is {protocol!r}; it must be {known}")

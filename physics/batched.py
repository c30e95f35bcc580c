"""Many pairs per call: `BatchedPhysicsModel`, which a physics model may offer on top of `PhysicsModel`.

A batch holds n pairs. All pairs of one call share their memories; each has its own duration and its own
number of attempts. A single number applies to every pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physics.hardware import Memory
from physics.interface import NO_ATTEMPTS, PhysicsModel

BatchedStates: TypeAlias = Any
"""n two-qubit states: a sequence of the model's own, or the return value of `age_many`."""

Floats: TypeAlias = NDArray[np.float64]

_BATCHED_FORM: Final[Mapping[str, str]] = MappingProxyType({"age": "age_many", "fidelity": "fidelity_many"})


@runtime_checkable
class BatchedPhysicsModel(PhysicsModel, Protocol):
    """A model with batched storage and fidelity. MUST give each pair the result of the single operation."""

    def age_many(
        self,
        states: BatchedStates,
        first: Memory | None,
        second: Memory | None,
        duration_s: ArrayLike,
        attempts: tuple[ArrayLike, ArrayLike] = NO_ATTEMPTS,
    ) -> BatchedStates:
        """Store both ends of each pair for its own duration.

        Args:
            states: n pairs.
            first: the memory at the first end of every pair; None for an end that does not decay.
            second: the memory at the second end.
            duration_s: seconds, one number or (n,).
            attempts: entangling attempts at the first and the second end's node, each one number or (n,).
        """

    def fidelity_many(self, states: BatchedStates) -> Floats:
        """<Phi+| rho |Phi+> of each pair, float64 (n,)."""


def batched(model: PhysicsModel) -> BatchedPhysicsModel | None:
    """`model` itself when its batched operations apply to it, else None.

    A class that derives from a batched model and overrides only `age` or only `fidelity` inherits a batched
    operation that ignores the override. Such a model is not batched. One that overrides `decay_of` of
    `PauliModel` is: both forms of its storage call that hook.

    >>> from physics.models.pauli import PauliModel
    >>> class Forgetful(PauliModel):
    ...     def age(self, state, first, second, duration_s, attempts=NO_ATTEMPTS):
    ...         return state
    >>> batched(PauliModel()) is None, batched(Forgetful()) is None
    (False, True)
    """
    if not isinstance(model, BatchedPhysicsModel):
        return None
    for single, many in _BATCHED_FORM.items():
        # The single operation is overridden nearer to the instance than its batched form.
        if _depth(model, single) < _depth(model, many):
            return None
    return model


def _depth(model: object, name: str) -> int:
    """The level of the class hierarchy that defines `name`: -1 the instance itself, 0 its own class."""
    if name in getattr(model, "__dict__", ()):
        return -1
    classes = type(model).__mro__
    # A delegating __getattr__ defines the name in no class, so anything that a class defines is nearer.
    return next((depth for depth, cls in enumerate(classes) if name in vars(cls)), len(classes))


def flat_tables(states: BatchedStates) -> Floats:
    """n Pauli tables as rows, float64 (n, 16). Raises ValueError unless they are real and (n, 4, 4)."""
    given = np.asarray(states)
    # The conversion below would drop imaginary parts with only a warning.
    if np.iscomplexobj(given):
        raise ValueError("states are complex; they must be real, (n, 4, 4): one Pauli table a pair")
    tables = given.astype(np.float64, copy=False)
    if tables.ndim != 3 or tables.shape[1:] != (4, 4):
        raise ValueError(f"states have shape {tables.shape}; they must be (n, 4, 4): one Pauli table a pair")
    return tables.reshape(len(tables), 16)


def amounts(name: str, values: ArrayLike, count: int) -> Floats:
    """`values` for each of `count` pairs, float64 (count,). Raises ValueError below 0 or not finite."""
    given = np.asarray(values)
    if given.shape not in ((), (count,)):
        raise ValueError(f"{name} has shape {given.shape}; it must be one number, or ({count},): one a pair")
    spread = np.broadcast_to(given, (count,)).astype(np.float64, copy=False)
    # NaN fails both comparisons.
    allowed = (spread >= 0.0) & (spread < np.inf)
    if not allowed.all():
        # The first False.
        pair = int(np.argmin(allowed))
        raise ValueError(
            f"{name} of pair {pair} is {spread[pair].item()!r}; it must be 0 or more, and finite"
        )
    return spread


def attempt_counts(attempts: tuple[ArrayLike, ArrayLike], count: int) -> tuple[Floats, Floats]:
    """The attempts at each end of every pair, float64 (count,) twice. Raises the errors of `amounts`."""
    try:
        first, second = attempts
    except (TypeError, ValueError):
        allowed = "two, one an end: each one number, or one a pair"
        raise ValueError(f"attempts are {attempts!r}; they must be {allowed}") from None
    return amounts("attempts[0]", first, count), amounts("attempts[1]", second, count)

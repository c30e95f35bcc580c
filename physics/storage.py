"""What two memories do to a Pauli table: T_first R T_second^T, compiled once. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from physics.hardware import DepolarisingMemory, Memory
from physics.states import PauliTable

LONGEST_S: Final = 1e200
"""Up to here no logarithm overflows, lifetimes being `checks.LEAST_LIFETIME` or more."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Storage:
    """Logarithms of what a second, and an attempt at either end's node, leave of each entry of a table.

    The arrays are float64 (4, 4) when no end relaxes. What an end loses to |0> shrinks as Z - I does; so
    when one relaxes, a table is first written in I, X, Y and Z - I by the matrix `shifted`, and turned back
    by `restored` at last: both float64 (16, 16), to the right of a flat table, and the arrays are flat too.
    """

    per_second: NDArray[np.float64]
    per_first_attempt: NDArray[np.float64]
    per_second_attempt: NDArray[np.float64]
    shifted: NDArray[np.float64] | None = None
    restored: NDArray[np.float64] | None = None

    def after(self, table: PauliTable, duration_s: float) -> PauliTable:
        """The table after `duration_s`, at most `LONGEST_S`; float64 (4, 4), read-only."""
        left: PauliTable = self.per_second * duration_s
        np.exp(left, left)
        if self.shifted is not None and self.restored is not None:
            return _turned(table, left, self.shifted, self.restored)
        left *= table
        left.setflags(False)  # type: ignore[call-arg]  # by its name it takes twice as long
        return left

    def after_all(self, table: PauliTable, duration_s: float, attempts: tuple[float, float]) -> PauliTable:
        """The table after any `duration_s` and `attempts`; float64 (4, 4), read-only."""
        # Logarithms may overflow to -inf, of which nothing is left, as of the true ones.
        with np.errstate(over="ignore"):
            left: PauliTable = self.per_second * duration_s
            left += attempts[0] * self.per_first_attempt
            left += attempts[1] * self.per_second_attempt
        np.exp(left, left)
        if self.shifted is not None and self.restored is not None:
            return _turned(table, left, self.shifted, self.restored)
        left *= table
        left.setflags(write=False)
        return left

    def after_each(
        self,
        tables: NDArray[np.float64],
        durations_s: NDArray[np.float64],
        attempts: Sequence[NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        """Flat tables (n, 16), each after its own duration (n,) and `attempts`: none, or (n,) an end."""
        per_attempt = (self.per_first_attempt, self.per_second_attempt)
        # Logarithms may overflow to -inf, as in `after_all`.
        with np.errstate(over="ignore"):
            left = np.multiply.outer(durations_s, self.per_second.ravel())
            for counts, logarithms in zip(attempts, per_attempt, strict=False):
                left += np.multiply.outer(counts, logarithms.ravel())
        np.exp(left, left)
        if self.shifted is None or self.restored is None:
            left *= tables
            return left
        left *= tables @ self.shifted
        aged: NDArray[np.float64] = left @ self.restored
        return aged


def _turned(
    table: PauliTable,
    left: NDArray[np.float64],
    shifted: NDArray[np.float64],
    restored: NDArray[np.float64],
) -> PauliTable:
    """What is `left` of each entry, by way of I, X, Y and Z - I."""
    left *= table.ravel().dot(shifted)
    aged: PauliTable = left.dot(restored).reshape(4, 4)
    aged.setflags(write=False)
    return aged


@dataclass(frozen=True, eq=False, kw_only=True)
class Decay:
    """Logarithms of what one second, and one entangling attempt at its node, leave of I, X, Y, Z of a qubit.

    Both float64 (4,), 0 for I. What `relaxes` loses its Z to |0> instead of to the mixed state.
    """

    per_second: NDArray[np.float64]
    per_attempt: NDArray[np.float64]
    relaxes: bool = False


def decay_of(memory: Memory | None) -> Decay:
    """What `memory` does to one stored qubit; None: nothing.

    >>> [float(x) for x in decay_of(DepolarisingMemory(depolarising_s=2.0)).per_second]
    [0.0, -0.5, -0.5, -0.5]
    """
    if memory is None:
        return Decay(per_second=np.zeros(4), per_attempt=np.zeros(4))
    if isinstance(memory, DepolarisingMemory):
        touched = np.array([0.0, -1.0, -1.0, -1.0])
        return Decay(
            per_second=touched / memory.depolarising_s, per_attempt=touched / memory.coherence_attempts
        )
    coherence = -1.0 / memory.dephasing_s
    return Decay(
        per_second=np.array([0.0, coherence, coherence, -1.0 / memory.relaxation_s]),
        per_attempt=np.array([0.0, -1.0, -1.0, 0.0]) / memory.coherence_attempts,
        relaxes=memory.relaxation_s < math.inf,
    )


def compile_storage(
    first: Memory | None, second: Memory | None, decay_of: Callable[[Memory | None], Decay] = decay_of
) -> Storage:
    """Storage at both ends; None: an end that does not decay. `decay_of` says what a memory does.

    >>> storage = compile_storage(DepolarisingMemory(depolarising_s=1.0), None)
    >>> round(float(storage.after(np.diag([1.0, 1.0, -1.0, 1.0]), 0.1)[3, 3]), 6)
    0.904837
    """
    at_first, at_second = decay_of(first), decay_of(second)
    nothing = np.zeros(4)
    per_second = np.add.outer(at_first.per_second, at_second.per_second)
    per_first_attempt = np.add.outer(at_first.per_attempt, nothing)
    per_second_attempt = np.add.outer(nothing, at_second.per_attempt)
    if not (at_first.relaxes or at_second.relaxes):
        return Storage(
            per_second=per_second,
            per_first_attempt=per_first_attempt,
            per_second_attempt=per_second_attempt,
        )
    return Storage(
        per_second=per_second.ravel(),
        per_first_attempt=per_first_attempt.ravel(),
        per_second_attempt=per_second_attempt.ravel(),
        shifted=_adding_to_z(at_first, at_second, -1.0),
        restored=_adding_to_z(at_first, at_second, 1.0),
    )


def _adding_to_z(first: Decay, second: Decay, share: float) -> NDArray[np.float64]:
    """Adds `share` of I to Z at each end that relaxes: float64 (16, 16), to the right of a flat table."""
    ends = np.array([np.eye(4), np.eye(4)])
    ends[:, 0, 3] = share * first.relaxes, share * second.relaxes
    both: NDArray[np.float64] = np.einsum("ik,jl->ijkl", *ends).reshape(16, 16)
    return both

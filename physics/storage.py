"""What two memories do to a Pauli table: T_first R T_second^T, compiled once. NumPy only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics.hardware import DepolarisingMemory, Memory, RelaxingMemory
from physics.interface import NO_ATTEMPTS
from physics.states import PauliTable


@dataclass(frozen=True, eq=False, kw_only=True)
class Storage:
    """Logarithms of what a second, and an attempt at either end's node, leave of each entry of an array.

    The array is a table's own factor, (4, 4), when no end relaxes. When one does, it is both transfer
    matrices, (2, 4, 4), the second transposed: fixed + moving x e^(logarithm), where T[3, 0] = 1 - e^(-t/T1)
    gives Z what relaxing to |0> adds.
    """

    per_second: NDArray[np.float64]
    per_first_attempt: NDArray[np.float64]
    per_second_attempt: NDArray[np.float64]
    moving: NDArray[np.float64] | None = None
    fixed: NDArray[np.float64] | None = None

    def after(
        self, table: PauliTable, duration_s: float, attempts: tuple[float, float] = NO_ATTEMPTS
    ) -> PauliTable:
        """The table after `duration_s` and `attempts`; float64 (4, 4), read-only."""
        aged: PauliTable = np.multiply(self.per_second, duration_s)
        if attempts is not NO_ATTEMPTS:
            aged += attempts[0] * self.per_first_attempt + attempts[1] * self.per_second_attempt
        np.exp(aged, out=aged)
        if self.moving is None or self.fixed is None:
            np.multiply(aged, table, out=aged)
        else:
            np.multiply(aged, self.moving, out=aged)
            np.add(aged, self.fixed, out=aged)
            aged = aged[0].dot(table).dot(aged[1])
        aged.setflags(write=False)
        return aged


def compile_storage(first: Memory | None, second: Memory | None) -> Storage:
    """Storage at both ends; None: an end that does not decay.

    >>> storage = compile_storage(DepolarisingMemory(depolarising_s=1.0), None)
    >>> round(float(storage.after(np.diag([1.0, 1.0, -1.0, 1.0]), 0.1)[3, 3]), 6)
    0.904837
    """
    if _relaxes(first) or _relaxes(second):
        return _compile_relaxing(first, second)
    nothing = np.zeros(4)
    return Storage(
        per_second=np.add.outer(_per_second(first), _per_second(second)),
        per_first_attempt=np.add.outer(_per_attempt(first), nothing),
        per_second_attempt=np.add.outer(nothing, _per_attempt(second)),
    )


def _compile_relaxing(first: Memory | None, second: Memory | None) -> Storage:
    per_second, per_attempt = np.zeros((2, 4, 4)), np.zeros((2, 2, 4, 4))
    moving, fixed = np.zeros((2, 4, 4)), np.zeros((2, 4, 4))
    for end, (memory, corner) in enumerate(((first, (3, 0)), (second, (0, 3)))):
        np.fill_diagonal(per_second[end], _per_second(memory))
        np.fill_diagonal(per_attempt[end, end], _per_attempt(memory))
        np.fill_diagonal(moving[end], 1.0)
        if _relaxes(memory):
            per_second[end][corner] = per_second[end, 3, 3]
            moving[end][corner], fixed[end][corner] = -1.0, 1.0
    return Storage(
        per_second=per_second,
        per_first_attempt=per_attempt[0],
        per_second_attempt=per_attempt[1],
        moving=moving,
        fixed=fixed,
    )


def _relaxes(memory: Memory | None) -> bool:
    return isinstance(memory, RelaxingMemory) and memory.relaxation_s < math.inf


def _per_second(memory: Memory | None) -> NDArray[np.float64]:
    """Logarithm of what one second leaves of I, X, Y, Z of one stored qubit."""
    if memory is None:
        return np.zeros(4)
    if isinstance(memory, DepolarisingMemory):
        return np.array([0.0, -1.0, -1.0, -1.0]) / memory.depolarising_s
    coherence = -1.0 / memory.dephasing_s
    return np.array([0.0, coherence, coherence, -1.0 / memory.relaxation_s])


def _per_attempt(memory: Memory | None) -> NDArray[np.float64]:
    """Logarithm of what one entangling attempt at its node leaves of I, X, Y, Z of one stored qubit."""
    if memory is None:
        return np.zeros(4)
    touched = [0.0, -1.0, -1.0, -1.0 if isinstance(memory, DepolarisingMemory) else 0.0]
    return np.array(touched) / memory.coherence_attempts

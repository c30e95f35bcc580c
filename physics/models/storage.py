"""Storage in two memories as a map of Pauli tables, T_first R T_second^T, compiled once. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from physics.hardware import DepolarisingMemory, Memory
from physics.qubits.states import PauliTable

MAX_DURATION_S: Final = 1e200
"""Up to this duration no logarithm overflows, since lifetimes are `checks.MIN_LIFETIME` or more."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Storage:
    """The decay of each entry of a table: its logarithm per second and per attempt at either end's node.

    The arrays are float64 (4, 4) when no end relaxes. Relaxation to |0> makes Z - I decay instead of Z. When
    an end relaxes, the matrix `to_shifted` therefore first writes a table in I, X, Y and Z - I, and
    `from_shifted` turns the result back. Both are float64 (16, 16) and multiply a flat table from the right;
    the arrays are flat then too.
    """

    per_second: NDArray[np.float64]
    per_first_attempt: NDArray[np.float64]
    per_second_attempt: NDArray[np.float64]
    to_shifted: NDArray[np.float64] | None = None
    from_shifted: NDArray[np.float64] | None = None

    def after(self, table: PauliTable, duration_s: float) -> PauliTable:
        """The table after `duration_s`, at most `MAX_DURATION_S`; float64 (4, 4), read-only."""
        factors: PauliTable = self.per_second * duration_s
        np.exp(factors, factors)
        if self.to_shifted is not None and self.from_shifted is not None:
            return _decayed_shifted(table, factors, self.to_shifted, self.from_shifted)
        # The array of the factors becomes the table: one allocation less.
        factors *= table
        factors.setflags(False)  # type: ignore[call-arg]  # the keyword would take twice as long
        return factors

    def after_attempts(
        self, table: PauliTable, duration_s: float, attempts: tuple[float, float]
    ) -> PauliTable:
        """The table after any `duration_s` and `attempts`; float64 (4, 4), read-only."""
        # A logarithm may overflow to -inf, whose exponential is 0, as is that of the exact one.
        with np.errstate(over="ignore"):
            factors: PauliTable = self.per_second * duration_s
            factors += attempts[0] * self.per_first_attempt
            factors += attempts[1] * self.per_second_attempt
        np.exp(factors, factors)
        if self.to_shifted is not None and self.from_shifted is not None:
            return _decayed_shifted(table, factors, self.to_shifted, self.from_shifted)
        factors *= table
        factors.setflags(write=False)
        return factors

    def after_each(
        self,
        tables: NDArray[np.float64],
        durations_s: NDArray[np.float64],
        attempts: Sequence[NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        """Flat tables (n, 16), each after its own duration (n,) and `attempts`: empty, or (n,) an end."""
        per_attempt = (self.per_first_attempt, self.per_second_attempt)
        # Logarithms may overflow to -inf, as in `after_attempts`.
        with np.errstate(over="ignore"):
            factors = np.multiply.outer(durations_s, self.per_second.ravel())
            for counts, logarithms in zip(attempts, per_attempt, strict=False):
                factors += np.multiply.outer(counts, logarithms.ravel())
        np.exp(factors, factors)
        if self.to_shifted is None or self.from_shifted is None:
            factors *= tables
            return factors
        factors *= tables @ self.to_shifted
        aged: NDArray[np.float64] = factors @ self.from_shifted
        return aged


def _decayed_shifted(
    table: PauliTable,
    factors: NDArray[np.float64],
    to_shifted: NDArray[np.float64],
    from_shifted: NDArray[np.float64],
) -> PauliTable:
    """The table whose entries in I, X, Y and Z - I have decayed by `factors`, which are overwritten."""
    factors *= table.ravel().dot(to_shifted)
    aged: PauliTable = factors.dot(from_shifted).reshape(4, 4)
    aged.setflags(write=False)
    return aged


@dataclass(frozen=True, eq=False, kw_only=True)
class Decay:
    """The decay of I, X, Y, Z of one stored qubit: logarithms per second and per attempt at its node.

    Both arrays are float64 (4,), with 0 for I. A qubit that `relaxes` tends to |0>, any other to I/2: the
    last entries of the arrays are then the decay of Z - I, otherwise that of Z.
    """

    per_second: NDArray[np.float64]
    per_attempt: NDArray[np.float64]
    relaxes: bool = False


def decay_of(memory: Memory | None) -> Decay:
    """The decay of one qubit stored in `memory`; None stands for an end that does not decay.

    >>> [float(x) for x in decay_of(DepolarisingMemory(depolarising_s=2.0)).per_second]
    [0.0, -0.5, -0.5, -0.5]
    """
    if memory is None:
        return Decay(per_second=np.zeros(4), per_attempt=np.zeros(4))
    if isinstance(memory, DepolarisingMemory):
        paulis = np.array([0.0, -1.0, -1.0, -1.0])
        return Decay(
            per_second=paulis / memory.depolarising_s, per_attempt=paulis / memory.coherence_attempts
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
    """Storage at both ends. None stands for an end that does not decay; `decay_of` gives a memory's decay.

    >>> storage = compile_storage(DepolarisingMemory(depolarising_s=1.0), None)
    >>> round(float(storage.after(np.diag([1.0, 1.0, -1.0, 1.0]), 0.1)[3, 3]), 6)
    0.904837
    """
    at_first, at_second = decay_of(first), decay_of(second)
    no_decay = np.zeros(4)
    per_second = np.add.outer(at_first.per_second, at_second.per_second)
    per_first_attempt = np.add.outer(at_first.per_attempt, no_decay)
    per_second_attempt = np.add.outer(no_decay, at_second.per_attempt)
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
        to_shifted=_adding_to_z(at_first, at_second, -1.0),
        from_shifted=_adding_to_z(at_first, at_second, 1.0),
    )


def _adding_to_z(first: Decay, second: Decay, amount: float) -> NDArray[np.float64]:
    """The matrix that adds `amount` x I to Z at each end that relaxes: float64 (16, 16), for flat tables."""
    ends = np.array([np.eye(4), np.eye(4)])
    ends[:, 0, 3] = amount * first.relaxes, amount * second.relaxes
    both: NDArray[np.float64] = np.einsum("ik,jl->ijkl", *ends).reshape(16, 16)
    return both

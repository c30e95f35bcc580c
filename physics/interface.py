"""The interface `PhysicsModel`: operations on pairs of qubits. Seconds and kilometres.

Conventions, everywhere:
- Fidelity is F = <Phi+| rho |Phi+>. (`qutip.fidelity` is the square root of that.)
- Basis order of two qubits |00>, |01>, |10>, |11>, the FIRST qubit leftmost; |Phi+> = (|00>+|11>)/sqrt(2).
- A pair has a first and a second end. At a swap, `left` ends and `right` begins at the swapping node.
- Randomness enters only through `u`, uniform on [0, 1), from the caller. A given `outcome` is forced.
- Outcomes 0..3 of a swap name the Bell state REPORTED: Phi+, Phi-, Psi+, Psi- (2 x parity + phase). The
  right end's qubit is corrected by I, Z, X, ZX; frames compose by exclusive or. A failed swap has -1.
- States are opaque values: a caller may keep them, and no one may change them in place.
Pair level: correlations over more than one pair are out of scope.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from physics.hardware import LinkHardware, Memory, NodeHardware

State: TypeAlias = Any
"""A two-qubit state in the model's own form."""

DensityMatrix: TypeAlias = NDArray[np.complex128]
"""A 4x4 complex128 density matrix in the basis order above."""

# Models compare it by identity, to skip the arithmetic of attempts in the most frequent call.
NO_ATTEMPTS = (0.0, 0.0)
"""No entangling attempt at either end's node while a pair is stored."""

PROTOCOLS = ("bbpssw", "dejmps")
"""Distillation protocols: Bennett et al. 1996 (twirls both pairs first), Deutsch et al. 1996."""


@dataclass(frozen=True, kw_only=True)
class CompiledLink:
    """A link ready for use. Times are seconds from the start of an attempt, one for each end.

    `success_probability` is that of one mode in one attempt. `modes` run in parallel and start again every
    `attempt_period_s`. `fresh` is the heralded state, corrected to Phi+, before any storage; in a network its
    first end is the node of the lower number. An end's memory holds its half from `stored_from_s` on; the end
    knows of the pair at `known_s`.

    The emission rate of the sources at its ends limits a `source_limited` link; its period has no effect. Any
    other link attempts as often as its period allows.
    """

    success_probability: float
    attempt_period_s: float
    fresh: State
    source_limited: bool
    modes: int = 1
    stored_from_s: tuple[float, float] = (0.0, 0.0)
    known_s: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Swapped:
    """The result of a swap: `state` joins the outer ends, Pauli corrected. It is None for a failed swap.

    `probability` is that of drawing this outcome, every possible failure included; NaN for a failed swap.
    """

    success: bool
    outcome: int
    probability: float
    state: State


FAILED_SWAP = Swapped(success=False, outcome=-1, probability=math.nan, state=None)


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """The result of a distillation. On failure both pairs are lost and `state` is None."""

    success: bool
    success_probability: float
    state: State


@runtime_checkable
class PhysicsModel(Protocol):
    """The operations on pairs. MUST be deterministic: the same arguments give the same bits."""

    name: str

    def link(self, hardware: LinkHardware, length_km: float) -> CompiledLink:
        """Compile a link of this length. Called once per link; may be slow."""

    def age(
        self,
        state: State,
        first: Memory | None,
        second: Memory | None,
        duration_s: float,
        attempts: tuple[float, float] = NO_ATTEMPTS,
    ) -> State:
        """Store both ends for `duration_s`. MUST be a semigroup: durations and attempts of calls add up.

        Args:
            state: the pair.
            first: the memory at the first end; None for an end that does not decay.
            second: the memory at the second end.
            duration_s: seconds of storage.
            attempts: the entangling attempts made meanwhile at the first and the second end's node.
        """

    def swap(
        self, left: State, right: State, node: NodeHardware, u: float, outcome: int | None = None
    ) -> Swapped:
        """Bell-measure the middle qubits at `node` and correct the right end's qubit.

        Raises ValueError for a forced outcome of probability 0 (below 1e-9).

        Args:
            left: the pair that ends at `node`.
            right: the pair that begins at `node`.
            node: the hardware that measures.
            u: uniform on [0, 1); decides success, then the outcome.
            outcome: 0..3 to force a success with this outcome, whatever `u` is; None to draw it.
        """

    def distil(
        self,
        kept: State,
        spent: State,
        first: NodeHardware,
        second: NodeHardware,
        protocol: str,
        u: float,
    ) -> Distilled:
        """Distil two pairs between the same ends into one; succeeds when u < p.

        Args:
            kept: the pair that stays on success.
            spent: the pair that is measured.
            first: the hardware at the first end of both pairs.
            second: the hardware at the second end.
            protocol: one of PROTOCOLS.
            u: uniform on [0, 1).
        """

    def flip(self, state: State) -> State:
        """The same pair with its ends exchanged."""

    def fidelity(self, state: State) -> float:
        """<Phi+| rho |Phi+>."""

    def density_matrix(self, state: State) -> DensityMatrix:
        """The 4x4 complex128 density matrix."""

    def from_density_matrix(self, matrix: DensityMatrix) -> State:
        """The state of a density matrix. Raises ValueError unless Hermitian, positive, trace 1."""

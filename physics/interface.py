"""The seam `PhysicsModel`: what happens to a pair of qubits. Seconds and kilometres.

Conventions, everywhere:
- Fidelity is F = <Phi+| rho |Phi+>. (`qutip.fidelity` is the square root of that.)
- Basis order of two qubits |00>, |01>, |10>, |11>, the FIRST qubit leftmost; |Phi+> = (|00>+|11>)/sqrt(2).
- A pair has a first and a second end; `left` ends and `right` begins at the node that swaps.
- Chance enters only through `u`, uniforms on [0, 1) given by the caller; a given `outcome` forces it.
- Outcomes 0..3 of a swap name the Bell state REPORTED: Phi+, Phi-, Psi+, Psi- (2 x parity + phase). The
  right end's qubit is corrected by I, Z, X, ZX; frames compose by exclusive or. A failed swap has -1.
- States are opaque values: whoever holds one may keep it, nobody may change it in place.
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

NO_ATTEMPTS = (0.0, 0.0)

PROTOCOLS = ("bbpssw", "dejmps")
"""Distillation protocols: Bennett et al. 1996 (twirls both pairs first), Deutsch et al. 1996."""


@dataclass(frozen=True, kw_only=True)
class CompiledLink:
    """What a link does, ready for use. Times are seconds from the start of an attempt, one per end.

    `success_probability` is one mode's in one attempt; `modes` run in parallel, all of them again after
    `attempt_period_s`. `fresh` is the heralded state corrected to Phi+, before any storage: an end's memory
    holds its half from `stored_from_s` on, before either end knows of it at `known_s`.

    `source_limited`: what holds the link back. True: the rate at which the sources at its ends emit, so that
    the period says nothing; false: the link attempts, over and over, as fast as its period lets it.
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
    """A swap's result; `state` joins the outer ends after Pauli correction, None when it failed.

    `probability` is that of drawing this outcome, all that may fail included; NaN when it failed.
    """

    success: bool
    outcome: int
    probability: float
    state: State


FAILED_SWAP = Swapped(success=False, outcome=-1, probability=math.nan, state=None)


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """A distillation's result; on failure both pairs are gone and `state` is None."""

    success: bool
    success_probability: float
    state: State


@runtime_checkable
class PhysicsModel(Protocol):
    """MUST be deterministic: the same arguments give the same result, bit for bit."""

    name: str

    def link(self, hardware: LinkHardware, length_km: float) -> CompiledLink:
        """Compile a link of this length. Called once per link, may be slow."""

    def age(
        self,
        state: State,
        first: Memory | None,
        second: Memory | None,
        duration_s: float,
        attempts: tuple[float, float] = NO_ATTEMPTS,
    ) -> State:
        """Store both ends for `duration_s`; None: an end that does not decay.

        `attempts` counts the entangling attempts made meanwhile at either end's node. MUST be a semigroup:
        durations and attempts of successive calls add up.
        """

    def swap(
        self, left: State, right: State, node: NodeHardware, u: float, outcome: int | None = None
    ) -> Swapped:
        """Bell-measure the middle qubits at `node` and correct; `outcome` in 0..3 forces a success.

        Raises ValueError for a forced outcome of probability 0 (below 1e-9).
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
        """Two pairs between the same ends into one by `protocol`, one of PROTOCOLS; succeeds when u < p."""

    def flip(self, state: State) -> State:
        """The same pair with its ends exchanged."""

    def fidelity(self, state: State) -> float:
        """<Phi+| rho |Phi+>."""

    def density_matrix(self, state: State) -> DensityMatrix:
        """The 4x4 complex128 density matrix."""

    def from_density_matrix(self, matrix: DensityMatrix) -> State:
        """The state of a density matrix, checked: raises ValueError unless Hermitian, positive, trace 1."""

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
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

State: TypeAlias = Any
"""A two-qubit state in the model's own form."""

DensityMatrix: TypeAlias = NDArray[np.complex128]
"""A 4x4 complex128 density matrix in the basis order above."""

FIBRE_SPEED_KM_PER_S = 2.0e5
"""Light in fibre."""


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}; it must be {allowed}")


def _require_probability(name: str, value: float) -> None:
    _require(0.0 <= value <= 1.0, name, value, "between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class DepolarisingMemory:
    """A qubit that depolarises: rho -> e^(-t/T) rho + (1 - e^(-t/T)) I/2, T = `depolarising_s`.

    T belongs to EACH stored qubit, so a pair stored at both ends loses its Werner weight as e^(-2t/T).
    """

    depolarising_s: float
    kind: Literal["depolarising"] = "depolarising"
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        _require(
            self.depolarising_s > 0.0,
            "depolarising_s",
            self.depolarising_s,
            "above 0 (inf: no decay)",
        )


@dataclass(frozen=True, kw_only=True)
class RelaxingMemory:
    """A qubit with relaxation time T1 and dephasing time T2 <= 2 T1.

    Populations relax to |0> as e^(-t/T1), coherences shrink as e^(-t/T2).
    """

    relaxation_s: float
    dephasing_s: float
    kind: Literal["relaxing"] = "relaxing"
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        _require(
            self.relaxation_s > 0.0,
            "relaxation_s",
            self.relaxation_s,
            "above 0 (inf: no relaxation)",
        )
        _require(self.dephasing_s > 0.0, "dephasing_s", self.dephasing_s, "above 0 (inf: no dephasing)")
        limit = 2.0 * self.relaxation_s
        _require(
            self.dephasing_s <= limit,
            "dephasing_s",
            self.dephasing_s,
            f"at most 2 relaxation_s = {limit:g}",
        )


Memory: TypeAlias = DepolarisingMemory | RelaxingMemory


@dataclass(frozen=True, kw_only=True)
class LinkHardware:
    """A fibre between two neighbours and the source that feeds it.

    Success probability of one attempt:
    eta = efficiency x 10^(-(fixed_loss_db + loss_db_per_km x length_km)/10).
    A fresh pair is a Werner state of fidelity `fresh_fidelity`.
    """

    length_km: float
    fixed_loss_db: float = 2.6
    loss_db_per_km: float = 0.24
    efficiency: float = 1.0
    fresh_fidelity: float = 0.98
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        for name in ("length_km", "fixed_loss_db", "loss_db_per_km"):
            value = getattr(self, name)
            _require(0.0 <= value < math.inf, name, value, "0 or more, and finite")
        _require_probability("efficiency", self.efficiency)
        _require(0.25 <= self.fresh_fidelity <= 1.0, "fresh_fidelity", self.fresh_fidelity, "in [1/4, 1]")


@dataclass(frozen=True, kw_only=True)
class NodeHardware:
    """A repeater's Bell measurement and the memory of its qubits.

    `gate_fidelity` g: the CNOT depolarises both qubits with probability 1-g (Duer and Briegel 2007).
    `readout_fidelity` m: each of the two readouts is right with probability m.
    """

    memory: Memory
    swap_success_probability: float = 1.0
    gate_fidelity: float = 1.0
    readout_fidelity: float = 1.0
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        for name in ("swap_success_probability", "gate_fidelity", "readout_fidelity"):
            _require_probability(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class CompiledLink:
    """What a link does, ready for use: one attempt's success probability, its least period, a fresh state."""

    success_probability: float
    attempt_period_s: float
    fresh: State


@dataclass(frozen=True, kw_only=True)
class Swapped:
    """A swap's result; `state` joins the outer ends after Pauli correction, None when it failed."""

    success: bool
    outcome: int
    state: State


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

    def link(self, hardware: LinkHardware) -> CompiledLink:
        """Compile a link. Called once per link, may be slow."""

    def age(self, state: State, first: Memory | None, second: Memory | None, duration_s: float) -> State:
        """Store both ends for `duration_s`; None: an end that does not decay. MUST be a semigroup in time."""

    def swap(
        self, left: State, right: State, node: NodeHardware, u: float, outcome: int | None = None
    ) -> Swapped:
        """Bell-measure the middle qubits at `node` and correct; `outcome` in 0..3 forces a success."""

    def distil(
        self,
        kept: State,
        spent: State,
        first: NodeHardware,
        second: NodeHardware,
        protocol: str,
        u: float,
    ) -> Distilled:
        """Two pairs between the same ends into one by `protocol` ("dejmps"); succeeds when u < p."""

    def flip(self, state: State) -> State:
        """The same pair with its ends exchanged."""

    def fidelity(self, state: State) -> float:
        """<Phi+| rho |Phi+>."""

    def density_matrix(self, state: State) -> DensityMatrix:
        """The 4x4 complex128 density matrix."""

    def from_density_matrix(self, matrix: DensityMatrix) -> State:
        """The state of a density matrix, checked: raises ValueError unless Hermitian, positive, trace 1."""

"""Memories: how a stored qubit decays, with time and with entangling attempts at its node."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from physics.hardware.checks import require, require_kind, require_lifetime, take_floats
from physics.hardware.kept_hash import KeptHash


@dataclass(frozen=True, kw_only=True)
class DepolarisingMemory(KeptHash):
    """A qubit that depolarises: rho -> e^(-t/T) rho + (1 - e^(-t/T)) I/2, T = `depolarising_s`.

    T belongs to EACH stored qubit, so the Werner weight of a pair stored at both ends falls as e^(-2t/T).
    Entangling attempts at the qubit's node depolarise it further: n attempts by e^(-n/N),
    N = `coherence_attempts`.
    """

    depolarising_s: float
    """Depolarising time T of each qubit, above 0; `inf` is no decay."""
    coherence_attempts: float = math.inf
    """Entangling attempts at the node that depolarise as much as T, above 0; `inf` is none."""
    kind: Literal["depolarising"] = "depolarising"
    """Names this kind."""
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        require_kind(self.kind, "depolarising")
        take_floats(self)
        for name in ("depolarising_s", "coherence_attempts"):
            require_lifetime(name, getattr(self, name))
        self.keep_hash(self.kind, self.depolarising_s, self.coherence_attempts)

    # Named in the class, or dataclass would generate a hash of all fields, computed at every look-up.
    __hash__ = KeptHash.__hash__


@dataclass(frozen=True, kw_only=True)
class RelaxingMemory(KeptHash):
    """A qubit with relaxation time T1 and dephasing time T2 <= 2 T1.

    Populations relax to |0> as e^(-t/T1), and coherences fall as e^(-t/T2). `relaxation_s` = inf leaves pure
    dephasing. Entangling attempts at the qubit's node dephase it further: n attempts reduce coherences by
    e^(-n/N), N = `coherence_attempts` (Kalb et al. 2018, Phys. Rev. A 97, 062330).
    """

    relaxation_s: float
    """Relaxation time T1, above 0; `inf` leaves pure dephasing."""
    dephasing_s: float
    """Dephasing time T2, above 0 and at most 2 T1."""
    coherence_attempts: float = math.inf
    """Entangling attempts at the node that dephase as much as T2, above 0; `inf` is none."""
    kind: Literal["relaxing"] = "relaxing"
    """Names this kind."""
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        require_kind(self.kind, "relaxing")
        take_floats(self)
        for name in ("relaxation_s", "dephasing_s", "coherence_attempts"):
            require_lifetime(name, getattr(self, name))
        limit = 2.0 * self.relaxation_s
        allowed = f"at most 2 relaxation_s = {limit:g}"
        require(self.dephasing_s <= limit, "dephasing_s", self.dephasing_s, allowed)
        self.keep_hash(self.kind, self.relaxation_s, self.dephasing_s, self.coherence_attempts)

    __hash__ = KeptHash.__hash__


Memory: TypeAlias = DepolarisingMemory | RelaxingMemory

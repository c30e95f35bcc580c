"""Nodes: the memory of a repeater's qubits, and its Bell measurement with gates and readout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from physics.hardware.checks import require, require_probability, take_floats
from physics.hardware.kept_hash import KeptHash
from physics.hardware.links import LinkHardware
from physics.hardware.memories import Memory

BellMeasurement: TypeAlias = Literal["complete", "linear-optics", "boosted"]

HERALDED_FRACTIONS: Final[Mapping[str, tuple[float, float, float, float]]] = MappingProxyType(
    {
        "complete": (1.0, 1.0, 1.0, 1.0),
        "linear-optics": (0.0, 0.0, 1.0, 1.0),
        "boosted": (0.5, 0.5, 1.0, 1.0),
    }
)
"""The fraction of Phi+, Phi-, Psi+, Psi- that each kind of measurement identifies."""

_MEMORY: Final = "a memory: hashable, with a `kind` (a memory without decay has inf seconds)"


def _is_memory(value: object) -> bool:
    """Whether `value` is a memory of ours or of a plugin: a hashable instance with a `kind`, and no link."""
    if isinstance(value, type | LinkHardware) or not hasattr(value, "kind"):
        return False
    try:
        # A frozen dataclass is hashable only if all its fields are.
        hash(value)
    except TypeError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class NodeHardware(KeptHash):
    """A repeater's Bell measurement and the memory of its qubits.

    A "complete" `bell_measurement` identifies all four Bell states. "linear-optics" identifies only Psi+ and
    Psi-, half of all results for pairs without bias (Calsamiglia and Luetkenhaus 2001, Appl. Phys. B 72, 67).
    "boosted" uses ancillary photons and identifies also half of Phi+ and Phi-, 3/4 in all (Grice 2011, Phys.
    Rev. A 84, 042331). `swap_success_probability` covers all other failures of a swap, whatever the state.
    With `gate_fidelity` g the CNOT depolarises both qubits with probability 1-g (Duer and Briegel 2007). With
    `readout_fidelity` m each of the two readouts is right with probability m.
    """

    memory: Memory
    """The memory of every qubit, by its `kind`."""
    swap_success_probability: float = 1.0
    """Probability that nothing but the Bell measurement fails in a swap, 0 to 1."""
    gate_fidelity: float = 1.0
    """A two-qubit gate depolarises both qubits with probability 1 minus this, 0 to 1."""
    readout_fidelity: float = 1.0
    """Probability that a readout is right, 0 to 1."""
    bell_measurement: BellMeasurement = "complete"
    """Bell states that a swap tells apart. "complete": all four. "linear-optics": Psi+ and Psi- only, half of
    all results. "boosted": also half of the rest, 3/4 in all."""
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        take_floats(self)
        for name in ("swap_success_probability", "gate_fidelity", "readout_fidelity"):
            require_probability(name, getattr(self, name))
        require(_is_memory(self.memory), "memory", self.memory, _MEMORY)
        kinds = tuple(HERALDED_FRACTIONS)
        require(self.bell_measurement in kinds, "bell_measurement", self.bell_measurement, f"one of {kinds}")
        self.keep_hash(
            self.memory,
            self.swap_success_probability,
            self.gate_fidelity,
            self.readout_fidelity,
            self.bell_measurement,
        )

    __hash__ = KeptHash.__hash__

    @cached_property
    def mean_swap_success_probability(self) -> float:
        """The success probability of a swap with unbiased inner qubits, as in all Bell-diagonal pairs."""
        return self.swap_success_probability * sum(HERALDED_FRACTIONS[self.bell_measurement]) / 4.0

    @cached_property
    def heralded_outcomes(self) -> tuple[int, ...]:
        """The outcomes that its Bell measurement can report, in rising order."""
        fractions = HERALDED_FRACTIONS[self.bell_measurement]
        return tuple(outcome for outcome, fraction in enumerate(fractions) if fraction > 0.0)

"""What memories, fibres, links and nodes are made of: frozen values, checked when built. Seconds, kilometres.

They are used as they are in scenario files, hence the `kind` of each variant and the ban on unknown keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

FIBRE_SPEED_KM_PER_S: Final = 2.0e5
"""Light in fibre."""


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}; it must be {allowed}")


def _require_probability(name: str, value: float) -> None:
    _require(0.0 <= value <= 1.0, name, value, "between 0 and 1")


def _require_time(name: str, value: float) -> None:
    _require(0.0 <= value < math.inf, name, value, "0 or more, and finite")


def _require_kind(kind: str, right: str) -> None:
    _require(kind == right, "kind", kind, repr(right))


def _require_modes(modes: int) -> None:
    _require(isinstance(modes, int) and modes >= 1, "modes", modes, "a whole number of 1 or more")


class _HashedOnce:
    """Keeps its hash: models look up by hardware what they have compiled for it, at every operation."""

    _hash: int

    def _keep_hash(self, *parts: object) -> None:
        object.__setattr__(self, "_hash", hash(parts))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        """Pickled without its hash, which is another in every process."""
        values = {name: value for name, value in vars(self).items() if name != "_hash"}
        return partial(type(self), **values), ()


@dataclass(frozen=True, kw_only=True)
class DepolarisingMemory(_HashedOnce):
    """A qubit that depolarises: rho -> e^(-t/T) rho + (1 - e^(-t/T)) I/2, T = `depolarising_s`.

    T belongs to EACH stored qubit, so a pair stored at both ends loses its Werner weight as e^(-2t/T).
    Each entangling attempt at its node depolarises it further, as e^(-n/N), N = `coherence_attempts`.
    """

    depolarising_s: float
    coherence_attempts: float = math.inf
    kind: Literal["depolarising"] = "depolarising"
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        _require_kind(self.kind, "depolarising")
        for name in ("depolarising_s", "coherence_attempts"):
            value = getattr(self, name)
            _require(value > 0.0, name, value, "above 0 (inf: no decay)")
        self._keep_hash(self.kind, self.depolarising_s, self.coherence_attempts)

    __hash__ = _HashedOnce.__hash__


@dataclass(frozen=True, kw_only=True)
class RelaxingMemory(_HashedOnce):
    """A qubit with relaxation time T1 and dephasing time T2 <= 2 T1.

    Populations relax to |0> as e^(-t/T1), coherences shrink as e^(-t/T2). `relaxation_s` = inf leaves pure
    dephasing. Each entangling attempt at its node dephases it further: coherences shrink as e^(-n/N),
    N = `coherence_attempts` (Kalb et al. 2018, Phys. Rev. A 97, 062330).
    """

    relaxation_s: float
    dephasing_s: float
    coherence_attempts: float = math.inf
    kind: Literal["relaxing"] = "relaxing"
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        _require_kind(self.kind, "relaxing")
        for name in ("relaxation_s", "dephasing_s", "coherence_attempts"):
            value = getattr(self, name)
            _require(value > 0.0, name, value, "above 0 (inf: no decay)")
        limit = 2.0 * self.relaxation_s
        within = f"at most 2 relaxation_s = {limit:g}"
        _require(self.dephasing_s <= limit, "dephasing_s", self.dephasing_s, within)
        self._keep_hash(self.kind, self.relaxation_s, self.dephasing_s, self.coherence_attempts)

    __hash__ = _HashedOnce.__hash__


Memory: TypeAlias = DepolarisingMemory | RelaxingMemory


@dataclass(frozen=True, kw_only=True)
class Fibre:
    """Loss of a fibre: 10^(-(fixed dB + dB/km x length)/10) of the photons arrive.

    The defaults fit 26 measured spans of deployed fibre; a laboratory spool has about 0.2 dB/km alone.
    """

    fixed_loss_db: float = 2.6
    loss_db_per_km: float = 0.24
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        for name in ("fixed_loss_db", "loss_db_per_km"):
            _require_time(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A single-photon detector that looks for `window_s` per time bin.

    In one window it fires without a photon with probability 1 - e^(-rate x window). A `number_resolving`
    one tells two photons from one; any other only clicks.
    """

    efficiency: float = 1.0
    dark_count_rate_hz: float = 0.0
    window_s: float = 1e-6
    number_resolving: bool = False
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        _require_probability("efficiency", self.efficiency)
        _require_time("dark_count_rate_hz", self.dark_count_rate_hz)
        _require_time("window_s", self.window_s)
        told = self.number_resolving
        _require(isinstance(told, bool), "number_resolving", told, "True or False")


@dataclass(frozen=True, kw_only=True)
class SourceLink:
    """A source at one end keeps half of a pair and sends the other half to the far end's memory.

    Success probability of one attempt: `efficiency` x the fibre's transmissivity, herald included. A fresh
    pair is a Werner state of `fresh_fidelity`.
    """

    fibre: Fibre = field(default_factory=Fibre)
    efficiency: float = 1.0
    fresh_fidelity: float = 0.98
    reset_time_s: float = 0.0
    modes: int = 1
    kind: Literal["source"] = "source"
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        _require_kind(self.kind, "source")
        _require(0.0 < self.efficiency <= 1.0, "efficiency", self.efficiency, "above 0 and at most 1")
        _require(0.25 <= self.fresh_fidelity <= 1.0, "fresh_fidelity", self.fresh_fidelity, "in [1/4, 1]")
        _require_time("reset_time_s", self.reset_time_s)
        _require_modes(self.modes)


@dataclass(frozen=True, kw_only=True)
class MidpointSourceLink:
    """A source half-way sends one photon of each pair to either end, whose memories herald what they take in.

    Success probability of one attempt: `pair_probability` x (`absorption_efficiency` x the transmissivity of
    half the link)^2. A fresh pair is a Werner state of `fresh_fidelity`.
    """

    fibre: Fibre = field(default_factory=Fibre)
    pair_probability: float = 1.0
    absorption_efficiency: float = 1.0
    fresh_fidelity: float = 0.98
    reset_time_s: float = 0.0
    modes: int = 1
    kind: Literal["midpoint-source"] = "midpoint-source"
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        _require_kind(self.kind, "midpoint-source")
        _require_probability("pair_probability", self.pair_probability)
        _require_probability("absorption_efficiency", self.absorption_efficiency)
        _require(0.25 <= self.fresh_fidelity <= 1.0, "fresh_fidelity", self.fresh_fidelity, "in [1/4, 1]")
        _require_time("reset_time_s", self.reset_time_s)
        _require_modes(self.modes)


@dataclass(frozen=True, kw_only=True)
class DoubleClickLink:
    """Both ends emit one photon, in either of two modes; two clicks at a station between herald a pair.

    The modes are time bins or polarisations. `rounds` = 1 sends both in one attempt; 2 is Barrett and Kok's
    two rounds, which take twice as long and are immune to double excitation (Barrett and Kok 2005, Phys.
    Rev. A 71, 060310). `visibility` is that of Hong-Ou-Mandel interference, the squared overlap of the two
    photons. `emission_efficiency` is the chance that a photon enters the fibre.
    `station_share` of the link's length and loss lies between the first end and the station.
    """

    fibre: Fibre = field(default_factory=Fibre)
    detector: Detector = field(default_factory=Detector)
    rounds: Literal[1, 2] = 1
    emission_efficiency: float = 1.0
    visibility: float = 1.0
    station_share: float = 0.5
    reset_time_s: float = 0.0
    modes: int = 1
    kind: Literal["double-click"] = "double-click"
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        _require_kind(self.kind, "double-click")
        _require(self.rounds in (1, 2), "rounds", self.rounds, "1 or 2")
        for name in ("emission_efficiency", "visibility", "station_share"):
            _require_probability(name, getattr(self, name))
        _require_time("reset_time_s", self.reset_time_s)
        _require_modes(self.modes)


@dataclass(frozen=True, kw_only=True)
class SingleClickLink:
    """Both ends emit with probability `bright_population` (rate up, fidelity down); one click heralds.

    Cabrillo et al. 1999, Phys. Rev. A 59, 1025. `visibility` is that of Hong-Ou-Mandel interference, the
    squared overlap of the two photons; `phase_deviation_rad` is the standard deviation of the optical phase
    between the two arms. The rest is as in `DoubleClickLink`.
    """

    bright_population: float
    fibre: Fibre = field(default_factory=Fibre)
    detector: Detector = field(default_factory=Detector)
    emission_efficiency: float = 1.0
    visibility: float = 1.0
    phase_deviation_rad: float = 0.0
    station_share: float = 0.5
    reset_time_s: float = 0.0
    modes: int = 1
    kind: Literal["single-click"] = "single-click"
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        _require_kind(self.kind, "single-click")
        alpha = self.bright_population
        _require(0.0 < alpha < 1.0, "bright_population", alpha, "above 0 and below 1")
        for name in ("emission_efficiency", "visibility", "station_share"):
            _require_probability(name, getattr(self, name))
        _require_time("phase_deviation_rad", self.phase_deviation_rad)
        _require_time("reset_time_s", self.reset_time_s)
        _require_modes(self.modes)


@dataclass(frozen=True, kw_only=True)
class DirectLink:
    """A link given by what it does: success probability, attempt period and the weights of its fresh state.

    `fresh_weights` are those of Phi+, Phi-, Psi+, Psi- in a Bell-diagonal state. Its length adds nothing.
    """

    success_probability: float
    attempt_period_s: float
    fresh_weights: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    modes: int = 1
    kind: Literal["direct"] = "direct"
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        _require_kind(self.kind, "direct")
        _require_probability("success_probability", self.success_probability)
        _require_time("attempt_period_s", self.attempt_period_s)
        weights = self.fresh_weights
        right = len(weights) == 4 and min(weights) >= 0.0 and abs(sum(weights) - 1.0) <= 1e-9
        _require(right, "fresh_weights", weights, "four numbers of 0 or more that sum to 1")
        _require(weights[0] >= 0.25, "fresh_weights[0]", weights[0], "a fidelity in [1/4, 1]")
        _require_modes(self.modes)


LinkHardware: TypeAlias = SourceLink | MidpointSourceLink | DoubleClickLink | SingleClickLink | DirectLink

BellMeasurement: TypeAlias = Literal["complete", "linear-optics", "boosted"]

HERALDED_SHARES: Final[Mapping[str, tuple[float, float, float, float]]] = MappingProxyType(
    {
        "complete": (1.0, 1.0, 1.0, 1.0),
        "linear-optics": (0.0, 0.0, 1.0, 1.0),
        "boosted": (0.5, 0.5, 1.0, 1.0),
    }
)
"""How often each Bell state Phi+, Phi-, Psi+, Psi- is told from the others, by kind of measurement."""


@dataclass(frozen=True, kw_only=True)
class NodeHardware(_HashedOnce):
    """A repeater's Bell measurement and the memory of its qubits.

    `bell_measurement`: "complete" tells all four Bell states apart; "linear-optics" only Psi+ and Psi-, half
    the time for pairs without bias (Calsamiglia and Luetkenhaus 2001, Appl. Phys. B 72, 67); "boosted" by
    ancillary photons also Phi+ and Phi- every second time, 3/4 in all (Grice 2011, Phys. Rev. A 84, 042331).
    `swap_success_probability`: of all else that may fail in a swap, whatever the state.
    `gate_fidelity` g: the CNOT depolarises both qubits with probability 1-g (Duer and Briegel 2007).
    `readout_fidelity` m: each of the two readouts is right with probability m.
    """

    memory: Memory
    swap_success_probability: float = 1.0
    gate_fidelity: float = 1.0
    readout_fidelity: float = 1.0
    bell_measurement: BellMeasurement = "complete"
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        for name in ("swap_success_probability", "gate_fidelity", "readout_fidelity"):
            _require_probability(name, getattr(self, name))
        _require(self.memory is not None, "memory", None, "a memory; inf seconds for one that keeps all")
        kinds = tuple(HERALDED_SHARES)
        _require(self.bell_measurement in kinds, "bell_measurement", self.bell_measurement, f"one of {kinds}")
        self._keep_hash(
            self.memory,
            self.swap_success_probability,
            self.gate_fidelity,
            self.readout_fidelity,
            self.bell_measurement,
        )

    __hash__ = _HashedOnce.__hash__

    @property
    def mean_swap_success_probability(self) -> float:
        """Of a swap of pairs whose inner qubits are unbiased, as of all Bell-diagonal pairs."""
        return self.swap_success_probability * sum(HERALDED_SHARES[self.bell_measurement]) / 4.0

    @property
    def heralded_outcomes(self) -> tuple[int, ...]:
        """The outcomes its Bell measurement can report, in rising order."""
        shares = HERALDED_SHARES[self.bell_measurement]
        return tuple(outcome for outcome, share in enumerate(shares) if share > 0.0)

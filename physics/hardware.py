"""What memories, fibres, links and nodes are made of: frozen values, checked when built. Seconds, kilometres.

They are used as they are in scenario files, hence the `kind` of each variant and the ban on unknown keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from physics.checks import (
    as_float,
    require,
    require_amount,
    require_chance,
    require_instance,
    require_kind,
    require_lifetime,
    require_probability,
    take_floats,
    take_whole,
)

FIBRE_SPEED_KM_PER_S: Final = 2.0e5
"""Light in fibre."""


_MODES: Final = "a whole number of 1 or more"


class _HashedOnce:
    """Keeps its hash: models look up by hardware what they have compiled for it, at every operation."""

    _hash: int

    def _keep_hash(self, *parts: object) -> None:
        object.__setattr__(self, "_hash", hash(parts))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        """Pickled by its fields alone: its hash is another in every process."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
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
        require_kind(self.kind, "depolarising")
        take_floats(self)
        for name in ("depolarising_s", "coherence_attempts"):
            require_lifetime(name, getattr(self, name))
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
        require_kind(self.kind, "relaxing")
        take_floats(self)
        for name in ("relaxation_s", "dephasing_s", "coherence_attempts"):
            require_lifetime(name, getattr(self, name))
        limit = 2.0 * self.relaxation_s
        within = f"at most 2 relaxation_s = {limit:g}"
        require(self.dephasing_s <= limit, "dephasing_s", self.dephasing_s, within)
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
        take_floats(self)
        for name in ("fixed_loss_db", "loss_db_per_km"):
            require_amount(name, getattr(self, name))


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
        take_floats(self)
        require_probability("efficiency", self.efficiency)
        require_amount("dark_count_rate_hz", self.dark_count_rate_hz)
        require_amount("window_s", self.window_s)
        told = self.number_resolving
        require(isinstance(told, bool), "number_resolving", told, "True or False")


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
        require_kind(self.kind, "source")
        take_floats(self)
        require_instance("fibre", self.fibre, Fibre)
        require_chance("efficiency", self.efficiency)
        require(0.25 <= self.fresh_fidelity <= 1.0, "fresh_fidelity", self.fresh_fidelity, "in [1/4, 1]")
        require_amount("reset_time_s", self.reset_time_s)
        take_whole(self, "modes", _MODES)


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
        require_kind(self.kind, "midpoint-source")
        take_floats(self)
        require_instance("fibre", self.fibre, Fibre)
        require_chance("pair_probability", self.pair_probability)
        require_probability("absorption_efficiency", self.absorption_efficiency)
        require(0.25 <= self.fresh_fidelity <= 1.0, "fresh_fidelity", self.fresh_fidelity, "in [1/4, 1]")
        require_amount("reset_time_s", self.reset_time_s)
        take_whole(self, "modes", _MODES)


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
        require_kind(self.kind, "double-click")
        take_floats(self)
        require_instance("fibre", self.fibre, Fibre)
        require_instance("detector", self.detector, Detector)
        take_whole(self, "rounds", "1 or 2", most=2)
        for name in ("emission_efficiency", "visibility", "station_share"):
            require_probability(name, getattr(self, name))
        require_amount("reset_time_s", self.reset_time_s)
        take_whole(self, "modes", _MODES)


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
        require_kind(self.kind, "single-click")
        take_floats(self)
        require_instance("fibre", self.fibre, Fibre)
        require_instance("detector", self.detector, Detector)
        alpha = self.bright_population
        require(0.0 < alpha < 1.0, "bright_population", alpha, "above 0 and below 1")
        for name in ("emission_efficiency", "visibility", "station_share"):
            require_probability(name, getattr(self, name))
        require_amount("phase_deviation_rad", self.phase_deviation_rad)
        require_amount("reset_time_s", self.reset_time_s)
        take_whole(self, "modes", _MODES)


@dataclass(frozen=True, kw_only=True)
class DirectLink:
    """A link given by what it does: success probability, attempt period and the weights of its fresh state.

    `fresh_weights` are those of Phi+, Phi-, Psi+, Psi- in a Bell-diagonal state. Its length adds nothing.
    `stored_from_s` and `known_s`, for its first and second end: seconds from the start of an attempt that
    succeeds until the end's memory holds its half, and until the end knows; each a whole period by default.
    """

    success_probability: float
    attempt_period_s: float
    fresh_weights: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    modes: int = 1
    stored_from_s: tuple[float, float] | None = None
    known_s: tuple[float, float] | None = None
    kind: Literal["direct"] = "direct"
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        require_kind(self.kind, "direct")
        take_floats(self)
        require_chance("success_probability", self.success_probability)
        period_s = self.attempt_period_s
        require(0.0 < period_s < math.inf, "attempt_period_s", period_s, "above 0, and finite")
        weights = self._weights()
        object.__setattr__(self, "fresh_weights", weights)
        require(weights[0] >= 0.25, "fresh_weights[0]", weights[0], "a fidelity in [1/4, 1]")
        take_whole(self, "modes", _MODES)
        for name in ("stored_from_s", "known_s"):
            given = getattr(self, name)
            object.__setattr__(self, name, (period_s, period_s) if given is None else _two_times(name, given))
        assert self.known_s is not None
        assert self.stored_from_s is not None
        for end in (0, 1):
            allowed = (
                f"at most min(known_s) = {min(self.known_s):g}, for a half is stored when it is known of"
            )
            require(
                self.stored_from_s[end] <= min(self.known_s), "stored_from_s", self.stored_from_s, allowed
            )

    def _weights(self) -> tuple[float, ...]:
        given, allowed = self.fresh_weights, "four numbers of 0 or more that sum to 1"
        require(hasattr(given, "__len__") and len(given) == 4, "fresh_weights", given, allowed)
        weights = tuple(as_float(f"fresh_weights[{place}]", weight) for place, weight in enumerate(given))
        right = min(weights) >= 0.0 and abs(sum(weights) - 1.0) <= 1e-9
        require(right, "fresh_weights", given, allowed)
        return weights


def _two_times(name: str, given: object) -> tuple[float, float]:
    """Two times of 0 or more, one for each end; raises ValueError for anything else."""
    allowed = "two times of 0 or more, in seconds"
    require(isinstance(given, tuple | list) and len(given) == 2, name, given, allowed)
    assert isinstance(given, tuple | list)
    first, second = (as_float(f"{name}[{place}]", time_s) for place, time_s in enumerate(given))
    require(min(first, second) >= 0.0 and max(first, second) < math.inf, name, given, allowed)
    return first, second


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

_MEMORY: Final = "a memory: hashable, and of a `kind` (one that keeps all has inf seconds)"


def _is_memory(value: object) -> bool:
    """One of these, or of a model's own: anything hashable with a `kind` that is no class and no link."""
    if isinstance(value, type | LinkHardware) or not hasattr(value, "kind"):
        return False
    try:
        hash(value)
    except TypeError:
        return False
    return True


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
        take_floats(self)
        for name in ("swap_success_probability", "gate_fidelity", "readout_fidelity"):
            require_probability(name, getattr(self, name))
        require(_is_memory(self.memory), "memory", self.memory, _MEMORY)
        kinds = tuple(HERALDED_SHARES)
        require(self.bell_measurement in kinds, "bell_measurement", self.bell_measurement, f"one of {kinds}")
        self._keep_hash(
            self.memory,
            self.swap_success_probability,
            self.gate_fidelity,
            self.readout_fidelity,
            self.bell_measurement,
        )

    __hash__ = _HashedOnce.__hash__

    @cached_property
    def mean_swap_success_probability(self) -> float:
        """Of a swap of pairs whose inner qubits are unbiased, as of all Bell-diagonal pairs."""
        return self.swap_success_probability * sum(HERALDED_SHARES[self.bell_measurement]) / 4.0

    @cached_property
    def heralded_outcomes(self) -> tuple[int, ...]:
        """The outcomes its Bell measurement can report, in rising order."""
        shares = HERALDED_SHARES[self.bell_measurement]
        return tuple(outcome for outcome, share in enumerate(shares) if share > 0.0)

"""Hardware of memories, fibres, links and nodes: frozen values, checked when built. Seconds, kilometres.

Scenario files use these classes directly: `kind` names each variant, and unknown keys are refused.
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
    require_instance,
    require_kind,
    require_lifetime,
    require_positive_probability,
    require_probability,
    take_floats,
    take_integer,
)

FIBRE_SPEED_KM_PER_S: Final = 2.0e5
"""The speed of light in fibre."""

_MODES: Final = "a whole number of 1 or more"


class _HashedOnce:
    """Computes its hash once: at every operation, models look up their constants by hardware."""

    _hash: int

    def _keep_hash(self, *parts: object) -> None:
        object.__setattr__(self, "_hash", hash(parts))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        """Pickle the fields only: the hash differs from process to process."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
        return partial(type(self), **values), ()


@dataclass(frozen=True, kw_only=True)
class DepolarisingMemory(_HashedOnce):
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
        self._keep_hash(self.kind, self.depolarising_s, self.coherence_attempts)

    # Named in the class, or dataclass would generate a hash of all fields, computed at every look-up.
    __hash__ = _HashedOnce.__hash__


@dataclass(frozen=True, kw_only=True)
class RelaxingMemory(_HashedOnce):
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
        self._keep_hash(self.kind, self.relaxation_s, self.dephasing_s, self.coherence_attempts)

    __hash__ = _HashedOnce.__hash__


Memory: TypeAlias = DepolarisingMemory | RelaxingMemory


@dataclass(frozen=True, kw_only=True)
class Fibre:
    """The loss of a fibre: a fraction 10^(-(fixed dB + dB/km x length)/10) of the photons arrives.

    The defaults fit 26 measured spans of deployed fibre. A laboratory spool has about 0.2 dB/km and no fixed
    loss.
    """

    fixed_loss_db: float = 2.6
    """Loss of a link whatever its length, 0 or more."""
    loss_db_per_km: float = 0.24
    """Loss of the fibre, 0 or more."""
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        take_floats(self)
        for name in ("fixed_loss_db", "loss_db_per_km"):
            require_amount(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A single-photon detector that is open for `window_s` in each time bin.

    A dark count in one window has probability 1 - e^(-rate x window). A `number_resolving` detector
    distinguishes two photons from one; any other detector only clicks.
    """

    efficiency: float = 1.0
    """Probability that a photon is detected, 0 to 1."""
    dark_count_rate_hz: float = 0.0
    """Rate of dark counts, 0 or more."""
    window_s: float = 1e-6
    """Time in which a detector accepts a photon, 0 or more."""
    number_resolving: bool = False
    """Whether a detector tells two photons from one."""
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        take_floats(self)
        require_probability("efficiency", self.efficiency)
        require_amount("dark_count_rate_hz", self.dark_count_rate_hz)
        require_amount("window_s", self.window_s)
        resolving = self.number_resolving
        require(isinstance(resolving, bool), "number_resolving", resolving, "True or False")


@dataclass(frozen=True, kw_only=True)
class SourceLink:
    """A source at one end stores one half of a pair and sends the other half to the far end's memory.

    One attempt succeeds with probability `efficiency` x the fibre's transmissivity, herald included. A fresh
    pair is a Werner state of `fresh_fidelity`.
    """

    fibre: Fibre = field(default_factory=Fibre)
    """Loss of the fibre."""
    efficiency: float = 1.0
    """Probability of everything but the fibre, herald included; above 0, at most 1."""
    fresh_fidelity: float = 0.98
    """Fidelity of the Werner state at birth, 0.25 to 1."""
    reset_time_s: float = 0.0
    """Time to reset a memory before an attempt; not used in networks."""
    modes: int = 1
    """Attempts under way at once, 1 or more; not used in networks."""
    kind: Literal["source"] = "source"
    """Names this kind."""
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        require_kind(self.kind, "source")
        take_floats(self)
        require_instance("fibre", self.fibre, Fibre)
        require_positive_probability("efficiency", self.efficiency)
        require(0.25 <= self.fresh_fidelity <= 1.0, "fresh_fidelity", self.fresh_fidelity, "in [1/4, 1]")
        require_amount("reset_time_s", self.reset_time_s)
        take_integer(self, "modes", _MODES)


@dataclass(frozen=True, kw_only=True)
class MidpointSourceLink:
    """A source half-way sends one photon of each pair to each end; the memories herald absorption.

    One attempt succeeds with probability `pair_probability` x (`absorption_efficiency` x the transmissivity
    of half the link)^2. A fresh pair is a Werner state of `fresh_fidelity`.
    """

    fibre: Fibre = field(default_factory=Fibre)
    """Loss of the fibre."""
    pair_probability: float = 1.0
    """Probability that the source makes a pair in an attempt; above 0, at most 1."""
    absorption_efficiency: float = 1.0
    """Probability that either end's memory stores its photon, herald included, 0 to 1."""
    fresh_fidelity: float = 0.98
    """Fidelity of the Werner state at birth, 0.25 to 1."""
    reset_time_s: float = 0.0
    """Time to reset a memory before an attempt."""
    modes: int = 1
    """Attempts under way at once, 1 or more."""
    kind: Literal["midpoint-source"] = "midpoint-source"
    """Names this kind."""
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        require_kind(self.kind, "midpoint-source")
        take_floats(self)
        require_instance("fibre", self.fibre, Fibre)
        require_positive_probability("pair_probability", self.pair_probability)
        require_probability("absorption_efficiency", self.absorption_efficiency)
        require(0.25 <= self.fresh_fidelity <= 1.0, "fresh_fidelity", self.fresh_fidelity, "in [1/4, 1]")
        require_amount("reset_time_s", self.reset_time_s)
        take_integer(self, "modes", _MODES)


@dataclass(frozen=True, kw_only=True)
class DoubleClickLink:
    """Both ends emit one photon in either of two modes; two clicks at a station between them herald a pair.

    The modes are time bins or polarisations. With `rounds` = 1 one attempt sends both modes. 2 stands for
    Barrett and Kok's two rounds, which take twice as long and are immune to double excitation (Barrett and
    Kok 2005, Phys. Rev. A 71, 060310).
    """

    fibre: Fibre = field(default_factory=Fibre)
    """Loss of the fibre."""
    detector: Detector = field(default_factory=Detector)
    """The detectors of the station."""
    rounds: Literal[1, 2] = 1
    """1: both modes in one attempt. 2: Barrett and Kok's two rounds."""
    emission_efficiency: float = 1.0
    """Probability that a photon enters the fibre, 0 to 1."""
    visibility: float = 1.0
    """Visibility of Hong-Ou-Mandel interference, the squared overlap of the two photons, 0 to 1."""
    station_position: float = 0.5
    """Fraction of the link's length and loss between the first end and the station, 0 to 1."""
    reset_time_s: float = 0.0
    """Time to reset a memory before an attempt."""
    modes: int = 1
    """Attempts under way at once, 1 or more."""
    kind: Literal["double-click"] = "double-click"
    """Names this kind."""
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        require_kind(self.kind, "double-click")
        take_floats(self)
        require_instance("fibre", self.fibre, Fibre)
        require_instance("detector", self.detector, Detector)
        take_integer(self, "rounds", "1 or 2", maximum=2)
        for name in ("emission_efficiency", "visibility", "station_position"):
            require_probability(name, getattr(self, name))
        require_amount("reset_time_s", self.reset_time_s)
        take_integer(self, "modes", _MODES)


@dataclass(frozen=True, kw_only=True)
class SingleClickLink:
    """Each end emits with probability `bright_population`; one click heralds a pair.

    A larger `bright_population` raises the rate and lowers the fidelity (Cabrillo et al. 1999, Phys. Rev. A
    59, 1025).
    """

    bright_population: float
    """Probability that an end emits, above 0 and below 1."""
    fibre: Fibre = field(default_factory=Fibre)
    """Loss of the fibre."""
    detector: Detector = field(default_factory=Detector)
    """The detectors of the station."""
    emission_efficiency: float = 1.0
    """Probability that a photon enters the fibre, 0 to 1."""
    visibility: float = 1.0
    """Visibility of Hong-Ou-Mandel interference, the squared overlap of the two photons, 0 to 1."""
    phase_deviation_rad: float = 0.0
    """Standard deviation of the optical phase between the two arms, 0 or more."""
    station_position: float = 0.5
    """Fraction of the link's length and loss between the first end and the station, 0 to 1."""
    reset_time_s: float = 0.0
    """Time to reset a memory before an attempt."""
    modes: int = 1
    """Attempts under way at once, 1 or more."""
    kind: Literal["single-click"] = "single-click"
    """Names this kind."""
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        require_kind(self.kind, "single-click")
        take_floats(self)
        require_instance("fibre", self.fibre, Fibre)
        require_instance("detector", self.detector, Detector)
        alpha = self.bright_population
        require(0.0 < alpha < 1.0, "bright_population", alpha, "above 0 and below 1")
        for name in ("emission_efficiency", "visibility", "station_position"):
            require_probability(name, getattr(self, name))
        require_amount("phase_deviation_rad", self.phase_deviation_rad)
        require_amount("reset_time_s", self.reset_time_s)
        take_integer(self, "modes", _MODES)


@dataclass(frozen=True, kw_only=True)
class DirectLink:
    """A link defined by its success probability, attempt period and fresh state. Its length has no effect."""

    success_probability: float
    """Success probability of one attempt; above 0, at most 1."""
    attempt_period_s: float
    """Time of one attempt in one mode, above 0."""
    fresh_weights: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    """Weights of Phi+, Phi-, Psi+, Psi- in the Bell-diagonal state at birth. They sum to 1, and the first is
    at least 0.25."""
    modes: int = 1
    """Attempts under way at once, 1 or more."""
    stored_from_s: tuple[float, float] | None = None
    """For each end: time from the start of a successful attempt until its memory holds its half. At most the
    smaller `known_s`; the period by default."""
    known_s: tuple[float, float] | None = None
    """For each end: time from the start of a successful attempt until it knows of the pair; the period by
    default."""
    kind: Literal["direct"] = "direct"
    """Names this kind."""
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        require_kind(self.kind, "direct")
        take_floats(self)
        require_positive_probability("success_probability", self.success_probability)
        period_s = self.attempt_period_s
        require(0.0 < period_s < math.inf, "attempt_period_s", period_s, "above 0, and finite")
        weights = self._weights()
        object.__setattr__(self, "fresh_weights", weights)
        require(weights[0] >= 0.25, "fresh_weights[0]", weights[0], "a fidelity in [1/4, 1]")
        take_integer(self, "modes", _MODES)
        for name in ("stored_from_s", "known_s"):
            times = getattr(self, name)
            object.__setattr__(self, name, (period_s, period_s) if times is None else _two_times(name, times))
        assert self.known_s is not None
        assert self.stored_from_s is not None
        for end in (0, 1):
            allowed = f"at most min(known_s) = {min(self.known_s):g}: each half is stored by then"
            require(
                self.stored_from_s[end] <= min(self.known_s), "stored_from_s", self.stored_from_s, allowed
            )

    def _weights(self) -> tuple[float, ...]:
        given, allowed = self.fresh_weights, "four numbers of 0 or more that sum to 1"
        require(hasattr(given, "__len__") and len(given) == 4, "fresh_weights", given, allowed)
        weights = tuple(as_float(f"fresh_weights[{index}]", weight) for index, weight in enumerate(given))
        normalised = min(weights) >= 0.0 and abs(sum(weights) - 1.0) <= 1e-9
        require(normalised, "fresh_weights", given, allowed)
        return weights


def _two_times(name: str, given: object) -> tuple[float, float]:
    """Two times of 0 or more, one for each end. Raises ValueError for anything else."""
    allowed = "two times of 0 or more, in seconds"
    require(isinstance(given, tuple | list) and len(given) == 2, name, given, allowed)
    assert isinstance(given, tuple | list)
    first, second = (as_float(f"{name}[{end}]", time_s) for end, time_s in enumerate(given))
    require(min(first, second) >= 0.0 and max(first, second) < math.inf, name, given, allowed)
    return first, second


LinkHardware: TypeAlias = SourceLink | MidpointSourceLink | DoubleClickLink | SingleClickLink | DirectLink

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
class NodeHardware(_HashedOnce):
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
        """The success probability of a swap with unbiased inner qubits, as in all Bell-diagonal pairs."""
        return self.swap_success_probability * sum(HERALDED_FRACTIONS[self.bell_measurement]) / 4.0

    @cached_property
    def heralded_outcomes(self) -> tuple[int, ...]:
        """The outcomes that its Bell measurement can report, in rising order."""
        fractions = HERALDED_FRACTIONS[self.bell_measurement]
        return tuple(outcome for outcome, fraction in enumerate(fractions) if fraction > 0.0)

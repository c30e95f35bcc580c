"""Links: the five kinds of hardware that generate pairs between neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from physics.hardware.checks import (
    as_float,
    require,
    require_amount,
    require_instance,
    require_kind,
    require_positive_probability,
    require_probability,
    take_floats,
    take_integer,
)
from physics.hardware.optics import Detector, Fibre

_MODES: Final = "a whole number of 1 or more"


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

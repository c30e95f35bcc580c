"""Laws of links: sound numbers, and for every kind of hardware the values that its fields determine."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise, product
from typing import Final

from physics.conformance.fixtures import LENGTHS_KM, LINKS, Deviation, ModelUnderTest, describe, zero_if
from physics.hardware import (
    FIBRE_SPEED_KM_PER_S,
    Detector,
    DirectLink,
    DoubleClickLink,
    Fibre,
    LinkHardware,
    MidpointSourceLink,
    SingleClickLink,
    SourceLink,
)
from physics.interface import CompiledLink

_RESOLVING: Final = Detector(efficiency=0.9, number_resolving=True)
_IDEAL_STATIONS: Final[tuple[DoubleClickLink | SingleClickLink, ...]] = (
    DoubleClickLink(detector=_RESOLVING, emission_efficiency=0.7),
    DoubleClickLink(detector=Detector(efficiency=0.6), rounds=2, station_position=0.3),
    SingleClickLink(bright_population=0.1, detector=_RESOLVING),
    SingleClickLink(bright_population=0.4, detector=_RESOLVING, emission_efficiency=0.7),
)
"""Identical photons, no dark counts, no phase noise: probability and state have a closed form."""


def validity(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Probabilities, times and modes are valid for every kind of link at several lengths."""
    for compiled, hardware, _, where in _compiled(tested):
        p = compiled.success_probability
        yield max(0.0, p - 1.0), f"success_probability is {p!r}, above 1: {where}"
        yield zero_if(p > 0.0), f"success_probability is {p!r}, not above 0: {where}"
        for invalid in _invalid_times(compiled):
            yield math.inf, f"{invalid}: {where}"
        whole = isinstance(compiled.modes, int) and compiled.modes == hardware.modes
        yield zero_if(whole), f"modes are {compiled.modes!r}, those of the hardware {hardware.modes}: {where}"


def match_hardware(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Sources and direct links have their hardware's probability and F; all links have its attempt period.

    The later end knows of a pair no earlier than light can cross the link. Direct links ignore their length.
    """
    for compiled, hardware, length_km, where in _compiled(tested):
        light_s = length_km / FIBRE_SPEED_KM_PER_S
        period_s = _period_s(hardware, light_s)
        yield _relative("attempt_period_s", compiled.attempt_period_s, period_s, where)
        if not isinstance(hardware, DirectLink) and light_s > 0.0:
            last_s = max(compiled.known_s)
            early = f"known_s is {last_s:.10g} at the later end, and light takes {light_s:.10g} s: {where}"
            yield max(0.0, 1.0 - last_s / light_s), early
        if isinstance(hardware, SourceLink | MidpointSourceLink | DirectLink):
            p, fidelity = _source_figures(hardware, length_km)
            yield _relative("success_probability", compiled.success_probability, p, where)
            yield _relative("F of the fresh pair", tested.model.fidelity(compiled.fresh), fidelity, where)


def fall_with_length(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Fibre loses photons, so p falls from each length to the next. A direct link's p stays."""
    for hardware in (*LINKS, *_IDEAL_STATIONS):
        for shorter_km, longer_km in pairwise(LENGTHS_KM):
            near, far = (
                tested.model.link(hardware, length_km).success_probability
                for length_km in (shorter_km, longer_km)
            )
            falls = far == near if isinstance(hardware, DirectLink) else far < near
            where = f"link, {describe(hardware)}, from {shorter_km:g} km to {longer_km:g} km"
            yield zero_if(falls), f"success_probability goes from {near:.6g} to {far:.6g}: {where}"


def stations(tested: ModelUnderTest) -> Iterator[Deviation]:
    """Ideal stations herald with the closed-form p and F.

    Double click, arms of efficiencies a and b: p = a b/2 and F = 1 (Barrett and Kok 2005, Phys. Rev. A 71,
    060310). Single click, equal arms of efficiency a, detectors that resolve photon number:
    p = 2 alpha a (1 - alpha a) and F = (1-alpha)/(1 - alpha a) (Cabrillo et al. 1999, Phys. Rev. A 59, 1025):
    exactly one photon is seen, from one bright end or from two.
    """
    for hardware, length_km in product(_IDEAL_STATIONS, LENGTHS_KM):
        compiled = tested.model.link(hardware, length_km)
        where = f"link, {describe(hardware)}, {length_km:g} km"
        position = hardware.station_position
        seen = hardware.emission_efficiency * hardware.detector.efficiency
        first = seen * _arriving(hardware.fibre, length_km, position)
        second = seen * _arriving(hardware.fibre, length_km, 1.0 - position)
        if isinstance(hardware, DoubleClickLink):
            p, fidelity = 0.5 * first * second, 1.0
        else:
            alpha = hardware.bright_population
            p = 2.0 * alpha * first * (1.0 - alpha * first)
            fidelity = (1.0 - alpha) / (1.0 - alpha * first)
        yield _relative("success_probability", compiled.success_probability, p, where)
        yield _relative("F of the fresh pair", tested.model.fidelity(compiled.fresh), fidelity, where)


def _compiled(tested: ModelUnderTest) -> Iterator[tuple[CompiledLink, LinkHardware, float, str]]:
    for hardware, length_km in product(LINKS, LENGTHS_KM):
        where = f"link, {describe(hardware)}, {length_km:g} km"
        yield tested.model.link(hardware, length_km), hardware, length_km, where


def _invalid_times(compiled: CompiledLink) -> Iterator[str]:
    period_s = compiled.attempt_period_s
    if not 0.0 <= period_s < math.inf:
        yield f"attempt_period_s is {period_s!r}"
    for end, (stored, known) in enumerate(zip(compiled.stored_from_s, compiled.known_s, strict=True)):
        if not 0.0 <= stored < math.inf:
            yield f"stored_from_s[{end}] is {stored!r}"
        if not stored <= known < math.inf:
            yield f"known_s[{end}] is {known!r}, before the qubit is stored at {stored!r}"


def _period_s(hardware: LinkHardware, light_s: float) -> float:
    """The reset, then photons out and the herald back; with a station, to and from its farther end."""
    if isinstance(hardware, DirectLink):
        return hardware.attempt_period_s
    if isinstance(hardware, SourceLink):
        return hardware.reset_time_s + 2.0 * light_s
    if isinstance(hardware, MidpointSourceLink):
        return hardware.reset_time_s + light_s
    rounds = hardware.rounds if isinstance(hardware, DoubleClickLink) else 1
    farther = max(hardware.station_position, 1.0 - hardware.station_position)
    return rounds * (hardware.reset_time_s + 2.0 * farther * light_s)


def _source_figures(
    hardware: SourceLink | MidpointSourceLink | DirectLink, length_km: float
) -> tuple[float, float]:
    """Success probability and F by the formulas in the docstrings of `physics.hardware`."""
    if isinstance(hardware, DirectLink):
        return hardware.success_probability, hardware.fresh_weights[0]
    if isinstance(hardware, SourceLink):
        return hardware.efficiency * _arriving(hardware.fibre, length_km, 1.0), hardware.fresh_fidelity
    absorbed = hardware.absorption_efficiency**2 * _arriving(hardware.fibre, length_km, 1.0)
    return hardware.pair_probability * absorbed, hardware.fresh_fidelity


def _arriving(fibre: Fibre, length_km: float, fraction: float) -> float:
    """10^(-dB/10) through a `fraction` of the link, in length and in fixed loss."""
    loss_db = fraction * (fibre.fixed_loss_db + fibre.loss_db_per_km * length_km)
    return math.pow(10.0, -0.1 * loss_db)


def _relative(quantity: str, value: float, expected: float, where: str) -> Deviation:
    """The deviation relative to `expected`, unless that is 0."""
    return abs(value - expected) / (
        expected or 1.0
    ), f"{quantity} is {value:.10g}, not {expected:.10g}: {where}"

"""Laws of links: sound numbers, and for every shipped kind of hardware what its fields say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise, product
from typing import Final

from physics.conformance.bench import LENGTHS_KM, LINKS, Bench, Deviation, told, verdict
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
    DoubleClickLink(detector=Detector(efficiency=0.6), rounds=2, station_share=0.3),
    SingleClickLink(bright_population=0.1, detector=_RESOLVING),
    SingleClickLink(bright_population=0.4, detector=_RESOLVING, emission_efficiency=0.7),
)
"""Photons alike, no dark counts, no phase noise: what is heralded has a closed form."""


def sound(bench: Bench) -> Iterator[Deviation]:
    """Probabilities, times and modes of every kind of link, at several lengths."""
    for compiled, hardware, _, place in _compiled(bench):
        p = compiled.success_probability
        yield max(0.0, p - 1.0), f"success_probability is {p!r}, above 1: {place}"
        yield verdict(p > 0.0), f"success_probability is {p!r}, not above 0: {place}"
        for wrong in _wrong_times(compiled):
            yield math.inf, f"{wrong}: {place}"
        whole = isinstance(compiled.modes, int) and compiled.modes == hardware.modes
        yield verdict(whole), f"modes are {compiled.modes!r}, those of the hardware {hardware.modes}: {place}"


def told_by_hardware(bench: Bench) -> Iterator[Deviation]:
    """Sources and direct links have their hardware's probability and F; all have their attempt's length.

    Nobody knows of a pair before light has crossed the link, but for direct links, whose length is nothing.
    """
    for compiled, hardware, length_km, place in _compiled(bench):
        light_s = length_km / FIBRE_SPEED_KM_PER_S
        period_s = _period_s(hardware, light_s)
        yield _off("attempt_period_s", compiled.attempt_period_s, period_s, place)
        if not isinstance(hardware, DirectLink) and light_s > 0.0:
            last_s = max(compiled.known_s)
            sooner = f"known_s is {last_s:.10g} at the later end, and light takes {light_s:.10g} s: {place}"
            yield max(0.0, 1.0 - last_s / light_s), sooner
        if isinstance(hardware, SourceLink | MidpointSourceLink | DirectLink):
            p, fidelity = _born(hardware, length_km)
            yield _off("success_probability", compiled.success_probability, p, place)
            yield _off("F of the fresh pair", bench.model.fidelity(compiled.fresh), fidelity, place)


def fall_with_length(bench: Bench) -> Iterator[Deviation]:
    """Fibre loses photons: p falls from each length to the next. A direct link's p stays."""
    for hardware in (*LINKS, *_IDEAL_STATIONS):
        for shorter_km, longer_km in pairwise(LENGTHS_KM):
            near, far = (
                bench.model.link(hardware, length_km).success_probability
                for length_km in (shorter_km, longer_km)
            )
            falls = far == near if isinstance(hardware, DirectLink) else far < near
            place = f"link, {told(hardware)}, from {shorter_km:g} km to {longer_km:g} km"
            yield verdict(falls), f"success_probability goes from {near:.6g} to {far:.6g}: {place}"


def stations(bench: Bench) -> Iterator[Deviation]:
    """Two photons of efficiencies a and b herald Phi+ with p = a b/2; one of two of efficiency a, in equal
    arms, p = 2 alpha a (1 - alpha a) and F = (1-alpha)/(1 - alpha a), when photons are counted.

    Barrett and Kok 2005, Phys. Rev. A 71, 060310; Cabrillo et al. 1999, Phys. Rev. A 59, 1025: of the bright
    ends, either one alone or both, exactly one photon is seen.
    """
    for hardware, length_km in product(_IDEAL_STATIONS, LENGTHS_KM):
        compiled = bench.model.link(hardware, length_km)
        place = f"link, {told(hardware)}, {length_km:g} km"
        share, seen = hardware.station_share, hardware.emission_efficiency * hardware.detector.efficiency
        first = seen * _arriving(hardware.fibre, length_km, share)
        second = seen * _arriving(hardware.fibre, length_km, 1.0 - share)
        if isinstance(hardware, DoubleClickLink):
            p, fidelity = 0.5 * first * second, 1.0
        else:
            alpha = hardware.bright_population
            p = 2.0 * alpha * first * (1.0 - alpha * first)
            fidelity = (1.0 - alpha) / (1.0 - alpha * first)
        yield _off("success_probability", compiled.success_probability, p, place)
        yield _off("F of the fresh pair", bench.model.fidelity(compiled.fresh), fidelity, place)


def _compiled(bench: Bench) -> Iterator[tuple[CompiledLink, LinkHardware, float, str]]:
    for hardware, length_km in product(LINKS, LENGTHS_KM):
        place = f"link, {told(hardware)}, {length_km:g} km"
        yield bench.model.link(hardware, length_km), hardware, length_km, place


def _wrong_times(compiled: CompiledLink) -> Iterator[str]:
    period_s = compiled.attempt_period_s
    if not 0.0 <= period_s < math.inf:
        yield f"attempt_period_s is {period_s!r}"
    for end, (stored, known) in enumerate(zip(compiled.stored_from_s, compiled.known_s, strict=True)):
        if not 0.0 <= stored < math.inf:
            yield f"stored_from_s[{end}] is {stored!r}"
        if not stored <= known < math.inf:
            yield f"known_s[{end}] is {known!r}, before the qubit is stored at {stored!r}"


def _period_s(hardware: LinkHardware, light_s: float) -> float:
    """Reset, then photons out and the herald back; a station's farther end takes the longest."""
    if isinstance(hardware, DirectLink):
        return hardware.attempt_period_s
    if isinstance(hardware, SourceLink):
        return hardware.reset_time_s + 2.0 * light_s
    if isinstance(hardware, MidpointSourceLink):
        return hardware.reset_time_s + light_s
    rounds = hardware.rounds if isinstance(hardware, DoubleClickLink) else 1
    farther = max(hardware.station_share, 1.0 - hardware.station_share)
    return rounds * (hardware.reset_time_s + 2.0 * farther * light_s)


def _born(hardware: SourceLink | MidpointSourceLink | DirectLink, length_km: float) -> tuple[float, float]:
    """Success probability and F, as the docstrings of the hardware have them."""
    if isinstance(hardware, DirectLink):
        return hardware.success_probability, hardware.fresh_weights[0]
    if isinstance(hardware, SourceLink):
        return hardware.efficiency * _arriving(hardware.fibre, length_km, 1.0), hardware.fresh_fidelity
    absorbed = hardware.absorption_efficiency**2 * _arriving(hardware.fibre, length_km, 1.0)
    return hardware.pair_probability * absorbed, hardware.fresh_fidelity


def _arriving(fibre: Fibre, length_km: float, share: float) -> float:
    """10^(-dB/10) through `share` of the link, in length and in fixed loss."""
    loss_db = share * (fibre.fixed_loss_db + fibre.loss_db_per_km * length_km)
    return math.pow(10.0, -0.1 * loss_db)


def _off(what: str, value: float, expected: float, place: str) -> Deviation:
    """Relative to what is expected, where that is not 0."""
    return abs(value - expected) / (expected or 1.0), f"{what} is {value:.10g}, not {expected:.10g}: {place}"

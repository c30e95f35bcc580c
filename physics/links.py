"""What a link of given hardware and length gives: success probability, timing, what is born, in one go.

Stations that see clicks are worked out in `physics.clicks`. Times follow one convention: an attempt starts
with the reset of the memory, and its photon leaves when that is done.
"""

from __future__ import annotations

import math

from physics.hardware import (
    FIBRE_SPEED_KM_PER_S,
    DirectLink,
    Fibre,
    LinkHardware,
    MidpointSourceLink,
    SourceLink,
)
from physics.interface import CompiledLink
from physics.states import bell_diagonal, werner


def transmissivity(length_km: float, *, loss_db_per_km: float, fixed_loss_db: float = 0.0) -> float:
    """eta = 10^(-(fixed dB + dB/km x length)/10): the share of photons that arrive. Losses in dB add up.

    Raises ValueError when an argument is negative.

    >>> round(1.0 - transmissivity(10.0, loss_db_per_km=0.2), 11)
    0.36904265552
    """
    given = {"length_km": length_km, "loss_db_per_km": loss_db_per_km, "fixed_loss_db": fixed_loss_db}
    for name, value in given.items():
        if not value >= 0.0:
            raise ValueError(f"{name} is {value!r}; it must be 0 or more")
    return float(10.0 ** (-(fixed_loss_db + loss_db_per_km * length_km) / 10.0))


def light_time_s(length_km: float) -> float:
    """One way through `length_km` of fibre at 2e5 km/s, in seconds.

    >>> light_time_s(10.0)
    5e-05
    """
    return length_km / FIBRE_SPEED_KM_PER_S


def compile_link(hardware: LinkHardware, length_km: float) -> CompiledLink:
    """Everything a link of `hardware` and `length_km` does; `fresh` is a 4x4 complex128 density matrix.

    Raises ValueError unless `length_km` is 0 or more, and finite.

    >>> link = compile_link(SourceLink(fibre=Fibre(fixed_loss_db=0.0, loss_db_per_km=0.2)), 10.0)
    >>> round(link.success_probability, 6), link.attempt_period_s, link.known_s
    (0.630957, 0.0001, (0.0001, 5e-05))
    """
    if not 0.0 <= length_km < math.inf:
        raise ValueError(f"length_km is {length_km!r}; it must be 0 or more, and finite")
    if isinstance(hardware, DirectLink):
        return _direct(hardware)
    if isinstance(hardware, SourceLink):
        return _source(hardware, length_km)
    if isinstance(hardware, MidpointSourceLink):
        return _midpoint_source(hardware, length_km)
    raise NotImplementedError(hardware.kind)


def _direct(hardware: DirectLink) -> CompiledLink:
    period_s = hardware.attempt_period_s
    return CompiledLink(
        success_probability=hardware.success_probability,
        attempt_period_s=period_s,
        fresh=bell_diagonal(hardware.fresh_weights),
        modes=hardware.modes,
        stored_from_s=(period_s, period_s),
        known_s=(period_s, period_s),
    )


def _source(hardware: SourceLink, length_km: float) -> CompiledLink:
    """Sender keeps its half while the other flies and the herald returns: 2 L/v and the reset in all."""
    light_s, reset_s = light_time_s(length_km), hardware.reset_time_s
    return CompiledLink(
        success_probability=hardware.efficiency * _arriving(hardware.fibre, length_km),
        attempt_period_s=reset_s + 2.0 * light_s,
        fresh=werner(hardware.fresh_fidelity),
        modes=hardware.modes,
        stored_from_s=(reset_s, reset_s + light_s),
        known_s=(reset_s + 2.0 * light_s, reset_s + light_s),
    )


def _midpoint_source(hardware: MidpointSourceLink, length_km: float) -> CompiledLink:
    """Memories are held from the photons' arrival on; each end then waits for the other's herald, L/v."""
    light_s, reset_s = light_time_s(length_km), hardware.reset_time_s
    arm = hardware.absorption_efficiency * math.sqrt(_arriving(hardware.fibre, length_km))
    return CompiledLink(
        success_probability=hardware.pair_probability * arm * arm,
        attempt_period_s=reset_s + light_s,
        fresh=werner(hardware.fresh_fidelity),
        modes=hardware.modes,
        stored_from_s=(reset_s, reset_s),
        known_s=(reset_s + light_s, reset_s + light_s),
    )


def _arriving(fibre: Fibre, length_km: float) -> float:
    return transmissivity(length_km, loss_db_per_km=fibre.loss_db_per_km, fixed_loss_db=fibre.fixed_loss_db)

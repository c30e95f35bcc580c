"""Links compiled from hardware and length: success probability, timing and the fresh state.

`physics.links.heralding` works out stations with click detectors. An attempt starts with the reset of the
memory, and its photon leaves when the reset is done. With L/v the light time of the whole link and tau the
reset time, an attempt takes tau + 2 L/v for a source, tau + L/v for a midpoint source, and
tau + 2 max(s, 1-s) L/v per round for a click link whose station is at the fraction s of its length.
"""

from __future__ import annotations

import math
from typing import get_args

from physics.hardware import (
    FIBRE_SPEED_KM_PER_S,
    DirectLink,
    DoubleClickLink,
    Fibre,
    LinkHardware,
    MidpointSourceLink,
    SingleClickLink,
    SourceLink,
)
from physics.interface import CompiledLink
from physics.links.heralding import Herald, double_click, single_click
from physics.qubits.states import bell_diagonal, werner


def transmissivity(length_km: float, *, loss_db_per_km: float, fixed_loss_db: float = 0.0) -> float:
    """eta = 10^(-(fixed dB + dB/km x length)/10): the fraction of photons that arrive. Losses in dB add up.

    Raises ValueError when an argument is negative.

    >>> round(1.0 - transmissivity(10.0, loss_db_per_km=0.2), 11)
    0.36904265552
    """
    arguments = {"length_km": length_km, "loss_db_per_km": loss_db_per_km, "fixed_loss_db": fixed_loss_db}
    for name, value in arguments.items():
        if not value >= 0.0:
            raise ValueError(f"{name} is {value!r}; it must be 0 or more")
    return float(10.0 ** (-(fixed_loss_db + loss_db_per_km * length_km) / 10.0))


def light_time_s(length_km: float) -> float:
    """The time light takes one way through `length_km` of fibre at 2e5 km/s, in seconds.

    >>> light_time_s(10.0)
    5e-05
    """
    return length_km / FIBRE_SPEED_KM_PER_S


def compile_link(hardware: LinkHardware, length_km: float) -> CompiledLink:
    """The link of `hardware` and `length_km`; its `fresh` is a 4x4 complex128 density matrix.

    Raises ValueError for anything but link hardware, for a length that is negative or not finite, and for a
    link that can never succeed.

    >>> link = compile_link(SourceLink(fibre=Fibre(fixed_loss_db=0.0, loss_db_per_km=0.2)), 10.0)
    >>> round(link.success_probability, 6), link.attempt_period_s, link.known_s
    (0.630957, 0.0001, (0.0001, 5e-05))
    """
    if not isinstance(hardware, LinkHardware):
        kinds = ", ".join(kind.__name__ for kind in get_args(LinkHardware))
        raise ValueError(f"hardware is {hardware!r}; it must be one of {kinds}")
    if not 0.0 <= length_km < math.inf:
        raise ValueError(f"length_km is {length_km!r}; it must be 0 or more, and finite")
    link = _compiled(hardware, length_km)
    # An efficiency may be 0, and the transmissivity of a very long fibre underflows to 0.
    if not link.success_probability > 0.0:
        of = f"success_probability of a {hardware.kind} link of {length_km!r} km"
        raise ValueError(f"{of} is {link.success_probability!r}; it must be above 0, or no pair is ever born")
    return link


def _compiled(hardware: LinkHardware, length_km: float) -> CompiledLink:
    if isinstance(hardware, DirectLink):
        return _direct(hardware)
    if isinstance(hardware, SourceLink):
        return _source(hardware, length_km)
    if isinstance(hardware, MidpointSourceLink):
        return _midpoint_source(hardware, length_km)
    return _station(hardware, length_km)


def _direct(hardware: DirectLink) -> CompiledLink:
    assert hardware.stored_from_s is not None
    assert hardware.known_s is not None
    return CompiledLink(
        success_probability=hardware.success_probability,
        attempt_period_s=hardware.attempt_period_s,
        fresh=bell_diagonal(hardware.fresh_weights),
        source_limited=False,
        modes=hardware.modes,
        stored_from_s=hardware.stored_from_s,
        known_s=hardware.known_s,
    )


def _source(hardware: SourceLink, length_km: float) -> CompiledLink:
    """The sender stores its half until the photon has arrived and the herald has returned: tau + 2 L/v."""
    light_s, reset_s = light_time_s(length_km), hardware.reset_time_s
    return CompiledLink(
        success_probability=hardware.efficiency * _arriving(hardware.fibre, length_km),
        attempt_period_s=reset_s + 2.0 * light_s,
        fresh=werner(hardware.fresh_fidelity),
        source_limited=True,
        modes=hardware.modes,
        stored_from_s=(reset_s, reset_s + light_s),
        known_s=(reset_s + 2.0 * light_s, reset_s + light_s),
    )


def _midpoint_source(hardware: MidpointSourceLink, length_km: float) -> CompiledLink:
    """Each end stores its half from the photon's arrival on and waits L/v for the other end's herald."""
    light_s, reset_s = light_time_s(length_km), hardware.reset_time_s
    arm = hardware.absorption_efficiency * _arriving(hardware.fibre, length_km, fraction=0.5)
    return CompiledLink(
        success_probability=hardware.pair_probability * arm * arm,
        attempt_period_s=reset_s + light_s,
        fresh=werner(hardware.fresh_fidelity),
        source_limited=False,
        modes=hardware.modes,
        stored_from_s=(reset_s, reset_s),
        known_s=(reset_s + light_s, reset_s + light_s),
    )


def _station(hardware: DoubleClickLink | SingleClickLink, length_km: float) -> CompiledLink:
    """The photons meet at the station, so the nearer end emits later and gets its herald earlier.

    A second round starts, with its own reset, when the later end has the first round's herald.
    """
    herald, reset_s = _herald(hardware, length_km), hardware.reset_time_s
    first_s = light_time_s(hardware.station_position * length_km)
    second_s = light_time_s((1.0 - hardware.station_position) * length_km)
    longer_s = max(first_s, second_s)
    round_s = reset_s + 2.0 * longer_s
    rounds = hardware.rounds if isinstance(hardware, DoubleClickLink) else 1
    last_meeting_s = (rounds - 1) * round_s + reset_s + longer_s
    return CompiledLink(
        success_probability=herald.probability,
        attempt_period_s=rounds * round_s,
        fresh=herald.state,
        source_limited=False,
        modes=hardware.modes,
        stored_from_s=(reset_s + (longer_s - first_s), reset_s + (longer_s - second_s)),
        known_s=(last_meeting_s + first_s, last_meeting_s + second_s),
    )


def _herald(hardware: DoubleClickLink | SingleClickLink, length_km: float) -> Herald:
    detector, position = hardware.detector, hardware.station_position
    seen = hardware.emission_efficiency * detector.efficiency
    first_efficiency = seen * _arriving(hardware.fibre, length_km, fraction=position)
    second_efficiency = seen * _arriving(hardware.fibre, length_km, fraction=1.0 - position)
    # expm1 keeps the digits: dark counts in one window are rare.
    dark_probability = -math.expm1(-detector.dark_count_rate_hz * detector.window_s)
    if isinstance(hardware, DoubleClickLink):
        return double_click(
            first_efficiency=first_efficiency,
            second_efficiency=second_efficiency,
            dark_probability=dark_probability,
            visibility=hardware.visibility,
            number_resolving=detector.number_resolving,
        )
    return single_click(
        bright_population=hardware.bright_population,
        first_efficiency=first_efficiency,
        second_efficiency=second_efficiency,
        dark_probability=dark_probability,
        visibility=hardware.visibility,
        phase_deviation_rad=hardware.phase_deviation_rad,
        number_resolving=detector.number_resolving,
    )


def _arriving(fibre: Fibre, length_km: float, *, fraction: float = 1.0) -> float:
    """The transmissivity of a `fraction` of the link, in length and in fixed loss."""
    fixed_loss_db = fraction * fibre.fixed_loss_db
    return transmissivity(
        fraction * length_km, loss_db_per_km=fibre.loss_db_per_km, fixed_loss_db=fixed_loss_db
    )

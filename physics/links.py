"""What a fibre and its source give: success probability and period of an attempt, and what is born."""

from __future__ import annotations

from physics.interface import FIBRE_SPEED_KM_PER_S, DensityMatrix, LinkHardware
from physics.states import werner


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


def success_probability(hardware: LinkHardware) -> float:
    """Probability that one attempt gives a heralded pair: efficiency x transmissivity."""
    return hardware.efficiency * transmissivity(
        hardware.length_km, loss_db_per_km=hardware.loss_db_per_km, fixed_loss_db=hardware.fixed_loss_db
    )


def light_time_s(length_km: float) -> float:
    """One way through `length_km` of fibre at 2e5 km/s, in seconds.

    >>> light_time_s(10.0)
    5e-05
    """
    return length_km / FIBRE_SPEED_KM_PER_S


def attempt_period_s(length_km: float) -> float:
    """2L/v: a photon out and its herald back, the least time between attempts on one memory."""
    return 2.0 * light_time_s(length_km)


def fresh_state(hardware: LinkHardware) -> DensityMatrix:
    """The density matrix of a pair at its birth: a Werner state of `fresh_fidelity`."""
    return werner(hardware.fresh_fidelity)

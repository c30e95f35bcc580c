"""Optics: fibres and single-photon detectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from physics.hardware.checks import require, require_amount, require_probability, take_floats

FIBRE_SPEED_KM_PER_S: Final = 2.0e5
"""The speed of light in fibre."""


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

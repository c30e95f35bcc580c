"""Attributes and checks that several policies share."""

from __future__ import annotations

from qdpem.scenario.words import Pregeneration


class PolicyDefaults:
    """Attributes of a policy that keeps no stock, uses no forecast, sends no messages and acts on events
    only.

    A policy overrides those in which it differs, and sets `Parameters`, `name`, `family` and `control`. A
    subclass of a policy that decides by another rule sets a `family` of its own.
    """

    pregeneration: Pregeneration = Pregeneration.NONE
    forecaster: str = "none"
    acts_every_epoch: bool = False
    message_width: int = 0


def check_storage_fraction(storage_fraction: float) -> None:
    """Raise ValueError unless a `storage_fraction` lies between 0 and 1."""
    if not 0.0 <= storage_fraction <= 1.0:
        raise ValueError(f"storage_fraction is {storage_fraction!r}; it must be between 0 and 1")

"""The view of a reservation that the parts carrying out its allocation have."""

from __future__ import annotations

from typing import Protocol

from qdpem.network.path import Path
from qdpem.policy.interface import Allocation
from qdpem.simulation.resources.queues.claims import Claimant

ONCE, BY_PAIR, BY_LINK = range(3)
"""When a generation starts anew: never, after each delivery, or link by link when qubits are free."""


class ReservationView(Claimant, Protocol):
    """A reservation as its generations and its admission see it.

    `rounds`, `qubits`: distillation rounds on each hop, and the qubits these need at either end of it.
    `protocol`: of all distillations. `pumping`: whether rounds spend fresh pairs on one pair, instead of
    nesting. `repeat_until_deadline`: ONCE, BY_PAIR or BY_LINK.
    """

    allocation: Allocation
    path: Path
    rounds: tuple[int, ...]
    qubits: tuple[int, ...]
    protocol: str
    pumping: bool
    repeat_until_deadline: int

    def free(self, position: int, pool: int, count: int) -> None:
        """Give back `count` qubits of `pool` held at `position`."""

    def retake(self, position: int, needs: dict[int, int]) -> bool:
        """Take qubits of each pool at `position` again; False if that fails and the reservation gives up."""

    def generation_done(self) -> None:
        """One generation needs nothing any more."""

    def fail(self, position: int) -> None:
        """A pair lost at `position` cannot be made again."""

    def interrupt(self, position: int) -> None:
        """A node or link that is needed at `position` is unavailable."""

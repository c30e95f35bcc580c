"""The interface of a rule of end-to-end stock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.policies.routing.backlog import Backlog
from qdpem.policy.interface import Allocation, Observation


class EndToEndRule(Protocol):
    """Decides which end-to-end pairs a site lacks, and orders them. What it lacks is the rule's own value."""

    def lacks(self, observations: Observation) -> list[list[Any]]:
        """What each observing site lacks and may order now, in the order to serve it."""

    def replenish(
        self,
        lacks: list[Any],
        backlog: Backlog,
        *,
        now_s: float,
        unavailable: Unavailable = ALL_AVAILABLE,
    ) -> Iterator[Allocation]:
        """Orders of one site for what it lacks; `backlog` counts their work."""

    def reserved(self, source: int, destination: int, pairs: int) -> int:
        """Pairs in stock that a request for `pairs` must leave to others. Known of the sites asked last."""

    def state(self) -> dict[str, NDArray[Any]]:
        """All that the rule remembers."""

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""

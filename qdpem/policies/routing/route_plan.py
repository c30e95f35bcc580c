"""A chosen path with its distillation plan: the one value that every route search returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from physics.plans import Plan, Rounds
from qdpem.network.path import Path

StockedPair: TypeAlias = tuple[tuple[int, int], float]
"""A pair in stock: (owner, partner) and its believed fidelity."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RoutePlan:
    """A path, its rounds of distillation, and its expected delay in seconds.

    `fresh_pairs` float64 [hops]: fresh pairs that each hop makes for one end-to-end pair, 0 for a hop that a
    stocked pair replaces. `stocked_pairs`: the pairs in stock that the path relies on.
    """

    path: Path
    expected_delay_s: float
    fresh_pairs: NDArray[np.float64]
    rounds: Rounds = 0
    end_rounds: int = 0
    stocked_pairs: tuple[StockedPair, ...] = ()

    @property
    def parallel_pairs(self) -> int:
        """End-to-end pairs made for each pair delivered: 2 for each end-to-end round of distillation."""
        return 1 << self.end_rounds

    @property
    def plan(self) -> Plan:
        """The plan of an allocation over this path."""
        return Plan(rounds_per_link=self.rounds, end_rounds=self.end_rounds)

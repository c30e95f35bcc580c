"""A hop: one step of a lane, and what is on its way there."""

from __future__ import annotations

from qdpem.simulation.claims import Claim
from qdpem.simulation.pairs import Pair


class Hop:
    """One step of a lane: a link that generates, or a stocked pair that stands in for it.

    `pools`: of its qubits at the left and the right end; -1 until a stocked remote pair is chosen.
    """

    __slots__ = (
        "cancelled",
        "claims",
        "delay_s",
        "known",
        "levels",
        "link",
        "live",
        "pools",
        "position",
        "supplied",
    )

    def __init__(
        self, position: int, *, link: int, pools: tuple[int, int], delay_s: float, rounds: int
    ) -> None:
        self.position = position
        self.link = link
        self.pools = pools
        self.delay_s = delay_s
        self.known = [False, False]
        self.supplied = False
        self.cancelled = False
        self.claims: list[Claim] = []
        self.live: list[Pair] = []
        self.levels: list[list[Pair]] = [[] for _ in range(rounds)]

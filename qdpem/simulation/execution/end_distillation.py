"""End-to-end distillation: lanes in pairs, whose two pairs become one between the ends of the path.

When both have arrived the ends distil them, compare readings one end-to-end delay later, and deliver what is
left; if the readings disagree both lanes begin again. The measured qubits stay set aside until then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from qdpem.rng import Coins
from qdpem.simulation.execution.end_to_end import Lane
from qdpem.simulation.resources.ledger import Pair
from qdpem.simulation.resources.path_timing import Track
from qdpem.simulation.resources.state import World

HandOver = Callable[[Lane, Pair, float], None]


class Distilling(Protocol):
    """What end-to-end distillation needs of its reservation."""

    track: Track
    protocol: str
    lanes: list[Lane]


class EndDistillation:
    """Pairs that wait for their partners between the two ends, by the place of their lanes."""

    def __init__(self, world: World, order: Distilling, hand_over: HandOver) -> None:
        self._world = world
        self._order = order
        self._hand_over = hand_over
        self._waiting: dict[int, tuple[Lane, Pair]] = {}
        self._over = False

    def arrived(self, lane: Lane, pair: Pair) -> None:
        """A lane's pair is known at both ends: it waits for its partner, or both are distilled."""
        place = self._order.lanes.index(lane)
        self._waiting[place] = (lane, pair)
        if place ^ 1 in self._waiting:
            first = min(place, place ^ 1)
            self._world.clock.after(self._world.network.distillation_time_s, self._distil, first)

    def release(self, how: str) -> None:
        """An end gives up: what waits is gone."""
        self._over = True
        for _, pair in self._waiting.values():
            self._world.ledger.end(pair, how, self._world.clock.now_s)
        self._waiting.clear()

    def _distil(self, place: int) -> None:
        if self._over:
            return
        world, order = self._world, self._order
        (lane, kept), (other, spent) = self._waiting.pop(place), self._waiting.pop(place + 1)
        u = self._coins().next()
        pair = world.ledger.distil(kept, spent, protocol=order.protocol, now_s=world.clock.now_s, u=u)
        world.mail.send("distillation", hops=2 * len(order.track.links))
        if pair is not None:
            self._waiting[place] = (lane, pair)
        world.clock.after(order.track.delays_s[0][-1], self._compared, place, lane, other, world.clock.now_s)

    def _compared(self, place: int, lane: Lane, other: Lane, distilled_s: float) -> None:
        """Both ends know the other's reading."""
        if self._over:
            return
        found = self._waiting.pop(place, None)
        if found is None:
            lane.begin_again()
            other.begin_again()
            return
        other.consumed()
        self._hand_over(lane, found[1], distilled_s)

    def _coins(self) -> Coins:
        nodes, links = self._order.track.nodes, self._order.track.links
        # Pairs of one link are distilled with the link's coins, whichever round of a plan it is.
        if len(links) == 1:
            return self._world.distillation_coins[links[0]]
        return self._world.end_coins.between(nodes[0], nodes[-1])

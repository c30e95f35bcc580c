"""End-to-end distillation: lanes in pairs, whose two pairs become one between the ends of the path.

When both have arrived the ends distil them, compare readings one end-to-end delay later, and deliver what is
left; if the readings disagree both lanes begin again. The measured qubits stay set aside until then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from qdpem.events.words import PairOutcome
from qdpem.network.path import Path
from qdpem.rng import UniformStream
from qdpem.simulation.execution.end_to_end import EndToEndGeneration
from qdpem.simulation.resources.ledger import Pair
from qdpem.simulation.resources.state import SimulationState

HandOver = Callable[[EndToEndGeneration, Pair, float], None]


class Distilling(Protocol):
    """What end-to-end distillation needs of its reservation."""

    path: Path
    protocol: str
    generations: list[EndToEndGeneration]


class EndDistillation:
    """Pairs that wait for their partners between the two ends, by the place of their lanes."""

    def __init__(self, state: SimulationState, order: Distilling, hand_over: HandOver) -> None:
        self._state = state
        self._order = order
        self._hand_over = hand_over
        self._waiting: dict[int, tuple[EndToEndGeneration, Pair]] = {}
        self._over = False

    def arrived(self, generation: EndToEndGeneration, pair: Pair) -> None:
        """A lane's pair is known at both ends: it waits for its partner, or both are distilled."""
        place = self._order.generations.index(generation)
        self._waiting[place] = (generation, pair)
        if place ^ 1 in self._waiting:
            first = min(place, place ^ 1)
            self._state.clock.after(self._state.network.distillation_time_s, self._distil, first)

    def release(self, how: PairOutcome) -> None:
        """An end gives up: what waits is gone."""
        self._over = True
        for _, pair in self._waiting.values():
            self._state.ledger.end(pair, how, self._state.clock.now_s)
        self._waiting.clear()

    def _distil(self, place: int) -> None:
        if self._over:
            return
        state, order = self._state, self._order
        (generation, kept), (other, spent) = self._waiting.pop(place), self._waiting.pop(place + 1)
        u = self._draws().next()
        pair = state.ledger.distil(kept, spent, protocol=order.protocol, now_s=state.clock.now_s, u=u)
        state.message_counter.send("distillation", hops=2 * len(order.path.links))
        if pair is not None:
            self._waiting[place] = (generation, pair)
        state.clock.after(
            order.path.delays_s[0][-1], self._compared, place, generation, other, state.clock.now_s
        )

    def _compared(
        self, place: int, generation: EndToEndGeneration, other: EndToEndGeneration, distilled_s: float
    ) -> None:
        """Both ends know the other's reading."""
        if self._over:
            return
        found = self._waiting.pop(place, None)
        if found is None:
            generation.begin_again()
            other.begin_again()
            return
        other.consumed()
        self._hand_over(generation, found[1], distilled_s)

    def _draws(self) -> UniformStream:
        nodes, links = self._order.path.nodes, self._order.path.links
        # Pairs of one link are distilled with the link's coins, whichever round of a plan it is.
        if len(links) == 1:
            return self._state.distillation_draws[links[0]]
        return self._state.end_distillation_draws.between(nodes[0], nodes[-1])

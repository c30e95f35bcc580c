"""End-to-end distillation: the pairs of two generations become one between the ends of the path.

When both pairs are there, the ends distil them and compare readings one end-to-end delay later. If the
readings agree, the pair is handed over; if not, both generations start anew. The measured qubits stay
reserved until then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from qdpem.events.words import PairOutcome
from qdpem.rng import UniformStream
from qdpem.simulation.execution.end_to_end import EndToEndGeneration
from qdpem.simulation.execution.reservation_view import ReservationView
from qdpem.simulation.resources.pairs.ledger import Pair
from qdpem.simulation.resources.state import SimulationState

HandOver: TypeAlias = Callable[[EndToEndGeneration, Pair, float], None]
"""Takes the generation whose pair was kept, the distilled pair, and when it was distilled."""


class EndDistillation:
    """Pairs that wait between the two ends of a path, by the index of their generation.

    Generations 2k and 2k + 1 are partners.
    """

    def __init__(self, state: SimulationState, reservation: ReservationView, hand_over: HandOver) -> None:
        self._state = state
        self._reservation = reservation
        self._hand_over = hand_over
        self._waiting: dict[int, tuple[EndToEndGeneration, Pair]] = {}
        self._released = False

    def add(self, generation: EndToEndGeneration, pair: Pair) -> None:
        """A generation's pair is known at both ends. It waits for its partner, or both are distilled."""
        index = generation.index
        self._waiting[index] = (generation, pair)
        # Exclusive or with 1 turns the index 2k into 2k + 1 and back.
        partner = index ^ 1
        if partner in self._waiting:
            first = min(index, partner)
            self._state.clock.after(self._state.network.distillation_time_s, self._distil, first)

    def release(self, outcome: PairOutcome) -> None:
        """An end gives up: the pairs that wait end with `outcome`."""
        # Scheduled calls are not revoked; each of them looks at this flag first.
        self._released = True
        for _, pair in self._waiting.values():
            self._state.ledger.end(pair, outcome, self._state.clock.now_s)
        self._waiting.clear()

    def _distil(self, first: int) -> None:
        if self._released:
            return
        state, reservation = self._state, self._reservation
        (generation, kept), (partner, spent) = self._waiting.pop(first), self._waiting.pop(first + 1)
        u, now_s = self._draws().next(), state.clock.now_s
        pair = state.ledger.distil(kept, spent, protocol=reservation.protocol, now_s=now_s, u=u)
        state.message_counter.send("distillation", hops=2 * reservation.path.hops)
        # The outcome is drawn now, but the ends learn it when their readings have crossed the path.
        if pair is not None:
            self._waiting[first] = (generation, pair)
        delay_s = reservation.path.delays_s[0][-1]
        state.clock.after(delay_s, self._compared, first, generation, partner, now_s)

    def _compared(
        self, first: int, generation: EndToEndGeneration, partner: EndToEndGeneration, distilled_s: float
    ) -> None:
        """Both ends know the other's reading. No waiting pair means that the readings disagreed."""
        if self._released:
            return
        distilled = self._waiting.pop(first, None)
        if distilled is None:
            generation.restart()
            partner.restart()
            return
        partner.release_pair()
        self._hand_over(generation, distilled[1], distilled_s)

    def _draws(self) -> UniformStream:
        nodes, links = self._reservation.path.nodes, self._reservation.path.links
        # On a path of one link these are distillations of that link's pairs: they use the link's stream,
        # whether a plan counts them as rounds of the link or of the path.
        if len(links) == 1:
            return self._state.distillation_draws[links[0]]
        return self._state.end_distillation_draws.between(nodes[0], nodes[-1])

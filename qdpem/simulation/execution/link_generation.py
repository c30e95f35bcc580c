"""Link generation: one hop of an end-to-end generation.

Its link generates pairs and distils them into one, or a stocked pair stands in. Side 0 of a hop is its left
end, side 1 its right end. A node acts on what it knows. Each end of a link learns of a fresh pair at the
time that the link's herald timing gives (`qdpem.network.herald_timing`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from qdpem.events.words import ClaimKind, ClaimOutcome, PairOutcome
from qdpem.network.herald_timing import NO_SENDER, HeraldTiming
from qdpem.simulation.execution.reservation_view import ReservationView
from qdpem.simulation.resources.pairs.ledger import Pair
from qdpem.simulation.resources.queues.claims import Claim
from qdpem.simulation.resources.state import SimulationState

_HELD = -1.0
"""In place of the time from which the qubits at an end are free."""

HandOver: TypeAlias = "Callable[[LinkGeneration, Pair, tuple[float, float], float], None]"
"""Takes a finished pair, when either end knows of it, and when it may be measured."""


class LinkGeneration:
    """Makes one pair between two nodes that follow each other on a path, and again after a loss.

    Three counters and flags keep late messages apart from the present pair. `pair_number` counts the pairs
    handed over, so a message about an older number has no effect. `lost_number` is, for either side, the
    number of the last pair that its node knows to be lost. `known_at` is whether the node on either side
    knows of the present pair.

    `pools`: of its qubits at the left and the right end, -1 until a stocked remote pair is chosen. `qubits`:
    how many it needs at either end for its `rounds` of distillation. `supplied`: whether a stocked pair
    stands in. `unfinished`: pairs that are not handed over yet.
    """

    __slots__ = (
        "_free_s",
        "_hand_over",
        "_pump_level",
        "_state",
        "_waiting",
        "cancelled",
        "claims",
        "delay_s",
        "ends",
        "known_at",
        "link",
        "lost_number",
        "pair_number",
        "pools",
        "position",
        "qubits",
        "reservation",
        "rounds",
        "supplied",
        "unfinished",
    )

    def __init__(
        self, state: SimulationState, reservation: ReservationView, position: int, hand_over: HandOver
    ) -> None:
        path = reservation.path
        self._state = state
        self._hand_over = hand_over
        self.reservation = reservation
        self.position = position
        self.ends = (path.nodes[position], path.nodes[position + 1])
        self.link = path.links[position]
        self.pools = state.memories.pools_of(self.ends, self.link)
        self.delay_s = path.hop_delay_s[position]
        self.known_at = [False, False]
        self.supplied = False
        self.cancelled = False
        self.pair_number = 0
        self.lost_number = [0, 0]
        self.claims: list[Claim] = []
        self.unfinished: list[Pair] = []
        self.rounds = reservation.rounds[position]
        self.qubits = reservation.qubits[position]
        # Pairs that wait for a partner, by level; pumping uses the first place only.
        self._waiting: list[list[Pair]] = [[] for _ in range(self.rounds)]
        self._pump_level = 0
        self._free_s = [_HELD, _HELD]

    def begin(self) -> None:
        """Both ends have set qubits aside: claim the emissions that the pair needs."""
        # A stocked pair may have been found, or all given up, while this was on its way.
        if not (self.cancelled or self.supplied):
            self._claim(self.qubits)

    def pair_lost(self, side: int) -> None:
        """The node on `side` learns that the pair is lost."""
        self.known_at[side] = False
        self.lost_number[side] = self.pair_number

    def qubits_freed(self, side: int) -> None:
        """The node on `side` has its qubits back. The hop starts when its left end knows that both have."""
        if self.cancelled:
            return
        state, free_s = self._state, self._free_s
        now_s = free_s[side] = state.clock.now_s
        if side:
            # The left end decides, so the right end has to send it a message.
            state.message_counter.send("grant")
            free_s[side] += self.delay_s
        if free_s[1 - side] < 0.0:
            return
        start_s = max(free_s)
        free_s[:] = _HELD, _HELD
        # A stocked pair stood in for the lost pair only; the link makes the next one.
        self.supplied = False
        if start_s > now_s:
            state.clock.at(start_s, self.begin)
        else:
            self.begin()

    def supply(self, pair: Pair, *, side: int) -> None:
        """A stocked pair stands in for the hop. The node on `side` knows now, the other one by message."""
        self.supplied = True
        now_s = self._state.clock.now_s
        told_s = now_s + self.delay_s
        self._state.message_counter.send("stock", hops=int(self._state.network.hop_distance[self.ends]))
        known_s = (told_s, now_s) if side else (now_s, told_s)
        # For a key, a fresh pair is measured as soon as it is made. A stocked pair can only be measured once
        # both ends know which one it is.
        self._hand_over(self, pair, known_s, told_s)

    def emitted(self, claim: Claim, sender: int, start_s: float) -> None:
        """An emission of the node `sender`, or an attempt of the link, began at `start_s` and succeeds."""
        self._state.leave_feeds(claim, ClaimOutcome.GRANTED)
        self.claims.remove(claim)
        timing = self._state.ledger.fresh_pairs.timing(self.link, sender)
        self._state.clock.at(start_s + timing.birth_s, self._herald, sender, timing)

    def cancel(self, outcome: PairOutcome) -> None:
        """Give up: claims are withdrawn, and pairs that are not handed over yet end with `outcome`."""
        # Scheduled calls are not revoked; each of them looks at this flag first.
        self.cancelled = True
        for claim in self.claims:
            self._state.leave_feeds(claim, ClaimOutcome.WITHDRAWN)
        self.claims = []
        for pair in self.unfinished:
            self._state.ledger.end(pair, outcome, self._state.clock.now_s)
        self.unfinished = []

    def _claim(self, count: int) -> None:
        state, reservation = self._state, self.reservation
        if state.availability.link_unavailable[self.link]:
            reservation.interrupt(self.position)
            return
        for _ in range(count):
            claim = state.claims.make(
                ClaimKind.EMISSION,
                reservation,
                node=state.network.first_end[self.link],
                link=self.link,
                now_s=state.clock.now_s,
                owner=self,
            )
            self.claims.append(claim)
            state.seek_emission(claim)

    def _herald(self, sender: int, timing: HeraldTiming) -> None:
        """A fresh pair is born: the first of its ends knows of it."""
        if self.cancelled:
            return
        state, ends = self._state, self.ends
        # The link failed while the photons were on their way.
        if state.availability.link_unavailable[self.link]:
            self.reservation.interrupt(self.position)
            return
        now_s = state.clock.now_s
        pair = state.ledger.birth(
            self.link, sender=sender, ends=ends, now_s=now_s, allocation=self.reservation.id
        )
        self.unfinished.append(pair)
        # The far end sends a herald to the sender; a station sends one to both ends.
        state.message_counter.send("herald", hops=2 if sender == NO_SENDER else 1)
        known_after_s = timing.known_after_s
        self._gain(pair, 0, (now_s + known_after_s[ends[0]], now_s + known_after_s[ends[1]]))

    def _gain(self, pair: Pair, level: int, known_s: tuple[float, float]) -> None:
        """The hop has one more pair of this level; two are distilled into one of the next level.

        Nested rounds take two of one level. Pumping keeps the first pair and spends a fresh one on it.
        """
        pumping = self.reservation.pumping
        if level == self.rounds:
            self.unfinished.remove(pair)
            self._hand_over(self, pair, known_s, self._state.clock.now_s)
            return
        slot = 0 if pumping else level
        waiting = self._waiting[slot]
        waiting.append(pair)
        if len(waiting) == 2:
            self._waiting[slot] = []
            # Distillation starts when the later of the two ends knows of the second pair.
            start_s = max(known_s) + self._state.network.distillation_time_s
            level = self._pump_level if pumping else level
            self._state.clock.at(start_s, self._distil, level, *waiting)
        elif pumping:
            self._pump_level = level
            # The first two fresh pairs were claimed together; each later round needs one more.
            if level:
                self._claim(1)

    def _distil(self, level: int, kept: Pair, spent: Pair) -> None:
        if self.cancelled:
            return
        state = self._state
        u = state.distillation_draws[self.link].next()
        protocol = self.reservation.protocol
        pair = state.ledger.distil(kept, spent, protocol=protocol, now_s=state.clock.now_s, u=u)
        self.unfinished.remove(kept)
        self.unfinished.remove(spent)
        if pair is not None:
            self.unfinished.append(pair)
        state.message_counter.send("distillation", hops=2)
        # The outcome is drawn now, but the ends learn it when their readings have crossed the link.
        state.clock.after(self.delay_s, self._compared, level, pair)

    def _compared(self, level: int, pair: Pair | None) -> None:
        """Both ends have compared their readings; after a failure the pairs of this level are made again."""
        if self.cancelled:
            return
        if pair is None:
            self._claim(2 if self.reservation.pumping else 2 << level)
        else:
            now_s = self._state.clock.now_s
            self._gain(pair, level + 1, (now_s, now_s))

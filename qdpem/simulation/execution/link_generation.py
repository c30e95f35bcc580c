"""A hop: one step of a lane. Its link generates pairs and distils them into one, or a stocked pair stands in.

Side 0 of a hop is its left end. A node acts on what it knows: either end of a link knows a fresh pair when
its link says so (`qdpem.draws.herald_timing`).
"""

from __future__ import annotations

from typing import Protocol

from qdpem.draws.herald_timing import NO_SENDER, HeraldTiming
from qdpem.events.words import ClaimKind, ClaimOutcome, PairOutcome
from qdpem.network.path import Path
from qdpem.simulation.resources.claims import Claim
from qdpem.simulation.resources.ledger import Pair
from qdpem.simulation.resources.state import SimulationState

_EMISSION, _GRANTED = ClaimKind.EMISSION, ClaimOutcome.GRANTED

_HELD = -1.0
"""In place of the time from which an end's qubits are free."""


class Order(Protocol):
    """What a hop needs to know of the allocation it works for."""

    id: int
    purpose: int
    source: int
    expires_s: float
    rounds: tuple[int, ...]
    protocol: str
    pumping: bool
    units: tuple[int, ...]

    def interrupt(self, position: int) -> None:
        """What is needed at `position` is away."""


class Line(Protocol):
    """What a hop needs of the lane it is a step of."""

    @property
    def path(self) -> Path:
        """Path and links."""

    @property
    def order(self) -> Order:
        """For whom the pair is made."""

    def made(self, hop: LinkGeneration, pair: Pair, known_s: tuple[float, float], *, ready_s: float) -> None:
        """The hop has its pair; either end knows it at `known_s`, it may be measured at `ready_s`."""


class LinkGeneration:
    """Makes one pair between two nodes that follow each other on the path, and again when told so.

    `turn` counts the pairs made: word of an older one says nothing of this one. `lost` is the turn of the
    last pair that the node on either side knows to be lost. `pools`: of its qubits at the left and the right
    end; -1 until a stocked remote pair is chosen. `units`: qubits it needs at either end for its `rounds`.
    """

    __slots__ = (
        "_free_s",
        "_level",
        "_levels",
        "_line",
        "_state",
        "cancelled",
        "claims",
        "delay_s",
        "ends",
        "known",
        "link",
        "live",
        "lost",
        "pools",
        "position",
        "rounds",
        "supplied",
        "turn",
        "units",
    )

    def __init__(self, state: SimulationState, line: Line, position: int) -> None:
        path = line.path
        self._state = state
        self._line = line
        self.position = position
        self.ends = (path.nodes[position], path.nodes[position + 1])
        self.link = path.links[position]
        self.pools = state.memories.pools_of(self.ends, self.link)
        self.delay_s = path.hop_delay_s[position]
        self.known = [False, False]
        self.supplied = False
        self.cancelled = False
        self.turn = 0
        self.lost = [0, 0]
        self.claims: list[Claim] = []
        self.live: list[Pair] = []
        self.rounds = line.order.rounds[position]
        self.units = line.order.units[position]
        self._levels: list[list[Pair]] = [[] for _ in range(self.rounds)]
        self._level = 0
        self._free_s = [_HELD, _HELD]

    @property
    def order(self) -> Order:
        """The allocation it works for."""
        return self._line.order

    def begin(self) -> None:
        """Both ends have set qubits aside: claim what the pair needs."""
        if not (self.cancelled or self.supplied):
            self._claim(self.units)

    def forget(self, side: int) -> None:
        """The node on `side` hears that the pair is lost."""
        self.known[side] = False
        self.lost[side] = self.turn

    def freed(self, side: int) -> None:
        """The node on `side` has its qubits back: the hop begins again when its left end knows both have."""
        if self.cancelled:
            return
        state, free_s = self._state, self._free_s
        now_s = free_s[side] = state.clock.now_s
        if side:
            state.message_counter.send("grant")
            free_s[side] += self.delay_s
        if free_s[1 - side] < 0.0:
            return
        start_s = max(free_s)
        free_s[:] = _HELD, _HELD
        self.supplied = False
        if start_s > now_s:
            state.clock.at(start_s, self.begin)
        else:
            self.begin()

    def supply(self, pair: Pair, *, side: int) -> None:
        """A stocked pair stands in for the hop; the node on `side` knows now, the other by message."""
        self.supplied = True
        now_s = self._state.clock.now_s
        told_s = now_s + self.delay_s
        self._state.message_counter.send("stock", hops=int(self._state.network.hop_distance[self.ends]))
        known_s = (told_s, now_s) if side else (now_s, told_s)
        # A stocked pair is measured for a key when both ends know which one; a fresh one when it is made.
        self._line.made(self, pair, known_s, ready_s=told_s)

    def emitted(self, claim: Claim, sender: int, start_s: float) -> None:
        """An emission of the node `sender`, or an attempt of the link, began at `start_s` and succeeds."""
        self._state.leave_feeds(claim, _GRANTED)
        self.claims.remove(claim)
        course = self._state.ledger.fresh_pairs.course(self.link, sender)
        self._state.clock.at(start_s + course.birth_s, self._herald, sender, course)

    def cancel(self, how: PairOutcome) -> None:
        """Give up: claims are withdrawn, pairs not handed over yet are gone."""
        self.cancelled = True
        for claim in self.claims:
            self._state.leave_feeds(claim, ClaimOutcome.WITHDRAWN)
        self.claims = []
        for pair in self.live:
            self._state.ledger.end(pair, how, self._state.clock.now_s)
        self.live = []

    def _claim(self, count: int) -> None:
        state, order = self._state, self._line.order
        if state.availability.links[self.link]:
            order.interrupt(self.position)
            return
        for _ in range(count):
            claim = state.claims.make(
                _EMISSION,
                order,
                node=state.network.first_end[self.link],
                link=self.link,
                now_s=state.clock.now_s,
                owner=self,
            )
            self.claims.append(claim)
            state.seek_emission(claim)

    def _herald(self, sender: int, course: HeraldTiming) -> None:
        if self.cancelled:
            return
        state, ends = self._state, self.ends
        if state.availability.links[self.link]:
            self._line.order.interrupt(self.position)
            return
        now_s = state.clock.now_s
        pair = state.ledger.birth(
            self.link, sender=sender, ends=ends, now_s=now_s, allocation=self._line.order.id
        )
        self.live.append(pair)
        # A sender is told by the far end; word of an attempt goes to both.
        state.message_counter.send("herald", hops=2 if sender == NO_SENDER else 1)
        told_s = course.told_s
        self._gain(pair, 0, (now_s + told_s[ends[0]], now_s + told_s[ends[1]]))

    def _gain(self, pair: Pair, level: int, known_s: tuple[float, float]) -> None:
        """The hop has one more pair of this level; two are distilled into one of the next.

        Nested rounds take two of one level. Pumping keeps the first and spends a fresh one on it.
        """
        order = self._line.order
        if level == self.rounds:
            self.live.remove(pair)
            self._line.made(self, pair, known_s, ready_s=self._state.clock.now_s)
            return
        place = 0 if order.pumping else level
        waiting = self._levels[place]
        waiting.append(pair)
        if len(waiting) == 2:
            self._levels[place] = []
            start_s = max(known_s) + self._state.network.distillation_time_s
            level = self._level if order.pumping else level
            self._state.clock.at(start_s, self._distil, level, *waiting)
        elif order.pumping:
            self._level = level
            if level:
                self._claim(1)

    def _distil(self, level: int, kept: Pair, spent: Pair) -> None:
        if self.cancelled:
            return
        state = self._state
        u = state.distillation_draws[self.link].next()
        protocol = self._line.order.protocol
        pair = state.ledger.distil(kept, spent, protocol=protocol, now_s=state.clock.now_s, u=u)
        self.live.remove(kept)
        self.live.remove(spent)
        if pair is not None:
            self.live.append(pair)
        state.message_counter.send("distillation", hops=2)
        state.clock.after(self.delay_s, self._distilled, level, pair)

    def _distilled(self, level: int, pair: Pair | None) -> None:
        """Both ends have compared their readings."""
        if self.cancelled:
            return
        if pair is None:
            self._claim(2 if self._line.order.pumping else 2 << level)
        else:
            now_s = self._state.clock.now_s
            self._gain(pair, level + 1, (now_s, now_s))

"""A lane: one pair at a time in the making along a path.

Hops make link pairs, repeaters swap, corrections travel. Positions count the nodes of the path from 0; hop i
joins positions i and i + 1. What is lost on the way, by a failed swap or a cut-off, is begun again: every
node of the stretch that hears of it takes back the qubits it gave away, and a hop generates anew when its
left end knows that both ends have theirs. A lane of a standing request goes on for ever: after each delivery,
or link by link as soon as the qubits are free.
"""

from __future__ import annotations

from typing import Protocol

from qdpem.events.words import ClaimKind, ClaimOutcome, PairOutcome
from qdpem.network.path import Path
from qdpem.simulation.execution.link_generation import LinkGeneration, Order
from qdpem.simulation.resources.claims import Claim
from qdpem.simulation.resources.ledger import Pair
from qdpem.simulation.resources.state import SimulationState

_TOKEN, _GRANTED = ClaimKind.TOKEN, ClaimOutcome.GRANTED

ONCE, BY_PAIR, BY_LINK = range(3)
"""When a lane begins again: not at all, after each delivery, every link when its qubits are free."""

_AFTER = 1e-14
"""Share of the clock's time by which a cut-off is late: a pair can still be used at that very moment."""


class Principal(Order, Protocol):
    """What a lane needs of the reservation it works for."""

    path: Path
    persistence: int

    def free(self, position: int, pool: int, count: int) -> None:
        """Give back `count` qubits of `pool` held at `position`."""

    def retake(self, position: int, needs: dict[int, int]) -> bool:
        """Take so many qubits of each pool at `position` again; False when it cannot, and has given up."""

    def completed(
        self, generation: EndToEndGeneration, pair: Pair, *, ready_s: float, operated_s: float
    ) -> None:
        """The lane's pair is known at both ends."""

    def generation_done(self) -> None:
        """One lane needs nothing any more."""

    def fail(self, position: int) -> None:
        """What was lost at `position` cannot be made again."""


class Segment:
    """A stretch of a lane that one pair spans, from position `first` to `last`.

    `source_s`, `destination_s`: when either end of the path has heard all it must hear about it.
    `operated_s`: when the last operation on it was done. `heard_s`: when the nodes at its own ends know of
    it. `due_s`: when the oldest of the link pairs in it reaches the cut-off.
    """

    __slots__ = ("destination_s", "due_s", "first", "heard_s", "last", "operated_s", "pair", "source_s")

    def __init__(
        self,
        pair: Pair,
        first: int,
        last: int,
        told_s: tuple[float, float],
        operated_s: float,
        heard_s: tuple[float, float],
        due_s: float,
    ) -> None:
        self.pair = pair
        self.first = first
        self.last = last
        self.source_s, self.destination_s = told_s
        self.operated_s = operated_s
        self.heard_s = heard_s
        self.due_s = due_s


class EndToEndGeneration:
    """Makes pairs from position 0 to the last of its reservation's path.

    `link_hops`: links of the path; 0 when the whole path is one stocked remote pair.
    """

    def __init__(self, state: SimulationState, reservation: Principal) -> None:
        self._state = state
        self.reservation = self.order = reservation
        self.path = reservation.path
        self.link_hops = sum(link >= 0 for link in self.path.links)
        self._last = len(self.path.links)
        self._spans = state.swap_order.spans(self._last)
        self.hops = [LinkGeneration(state, self, position) for position in range(self._last)]
        self._starting: list[Segment | None] = [None] * (self._last + 1)
        self._ending: list[Segment | None] = [None] * (self._last + 1)
        self._tokens: dict[int, Claim | None] = {}

    def release(self, position: int, how: PairOutcome) -> None:
        """The node at `position` gives up: its claims are withdrawn, pairs that end there are gone."""
        for hop in self.hops[max(position - 1, 0) : position + 1]:
            hop.cancel(how)
        for segment in (self._starting[position], self._ending[position]):
            if segment is not None:
                self._end(segment, how)
        self._withdraw_token(position)

    def consumed(self) -> None:
        """The finished pair was delivered or given up: its two qubits are free, or begin again."""
        if self.reservation.persistence != ONCE:
            self.begin_again()
            return
        self.reservation.free(0, self.hops[0].pools[0], 1)
        self.reservation.free(self._last, self.hops[-1].pools[1], 1)
        self.reservation.generation_done()

    def begin_again(self) -> None:
        """The next pair: the source tells all to begin it, or the links that have rested do."""
        if self.reservation.persistence == BY_LINK:
            self.hops[0].freed(0)
            self.hops[-1].freed(1)
        else:
            self._begin_again(0, self._last, self.path.delays_s[0])

    def made(self, hop: LinkGeneration, pair: Pair, known_s: tuple[float, float], *, ready_s: float) -> None:
        """A hop has its pair."""
        state, position = self._state, hop.position
        now_s = state.clock.now_s
        told_s = (
            known_s[0] if position == 0 else 0.0,
            known_s[1] if position + 1 == self._last else 0.0,
        )
        due_s = pair.born_s + state.network.cutoff_s
        segment = Segment(pair, position, position + 1, told_s, ready_s, known_s, due_s)
        self._starting[position] = self._ending[position + 1] = segment
        hop.turn += 1
        for side in (0, 1):
            if known_s[side] > now_s:
                state.clock.at(known_s[side], self._know, hop, side, hop.turn)
            else:
                self._know(hop, side, hop.turn)
        self._watch(segment)

    def token_granted(self, claim: Claim) -> None:
        """The repeater gives its token, or takes the swap; how long that takes is the repeater's to say."""
        state, position = self._state, claim.tag
        state.claims.end(claim, _GRANTED, state.clock.now_s)
        self._tokens[position] = None
        turns = self.hops[position - 1].turn, self.hops[position].turn
        swap_time_s = state.repeaters[claim.node].swap_time_s
        if swap_time_s > 0.0:
            state.clock.after(swap_time_s, self._swap, position, turns)
        else:
            self._swap(position, turns)

    def _watch(self, segment: Segment) -> None:
        """A joined segment that spans the lane is delivered; one that does not may grow too old."""
        clock = self._state.clock
        if segment.last - segment.first == self._last:
            if self._last > 1:
                clock.at(max(segment.source_s, segment.destination_s), self._complete, segment)
        elif segment.due_s < self.reservation.expires_s:
            clock.at(segment.due_s * (1.0 + _AFTER), self._cut_off, segment)

    def _know(self, hop: LinkGeneration, side: int, turn: int) -> None:
        """The node on `side` knows of the hop's pair, unless word that it is lost has come before."""
        position = hop.position + side
        if hop.cancelled:
            return
        if hop.units > 1 and not hop.supplied:
            self.reservation.free(position, hop.pools[side], hop.units - 1)
        if turn != hop.turn or turn == hop.lost[side]:
            return
        hop.known[side] = True
        if 0 < position < self._last:
            self._try_swap(position)
        elif self._last == 1 and all(hop.known):
            self._state.clock.after(0.0, self._complete, self._starting[0])

    def _try_swap(self, position: int) -> None:
        """Seek a token once the node knows of its two pairs, and they span what the swap order asks for."""
        ready = self.hops[position - 1].known[1] and self.hops[position].known[0]
        spans = self._spans
        if (
            ready
            and position not in self._tokens
            and (spans is None or self._joins(position, spans[position]))
        ):
            self._seek_token(position)

    def _joins(self, position: int, span: tuple[int, int]) -> bool:
        """Whether the node knows of two pairs that together span these positions."""
        left, right = self._ending[position], self._starting[position]
        now_s = self._state.clock.now_s
        return (
            left is not None
            and right is not None
            and (left.first, right.last) == span
            and max(left.heard_s[1], right.heard_s[0]) <= now_s
        )

    def _seek_token(self, position: int) -> None:
        state, node = self._state, self.path.nodes[position]
        claim = state.claims.make(
            _TOKEN, self.reservation, node=node, now_s=state.clock.now_s, owner=self, tag=position
        )
        self._tokens[position] = claim
        state.repeaters[node].add(claim)

    def _withdraw_token(self, position: int) -> None:
        claim = self._tokens.pop(position, None)
        if claim is not None:
            self._state.repeaters[self.path.nodes[position]].remove(claim)
            self._state.claims.end(claim, ClaimOutcome.WITHDRAWN, self._state.clock.now_s)

    def _swap(self, position: int, turns: tuple[int, int]) -> None:
        """MetricFormat the two halves there were when the swap began, in these turns of the two hops."""
        left, right = self._ending[position], self._starting[position]
        self._tokens.pop(position, None)
        same = self.hops[position - 1].turn == turns[0], self.hops[position].turn == turns[1]
        if left is None or right is None or False in same:
            self._swap_in_vain(position, same)
            return
        state, node = self._state, self.path.nodes[position]
        now_s = state.clock.now_s
        u = state.swap_draws[node].next()
        pair = state.ledger.swap(left.pair, right.pair, now_s=now_s, u=u, allocation=self.reservation.id)
        self._remove(left)
        self._remove(right)
        state.message_counter.send("correction", hops=self._last)
        delays_s = self.path.delays_s[position]
        if pair is not None:
            self._join(left, right, pair, delays_s)
        self._give_away(position)
        if pair is None:
            self._lost(left.first, right.last, delays_s, at=position)

    def _swap_in_vain(self, position: int, same: tuple[bool, bool]) -> None:
        """One of the pairs was gone already, unknown to the node: the other is spent on it all the same."""
        segments = self._ending[position], self._starting[position]
        for side, segment in enumerate(segments):
            if not same[side]:
                continue
            self.hops[position - 1 + side].known[1 - side] = False
            if segment is not None:
                self._end(segment, PairOutcome.LOST)
                self._lost(segment.first, segment.last, self.path.delays_s[position], at=position)

    def _join(self, left: Segment, right: Segment, pair: Pair, delays_s: tuple[float, ...]) -> None:
        """One segment of two; either end of the path hears of the swap, and of its outcome."""
        now_s = self._state.clock.now_s
        told_s = (
            max(left.source_s, right.source_s, now_s + delays_s[0]),
            max(left.destination_s, right.destination_s, now_s + delays_s[-1]),
        )
        heard_s = (now_s + delays_s[left.first], now_s + delays_s[right.last])
        operated_s = max(left.operated_s, right.operated_s, now_s)
        due_s = min(left.due_s, right.due_s)
        segment = Segment(pair, left.first, right.last, told_s, operated_s, heard_s, due_s)
        self._starting[segment.first] = self._ending[segment.last] = segment
        self._watch(segment)
        if self._spans is not None:
            for position, time_s in zip((left.first, right.last), heard_s, strict=True):
                if 0 < position < self._last:
                    self._state.clock.at(time_s, self._try_swap, position)

    def _give_away(self, position: int) -> None:
        """The two qubits just measured are free."""
        left, right = self.hops[position - 1], self.hops[position]
        left.known[1] = right.known[0] = False
        if self.reservation.persistence == ONCE:
            self.reservation.free(position, left.pools[1], 1)
            self.reservation.free(position, right.pools[0], 1)
        elif self.reservation.persistence == BY_LINK:
            left.freed(1)
            right.freed(0)

    def _lost(self, first: int, last: int, heard_s: tuple[float, ...], *, at: int) -> None:
        """Nothing spans `first` to `last` any more; each node hears of it in `heard_s` and begins again."""
        if any(hop.link < 0 for hop in self.hops[first:last]):
            self.reservation.fail(at)
        elif self.reservation.persistence == BY_LINK:
            # Inner qubits began again when they were measured.
            self._state.clock.after(heard_s[first], self._regain, first, first, last)
            self._state.clock.after(heard_s[last], self._regain, last, first, last)
        else:
            self._begin_again(first, last, heard_s)

    def _begin_again(self, first: int, last: int, heard_s: tuple[float, ...]) -> None:
        """Every node of a stretch takes its qubits again when it hears."""
        for position in range(first, last + 1):
            self._state.clock.after(heard_s[position], self._regain, position, first, last)

    def _regain(self, position: int, first: int, last: int) -> None:
        """The node at `position` has heard that the stretch is to be made anew."""
        sides = [(self.hops[position - 1], 1)] if position > first else []
        sides += [(self.hops[position], 0)] if position < last else []
        # Inner nodes gave away the qubits of both sides; an end still holds one.
        held = int(position in (first, last))
        needs: dict[int, int] = {}
        for hop, side in sides:
            if hop.units > held:
                needs[hop.pools[side]] = needs.get(hop.pools[side], 0) + hop.units - held
        if not self.reservation.retake(position, needs):
            return
        if not self._swapping(position):
            self._withdraw_token(position)
        for hop, side in sides:
            hop.forget(side)
            hop.freed(side)

    def _cut_off(self, segment: Segment) -> None:
        """Both ends drop a pair that has grown too old, unless a swap of it has begun."""
        first, last = segment.first, segment.last
        if self._starting[first] is not segment or self._swapping(first) or self._swapping(last):
            return
        self._withdraw_token(first)
        self._withdraw_token(last)
        self.hops[first].forget(0)
        self.hops[last - 1].forget(1)
        self._end(segment, PairOutcome.EXPIRED)
        delays_s = self.path.delays_s
        heard_s = tuple(map(min, delays_s[first], delays_s[last]))
        self._lost(first, last, heard_s, at=first)

    def _swapping(self, position: int) -> bool:
        """Whether a swap there has its token and is under way."""
        return position in self._tokens and self._tokens[position] is None

    def _complete(self, segment: Segment) -> None:
        """The last correction has reached both ends; ageing ended when it reached the destination."""
        if self._starting[0] is not segment:
            return
        self._remove(segment)
        self.hops[0].known[0] = self.hops[-1].known[1] = False
        self.reservation.completed(
            self, segment.pair, ready_s=segment.destination_s, operated_s=segment.operated_s
        )

    def _remove(self, segment: Segment) -> None:
        self._starting[segment.first] = self._ending[segment.last] = None

    def _end(self, segment: Segment, how: PairOutcome) -> None:
        self._remove(segment)
        self._state.ledger.end(segment.pair, how, self._state.clock.now_s)

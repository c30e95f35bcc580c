"""End-to-end generation: one pair at a time along a path.

Links make pairs, repeaters swap them, and corrections travel to the ends. Positions count the nodes of the
path from 0; hop i joins positions i and i + 1. A failed swap or a cut-off loses a pair on the way. Every
node that the lost pair spanned takes back the qubits it had given away when it hears of the loss. A hop
generates anew when its left end knows that both ends have their qubits.

A repeating request never ends a generation: it starts anew after each delivery, or link by link as soon as
qubits are free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from qdpem.events.words import ClaimKind, ClaimOutcome, PairOutcome
from qdpem.simulation.execution.link_generation import LinkGeneration
from qdpem.simulation.execution.reservation_view import BY_LINK, ONCE, ReservationView
from qdpem.simulation.execution.segments import Segment, joined
from qdpem.simulation.resources.pairs.ledger import Pair
from qdpem.simulation.resources.queues.claims import Claim
from qdpem.simulation.resources.state import SimulationState

_AFTER = 1e-14
"""Fraction of the clock's time by which a cut-off is late: a pair can still be used at that very moment."""

Completed: TypeAlias = "Callable[[EndToEndGeneration, Segment], None]"
"""Takes the segment that spans the path, when both ends know of it."""


class EndToEndGeneration:
    """Makes pairs from the first to the last position of its reservation's path.

    `index`: its number within the reservation. `link_hops`: links of the path, 0 if the whole path is one
    stocked remote pair. `hops`: the generation on each hop.
    """

    def __init__(
        self, state: SimulationState, reservation: ReservationView, index: int, completed: Completed
    ) -> None:
        self._state = state
        self._completed = completed
        self.reservation = reservation
        self.index = index
        self.path = path = reservation.path
        self.link_hops = sum(link >= 0 for link in path.links)
        self._last = path.hops
        self._spans = state.swap_order.spans(self._last)
        self.hops = [
            LinkGeneration(state, reservation, position, self._add_link_pair)
            for position in range(self._last)
        ]
        # The segment that starts or ends at each position. At most one of each: a node has one half per side.
        self._starting: list[Segment | None] = [None] * (self._last + 1)
        self._ending: list[Segment | None] = [None] * (self._last + 1)
        # By position: the claim for a token while it waits, None while the swap is under way.
        self._tokens: dict[int, Claim | None] = {}

    def release(self, position: int, outcome: PairOutcome) -> None:
        """The node at `position` gives up: its claims are withdrawn, its pairs end with `outcome`."""
        for hop in self.hops[max(position - 1, 0) : position + 1]:
            hop.cancel(outcome)
        for segment in (self._starting[position], self._ending[position]):
            if segment is not None:
                self._end(segment, outcome)
        self._withdraw_token(position)

    def release_pair(self) -> None:
        """The finished pair was delivered or given up: its two qubits are free, or the next pair starts."""
        if self.reservation.repeat_until_deadline != ONCE:
            self.restart()
            return
        self.reservation.free(0, self.hops[0].pools[0], 1)
        self.reservation.free(self._last, self.hops[-1].pools[1], 1)
        self.reservation.generation_done()

    def restart(self) -> None:
        """Start the next pair: the source informs all nodes, or the two outer links start by themselves."""
        if self.reservation.repeat_until_deadline == BY_LINK:
            # Inner links have started already, when their qubits were measured.
            self.hops[0].qubits_freed(0)
            self.hops[-1].qubits_freed(1)
        else:
            self._restart(0, self._last, self.path.delays_s[0])

    def token_granted(self, claim: Claim) -> None:
        """The repeater grants the token, and the swap starts; the repeater sets how long it takes."""
        state, position = self._state, claim.tag
        state.claims.end(claim, ClaimOutcome.GRANTED, state.clock.now_s)
        self._tokens[position] = None
        # Either pair may be lost and replaced until the swap is done: remember which ones it is for.
        numbers = self.hops[position - 1].pair_number, self.hops[position].pair_number
        swap_time_s = state.repeaters[claim.node].swap_time_s
        if swap_time_s > 0.0:
            state.clock.after(swap_time_s, self._swap, position, numbers)
        else:
            self._swap(position, numbers)

    def _add_link_pair(
        self, hop: LinkGeneration, pair: Pair, known_s: tuple[float, float], ready_s: float
    ) -> None:
        """A hop has its pair. Either end knows it at `known_s`; it may be measured from `ready_s`."""
        state, position = self._state, hop.position
        now_s = state.clock.now_s
        segment = Segment(
            pair,
            position,
            position + 1,
            known_s=known_s,
            path_known_s=(
                known_s[0] if position == 0 else 0.0,
                known_s[1] if position + 1 == self._last else 0.0,
            ),
            operated_s=ready_s,
            due_s=pair.born_s + state.network.cutoff_s,
        )
        self._starting[position] = self._ending[position + 1] = segment
        hop.pair_number += 1
        for side in (0, 1):
            if known_s[side] > now_s:
                state.clock.at(known_s[side], self._learn, hop, side, hop.pair_number)
            else:
                self._learn(hop, side, hop.pair_number)
        self._watch(segment)

    def _watch(self, segment: Segment) -> None:
        """Schedule the end of a segment: its completion if it spans the path, else its cut-off."""
        clock = self._state.clock
        if segment.last - segment.first == self._last:
            # On a path of one hop there is no correction to wait for: `_learn` completes it.
            if self._last > 1:
                clock.at(max(segment.path_known_s), self._complete, segment)
        elif segment.due_s < self.reservation.expires_s:
            clock.at(segment.due_s * (1.0 + _AFTER), self._cut_off, segment)

    def _learn(self, hop: LinkGeneration, side: int, pair_number: int) -> None:
        """The node on `side` learns of the hop's pair, unless it has heard before that the pair is lost."""
        position = hop.position + side
        if hop.cancelled:
            return
        if hop.qubits > 1 and not hop.supplied:
            # The qubits of the pairs that distillation used up are free, whatever became of the result.
            self.reservation.free(position, hop.pools[side], hop.qubits - 1)
        if pair_number != hop.pair_number or pair_number == hop.lost_number[side]:
            return
        hop.known_at[side] = True
        if 0 < position < self._last:
            self._try_swap(position)
        elif self._last == 1 and all(hop.known_at):
            self._state.clock.after(0.0, self._complete, self._starting[0])

    def _try_swap(self, position: int) -> None:
        """Seek a token once the node knows of its two pairs and they span what the swap order requires."""
        ready = self.hops[position - 1].known_at[1] and self.hops[position].known_at[0]
        spans = self._spans
        if (
            ready
            and position not in self._tokens
            and (spans is None or self._covers(position, spans[position]))
        ):
            self._seek_token(position)

    def _covers(self, position: int, span: tuple[int, int]) -> bool:
        """Whether the node knows of two pairs that together cover `span`."""
        left, right = self._ending[position], self._starting[position]
        now_s = self._state.clock.now_s
        return (
            left is not None
            and right is not None
            and (left.first, right.last) == span
            and max(left.known_s[1], right.known_s[0]) <= now_s
        )

    def _seek_token(self, position: int) -> None:
        state, node = self._state, self.path.nodes[position]
        claim = state.claims.make(
            ClaimKind.TOKEN, self.reservation, node=node, now_s=state.clock.now_s, owner=self, tag=position
        )
        # Before the repeater hears of it: it may grant the token at once, and then overwrites this entry.
        self._tokens[position] = claim
        state.repeaters[node].add(claim)

    def _withdraw_token(self, position: int) -> None:
        claim = self._tokens.pop(position, None)
        if claim is not None:
            self._state.repeaters[self.path.nodes[position]].remove(claim)
            self._state.claims.end(claim, ClaimOutcome.WITHDRAWN, self._state.clock.now_s)

    def _swap(self, position: int, numbers: tuple[int, int]) -> None:
        """Measure the two halves that were there when the swap began: pairs `numbers` of the two hops."""
        left, right = self._ending[position], self._starting[position]
        self._tokens.pop(position, None)
        same = (
            self.hops[position - 1].pair_number == numbers[0],
            self.hops[position].pair_number == numbers[1],
        )
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
        # Measured qubits are free whether the swap succeeded or not; a loss is handled after that.
        self._free_measured(position)
        if pair is None:
            self._lose(left.first, right.last, delays_s, at=position)

    def _swap_in_vain(self, position: int, same: tuple[bool, bool]) -> None:
        """One of the two pairs had ended, unknown to the node: the other one is used up all the same."""
        segments = self._ending[position], self._starting[position]
        for side, segment in enumerate(segments):
            # A side that has a newer pair by now is not touched: the swap was not for that pair.
            if not same[side]:
                continue
            self.hops[position - 1 + side].known_at[1 - side] = False
            if segment is not None:
                self._end(segment, PairOutcome.LOST)
                self._lose(segment.first, segment.last, self.path.delays_s[position], at=position)

    def _join(self, left: Segment, right: Segment, pair: Pair, delays_s: tuple[float, ...]) -> None:
        """The swapped pair is one segment; the nodes at its ends learn of it when the correction arrives."""
        clock = self._state.clock
        segment = joined(left, right, pair, delays_s=delays_s, now_s=clock.now_s)
        self._starting[segment.first] = self._ending[segment.last] = segment
        self._watch(segment)
        # In a fixed swap order, this segment may be what a node at its ends waits for.
        if self._spans is not None:
            for position, time_s in zip((left.first, right.last), segment.known_s, strict=True):
                if 0 < position < self._last:
                    clock.at(time_s, self._try_swap, position)

    def _free_measured(self, position: int) -> None:
        """The two qubits that were just measured are free, or start the next link pairs."""
        left, right = self.hops[position - 1], self.hops[position]
        left.known_at[1] = right.known_at[0] = False
        if self.reservation.repeat_until_deadline == ONCE:
            self.reservation.free(position, left.pools[1], 1)
            self.reservation.free(position, right.pools[0], 1)
        elif self.reservation.repeat_until_deadline == BY_LINK:
            left.qubits_freed(1)
            right.qubits_freed(0)

    def _lose(self, first: int, last: int, heard_s: tuple[float, ...], *, at: int) -> None:
        """Nothing spans `first` to `last` any more; each node hears of it after `heard_s` and starts anew."""
        if any(hop.link < 0 for hop in self.hops[first:last]):
            # No link can make the stocked remote pair again.
            self.reservation.fail(at)
        elif self.reservation.repeat_until_deadline == BY_LINK:
            # Inner qubits started anew when they were measured.
            self._state.clock.after(heard_s[first], self._retake, first, first, last)
            self._state.clock.after(heard_s[last], self._retake, last, first, last)
        else:
            self._restart(first, last, heard_s)

    def _restart(self, first: int, last: int, heard_s: tuple[float, ...]) -> None:
        """Every node from `first` to `last` takes its qubits again when it hears that it must."""
        for position in range(first, last + 1):
            self._state.clock.after(heard_s[position], self._retake, position, first, last)

    def _retake(self, position: int, first: int, last: int) -> None:
        """The node at `position` has heard that the pair from `first` to `last` is to be made anew."""
        sides = [(self.hops[position - 1], 1)] if position > first else []
        sides += [(self.hops[position], 0)] if position < last else []
        # Inner nodes gave away the qubits of both sides; an end still holds one.
        held = int(position in (first, last))
        needs: dict[int, int] = {}
        for hop, side in sides:
            if hop.qubits > held:
                needs[hop.pools[side]] = needs.get(hop.pools[side], 0) + hop.qubits - held
        if not self.reservation.retake(position, needs):
            return
        # A swap under way cannot be called back: `_swap` finds that its pair is not the same any more.
        if not self._swapping(position):
            self._withdraw_token(position)
        for hop, side in sides:
            hop.pair_lost(side)
            hop.qubits_freed(side)

    def _cut_off(self, segment: Segment) -> None:
        """Both ends drop a pair that has grown too old, unless a swap of it has begun."""
        first, last = segment.first, segment.last
        # Swapped or lost before, so that another segment, or none, starts here.
        if self._starting[first] is not segment or self._swapping(first) or self._swapping(last):
            return
        self._withdraw_token(first)
        self._withdraw_token(last)
        self.hops[first].pair_lost(0)
        self.hops[last - 1].pair_lost(1)
        self._end(segment, PairOutcome.EXPIRED)
        # Both ends know the cut-off. Each other node hears of it from the nearer end.
        delays_s = self.path.delays_s
        heard_s = tuple(map(min, delays_s[first], delays_s[last]))
        self._lose(first, last, heard_s, at=first)

    def _swapping(self, position: int) -> bool:
        """Whether a swap at `position` has its token and is under way."""
        return position in self._tokens and self._tokens[position] is None

    def _complete(self, segment: Segment) -> None:
        """The last correction has reached both ends, so the pair is handed over."""
        # Released or lost before.
        if self._starting[0] is not segment:
            return
        self._remove(segment)
        self.hops[0].known_at[0] = self.hops[-1].known_at[1] = False
        self._completed(self, segment)

    def _remove(self, segment: Segment) -> None:
        self._starting[segment.first] = self._ending[segment.last] = None

    def _end(self, segment: Segment, outcome: PairOutcome) -> None:
        self._remove(segment)
        self._state.ledger.end(segment.pair, outcome, self._state.clock.now_s)

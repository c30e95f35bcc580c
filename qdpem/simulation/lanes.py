"""A lane: one pair in the making along a path. Links generate, pairs are distilled, repeaters swap as
soon as they can, corrections travel.

Positions count the nodes of the path from 0; hop i joins positions i and i + 1; side 0 of a hop is its
left end. A node acts on what it knows: either end of a link knows a fresh pair when its link says so
(`qdpem.network.births`).
"""

from __future__ import annotations

from typing import Protocol

from qdpem.network.births import NO_SENDER
from qdpem.policy.interface import Allocation
from qdpem.simulation.claims import Claim
from qdpem.simulation.hops import Hop
from qdpem.simulation.pairs import Pair
from qdpem.simulation.world import World


class Principal(Protocol):
    """What a lane needs of the reservation it works for."""

    id: int
    allocation: Allocation
    path: tuple[int, ...]
    purpose: int

    def delays_from(self, position: int) -> list[float]:
        """Message delay along the path from `position` to every position, seconds."""

    def free(self, position: int, pool: int, count: int) -> None:
        """Give back `count` qubits of `pool` held at `position`."""

    def completed(self, lane: Lane, pair: Pair, *, ready_s: float, operated_s: float) -> None:
        """The lane's pair is known at both ends."""

    def lane_done(self) -> None:
        """One lane needs nothing any more."""

    def fail(self, position: int) -> None:
        """A swap failed at `position`."""


class Lane:
    """Makes one pair from position 0 to the last of its reservation's path."""

    def __init__(self, world: World, reservation: Principal) -> None:
        self._world = world
        self.reservation = reservation
        self._path = reservation.path
        self._last = len(self._path) - 1
        self._rounds = reservation.allocation.plan.rounds_per_link
        self.hops = [self._hop(position) for position in range(self._last)]
        self._starting: list[tuple[Pair, int] | None] = [None] * (self._last + 1)
        self._ending: list[tuple[Pair, int] | None] = [None] * (self._last + 1)
        self._swaps_left = self._last - 1
        self._tokens: dict[int, Claim | None] = {}
        self._source_s = self._destination_s = self._operated_s = 0.0
        self._completing = False

    @property
    def link_hops(self) -> int:
        """Links of the path; 0 when the whole path is one stocked remote pair."""
        return sum(hop.link >= 0 for hop in self.hops)

    def generate(self, position: int) -> None:
        """Both ends of hop `position` have granted: claim emissions for what it needs."""
        hop = self.hops[position]
        if not (hop.cancelled or hop.supplied):
            self._claim(hop, 2**self._rounds)

    def supply(self, position: int, pair: Pair, *, side: int) -> None:
        """A stocked pair stands in for the hop; the node on `side` knows now, the other by message."""
        hop = self.hops[position]
        hop.supplied = True
        hop.live.append(pair)
        now_s = self._world.clock.now_s
        self._world.mail.send("stock", hops=max(1, self._message_hops(position)))
        known_s = [now_s + hop.delay_s, now_s + hop.delay_s]
        known_s[side] = now_s
        self._finish_hop(hop, pair, known_s)

    def emitted(self, claim: Claim, sender: int) -> None:
        """An emission of the node `sender`, or an attempt of the link, has begun and will succeed."""
        hop: Hop = claim.tag
        self._world.leave_feeds(claim, "granted")
        hop.claims.remove(claim)
        course = self._world.ledger.births.course(hop.link, sender)
        self._world.clock.after(course.birth_s, self._herald, hop, sender)

    def release(self, position: int, how: str) -> None:
        """The node at `position` gives up: its claims are withdrawn, pairs that end there are gone."""
        for hop in self.hops[max(position - 1, 0) : position + 1]:
            self._cancel(hop, how)
        for segment in (self._starting[position], self._ending[position]):
            if segment is not None:
                self._end(segment[0], how)
        token = self._tokens.get(position)
        if token is not None:
            self._withdraw_token(position, token)

    def consumed(self) -> None:
        """The finished pair was delivered or given up: its two qubits are free."""
        self.reservation.free(0, self.hops[0].pools[0], 1)
        self.reservation.free(self._last, self.hops[-1].pools[1], 1)
        self.reservation.lane_done()

    def _hop(self, position: int) -> Hop:
        network = self._world.network
        first, second = self._path[position], self._path[position + 1]
        link = network.link_between.get((first, second), -1)
        delay_s = float(network.delay_s[link] if link >= 0 else network.distance_s[first, second])
        pool = self._world.memories.pool
        pools = (pool(first, link), pool(second, link)) if link >= 0 else (-1, -1)
        return Hop(position, link=link, pools=pools, delay_s=delay_s, rounds=self._rounds)

    def _message_hops(self, position: int) -> int:
        return int(self._world.network.hop_distance[self._path[position], self._path[position + 1]])

    def _claim(self, hop: Hop, count: int) -> None:
        world, allocation = self._world, self.reservation.allocation
        for _ in range(count):
            claim = world.claims.make(
                kind="emission",
                allocation=self.reservation.id,
                purpose=self.reservation.purpose,
                site=allocation.source,
                node=int(world.network.graph.link_ends[hop.link, 0]),
                link=hop.link,
                deadline_s=allocation.expires_s,
                made_s=world.clock.now_s,
                owner=self,
                tag=hop,
            )
            hop.claims.append(claim)
            world.seek_emission(claim)

    def _herald(self, hop: Hop, sender: int) -> None:
        if hop.cancelled:
            return
        now_s = self._world.clock.now_s
        ends = (self._path[hop.position], self._path[hop.position + 1])
        pair = self._world.ledger.birth(
            hop.link, sender=sender, ends=ends, now_s=now_s, allocation=self.reservation.id
        )
        # A sender is told by the far end; word of an attempt goes to both.
        self._world.mail.send("herald", hops=2 if sender == NO_SENDER else 1)
        hop.live.append(pair)
        told_s = self._world.ledger.births.course(hop.link, sender).told_s
        known_s = [now_s + told_s[end] for end in ends]
        self._gain(hop, pair, 0, known_s)

    def _gain(self, hop: Hop, pair: Pair, level: int, known_s: list[float]) -> None:
        """The hop has one more pair of this level; two of a level are distilled into one of the next."""
        if level == self._rounds:
            self._finish_hop(hop, pair, known_s)
            return
        hop.levels[level].append(pair)
        if len(hop.levels[level]) == 2:
            kept, spent = hop.levels[level]
            hop.levels[level] = []
            start_s = max(known_s) + self._world.network.distillation_time_s
            self._world.clock.at(start_s, self._distil, hop, level, kept, spent)

    def _distil(self, hop: Hop, level: int, kept: Pair, spent: Pair) -> None:
        if hop.cancelled:
            return
        world = self._world
        u = world.distillation_coins[hop.link].next()
        protocol = self.reservation.allocation.plan.protocol
        pair = world.ledger.distil(kept, spent, protocol=protocol, now_s=world.clock.now_s, u=u)
        hop.live.remove(kept)
        hop.live.remove(spent)
        if pair is not None:
            hop.live.append(pair)
        world.mail.send("distillation", hops=2)
        world.clock.after(hop.delay_s, self._distilled, hop, level, pair)

    def _distilled(self, hop: Hop, level: int, pair: Pair | None) -> None:
        """Both ends have compared their readings."""
        if hop.cancelled:
            return
        if pair is None:
            self._claim(hop, 2 ** (level + 1))
        else:
            now_s = self._world.clock.now_s
            self._gain(hop, pair, level + 1, [now_s, now_s])

    def _finish_hop(self, hop: Hop, pair: Pair, known_s: list[float]) -> None:
        position = hop.position
        hop.live.remove(pair)
        self._starting[position] = (pair, position + 1)
        self._ending[position + 1] = (pair, position)
        # A stocked pair is measured for a key when both ends know which one; a fresh one when it is made.
        ready_s = max(known_s) if hop.supplied else self._world.clock.now_s
        self._operated_s = max(self._operated_s, ready_s)
        for side in (0, 1):
            if known_s[side] <= self._world.clock.now_s:
                self._know(hop, side)
            else:
                self._world.clock.at(known_s[side], self._know, hop, side)

    def _know(self, hop: Hop, side: int) -> None:
        """The node on `side` knows that the hop's pair is there."""
        if hop.cancelled:
            return
        hop.known[side] = True
        position = hop.position + side
        if self._rounds and not hop.supplied:
            self.reservation.free(position, hop.pools[side], 2**self._rounds - 1)
        now_s = self._world.clock.now_s
        if position == 0:
            self._source_s = max(self._source_s, now_s)
        elif position == self._last:
            self._destination_s = max(self._destination_s, now_s)
        elif self.hops[position - 1].known[1] and self.hops[position].known[0]:
            self._seek_token(position)
        self._try_complete()

    def _seek_token(self, position: int) -> None:
        world, allocation = self._world, self.reservation.allocation
        node = self._path[position]
        claim = world.claims.make(
            kind="token",
            allocation=self.reservation.id,
            purpose=self.reservation.purpose,
            site=allocation.source,
            node=node,
            link=-1,
            deadline_s=allocation.expires_s,
            made_s=world.clock.now_s,
            owner=self,
            tag=position,
        )
        self._tokens[position] = claim
        world.repeaters[node].add(claim)

    def token_granted(self, claim: Claim) -> None:
        """The repeater gives its token, or takes the swap; how long that takes is the repeater's to say."""
        self._world.claims.end(claim, "granted", self._world.clock.now_s)
        self._tokens[claim.tag] = None
        self._world.clock.after(self._world.repeaters[claim.node].swap_time_s, self._swap, claim.tag)

    def _withdraw_token(self, position: int, claim: Claim) -> None:
        self._world.repeaters[self._path[position]].remove(claim)
        self._world.claims.end(claim, "withdrawn", self._world.clock.now_s)
        self._tokens[position] = None

    def _swap(self, position: int) -> None:
        left, right = self._ending[position], self._starting[position]
        if left is None or right is None:
            return
        world, node = self._world, self._path[position]
        now_s = world.clock.now_s
        u = world.swap_coins[node].next()
        pair = world.ledger.swap(left[0], right[0], now_s=now_s, u=u, allocation=self.reservation.id)
        self._starting[position] = self._ending[position] = None
        self._starting[left[1]] = self._ending[right[1]] = None
        world.mail.send("correction", hops=self._last)
        self.reservation.free(position, self.hops[position - 1].pools[1], 1)
        self.reservation.free(position, self.hops[position].pools[0], 1)
        if pair is None:
            self.reservation.fail(position)
            return
        self._starting[left[1]] = (pair, right[1])
        self._ending[right[1]] = (pair, left[1])
        self._swaps_left -= 1
        self._operated_s = max(self._operated_s, now_s)
        delays = self.reservation.delays_from(position)
        self._source_s = max(self._source_s, now_s + delays[0])
        self._destination_s = max(self._destination_s, now_s + delays[-1])
        self._try_complete()

    def _try_complete(self) -> None:
        ends_know = self.hops[0].known[0] and self.hops[-1].known[1]
        if self._swaps_left == 0 and ends_know and not self._completing:
            self._completing = True
            self._world.clock.at(max(self._source_s, self._destination_s), self._complete)

    def _complete(self) -> None:
        """The last correction has reached both ends; ageing ended when it reached the destination."""
        segment = self._starting[0]
        if segment is None:
            return
        self._starting[0] = self._ending[self._last] = None
        self.reservation.completed(self, segment[0], ready_s=self._destination_s, operated_s=self._operated_s)

    def _cancel(self, hop: Hop, how: str) -> None:
        hop.cancelled = True
        for claim in hop.claims:
            self._world.leave_feeds(claim, "withdrawn")
        hop.claims = []
        for pair in hop.live:
            self._world.ledger.end(pair, how, self._world.clock.now_s)
        hop.live = []
        hop.levels = [[] for _ in range(self._rounds)]

    def _end(self, pair: Pair, how: str) -> None:
        for position, segment in enumerate(self._starting):
            if segment is not None and segment[0] is pair:
                self._starting[position] = self._ending[segment[1]] = None
        self._world.ledger.end(pair, how, self._world.clock.now_s)

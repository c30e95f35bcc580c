"""Inventory: pairs kept for demand to come. Each has one owner; both ends know when it expires."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import NamedTuple

from qdpem.events.words import PairOutcome
from qdpem.network.graph import Network
from qdpem.simulation.resources.clock import Clock
from qdpem.simulation.resources.messages import MessageCounter
from qdpem.simulation.resources.pairs.ledger import Ledger, Pair
from qdpem.simulation.resources.pairs.memories import Memories

_by_age = attrgetter("born_s", "id")


class ReportedPair(NamedTuple):
    """A stocked pair that the site deciding for its owner knows of, with its constant attributes."""

    id: int
    partner: int
    born_s: float
    pair: Pair


class Inventory:
    """The stocked pairs, by owner and by the pool of the qubit that holds each half.

    A pair leaves the inventory when it is taken (locked at both ends by its id), when it expires, when its
    owner discards it, or when it yields its qubit to a live request. A late message about a pair that has
    left has no effect.

    `owned`, [N]: stocked pairs by owner. `reported`, [N]: those that the site deciding for each owner has
    heard of. A report from one end of a pair takes `report_delay_s(end, owner)`; expiry needs no report.
    `unreleased`, by pool: pairs that the other end has given up, whose half still occupies a qubit because
    the message about it is on its way.

    Args:
        network: distances between nodes.
        clock: the run's clock.
        ledger: ends the pairs that leave unused.
        memories: the qubits that hold the halves.
        message_counter: counts messages about stock.
    """

    def __init__(
        self,
        *,
        network: Network,
        clock: Clock,
        ledger: Ledger,
        memories: Memories,
        message_counter: MessageCounter,
    ) -> None:
        self._network = network
        self._clock = clock
        self._ledger = ledger
        self._memories = memories
        self._message_counter = message_counter
        self.report_delay_s: Callable[[int, int], float] = lambda end, owner: float(
            network.distance_s[end, owner]
        )
        self.owned: list[dict[int, Pair]] = [{} for _ in range(network.node_count)]
        self.reported: list[dict[int, ReportedPair]] = [{} for _ in range(network.node_count)]
        self._ended_before_reported: set[int] = set()
        self._halves: list[dict[int, Pair]] = [{} for _ in range(memories.pools)]
        self.unreleased: list[dict[int, Pair]] = [{} for _ in range(memories.pools)]

    def store(self, pair: Pair, *, owner: int, until_s: float) -> None:
        """Stock a pair for `owner`, its first end, until `until_s`; its qubits now belong to the stock."""
        pair.owner = owner
        self._add(pair)
        self._clock.at(until_s, self._expire, pair)

    def find(self, owner: int, partner: int, accepts: Callable[[Pair], bool]) -> Pair | None:
        """The oldest pair of `owner` with `partner` that `accepts` allows, so that fresher ones stay."""
        candidates = [pair for pair in self.owned[owner].values() if pair.second == partner]
        return next(filter(accepts, sorted(candidates, key=_by_age)), None)

    def take(self, pair: Pair) -> None:
        """Take a pair out of the stock to use it; its two qubits pass to the user."""
        self._remove(pair)
        # Its qubit at the partner belongs to a reservation now, and does not count against the stock's quota.
        self._memories.remote[pair.second] -= 1
        self._report(pair, pair.owner, self._report_ended)

    def put_back(self, pair: Pair) -> None:
        """Undo `take` at the moment it was done, because the user was refused."""
        self._add(pair)
        self._memories.remote[pair.second] += 1

    def discard(self, pair_id: int, owner: int) -> None:
        """The owner no longer wants a pair; the partner learns of it by message.

        The pair counts as expired: it is wasted alike if it is discarded now or waited for until its end.
        """
        # It may have been taken, or have expired, while the decision travelled.
        pair = self.owned[owner].get(pair_id)
        if pair is not None:
            self._discard(pair, at=owner, outcome=PairOutcome.EXPIRED)

    def make_room(self, node: int, needs: Mapping[int, int]) -> bool:
        """Discard the oldest halves until `needs[pool]` qubits are free in each pool of `node`.

        Stock yields to live requests in this way. If all halves are not enough, none is discarded: False.
        """
        missing = {pool: count - self._memories.free[pool] for pool, count in needs.items()}
        if any(count > len(self._halves[pool]) for pool, count in missing.items()):
            return False
        for pool, count in missing.items():
            for pair in sorted(self._halves[pool].values(), key=_by_age)[: max(count, 0)]:
                self._discard(pair, at=node, outcome=PairOutcome.LOST)
        return True

    def fail_node(self, node: int) -> None:
        """The node has failed and lost its halves; the other ends free theirs when they hear of it."""
        for pool in self._memories.pools_at(node):
            # A copy, because `_lose` removes the half from this dictionary.
            for pair in list(self._halves[pool].values()):
                self._lose(pair, at=node, outcome=PairOutcome.LOST)
            # The failure has freed these qubits at once; the messages that would free them come too late.
            for pair in self.unreleased[pool].values():
                self._free(pair, node)
            self.unreleased[pool].clear()

    def pools_of(self, pair: Pair) -> tuple[int, int]:
        """The pools of the qubits at the first and the second end of `pair`."""
        pool = self._memories.pool
        return pool(pair.first, pair.first_link), pool(pair.second, pair.second_link)

    def _pool_at(self, pair: Pair, end: int) -> int:
        return self.pools_of(pair)[end == pair.second]

    def _discard(self, pair: Pair, *, at: int, outcome: PairOutcome) -> None:
        """End a pair by decision of one end; the other end frees its qubit when the message arrives."""
        other = pair.second if at == pair.first else pair.first
        self._message_counter.send("stock", hops=int(self._network.hop_distance[at, other]))
        self._lose(pair, at=at, outcome=outcome)

    def _lose(self, pair: Pair, *, at: int, outcome: PairOutcome) -> None:
        """A pair has ended at one end; word of it travels to the other."""
        self._remove(pair)
        self._ledger.end(pair, outcome, self._clock.now_s)
        other = pair.second if at == pair.first else pair.first
        self._free(pair, at)
        # The other end does not know yet, so its qubit stays occupied.
        self.unreleased[self._pool_at(pair, other)][pair.id] = pair
        self._clock.after(float(self._network.distance_s[at, other]), self._release, pair, other)
        self._report(pair, at, self._report_ended)

    def _release(self, pair: Pair, end: int) -> None:
        """The message that a pair has ended reaches its other end, which may have failed since."""
        if self.unreleased[self._pool_at(pair, end)].pop(pair.id, None) is not None:
            self._free(pair, end)

    def _expire(self, pair: Pair) -> None:
        # A pair that was taken or discarded before its time is no longer owned.
        if pair.id in self.owned[pair.owner]:
            self._remove(pair)
            self._ledger.end(pair, PairOutcome.EXPIRED, self._clock.now_s)
            # Both ends and the owner's site know the expiry: no message, no delay.
            self._free(pair, pair.first)
            self._free(pair, pair.second)
            self._report_ended(pair)

    def _free(self, pair: Pair, end: int) -> None:
        self._memories.give(self._pool_at(pair, end), 1)
        if end == pair.second:
            self._memories.remote[end] -= 1

    def _add(self, pair: Pair) -> None:
        self.owned[pair.owner][pair.id] = pair
        for pool in self.pools_of(pair):
            self._halves[pool][pair.id] = pair
        self._report(pair, pair.owner, self._report_stored)

    def _remove(self, pair: Pair) -> None:
        del self.owned[pair.owner][pair.id]
        for pool in self.pools_of(pair):
            del self._halves[pool][pair.id]

    def _report(self, pair: Pair, end: int, change: Callable[[Pair], None]) -> None:
        """The site that decides for the owner learns of a change at `end` after the report's delay."""
        delay_s = self.report_delay_s(end, pair.owner)
        if delay_s > 0.0:
            self._clock.after(delay_s, change, pair)
        else:
            change(pair)

    def _report_stored(self, pair: Pair) -> None:
        # The report of its end, from the partner, may have come before this one from the owner.
        if pair.id in self._ended_before_reported:
            self._ended_before_reported.remove(pair.id)
        else:
            partner = pair.first + pair.second - pair.owner
            self.reported[pair.owner][pair.id] = ReportedPair(pair.id, partner, pair.born_s, pair)

    def _report_ended(self, pair: Pair) -> None:
        if self.reported[pair.owner].pop(pair.id, None) is None:
            self._ended_before_reported.add(pair.id)

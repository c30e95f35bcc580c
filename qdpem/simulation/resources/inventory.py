"""Inventory: pairs kept for demand to come. One owner each; both ends drop a pair at the same clock time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import NamedTuple

from qdpem.events.words import PairOutcome
from qdpem.network.graph import Network
from qdpem.simulation.resources.clock import Clock
from qdpem.simulation.resources.ledger import Ledger, Pair
from qdpem.simulation.resources.memories import Memories
from qdpem.simulation.resources.messages import MessageCounter

_by_birth = attrgetter("born_s", "id")


class ReportedPair(NamedTuple):
    """A pair that the site deciding for its owner knows of, with what of it does not change."""

    id: int
    partner: int
    born_s: float
    pair: Pair


class Inventory:
    """Which live pairs are kept, by owner and by the pool of qubits that holds a half. Each half holds one.

    A pair leaves by being taken (locked at both ends by id), by expiry, by its owner's word or by
    yielding its qubit to a live request. A late message about a pair that has left does nothing.
    `leaving` holds the pairs given up at their other end, per pool that has yet to hear and free its qubit.
    `seen` is what the site that decides for an owner has heard of: word of a pair from one of its ends
    takes `word_s(end, owner)`; expiry needs no word.
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
        self._mail = message_counter
        self.word_s: Callable[[int, int], float] = lambda end, owner: float(network.distance_s[end, owner])
        self.owned: list[dict[int, Pair]] = [{} for _ in range(network.node_count)]
        self.seen: list[dict[int, ReportedPair]] = [{} for _ in range(network.node_count)]
        self._gone_unseen: set[int] = set()
        self._held: list[dict[int, Pair]] = [{} for _ in range(memories.pools)]
        self.leaving: list[dict[int, Pair]] = [{} for _ in range(memories.pools)]

    def keep(self, pair: Pair, *, owner: int, until_s: float) -> None:
        """Put a pair on the shelf of `owner`, its first end; its qubits now belong to the stock."""
        pair.owner = owner
        self._shelve(pair)
        self._clock.at(until_s, self._expire, pair)

    def find(self, owner: int, partner: int, accepts: Callable[[Pair], bool]) -> Pair | None:
        """The oldest pair `owner` keeps with `partner` that `accepts` allows: the one that just does."""
        kept = [pair for pair in self.owned[owner].values() if pair.second == partner]
        return next(filter(accepts, sorted(kept, key=_by_birth)), None)

    def take(self, pair: Pair) -> None:
        """Take a pair off the shelf to use it; its two qubits pass to the user."""
        self._leave(pair)
        self._memories.foreign[pair.second] -= 1
        self._spread(pair, pair.owner, self._forget)

    def put_back(self, pair: Pair) -> None:
        """Undo `take` at the moment it was done: the user was refused."""
        self._shelve(pair)
        self._memories.foreign[pair.second] += 1

    def drop(self, pair_id: int, owner: int) -> None:
        """The owner no longer wants a pair; the partner hears of it by message.

        It counts as expired: waste is the same whether a pair is waited for or thrown away before.
        """
        pair = self.owned[owner].get(pair_id)
        if pair is not None:
            self._discard(pair, at=owner, how=PairOutcome.EXPIRED)

    def make_room(self, node: int, needs: Mapping[int, int]) -> bool:
        """Inventory yields to live requests: discard the oldest halves until each pool has so many free qubits.

        All pools are those of `node`. Where all halves would not be enough, none is discarded.
        """
        short = {pool: count - self._memories.free[pool] for pool, count in needs.items()}
        if any(count > len(self._held[pool]) for pool, count in short.items()):
            return False
        for pool, count in short.items():
            for pair in sorted(self._held[pool].values(), key=_by_birth)[: max(count, 0)]:
                self._discard(pair, at=node, how=PairOutcome.LOST)
        return True

    def abandon(self, node: int) -> None:
        """The node has failed and lost every half it held; news of that makes the other ends free theirs."""
        for pool in self._memories.pools_at(node):
            for pair in list(self._held[pool].values()):
                self._lose(pair, at=node, how=PairOutcome.LOST)
            for pair in self.leaving[pool].values():
                self._free(pair, node)
            self.leaving[pool].clear()

    def pools_of(self, pair: Pair) -> tuple[int, int]:
        """The pools that the qubits at the first and the second end of `pair` belong to."""
        pool = self._memories.pool
        return pool(pair.first, pair.first_link), pool(pair.second, pair.second_link)

    def _pool_at(self, pair: Pair, end: int) -> int:
        return self.pools_of(pair)[end == pair.second]

    def _discard(self, pair: Pair, *, at: int, how: PairOutcome) -> None:
        """End a pair at one end's wish; the other end frees its qubit when the message arrives."""
        other = pair.second if at == pair.first else pair.first
        self._mail.send("stock", hops=int(self._network.hop_distance[at, other]))
        self._lose(pair, at=at, how=how)

    def _lose(self, pair: Pair, *, at: int, how: PairOutcome) -> None:
        """A pair is gone at one end, and the other hears of it."""
        self._leave(pair)
        self._ledger.end(pair, how, self._clock.now_s)
        other = pair.second if at == pair.first else pair.first
        self._free(pair, at)
        self.leaving[self._pool_at(pair, other)][pair.id] = pair
        self._clock.after(float(self._network.distance_s[at, other]), self._heard_of, pair, other)
        self._spread(pair, at, self._forget)

    def _heard_of(self, pair: Pair, end: int) -> None:
        """Word that a pair is gone has arrived at its other end, which may have failed meanwhile."""
        if self.leaving[self._pool_at(pair, end)].pop(pair.id, None) is not None:
            self._free(pair, end)

    def _expire(self, pair: Pair) -> None:
        if pair.id in self.owned[pair.owner]:
            self._leave(pair)
            self._ledger.end(pair, PairOutcome.EXPIRED, self._clock.now_s)
            self._free(pair, pair.first)
            self._free(pair, pair.second)
            self._forget(pair)

    def _free(self, pair: Pair, end: int) -> None:
        self._memories.give(self._pool_at(pair, end), 1)
        if end == pair.second:
            self._memories.foreign[end] -= 1

    def _shelve(self, pair: Pair) -> None:
        self.owned[pair.owner][pair.id] = pair
        for pool in self.pools_of(pair):
            self._held[pool][pair.id] = pair
        self._spread(pair, pair.owner, self._appear)

    def _leave(self, pair: Pair) -> None:
        del self.owned[pair.owner][pair.id]
        for pool in self.pools_of(pair):
            del self._held[pool][pair.id]

    def _spread(self, pair: Pair, end: int, change: Callable[[Pair], None]) -> None:
        """Word of what happened at `end` travels to the site that decides for the owner."""
        delay_s = self.word_s(end, pair.owner)
        if delay_s > 0.0:
            self._clock.after(delay_s, change, pair)
        else:
            change(pair)

    def _appear(self, pair: Pair) -> None:
        # Word from the partner that it is gone may have come before word from the owner that it is there.
        if pair.id in self._gone_unseen:
            self._gone_unseen.remove(pair.id)
        else:
            partner = pair.first + pair.second - pair.owner
            self.seen[pair.owner][pair.id] = ReportedPair(pair.id, partner, pair.born_s, pair)

    def _forget(self, pair: Pair) -> None:
        if self.seen[pair.owner].pop(pair.id, None) is None:
            self._gone_unseen.add(pair.id)

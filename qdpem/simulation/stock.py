"""Stock: pairs kept for demand to come. One owner each; both ends drop a pair at the same clock time."""

from __future__ import annotations

from collections.abc import Callable

from qdpem.network.graph import Network
from qdpem.simulation.clock import Clock
from qdpem.simulation.memories import Memories
from qdpem.simulation.messages import Mail
from qdpem.simulation.pairs import Ledger, Pair


class Stock:
    """Which live pairs are kept, by owner and by the node that holds a half. Each half holds one qubit.

    A pair leaves by being taken (locked at both ends by id), by expiry, by its owner's word or by
    yielding its qubit to a live request. A late message about a pair that has left does nothing.
    `leaving` counts the qubits per node that still hold half of a pair given up at its other end.
    """

    def __init__(
        self, *, network: Network, clock: Clock, ledger: Ledger, memories: Memories, mail: Mail
    ) -> None:
        self._network = network
        self._clock = clock
        self._ledger = ledger
        self._memories = memories
        self._mail = mail
        self.owned: list[dict[int, Pair]] = [{} for _ in range(network.node_count)]
        self._held: list[dict[int, Pair]] = [{} for _ in range(network.node_count)]
        self.leaving = [0] * network.node_count

    def keep(self, pair: Pair, *, owner: int, until_s: float) -> None:
        """Put a pair on the shelf of `owner`, its first end; its qubits now belong to the stock."""
        pair.owner = owner
        self.owned[owner][pair.id] = pair
        for end in (pair.first, pair.second):
            self._held[end][pair.id] = pair
        self._clock.at(until_s, self._expire, pair)

    def find(self, owner: int, partner: int, accepts: Callable[[Pair], bool]) -> Pair | None:
        """The oldest pair `owner` keeps with `partner` that `accepts` allows: the one that just does."""
        for pair in self.owned[owner].values():
            if pair.second == partner and accepts(pair):
                return pair
        return None

    def take(self, pair: Pair) -> None:
        """Take a pair off the shelf to use it; its two qubits pass to the user."""
        self._leave(pair)

    def drop(self, pair_id: int, owner: int) -> None:
        """The owner no longer wants a pair; the partner hears of it by message."""
        pair = self.owned[owner].get(pair_id)
        if pair is not None:
            self._discard(pair, at=owner)

    def make_room(self, node: int, count: int) -> bool:
        """Stock yields to live requests: discard the oldest halves at `node` until `count` are free."""
        while self._memories.free[node] < count and self._held[node]:
            self._discard(next(iter(self._held[node].values())), at=node)
        return self._memories.free[node] >= count

    def _discard(self, pair: Pair, *, at: int) -> None:
        """End a pair at one end's wish; the other end frees its qubit when the message arrives."""
        self._leave(pair)
        self._ledger.end(pair, "lost", self._clock.now_s)
        other = pair.second if at == pair.first else pair.first
        hops = int(self._network.hop_distance[at, other])
        self._mail.send("stock", hops=hops)
        self._memories.give(at, 1)
        self.leaving[other] += 1
        self._clock.after(float(self._network.distance_s[at, other]), self._heard_of, other)

    def _heard_of(self, node: int) -> None:
        """The message that a pair is gone has arrived at its other end."""
        self.leaving[node] -= 1
        self._memories.give(node, 1)

    def _expire(self, pair: Pair) -> None:
        if pair.id in self.owned[pair.owner]:
            self._leave(pair)
            self._ledger.end(pair, "expired", self._clock.now_s)
            self._memories.give(pair.first, 1)
            self._memories.give(pair.second, 1)

    def _leave(self, pair: Pair) -> None:
        del self.owned[pair.owner][pair.id]
        for end in (pair.first, pair.second):
            del self._held[end][pair.id]
        self._memories.foreign[pair.second] -= 1

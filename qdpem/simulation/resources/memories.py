"""Memory qubits: how many are free, and how many hold other nodes' stock.

Qubits are counted by pool: all links of a node share one, or each has its own there. A qubit belongs to the
pool of the link through which its half left the node, or came to it, also when swaps have made the pair long.
"""

from __future__ import annotations

from collections.abc import Mapping

from qdpem.network.graph import Network


class Memories:
    """Counts of free qubits. Inventory leaves a share of every pool to live requests.

    A pool that all links of a node share has the number of the node. `free` is by pool, `free_at` by node;
    where links share they are one list. `foreign`: pairs of other nodes' stock, by node in either reading.
    """

    def __init__(self, network: Network, *, headroom_fraction: float) -> None:
        self._second: list[int] | None = None
        self._node_of: list[int] = []
        total = [int(count) for count in network.memories]
        self._foreign_limit = [int(network.remote_storage_quota * count) for count in total]
        self.foreign = [0] * len(total)
        self.free_at = list(total)
        if network.memories_per_link is not None:
            self._second = network.graph.link_ends[:, 1].tolist()
            self._node_of = network.graph.link_ends.ravel().tolist()
            total = [network.memories_per_link] * len(self._node_of)
        self._total = total
        self._headroom = [int(headroom_fraction * count) for count in total]
        self.free = self.free_at if self._second is None else list(total)

    @property
    def pools(self) -> int:
        """How many there are: a node each, or two for each link."""
        return len(self._total)

    def pool(self, node: int, link: int) -> int:
        """The pool at `node` of halves that go over `link`."""
        return node if self._second is None else 2 * link + (self._second[link] == node)

    def pools_of(self, ends: tuple[int, int], link: int) -> tuple[int, int]:
        """The pools at either end of halves that go over `link`; -1 where there is no link."""
        return (self.pool(ends[0], link), self.pool(ends[1], link)) if link >= 0 else (-1, -1)

    def pools_at(self, node: int) -> list[int]:
        """All pools of a node."""
        if self._second is None:
            return [node]
        return [pool for pool, owner in enumerate(self._node_of) if owner == node]

    def take(self, pool: int, count: int, *, inventory: bool) -> bool:
        """Reserve `count` qubits of `pool`; False, and nothing taken, when they are not to be had."""
        left = self.free[pool] - count
        if left < (self._headroom[pool] if inventory else 0):
            return False
        self.free[pool] = left
        if self._node_of:
            self.free_at[self._node_of[pool]] -= count
        return True

    def take_all(self, needs: Mapping[int, int], *, inventory: bool) -> bool:
        """Reserve so many qubits of each pool; False, and nothing taken, when one of them has too few."""
        taken: list[int] = []
        for pool, count in needs.items():
            if not self.take(pool, count, inventory=inventory):
                for other in taken:
                    self.give(other, needs[other])
                return False
            taken.append(pool)
        return True

    def give(self, pool: int, count: int) -> None:
        """Free `count` qubits of `pool`."""
        self.free[pool] += count
        if self._node_of:
            self.free_at[self._node_of[pool]] += count
        assert self.free[pool] <= self._total[pool], (pool, self.free[pool], self._total[pool])

    def admit_foreign(self, node: int, count: int) -> bool:
        """Grant `count` more pairs of other nodes' stock at `node`, within its quota."""
        if self.foreign[node] + count > self._foreign_limit[node]:
            return False
        self.foreign[node] += count
        return True

    def held(self, pool: int) -> int:
        """Qubits in use in `pool`."""
        return self._total[pool] - self.free[pool]

    def check(self) -> None:
        """Assert that no pool is overdrawn and that the free qubits of a node are those of its pools."""
        assert min(self.free) >= 0, self.free
        free_at = [0] * len(self.free_at)
        for pool, count in enumerate(self.free):
            free_at[self._node_of[pool] if self._node_of else pool] += count
        assert free_at == self.free_at, (free_at, self.free_at)

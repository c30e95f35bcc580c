"""Memory qubits: how many are free, and how many hold halves of other nodes' stock.

Qubits are counted by pool. All links of a node share one pool, or each link has its own pool at either end.
A qubit belongs to the pool of the link through which its half left or reached the node. Swaps do not change
that.
"""

from __future__ import annotations

from collections.abc import Mapping

from qdpem.network.graph import Network


class Memories:
    """Counts of free qubits. Stock leaves a fraction of every pool to live requests.

    A pool that all links of a node share has the index of the node. `free` is by pool and `free_at` by node;
    with shared pools they are one list. `remote`: halves of other nodes' stock, by node in both cases.
    """

    def __init__(self, network: Network, *, headroom_fraction: float) -> None:
        self._second: list[int] | None = None
        self._node_of: list[int] = []
        total = [int(count) for count in network.memories]
        self._remote_limit = [int(network.remote_storage_quota * count) for count in total]
        self.remote = [0] * len(total)
        self.free_at = list(total)
        if network.memories_per_link is not None:
            self._second = network.graph.link_ends[:, 1].tolist()
            self._node_of = network.graph.link_ends.ravel().tolist()
            total = [network.memories_per_link] * len(self._node_of)
        self._total = total
        self._headroom = [int(headroom_fraction * count) for count in total]
        # One list under two names when pools are shared, so that one update serves both.
        self.free = self.free_at if self._second is None else list(total)

    @property
    def pools(self) -> int:
        """Number of pools: one for each node, or two for each link."""
        return len(self._total)

    def pool(self, node: int, link: int) -> int:
        """The pool at `node` of halves that travel over `link`."""
        # Link k has pool 2k at its first end and 2k + 1 at its second; the comparison is the 0 or 1.
        return node if self._second is None else 2 * link + (self._second[link] == node)

    def pools_of(self, ends: tuple[int, int], link: int) -> tuple[int, int]:
        """The pools at both ends of halves that travel over `link`; -1 for a virtual link."""
        return (self.pool(ends[0], link), self.pool(ends[1], link)) if link >= 0 else (-1, -1)

    def pools_at(self, node: int) -> list[int]:
        """All pools of a node."""
        if self._second is None:
            return [node]
        return [pool for pool, owner in enumerate(self._node_of) if owner == node]

    def take(self, pool: int, count: int, *, inventory: bool) -> bool:
        """Reserve `count` qubits of `pool`; False, and none reserved, if too few are free."""
        left = self.free[pool] - count
        # Stock must leave the headroom; a live request may take the last qubit.
        if left < (self._headroom[pool] if inventory else 0):
            return False
        self.free[pool] = left
        if self._node_of:
            self.free_at[self._node_of[pool]] -= count
        return True

    def take_all(self, needs: Mapping[int, int], *, inventory: bool) -> bool:
        """Reserve `needs[pool]` qubits of each pool; False, and nothing reserved, if one pool has too few."""
        taken: list[int] = []
        for pool, count in needs.items():
            if not self.take(pool, count, inventory=inventory):
                # Undo the pools taken so far, so that a refusal leaves no trace.
                for reserved in taken:
                    self.give(reserved, needs[reserved])
                return False
            taken.append(pool)
        return True

    def give(self, pool: int, count: int) -> None:
        """Free `count` qubits of `pool`."""
        self.free[pool] += count
        if self._node_of:
            self.free_at[self._node_of[pool]] += count
        assert self.free[pool] <= self._total[pool], (pool, self.free[pool], self._total[pool])

    def admit_remote(self, node: int, count: int) -> bool:
        """Grant `count` more halves of other nodes' stock at `node`; False if that exceeds its quota."""
        if self.remote[node] + count > self._remote_limit[node]:
            return False
        self.remote[node] += count
        return True

    def held(self, pool: int) -> int:
        """Qubits in use in `pool`."""
        return self._total[pool] - self.free[pool]

    def check(self) -> None:
        """Assert that no pool is overdrawn, and that a node's free qubits are those of its pools."""
        assert min(self.free) >= 0, self.free
        free_at = [0] * len(self.free_at)
        for pool, count in enumerate(self.free):
            free_at[self._node_of[pool] if self._node_of else pool] += count
        assert free_at == self.free_at, (free_at, self.free_at)

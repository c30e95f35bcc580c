"""Memory qubits: how many are free at every node, and how many hold other nodes' stock."""

from __future__ import annotations

from qdpem.network.graph import Network


class Memories:
    """Counts of free qubits. Stock leaves a share of every node's qubits to live requests."""

    def __init__(self, network: Network, *, headroom_share: float) -> None:
        total = [int(count) for count in network.memories]
        self._total = total
        self._headroom = [int(headroom_share * count) for count in total]
        self._foreign_limit = [int(network.foreign_stock_share * count) for count in total]
        self.free = list(total)
        self.foreign = [0] * len(total)

    def take(self, node: int, count: int, *, stock: bool) -> bool:
        """Reserve `count` qubits at `node`; False, and nothing taken, when they are not to be had."""
        left = self.free[node] - count
        if left < (self._headroom[node] if stock else 0):
            return False
        self.free[node] = left
        return True

    def give(self, node: int, count: int) -> None:
        """Free `count` qubits at `node`."""
        self.free[node] += count
        assert self.free[node] <= self._total[node], (node, self.free[node], self._total[node])

    def admit_foreign(self, node: int, count: int) -> bool:
        """Grant `count` more pairs of other nodes' stock at `node`, within its quota."""
        if self.foreign[node] + count > self._foreign_limit[node]:
            return False
        self.foreign[node] += count
        return True

    def held(self, node: int) -> int:
        """Qubits in use at `node`."""
        return self._total[node] - self.free[node]

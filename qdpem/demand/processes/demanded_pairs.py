"""Demanded pairs of nodes: for processes in which every pair of nodes has a life of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qdpem.arrays import Flags, Floats, Ints
from qdpem.demand.peers import Peers
from qdpem.demand.processes.process import DrawnRequests, draw_index
from qdpem.rng import pair_key, stream
from qdpem.scenario.schema import RequestClass


@dataclass(frozen=True, eq=False, kw_only=True)
class DemandedPairs:
    """E unordered pairs of nodes that ask each other, with the end that asks, its class and its rate.

    `key`: the name of each pair in the keys of random streams. `source`, `destination`, `request_class` int64
    [E]; `rate_hz` float64 [E], requests per second. `target_fidelity`, `pairs` [E]: those of the class.
    """

    key: tuple[str, ...]
    source: Ints
    destination: Ints
    request_class: Ints
    rate_hz: Floats
    target_fidelity: Floats
    pairs: Ints

    def __len__(self) -> int:
        return len(self.key)

    def with_rates(self, rate_hz: Floats) -> DemandedPairs:
        """The same pairs with other rates."""
        return replace(self, rate_hz=rate_hz)

    def requests(self, pair: int, time_s: Floats) -> DrawnRequests:
        """Requests of one of the pairs at these times."""
        source, destination, request_class = (
            np.full(len(time_s), column[pair], dtype=np.int64)
            for column in (self.source, self.destination, self.request_class)
        )
        return DrawnRequests(time_s, source, destination, request_class)

    def at(self, peers: Peers) -> tuple[Ints, Ints, Flags]:
        """Node and place [E] of each pair's peer, and whether it is listed; a place of 0 if it is not."""
        node = self.source
        same = (
            (peers.destination[node] == self.destination[:, None])
            & (peers.target_fidelity[node] == self.target_fidelity[:, None])
            & (peers.pairs[node] == self.pairs[:, None])
        )
        return node, same.argmax(axis=1), same.any(axis=1)


def draw_demanded_pairs(
    weights: Floats,
    classes: Sequence[RequestClass],
    *,
    process: str,
    rate_hz: float,
    names: Sequence[str],
    seed: int,
) -> DemandedPairs:
    """Every unordered pair of nodes with a weight; its own stream draws the end that asks, and its class.

    Args:
        weights: float64 [N, N], fraction of all requests from each node to each other.
        classes: the classes of requests; a pair of nodes has one.
        process: name of the process, for the keys `demand/process/PROCESS/pair/A/B`.
        rate_hz: requests per second of all pairs together.
        names: of the nodes.
        seed: the traffic seed.
    """
    both_ways = np.triu(weights + weights.T, k=1)
    first, second = both_ways.nonzero()
    key = tuple(
        pair_key(names[one], names[other]) for one, other in zip(first.tolist(), second.tolist(), strict=True)
    )
    draws = np.array(
        [stream(seed, f"demand/process/{process}/pair/{name}").random(2) for name in key]
    ).reshape(-1, 2)
    request_class = draw_index(np.array([each.fraction for each in classes]), draws[:, 1])
    swapped = draws[:, 0] < 0.5
    return DemandedPairs(
        key=key,
        source=np.where(swapped, second, first),
        destination=np.where(swapped, first, second),
        request_class=request_class,
        rate_hz=rate_hz * both_ways[first, second],
        target_fidelity=np.array([each.target_fidelity for each in classes])[request_class],
        pairs=np.array([each.pairs for each in classes], dtype=np.int64)[request_class],
    )

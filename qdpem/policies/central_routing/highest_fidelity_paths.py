"""Search for the paths of highest fidelity for each number of hops, over the capacity that is left.

Fidelity along a path is a product of Werner weights w = (4F - 1)/3 of links and swaps, so a shortest-path
search on -ln w finds the path of highest fidelity (Li et al. 2022). One search of Bellman and Ford covers all
numbers of hops.
Work: O(hops x L) array elements for each search.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qdpem.arrays import Floats
from qdpem.flow.pricing import Arcs, CheapestPaths
from qdpem.network.outages import Unavailable
from qdpem.network.path import path_along
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.stocked_pairs import weight_of
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Context

_EXTRA_HOPS = 4
"""Paths may have this many hops more than the shortest."""

_TIE_PER_S = 1e-6
"""Of paths with equal fidelity the one with less backlog: each second of it adds this much to -ln w."""


class HighestFidelityPaths:
    """The paths of highest fidelity of a map by number of hops, over the capacity that is left.

    `link_cost` float64 [L] and `node_cost` [N]: -ln of the Werner weight of a link's fresh pair and of a
    swap, inf where there is none.
    """

    def __init__(self, context: Context) -> None:
        network = self._network = context.network
        self._arcs = Arcs.of(network)
        estimates = context.estimates
        self.link_cost = np.array(
            [_cost(estimates.link_fidelity(link)) for link in range(network.link_count)]
        )
        self.link_cost[network.link_rate_hz <= 0.0] = np.inf
        self._end_rate_hz = (
            network.source_rate_hz[network.graph.link_ends] * network.success_probability[:, None]
        )
        self.node_cost = np.full(network.node_count, np.inf)
        for node, around in enumerate(network.neighbours):
            if around and network.repeater_rate_hz[node] > 0.0:
                # There and back over one link: two pairs and the swap between them.
                (other, link), *_ = around
                twice = path_along(network, (other, node, other))
                swap = _cost(estimates.fidelity(twice)) - 2.0 * _cost(estimates.link_fidelity(link))
                # Rounding must not give a negative cost, which the search does not admit.
                self.node_cost[node] = max(swap, 0.0)

    def remaining_pairs(self, backlog: Backlog, horizon_s: float) -> Floats:
        """Pairs that each link can make within H = `horizon_s` behind the backlog of its ends, [L].

        r_u max(H - T_u, 0) + r_v max(H - T_v, 0), where T is the time until a source is free; inf if H is
        inf.
        """
        if not np.isfinite(horizon_s):
            return np.full(self._network.link_count, np.inf)
        free_s = np.maximum(horizon_s - backlog.source_wait_s[self._network.graph.link_ends], 0.0)
        shared = (free_s * self._end_rate_hz).sum(axis=1)
        # A link that attempts by itself works as soon as the less busy of its ends does.
        own = free_s.max(axis=1) * self._network.link_rate_hz
        return np.asarray(np.where(self._network.source_limited, shared, own))

    def paths(
        self,
        request: PendingRequest,
        backlog: Backlog,
        *,
        remaining_pairs: Floats,
        horizon_s: float,
        unavailable: Unavailable,
    ) -> Iterator[tuple[int, ...]]:
        """Nodes of the path of highest fidelity with at most h hops, for each h that improves on h - 1.

        Of equal paths the one with less backlog is taken.

        Args:
            request: the request to serve.
            backlog: work ahead.
            remaining_pairs: float64 [L]; links with fewer than the request's pairs are avoided.
            horizon_s: repeaters that have no tokens for the request within this time are avoided.
            unavailable: nodes and links to avoid.
        """
        source, destination = request.source, request.destination
        shortest = int(self._network.hop_distance[source, destination])
        busy_s = backlog.source_wait_s[self._network.graph.link_ends].sum(axis=1)
        link_cost = np.where(remaining_pairs < request.pairs, np.inf, self.link_cost + _TIE_PER_S * busy_s)
        link_cost[list(unavailable.links)] = np.inf
        node_cost = self._node_cost(backlog, request.pairs, horizon_s, unavailable)
        lowest = np.inf
        # Most requests need no extra hop, so longer paths are searched only on demand.
        for minimum, maximum in ((shortest, shortest), (shortest + 1, shortest + _EXTRA_HOPS)):
            cheapest = CheapestPaths(
                self._arcs, np.array([source]), link_cost=link_cost, node_cost=node_cost, max_hops=maximum
            )
            hops = np.arange(minimum, maximum + 1)
            ends = np.full(len(hops), source), np.full(len(hops), destination)
            for limit, cost in zip(hops.tolist(), cheapest.cost(*ends, hops).tolist(), strict=True):
                if cost < lowest:
                    lowest = cost
                    yield cheapest.path(source, destination, limit)[0]

    def _node_cost(self, backlog: Backlog, swaps: int, horizon_s: float, unavailable: Unavailable) -> Floats:
        wait_s = backlog.token_wait_s(swaps)
        cost = np.where(wait_s <= horizon_s, self.node_cost + _TIE_PER_S * wait_s, np.inf)
        cost[list(unavailable.nodes)] = np.inf
        return cost


def _cost(fidelity: float) -> float:
    """-ln of the Werner weight; inf where the weight is 0."""
    weight = weight_of(fidelity)
    return float(-np.log(weight)) if weight > 0.0 else np.inf

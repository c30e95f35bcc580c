"""Planned stock: end-to-end pairs for the requests that a forecast expects, in whole requests.

Source: time-phased ordering (material requirements planning, Orlicky 1975) with the stock level of perishable
goods (Nahmias 2011). The requests of a peer that are likely enough within its look-ahead need pairs
(`expected_needs`); those that are missing are ordered at once, and those that are due first before the
others. The look-ahead is a margin plus the time that making the pairs takes, at most their useful life. A
request must leave the pairs that a larger one is expected to need. Knowledge: the forecasts of the site's
peers, its stock, and the requests that came since the last forecast. Work: O(peers x steps) array elements an
epoch, and one choice of route for each missing pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.policies.inventory.expected_needs import ExpectedNeeds, Need, Needs, PeerKind
from qdpem.policies.inventory.parameters import PlannedStockParameters
from qdpem.policies.inventory.stock_levels import MAX_STORAGE_S
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.planner import Planner, RouteQuery
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policy.interface import Allocation, Context, Observation


class PlannedStock:
    """Orders the pairs that expected requests lack.

    `ordered_s` float64 [N, N], owner by partner: time of the last order, -inf before the first.
    """

    def __init__(
        self,
        context: Context,
        planner: Planner,
        *,
        parameters: PlannedStockParameters,
        needs: Needs | None = None,
    ) -> None:
        """`needs` decides what to keep; by default the requests that are likely enough (`ExpectedNeeds`)."""
        self._context = context
        self._planner = planner
        self._parameters = parameters
        network = context.network
        self.ordered_s = np.full((network.node_count, network.node_count), -np.inf)
        self._quota = np.floor(network.remote_storage_quota * network.memories)
        self._needs = needs or ExpectedNeeds(
            step_s=context.forecasting.step_s,
            probability=parameters.stocking_probability,
            lookahead_s=self.lookahead_s,
        )
        self._reserved: dict[tuple[int, int], Counter[int]] = {}

    def lacks(self, observations: Observation) -> list[list[Need]]:
        """What the expected requests of each site lack, those that are due first before the others."""
        lacks: list[list[Need]] = [[] for _ in range(len(observations))]
        self._reserved = {}
        if self._context.pregeneration == "link":
            return lacks
        self._needs.note_requests(observations)
        on_order = Counter(observations.stock_owner[observations.stock_ready == 0].tolist())
        for need in self._needs.of(observations):
            ends = need.peer.source, need.peer.destination
            promised = self._reserved.setdefault(ends, Counter())
            # Peers between the same ends share the stock: what is due earlier is covered first.
            missing = min(need.pairs, promised.total() + need.pairs - _on_hand(observations, need))
            promised[need.peer.pairs] += need.pairs
            # As far as the site knows what others keep there: the quota of the partner would refuse the rest.
            missing = min(missing, int(self._quota[need.peer.destination]) - _remote(observations, need))
            missing = min(missing, self._parameters.max_orders - on_order[need.peer.source])
            since_s = observations.time_s - self.ordered_s[ends]
            if missing > 0 and since_s >= self._parameters.min_reorder_interval_s:
                lacks[need.row].append(need._replace(pairs=missing))
                on_order[need.peer.source] += missing
        return lacks

    def reserved(self, source: int, destination: int, pairs: int) -> int:
        """Pairs that larger requests between these nodes are expected to need."""
        promised = self._reserved.get((source, destination), Counter())
        return sum(wanted for kind, wanted in promised.items() if kind > pairs)

    def replenish(
        self,
        lacks: list[Need],
        backlog: Backlog,
        *,
        now_s: float,
        unavailable: Unavailable = ALL_AVAILABLE,
    ) -> Iterator[Allocation]:
        """Orders for what is missing, each over the quickest available path with idle repeaters.

        Args:
            lacks: of one site, in the order to serve them.
            backlog: work ahead; the work of each order is added.
            now_s: time of the decision.
            unavailable: nodes and links to avoid.
        """
        for need in lacks:
            for _ in range(need.pairs):
                order = self._order(need.peer, backlog, now_s, unavailable)
                if order is None:
                    break
                # The interval runs from here even if the order is refused.
                self.ordered_s[need.peer.source, need.peer.destination] = now_s
                yield order

    def state(self) -> dict[str, NDArray[Any]]:
        """Times of the last orders, and the requests that came lately."""
        return {"ordered_s": self.ordered_s.copy(), **self._needs.state()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        self.ordered_s = np.array(state["ordered_s"], dtype=np.float64)
        self._needs.load_state(state)

    def useful_life_s(self, peer: PeerKind) -> float:
        """Seconds for which a pair over the path with fewest hops serves a request of this peer."""
        paths = self._context.routes.paths(peer.source, peer.destination)
        if not paths:
            return 0.0
        return min(self._context.estimates.useful_life_s(paths[0], self._fidelity(peer)), MAX_STORAGE_S)

    def lookahead_s(self, peer: PeerKind) -> float:
        """Seconds before a request of this peer from which its pairs are made, at most their useful life."""
        made_s = self._planner.idle_delay_s(peer.source, peer.destination, pairs=peer.pairs)
        lead_s = self._parameters.lookahead_s + self._parameters.lead_factor * made_s
        return min(lead_s, self.useful_life_s(peer))

    def _fidelity(self, peer: PeerKind) -> float:
        """The believed fidelity that a stocked pair needs to serve a request of this peer."""
        return min(peer.target_fidelity + self._parameters.fidelity_margin, 1.0)

    def _order(
        self, peer: PeerKind, backlog: Backlog, now_s: float, unavailable: Unavailable
    ) -> Allocation | None:
        """An order of one pair where it disturbs no request; its work is added to `backlog`."""
        idle = backlog.sources_idle(pairs=self._parameters.max_source_backlog)
        if not (idle[peer.source] and idle[peer.destination]):
            return None
        query = RouteQuery(
            source=peer.source,
            destination=peer.destination,
            target_fidelity=self._fidelity(peer),
            idle_repeaters_only=True,
            max_source_backlog=self._parameters.max_path_backlog,
            unavailable=unavailable,
        )
        route = self._planner.choose(query, backlog)
        if route is None:
            return None
        life_s = self._life_s(route, peer)
        if life_s < self._parameters.min_lifetime_s:
            return None
        backlog.add(route)
        return Allocation(
            source=peer.source,
            destination=peer.destination,
            target_fidelity=self._fidelity(peer),
            path=route.path.nodes,
            expires_s=now_s + route.expected_delay_s + life_s,
            plan=route.plan,
            purpose="stock",
        )

    def _life_s(self, route: RoutePlan, peer: PeerKind) -> float:
        life_s = self._context.estimates.useful_life_s(route.path, self._fidelity(peer), rounds=route.rounds)
        return min(life_s, MAX_STORAGE_S)


def _on_hand(observations: Observation, need: Need) -> int:
    """Pairs of the peer's source with its destination, in stock or on order."""
    owner, partner = observations.stock_owner[need.row], observations.stock_partner[need.row]
    return int(((owner == need.peer.source) & (partner == need.peer.destination)).sum())


def _remote(observations: Observation, need: Need) -> int:
    """Pairs of any owner with the peer's destination that the site knows of."""
    return int((observations.stock_partner[need.row] == need.peer.destination).sum())

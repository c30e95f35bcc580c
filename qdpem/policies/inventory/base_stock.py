"""Base stock of end-to-end pairs: a site keeps a number of pairs for each of its most frequent peers.

Source: base-stock (order-up-to) control of perishable goods (Nahmias 2011), where entangled pairs expire when
they no longer meet a target. Pairs are ordered only where they disturb no request: idle tokens would be lost
anyway, and emissions and memories that a pending request needs are left to it. The number kept follows from
the demand expected in a pair's useful life (`stock_levels`), at most `base_stock_level`.
Knowledge: how often each pair of nodes was requested so far, and forecasts where the arm has any.
Work: one choice of route for each understocked pair of nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags, Floats, Ints
from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.policies.inventory.parameters import BaseStockParameters
from qdpem.policies.inventory.stock_levels import MAX_STORAGE_S, DemandFactor, stocking_means
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.planner import Planner, RouteQuery
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policy.interface import FREE_MEMORIES, Allocation, Context, Observation


class BaseStock:
    """Orders end-to-end pairs for understocked peers.

    `ordered_s` float64 [N, N], owner by partner: time of the last order, -inf before the first.
    """

    def __init__(self, context: Context, planner: Planner, *, parameters: BaseStockParameters) -> None:
        self._context = context
        self._planner = planner
        self._parameters = parameters
        self._demand_factor = DemandFactor(context)
        network = context.network
        self.ordered_s = np.full((network.node_count, network.node_count), -np.inf)
        self._lives_s = np.full_like(self.ordered_s, np.nan)
        self._quota = np.floor(network.remote_storage_quota * network.memories)
        self._means = stocking_means(parameters.stocking_threshold, parameters.base_stock_level)

    def lacks(self, observations: Observation) -> list[list[tuple[int, int]]]:
        """For each site (source, destination) of its peers whose stock is below its level, most frequent
        first.

        Only those that may be ordered now are listed.
        """
        # Levels depend on the demand factor, so forecasts come first.
        self._demand_factor.update(observations)
        understocked: list[list[tuple[int, int]]] = [[] for _ in range(len(observations))]
        if self._context.pregeneration == "link" or not self._parameters.base_stock_level:
            return understocked
        rows, source, destination, level = self._stocked_peers(observations)
        on_hand, remote = self._on_hand(observations, rows, source, destination)
        since_s = self.ordered_s[source, destination] + self._parameters.min_reorder_interval_s
        allowed = (on_hand < level) & (remote < self._quota[destination])
        allowed &= observations.time_s >= since_s
        allowed &= self._has_free_memories(observations, rows, source, destination)
        ends = zip(source[allowed].tolist(), destination[allowed].tolist(), strict=True)
        for row, pair in zip(rows[allowed].tolist(), ends, strict=True):
            understocked[row].append(pair)
        return understocked

    def _stocked_peers(self, observations: Observation) -> tuple[Ints, Ints, Ints, Ints]:
        """Row of the site, source, destination and level of all peers with a level above 0.

        Most peers have level 0, so the filters that follow work on short arrays.
        """
        local = self._context.control == "local"
        width = self._parameters.tracked_pairs * (1 if local else self._context.network.node_count)
        rows, columns = (observations.top_pair_source[:, :width] >= 0).nonzero()
        source, destination = (
            observations.top_pair_source[rows, columns],
            observations.top_pair_destination[rows, columns],
        )
        life_s = self._useful_lives_s(observations, rows, source, destination)
        level = self._levels(source, observations.top_pair_rate_hz[rows, columns], life_s)
        positive = level > 0
        return rows[positive], source[positive], destination[positive], level[positive]

    def _on_hand(
        self, observations: Observation, rows: Ints, source: Ints, destination: Ints
    ) -> tuple[Ints, Ints]:
        """Pairs kept or on order for each peer, and all pairs of others that the site knows at the peer."""
        if self._context.control == "local":
            partner = np.where(observations.stock_owner >= 0, observations.stock_partner, -1)
            own = (partner[rows] == destination[:, None]).sum(axis=1)
            return own, own
        nodes = self._context.network.node_count
        owned = observations.stock_owner[0] >= 0
        owner, partner = observations.stock_owner[0][owned], observations.stock_partner[0][owned]
        # owner x N + partner numbers each ordered pair, so one bincount counts all.
        on_hand = np.bincount(owner * nodes + partner, minlength=nodes * nodes)
        return on_hand[source * nodes + destination], np.bincount(partner, minlength=nodes)[destination]

    def _has_free_memories(
        self, observations: Observation, rows: Ints, source: Ints, destination: Ints
    ) -> Flags:
        """Whether both ends have enough free memories; a peer without a report is assumed to have them."""
        enough = observations.status[:, :, FREE_MEMORIES] >= self._parameters.min_free_memories
        if self._context.control == "central":
            free = np.zeros(self._context.network.node_count, dtype=np.bool_)
            free[observations.observed_node[0]] = enough[0]
            return np.asarray(free[source] & free[destination])
        # Only a report of too few memories forbids an order; most peers are no neighbours and report nothing.
        full = (observations.observed_node[rows] == destination[:, None]) & ~enough[rows]
        return np.asarray(enough[rows, 0] & ~full.any(axis=1))

    def _levels(self, source: Ints, rate_hz: Floats, life_s: Floats) -> Ints:
        """The number of pairs worth keeping at these request rates and useful lives."""
        # An infinite life times a rate of 0 is NaN, which counts as no demand.
        with np.errstate(invalid="ignore"):
            mean = rate_hz * life_s * self._demand_factor.factor(source, life_s)
        return np.searchsorted(self._means, np.where(np.isnan(mean), 0.0, mean), side="right")

    def _useful_lives_s(
        self, observations: Observation, rows: Ints, source: Ints, destination: Ints
    ) -> Floats:
        """Useful life in seconds of pairs made over the path with fewest hops, 0 without a path."""
        if observations.unavailable_node.shape[1] or observations.unavailable_link.shape[1]:
            # Lives around outages are not cached: the cache is that of the whole network.
            unavailable = [observations.unavailable(row) for row in range(len(observations))]
            peers = zip(source.tolist(), destination.tolist(), rows.tolist(), strict=True)
            return np.array([self._life_s(first, second, unavailable[row]) for first, second, row in peers])
        new = np.isnan(self._lives_s[source, destination])
        for first, second in zip(source[new].tolist(), destination[new].tolist(), strict=True):
            self._lives_s[first, second] = self._life_s(first, second, ALL_AVAILABLE)
        return self._lives_s[source, destination]

    def replenish(
        self,
        lacks: list[tuple[int, int]],
        backlog: Backlog,
        *,
        now_s: float,
        unavailable: Unavailable = ALL_AVAILABLE,
    ) -> Iterator[Allocation]:
        """Orders for understocked peers, each over the quickest available path with idle repeaters.

        Args:
            lacks: (source, destination) of the peers of one site, in the order to serve them.
            backlog: work ahead; the work of each order is added.
            now_s: time of the decision.
            unavailable: nodes and links to avoid.
        """
        idle = backlog.sources_idle(pairs=self._parameters.max_source_backlog)
        for source, destination in lacks:
            if not (idle[source] and idle[destination]):
                continue
            route = self._idle_route(source, destination, backlog, unavailable)
            order = self._order(route, now_s) if route else None
            if route is not None and order is not None:
                # From understocked to on order; the interval runs from here even if the order is refused.
                self.ordered_s[source, destination] = now_s
                # The order is work itself, so the next peers of this call may find their sources busy.
                backlog.add(route)
                idle = backlog.sources_idle(pairs=self._parameters.max_source_backlog)
                yield order

    def reserved(self, source: int, destination: int, pairs: int) -> int:  # noqa: ARG002
        """Nothing: whoever comes first may use the stock."""
        return 0

    def state(self) -> dict[str, NDArray[Any]]:
        """Times of the last orders, and the forecasts so far."""
        return {"ordered_s": self.ordered_s.copy(), **self._demand_factor.state()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        self.ordered_s = np.array(state["ordered_s"], dtype=np.float64)
        self._demand_factor.load_state(state)

    def _life_s(self, source: int, destination: int, unavailable: Unavailable) -> float:
        paths = self._context.routes.paths(source, destination, unavailable)
        if not paths:
            return 0.0
        return self._context.estimates.useful_life_s(paths[0], self._parameters.target_fidelity)

    def _idle_route(
        self, source: int, destination: int, backlog: Backlog, unavailable: Unavailable
    ) -> RoutePlan | None:
        query = RouteQuery(
            source=source,
            destination=destination,
            target_fidelity=self._parameters.target_fidelity,
            idle_repeaters_only=True,
            unavailable=unavailable,
        )
        return self._planner.choose(query, backlog)

    def _order(self, route: RoutePlan, now_s: float) -> Allocation | None:
        path, parameters = route.path, self._parameters
        life_s = self._context.estimates.useful_life_s(path, parameters.target_fidelity, rounds=route.rounds)
        life_s = min(life_s, MAX_STORAGE_S)
        if life_s < parameters.min_lifetime_s:
            return None
        return Allocation(
            source=path.nodes[0],
            destination=path.nodes[-1],
            target_fidelity=parameters.target_fidelity,
            path=path.nodes,
            expires_s=now_s + route.expected_delay_s + life_s,
            plan=route.plan,
            purpose="stock",
        )

"""Adaptive continuous generation: every node keeps generating link pairs with the neighbours it uses most.

Source: Kolar, Zang, Chung, Suchara and Kettimuthu (2022, arXiv:2212.08806); Zhan et al. (2025,
arXiv:2502.01964).

Every epoch each node draws a neighbour or "none" from its own stream, with probabilities that adapt to use
(`inventory.link_usage`). It orders a pair with that neighbour if its quota, its source and the known free
memories of both allow it, with at most one order at a time for each neighbour. The pair is kept for as long
as a fresh one meets `min_stock_fidelity`.

A request takes the path and plan of largest believed probability of delivery in time, where links with a
stocked pair count as ready. The control plane then uses the oldest pair that lets the path meet its target. A
node observes its own stock, and learns that of its neighbours from their messages, one number for each link.

Knowledge: the map, its own and its neighbours' status and stock, its own book of orders, and the
reservations of others that it grants. It never forecasts.
Work: O(degree x quota) for each site, O(K x plans x hops) for each pending request, about 0.5 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags, Floats, Ints
from qdpem.network.outages import Unavailable
from qdpem.network.path import Path, path_along
from qdpem.policies.inventory.link_usage import LinkUsage
from qdpem.policies.inventory.stock_levels import MAX_STORAGE_S
from qdpem.policies.policy_defaults import PolicyDefaults, check_storage_fraction
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.delivery_probability import best_route, delivery_probability
from qdpem.policies.routing.path_features import PathFeatureCache, PathFeatures
from qdpem.policies.routing.pending_requests import in_deadline_order, pending_requests
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import (
    EMISSION_BACKLOG,
    FREE_MEMORIES,
    STATUS_WIDTH,
    Allocation,
    Context,
    Decisions,
    Observation,
)
from qdpem.policy.tuning import tunable
from qdpem.rng import move_to, position
from qdpem.scenario.words import Control, Pregeneration

_CLOCK_TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True)
class ContinuousGenerationParameters:
    """Parameters of adaptive continuous generation. Raises ValueError for a value out of range."""

    learning_rate: float = tunable(0.05, low=0.01, high=0.5, log=True, pregeneration="link")
    """Gain (above 0) of a used neighbour's probability in each period, before all are normalised."""
    update_period_s: float = tunable(1.0, low=0.2, high=10.0, log=True, pregeneration="link")
    """Seconds (above 0) between updates of the probabilities."""
    memory_quota: float = tunable(0.25, low=0.05, high=0.5, pregeneration="link")
    """Fraction (0 to 1) of a node's memories for pairs that it owns or has ordered; at least one memory."""
    min_stock_fidelity: float = tunable(0.9, low=0.7, high=0.96, pregeneration="link")
    """A pair is kept while its believed fidelity is at least this (above 1/4, below 1)."""
    delay_weight_per_s: float = tunable(0.1, low=0.01, high=1.0, log=True)
    """Probability given up for each second of delay and of nodes' time saved by another path or plan."""
    max_source_backlog: float = 0.0
    """Maximum number of pairs ahead at the node's source when it orders. On seeds 0 and 1 of the
    paper's set-up a value of 1 delivered .007 more, with half as much contention again."""
    back_off_s: float = 2.0
    """Seconds without a further order to a neighbour after an order was refused or failed."""
    min_free_memories: int = 4
    """Minimum number of free memories, reported or assumed, at both ends of an order."""
    storage_fraction: float = 0.15
    """Assumed age of link pairs when they are swapped, as a fraction (0 to 1) of the expected delay."""
    min_success_probability: float = 0.05
    """A request waits while no path delivers it in time with more than this believed probability (0 to 1)."""

    def __post_init__(self) -> None:
        if not (self.learning_rate > 0.0 and self.update_period_s > 0.0):
            raise ValueError(
                f"learning_rate is {self.learning_rate!r} and update_period_s {self.update_period_s!r};"
                " both must be above 0"
            )
        check_storage_fraction(self.storage_fraction)
        if not 0.0 <= self.memory_quota <= 1.0:
            raise ValueError(f"memory_quota is {self.memory_quota!r}; it must be 0 to 1")
        if not 0.25 < self.min_stock_fidelity < 1.0:
            raise ValueError(
                f"min_stock_fidelity is {self.min_stock_fidelity!r}; it must be above 1/4 and below 1"
            )


class LocalContinuousGeneration(PolicyDefaults):
    """Every node stocks link pairs with the neighbours that it uses, and serves requests with them."""

    Parameters = ContinuousGenerationParameters
    name = "local-continuous"
    family = "continuous-generation"
    control: Control = Control.LOCAL
    pregeneration: Pregeneration = Pregeneration.LINK
    acts_every_epoch = True

    def __init__(self, parameters: ContinuousGenerationParameters) -> None:
        self._parameters = parameters

    def reset(self, context: Context) -> None:
        """Begin a run; a message has one number for each neighbour, up to the largest degree."""
        network, parameters = context.network, self._parameters
        self._context = context
        self._features = PathFeatureCache(context)
        # At least one memory, or a small node would never take part.
        self._quota = np.maximum(np.floor(parameters.memory_quota * network.memories), 1).astype(np.int64)
        self.link_usage = LinkUsage(
            network,
            learning_rate=parameters.learning_rate,
            back_off_s=parameters.back_off_s,
            quota=self._quota,
        )
        self.message_width = self.link_usage.degree
        self._streams = [context.site_stream(site) for site in range(network.node_count)]
        self.acts_every_epoch = context.pregeneration != "none"
        self._lives_s = {(v, u): self._life_s(v, u) for v, u in network.link_between}

    def act(self, observations: Observation) -> Decisions:
        """Learn and order once in each epoch, serve pending requests, and send the stock to neighbours."""
        allocations: list[Allocation] = []
        if self._context.pregeneration != "none":
            # Use is observed before the period ends, so that it counts for the period in which it happened.
            self.link_usage.observe(observations)
            # The tolerance keeps a time on a boundary from falling into the period before it.
            period = int(observations.time_s / self._parameters.update_period_s + _CLOCK_TOLERANCE)
            self.link_usage.end_period(observations.site, period)
            allocations = self._orders(observations)
        own_stock = self._own_stock(observations)
        for row in np.flatnonzero((observations.request_id >= 0).any(axis=1)).tolist():
            allocations += self._serve_all(observations[row], own_stock[row])
        return Decisions(allocations=tuple(allocations), messages=own_stock)

    def state(self) -> dict[str, NDArray[Any]]:
        """Probabilities, observed stock, and the position of each site's stream, uint64 [N, 6]."""
        usage = {name: getattr(self.link_usage, name).copy() for name in LinkUsage.ARRAYS}
        return {**usage, "draws": np.stack([position(stream) for stream in self._streams])}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state, with each stream at its saved position."""
        for name in LinkUsage.ARRAYS:
            setattr(self.link_usage, name, np.array(state[name]))
        for stream, saved in zip(self._streams, state["draws"], strict=True):
            move_to(stream, saved)

    def _life_s(self, node: int, neighbour: int) -> float:
        """Seconds for which a pair between two neighbours is kept; 0 without a rate."""
        network = self._context.network
        link = network.link_between[node, neighbour]
        if not network.link_rate_hz[link] > 0.0:
            return 0.0
        path = path_along(network, (node, neighbour))
        life_s = self._context.estimates.useful_life_s(path, self._parameters.min_stock_fidelity)
        return min(life_s, MAX_STORAGE_S)

    def _orders(self, observations: Observation) -> list[Allocation]:
        """One draw of each site at its first observation in an epoch, and orders where they are allowed."""
        usage, parameters, sites = self.link_usage, self._parameters, observations.site
        epoch = int(observations.time_s / self._context.control_settings.decision_epoch_s + _CLOCK_TOLERANCE)
        rows = np.flatnonzero(usage.epoch[sites] < epoch)
        # Marked before the draw: a site that observes again in this epoch draws no second time.
        usage.epoch[sites[rows]] = epoch
        rank = self._draw(sites[rows])
        owned = observations.stock_owner[rows] == sites[rows, None]
        status = observations.status[rows]
        allowed = (rank < usage.degree) & (owned.sum(axis=1) < self._quota[sites[rows]])
        # Negated comparisons allow an order where the status is NaN, that is not reported.
        allowed &= ~(status[:, 0, EMISSION_BACKLOG] > parameters.max_source_backlog)
        free = status[:, :, FREE_MEMORIES]
        neighbour_free = free[np.arange(len(rows)), np.minimum(rank + 1, free.shape[1] - 1)]
        allowed &= ~(np.fmin(free[:, 0], neighbour_free) < parameters.min_free_memories)
        orders = (
            self._order(int(sites[row]), drawn, observations.time_s, observations.unavailable(row))
            for row, drawn in zip(rows[allowed].tolist(), rank[allowed].tolist(), strict=True)
        )
        return [order for order in orders if order]

    def _draw(self, sites: Ints) -> Ints:
        """The rank of one neighbour for each site, D for "none", from the site's own stream."""
        u = np.array([self._streams[site].random() for site in sites.tolist()])
        passed = u[:, None] >= self.link_usage.probability[sites].cumsum(axis=1)
        # Probabilities may sum to slightly less than 1; a draw beyond the sum means "none".
        return np.asarray(np.minimum(passed.sum(axis=1), self.link_usage.degree))

    def _order(self, site: int, rank: int, now_s: float, unavailable: Unavailable) -> Allocation | None:
        neighbour = int(self.link_usage.neighbour[site, rank])
        life_s = self._lives_s.get((site, neighbour), 0.0)
        if life_s <= 0.0 or not self.link_usage.may_order(site, rank, now_s):
            return None
        link = self._context.network.link_between[site, neighbour]
        if unavailable and unavailable.affects((site, neighbour), (link,)):
            return None
        # Time to make the pair, then its useful life.
        expires_s = now_s + 1.0 / float(self._context.network.link_rate_hz[link]) + life_s
        self.link_usage.order_expires_s[site, rank] = expires_s
        return Allocation(
            source=site,
            destination=neighbour,
            target_fidelity=self._parameters.min_stock_fidelity,
            path=(site, neighbour),
            expires_s=expires_s,
            purpose="stock",
        )

    def _own_stock(self, observations: Observation) -> Floats:
        """Ready pairs that each site owns with each of its neighbours, [S, D]."""
        usable = (observations.stock_owner == observations.site[:, None]) & (observations.stock_ready == 1)
        rank = self.link_usage.rank[observations.site[:, None], np.maximum(observations.stock_partner, 0)]
        rank = np.where(usable, rank, -1)
        return np.asarray(
            (rank[:, :, None] == np.arange(self.link_usage.degree)).sum(axis=1), dtype=np.float64
        )

    def _serve_all(self, observation: Observation, own_stock: Floats) -> list[Allocation]:
        backlog = Backlog.of_observation(observation, self._context.network, unobserved_tokens=1.0)
        stock, unavailable = self._stock_between(observation, own_stock), observation.unavailable()
        return [
            allocation
            for request in in_deadline_order(pending_requests(observation))
            if (allocation := self._serve(request, observation.time_s, backlog, stock, unavailable))
        ]

    def _stock_between(self, observation: Observation, own_stock: Floats) -> Ints:
        """Pairs believed in stock between two nodes, whichever owns them, [N, N]."""
        nodes, usage = self._context.network.node_count, self.link_usage
        stock = np.zeros((nodes, nodes), dtype=np.int64)
        messages = np.nan_to_num(observation.status[0, :, STATUS_WIDTH:])
        # Row 0 is the site itself: its last message is older than its own stock.
        messages[0] = own_stock
        counts_by_node = np.rint(messages).astype(np.int64)
        for node, counts in zip(observation.observed_node[0].tolist(), counts_by_node, strict=True):
            if node >= 0:
                around = usage.neighbour[node]
                real = around >= 0
                stock[node, around[real]] += counts[real]
        # Each pair has one owner, so the sum counts no pair twice.
        return stock + stock.T

    def _serve(
        self,
        request: PendingRequest,
        now_s: float,
        backlog: Backlog,
        stock: Ints,
        unavailable: Unavailable,
    ) -> Allocation | None:
        parameters = self._parameters
        features = self._features.between(request.source, request.destination, unavailable)
        if features is None:
            return None
        probability = delivery_probability(
            features,
            backlog,
            pairs=request.pairs,
            slack_s=request.deadline_s - now_s,
            stocked=self._stocked(features, stock, request),
        )
        best = best_route(
            request,
            features,
            probability,
            backlog,
            estimates=self._context.estimates,
            min_gain=parameters.min_success_probability,
            delay_weight_per_s=parameters.delay_weight_per_s,
            storage_fraction=parameters.storage_fraction,
        )
        if best is None:
            return None
        route = best[0]
        # Later requests of this call must see the work and the stock that this one takes.
        backlog.add(route, pairs=request.pairs)
        self._use(route.path, stock, request)
        return request.allocation(route.path.nodes, plan=route.plan)

    def _stocked(self, features: PathFeatures, stock: Ints, request: PendingRequest) -> Flags:
        """Links with as many pairs in stock as the request needs, [K, H]; none for a repeating request."""
        if request.repeats:
            return np.zeros_like(features.is_link)
        return features.is_link & (stock[features.first, features.second] >= request.pairs)

    def _use(self, path: Path, stock: Ints, request: PendingRequest) -> None:
        """Mark the first link of a path as used, and remove the pairs that the path takes from stock."""
        self.link_usage.used[path.nodes[0], self.link_usage.rank[path.nodes[0], path.nodes[1]]] = True
        for first, second in pairwise(path.nodes):
            remaining = max(int(stock[first, second]) - request.pairs, 0)
            stock[first, second] = stock[second, first] = remaining

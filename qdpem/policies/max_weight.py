"""Max-weight scheduling: pending requests in order of urgency-weighted backlog x delivery probability.

Source: max-weight scheduling of entanglement switches (Vasantam and Towsley 2021, arXiv:2106.00831), with
local and with full information over networks as in Fittipaldi, Giovanidis and Grosshans (2024,
arXiv:2307.06009). There queues wait forever and backlog is a count. Here a request is worth nothing after
its deadline, so it counts 1 / (1 + slack / `half_weight_slack_s`).

The weight of a pair of nodes is the sum over its pending requests, times the believed probability that its
most urgent request is delivered in time over the best path and plan (1 from stock). A path is available if
each repeater has a token, and each link a source without backlog, now or within `availability_horizon_s`. The
heaviest pair is served first and takes its tokens, emissions and stock; the others are weighed again with
what is left. A request without an available path, or with a probability of at most
`min_success_probability`, stays pending and is weighed again at the site's next observation.

Knowledge: the map, aged status of all nodes (central) or of neighbours (local), the site's own book of
orders, its stock. It never forecasts. With pregeneration it keeps the base stock of `inventory`.
Work: O(K x plans x hops) for each pair of nodes with pending requests, and again for each one served: weights
can only fall, so only the heaviest is weighed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags
from qdpem.network.outages import Unavailable
from qdpem.policies.inventory.base_stock import BaseStock
from qdpem.policies.inventory.controller import InventoryController
from qdpem.policies.inventory.parameters import BaseStockParameters
from qdpem.policies.policy_defaults import PolicyDefaults, check_storage_fraction
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.delivery_probability import best_route, delivery_probability
from qdpem.policies.routing.path_features import PathFeatureCache, PathFeatures
from qdpem.policies.routing.pending_requests import command_delay_s, in_deadline_order, pending_requests
from qdpem.policies.routing.planner import Planner
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policies.routing.stocked_pairs import StockByEnds, serve_from_stock
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Allocation, Context, Decisions, Observation
from qdpem.policy.tuning import tunable
from qdpem.scenario.words import Control


@dataclass(frozen=True, kw_only=True)
class MaxWeightParameters(BaseStockParameters):
    """Parameters of max-weight scheduling; those of base stock have an effect only with pregeneration."""

    half_weight_slack_s: float = tunable(0.3, low=0.03, high=3.0, log=True)
    """Slack in seconds (above 0) at which a request has half the weight that it has at its deadline."""
    availability_horizon_s: float = tunable(1.0, low=0.01, high=3.0, log=True)
    """A path is available while its repeaters and sources work off their backlog within this many seconds."""
    min_success_probability: float = tunable(0.05, low=0.0, high=0.5)
    """A request waits while no path delivers it in time with more than this believed probability (0 to 1)."""
    delay_weight_per_s: float = tunable(0.1, low=0.01, high=1.0, log=True)
    """Probability given up for each second of delay and of nodes' time saved by another path or plan."""
    storage_fraction: float = tunable(0.15, low=0.0, high=0.5)
    """Assumed age of link pairs when they are swapped, as a fraction (0 to 1) of the expected delay."""
    unobserved_tokens: float = tunable(1.0, low=0.0, high=1.0, control="local")
    """Tokens assumed at each repeater without a report. The controller has reports of all nodes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_storage_fraction(self.storage_fraction)
        if not 0.0 <= self.min_success_probability < 1.0:
            raise ValueError(
                f"min_success_probability is {self.min_success_probability!r};"
                " it must be at least 0 and below 1"
            )
        if not self.half_weight_slack_s > 0.0:
            raise ValueError(f"half_weight_slack_s is {self.half_weight_slack_s!r}; it must be above 0")
        if not self.availability_horizon_s >= 0.0:
            raise ValueError(
                f"availability_horizon_s is {self.availability_horizon_s!r}; it must be 0 or more"
            )


class LocalMaxWeight(PolicyDefaults):
    """Every node weighs its own requests by the resources that it and its neighbours have left."""

    Parameters = MaxWeightParameters
    name = "local-maxweight"
    family = "max-weight"
    control: Control = Control.LOCAL
    acts_every_epoch = True

    def __init__(self, parameters: MaxWeightParameters) -> None:
        self._parameters = parameters

    def reset(self, context: Context) -> None:
        """Begin a run."""
        self._context = context
        self._features = PathFeatureCache(context)
        planner = Planner(context, storage_fraction=self._parameters.storage_fraction)
        self._inventory = InventoryController(
            context,
            BaseStock(context, planner, parameters=self._parameters),
            parameters=self._parameters,
        )

    def act(self, observations: Observation) -> Decisions:
        """Serve pending requests, the heaviest first, then replenish the stock."""
        allocations = [
            allocation
            for observation, understocked in self._inventory.sites_to_act(observations)
            for allocation in self._decide(observation, understocked)
        ]
        return Decisions(allocations=(*allocations, *self._inventory.link_orders(observations)))

    def state(self) -> dict[str, NDArray[Any]]:
        """The state of the inventory; weights are computed anew at every call."""
        return self._inventory.state()

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        self._inventory.load_state(state)

    def _decide(
        self, observation: Observation, understocked: list[tuple[int, int]]
    ) -> tuple[Allocation, ...]:
        backlog = Backlog.of_observation(
            observation, self._context.network, unobserved_tokens=self._parameters.unobserved_tokens
        )
        matching = Matching(
            self._context,
            self._features,
            self._parameters,
            backlog=backlog,
            stock=self._inventory.ready_stock(observation),
            now_s=observation.time_s,
            unavailable=observation.unavailable(),
        )
        allocations = list(matching.serve(pending_requests(observation)))
        return (*allocations, *self._inventory.replenish(understocked, backlog, observation))


class CentralMaxWeight(LocalMaxWeight):
    """The controller weighs all requests that are pending there, from aged reports of all nodes."""

    name = "central-maxweight"
    control: Control = Control.CENTRAL


class Matching:
    """The greedy matching of one site at one time; `backlog` and `stock` change with each request served."""

    def __init__(
        self,
        context: Context,
        features: PathFeatureCache,
        parameters: MaxWeightParameters,
        *,
        backlog: Backlog,
        stock: StockByEnds,
        now_s: float,
        unavailable: Unavailable,
    ) -> None:
        """Begin a matching.

        Args:
            context: the map and its estimates.
            features: path features, kept between matchings.
            parameters: of the policy.
            backlog: work ahead; the work of each request served is added.
            stock: ready pairs; those that serve a request are removed.
            now_s: time of the decision.
            unavailable: nodes and links to avoid.
        """
        self._context, self._features, self._parameters = context, features, parameters
        self._backlog, self._stock = backlog, stock
        self._now_s, self._unavailable = now_s, unavailable
        # Best options by request id, valid until the next request is served.
        self._options: dict[int, tuple[float, RoutePlan | None]] = {}

    def serve(self, requests: Sequence[PendingRequest]) -> Iterator[Allocation]:
        """Allocations, heaviest pair of nodes first, and of each pair the most urgent request first."""
        queues: dict[tuple[int, int], list[PendingRequest]] = {}
        for request in in_deadline_order(requests):
            queues.setdefault((request.source, request.destination), []).append(request)
        # Negated, because heapq pops the smallest; ends break ties reproducibly.
        heap = [(-self.weight(queue), ends) for ends, queue in queues.items()]
        heapify(heap)
        while heap:
            ends = heap[0][1]
            queue = queues[ends]
            # The heap holds upper bounds: each allocation takes resources, so a weight may have fallen since.
            weight = self.weight(queue)
            if weight <= 0.0:
                # The first request cannot be served; the next may have a lower target or need fewer pairs.
                queue.pop(0)
            # The second smallest entry of a heap is one of the root's two children.
            elif len(heap) > 1 and weight < -min(heap[1:3])[0]:
                heapreplace(heap, (-weight, ends))
                continue
            else:
                yield self._allocate(queue.pop(0))
            if queue:
                heapreplace(heap, (-self.weight(queue), ends))
            else:
                heappop(heap)

    def weight(self, queue: list[PendingRequest]) -> float:
        """Summed urgency of a queue x delivery probability of its first request; 0 if that must wait."""
        return sum(map(self._urgency, queue)) * self._best(queue[0])[0]

    def _urgency(self, request: PendingRequest) -> float:
        return 1.0 / (1.0 + (request.deadline_s - self._now_s) / self._parameters.half_weight_slack_s)

    def _best(self, request: PendingRequest) -> tuple[float, RoutePlan | None]:
        """Probability and route of the best option of a request: (1, None) from stock, (0, None) to wait."""
        if request.id not in self._options:
            self._options[request.id] = self._find_best(request)
        return self._options[request.id]

    def _find_best(self, request: PendingRequest) -> tuple[float, RoutePlan | None]:
        parameters = self._parameters
        # A copy, because this only asks whether stock would serve; `serve_from_stock` removes what it uses.
        stock = {ends: list(fidelities) for ends, fidelities in self._stock.items()}
        if stock and serve_from_stock(request, stock, fidelity_margin=parameters.fidelity_margin) is not None:
            return 1.0, None
        features = self._features.between(request.source, request.destination, self._unavailable)
        if features is None:
            return 0.0, None
        is_available = available(features, self._backlog, request.pairs, parameters.availability_horizon_s)
        if not is_available.any():
            return 0.0, None
        slack_s = request.deadline_s - self._now_s - command_delay_s(self._context, request.source)
        probability = delivery_probability(features, self._backlog, pairs=request.pairs, slack_s=slack_s)
        probability[:, ~is_available] = 0.0
        best = best_route(
            request,
            features,
            probability,
            self._backlog,
            estimates=self._context.estimates,
            min_gain=parameters.min_success_probability,
            delay_weight_per_s=parameters.delay_weight_per_s,
            storage_fraction=parameters.storage_fraction,
        )
        return (float(probability.ravel()[best[1]]), best[0]) if best else (0.0, None)

    def _allocate(self, request: PendingRequest) -> Allocation:
        route = self._best(request)[1]
        self._options.clear()
        if route is None:
            margin = self._parameters.fidelity_margin
            from_stock = serve_from_stock(request, self._stock, fidelity_margin=margin)
            assert from_stock is not None
            return from_stock
        self._backlog.add(route, pairs=request.pairs)
        return request.allocation(route.path.nodes, plan=route.plan)


def available(features: PathFeatures, backlog: Backlog, pairs: int, horizon_s: float) -> Flags:
    """Paths whose repeaters have `pairs` tokens, and whose links a free source, within `horizon_s`, [K]."""
    wait_s = backlog.source_wait_s
    source_s = np.minimum(
        np.where(features.rate_first_hz > 0.0, wait_s[features.first], np.inf),
        np.where(features.rate_second_hz > 0.0, wait_s[features.second], np.inf),
    )
    token_s = backlog.token_wait_s(pairs)[features.inner]
    links = (source_s <= horizon_s) | ~features.is_link
    repeaters = (token_s <= horizon_s) | ~features.is_inner
    return np.asarray((links & repeaters).all(axis=1))

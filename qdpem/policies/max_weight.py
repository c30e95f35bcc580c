"""Max-weight: what waits is served in order of urgency-weighted backlog x chance of success.

Source: max-weight scheduling of entanglement switches (Vasantam and Towsley 2021, arXiv:2106.00831), with
local and with full information over networks as in Fittipaldi, Giovanidis and Grosshans (2024,
arXiv:2307.06009). There queues wait for ever and backlog is a count; here a request is worth nothing after
its deadline, so it counts 1 / (1 + slack / `half_weight_slack_s`). The weight of a pair of nodes is the sum over what
waits for it, times the believed chance in time of its most urgent request over the best path and plan (1 from
stock). Only paths count that are available: whose repeaters have a token, and whose links a source that is
done with what is ahead of it, now or within `availability_horizon_s`. Greedily, the heaviest takes its tokens, emissions and
stock, and the rest is weighed again with what is left. What finds no path available, or none with more than
`min_success_probability`, waits uncommitted and is weighed again when the site is asked next.
Knowledge: the map, aged status of all nodes (central) or of neighbours (local), the site's own book of
orders, its stock. It never forecasts. With a right to stock it keeps the base stock of `base_stock`.
Work: O(K x plans x hops) for each pair of nodes with something waiting, again for each one served: a weight
can only fall, so only what is at the top is weighed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.network.outages import Unavailable
from qdpem.policies.inventory.base_stock import BaseStockParameters
from qdpem.policies.inventory.controller import InventoryController
from qdpem.policies.routing.delay_model import Backlog, PathFeatures
from qdpem.policies.routing.delivery_probability import DeliveryOffers, delivery_probability
from qdpem.policies.routing.pending_requests import command_delay_s, pending_requests
from qdpem.policies.routing.planner import Choice, Planner
from qdpem.policies.routing.stocked_pairs import StockByEnds, serve_from_stock
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Allocation, Context, Decisions, Observation
from qdpem.policy.tuning import tunable
from qdpem.scenario.words import Control, Pregeneration


@dataclass(frozen=True, kw_only=True)
class MaxWeightParameters(BaseStockParameters):
    """What can be set of max-weight; those of base stock matter only with a right to stock."""

    half_weight_slack_s: float = tunable(0.3, low=0.03, high=3.0, log=True)
    """Slack at which a request counts half of what it does at its deadline."""
    availability_horizon_s: float = tunable(1.0, low=0.01, high=3.0, log=True)
    """A path is available while what is ahead at its repeaters and sources is done within this time."""
    min_success_probability: float = tunable(0.05, low=0.0, high=0.5)
    """A request waits while no path is believed to deliver it in time with more than this chance."""
    delay_weight_per_s: float = tunable(0.1, low=0.01, high=1.0, log=True)
    """Chance given up, where there is a choice, for each second of finish and of nodes' time saved."""
    storage_fraction: float = tunable(0.15, low=0.0, high=0.5)
    """Believed age of link pairs when they are swapped, as a share of the expected finish."""
    unobserved_tokens: float = tunable(1.0, low=0.0, high=1.0, control="local")
    """Tokens believed ready at repeaters a site has no news of; central: there are none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.storage_fraction <= 1.0:
            raise ValueError(f"storage_fraction is {self.storage_fraction!r}; it must be between 0 and 1")
        if not 0.0 <= self.min_success_probability < 1.0:
            raise ValueError(
                f"min_success_probability is {self.min_success_probability!r}; it must be at least 0 and below 1"
            )
        if not self.half_weight_slack_s > 0.0:
            raise ValueError(f"half_weight_slack_s is {self.half_weight_slack_s!r}; it must be above 0")
        if not self.availability_horizon_s >= 0.0:
            raise ValueError(
                f"availability_horizon_s is {self.availability_horizon_s!r}; it must be 0 or more"
            )


class LocalMaxWeight:
    """Every node weighs its own requests, on what it and its neighbours have left."""

    Parameters = MaxWeightParameters
    name = "local-maxweight"
    control: Control = Control.LOCAL
    pregeneration: Pregeneration = Pregeneration.NONE
    forecaster = "none"
    acts_every_epoch = True
    message_width = 0

    def __init__(self, parameters: MaxWeightParameters) -> None:
        self._parameters = parameters

    def reset(self, context: Context) -> None:
        """Begin a run."""
        self._context = context
        self._offers = DeliveryOffers(context)
        planner = Planner(context, storage_fraction=self._parameters.storage_fraction)
        self._stock = InventoryController(context, planner, rule=self._parameters)

    def act(self, observations: Observation) -> Decisions:
        """Serve what waits, heaviest first; then fill up the stock."""
        made = [one for occasion in self._stock.occasions(observations) for one in self._rule(*occasion)]
        return Decisions(allocations=(*made, *self._stock.link_orders(observations)))

    def state(self) -> dict[str, NDArray[Any]]:
        """What the stockroom remembers; weights are of the moment."""
        return self._stock.state()

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up a saved state."""
        self._stock.load_state(state)

    def _rule(self, observation: Observation, missing: list[tuple[int, int]]) -> tuple[Allocation, ...]:
        rule = self._parameters
        load = Backlog.of_observation(
            observation, self._context.network, unobserved_tokens=rule.unobserved_tokens
        )
        unavailable = observation.unavailable()
        matching = Matching(
            self._context,
            self._offers,
            rule,
            load=load,
            shelf=self._stock.shelf(observation),
            now_s=observation.time_s,
            unavailable=unavailable,
        )
        made = list(matching.serve(pending_requests(observation)))
        return (*made, *self._stock.replenish(missing, load, observation))


class CentralMaxWeight(LocalMaxWeight):
    """The controller weighs all requests that wait there, on aged reports of all nodes."""

    name = "central-maxweight"
    control: Control = Control.CENTRAL


class Matching:
    """One site's greedy choice at one moment; resources that it gives away leave `load` and `shelf`."""

    def __init__(
        self,
        context: Context,
        offers: DeliveryOffers,
        rule: MaxWeightParameters,
        *,
        load: Backlog,
        shelf: StockByEnds,
        now_s: float,
        unavailable: Unavailable,
    ) -> None:
        self._context, self._offers, self._rule = context, offers, rule
        self._load, self._shelf = load, shelf
        self._now_s, self._unavailable = now_s, unavailable

    def serve(self, requests: Sequence[PendingRequest]) -> Iterator[Allocation]:
        """Allocations for what can be served, heaviest pair of nodes first, its most urgent request first."""
        queues: dict[tuple[int, int], list[PendingRequest]] = {}
        for request in sorted(requests, key=lambda one: (one.deadline_s, one.id)):
            queues.setdefault((request.source, request.destination), []).append(request)
        heap = [(-self.weight(queue), ends) for ends, queue in queues.items()]
        heapify(heap)
        while heap:
            ends = heap[0][1]
            queue = queues[ends]
            weight = self.weight(queue)
            if weight <= 0.0:
                # Its first cannot be served; the next may ask for less.
                queue.pop(0)
            elif len(heap) > 1 and weight < -min(heap[1:3])[0]:
                heapreplace(heap, (-weight, ends))
                continue
            else:
                yield self._take(queue.pop(0))
            if queue:
                heapreplace(heap, (-self.weight(queue), ends))
            else:
                heappop(heap)

    def weight(self, queue: list[PendingRequest]) -> float:
        """Summed urgency of what waits for one pair of nodes x chance of its first; 0 if that must wait."""
        return sum(map(self._urgency, queue)) * self._best(queue[0])[0]

    def _urgency(self, request: PendingRequest) -> float:
        return 1.0 / (1.0 + (request.deadline_s - self._now_s) / self._rule.half_weight_slack_s)

    def _best(self, request: PendingRequest) -> tuple[float, Choice | None]:
        """The chance of the best that is left for a request, and the choice; none from stock, 0 to wait."""
        fidelity_margin = self._rule.fidelity_margin
        shelf = {ends: list(kept) for ends, kept in self._shelf.items()}
        if shelf and serve_from_stock(request, shelf, fidelity_margin=fidelity_margin) is not None:
            return 1.0, None
        options = self._offers.between(request.source, request.destination, self._unavailable)
        if options is None:
            return 0.0, None
        slack_s = request.deadline_s - self._now_s - command_delay_s(self._context, request.source)
        probability = delivery_probability(options, self._load, pairs=request.pairs, slack_s=slack_s)
        probability[:, ~available(options, self._load, request.pairs, self._rule.availability_horizon_s)] = (
            0.0
        )
        found = self._offers.first_good(
            request,
            options,
            probability,
            self._load,
            min_gain=self._rule.min_success_probability,
            delay_weight_per_s=self._rule.delay_weight_per_s,
            storage_fraction=self._rule.storage_fraction,
        )
        return (float(probability.ravel()[found[1]]), found[0]) if found else (0.0, None)

    def _take(self, request: PendingRequest) -> Allocation:
        choice = self._best(request)[1]
        if choice is None:
            served = serve_from_stock(request, self._shelf, fidelity_margin=self._rule.fidelity_margin)
            assert served is not None
            return served
        self._load.add(choice, pairs=request.pairs)
        return request.allocation(choice.path.nodes, plan=choice.plan)


def available(
    options: PathFeatures, load: Backlog, pairs: int, availability_horizon_s: float
) -> NDArray[np.bool_]:
    """Paths whose repeaters have `pairs` tokens, and whose links a free source, within `availability_horizon_s`, [K]."""
    ready_s = load.ready_s
    source_s = np.minimum(
        np.where(options.rate_first_hz > 0.0, ready_s[options.first], np.inf),
        np.where(options.rate_second_hz > 0.0, ready_s[options.second], np.inf),
    )
    token_s = load.token_wait_s(pairs)[options.inner]
    links = (source_s <= availability_horizon_s) | ~options.is_link
    repeaters = (token_s <= availability_horizon_s) | ~options.is_inner
    return np.asarray((links & repeaters).all(axis=1))

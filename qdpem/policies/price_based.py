"""Prices: every node charges for its repeater and its source what demand beyond their capacity makes of it.

Source: price-based rate control of Gauthier, Vardoyan and Wehner (2023, arXiv:2309.02098), there for one
switch, here for all sources and repeaters of a network; a price that follows the queue as well as the rate,
against a target below capacity so that queues stay short, is that of Athuraliya, Low, Li and Yin (2001).
A node measures work in seconds of its repeater (1/c a swap) and of its source. Once asked after dt it sets
q <- [q + (work that came in) - target_utilization x dt]+ for either, and a job there costs step x q. It sees its own
bucket, so the swaps made; its own queues; and whether its source had work. Prices are told to neighbours,
who pass on those of nodes behind them, each along the fewest hops: two epochs a hop.
A request takes, among its K paths and 3 plans, the one with the largest utility - price x use, utility being
the believed chance that all its links and swaps are in time; while none is above 0 it waits, and at last is
left. Without deadlines the fixed point is that of the dual of the flow LP. With them claims give up and leave
the queue, so an overloaded node stays busy, admits more than it serves, and its deadlines choose among those.
Knowledge: the map, its own status, neighbours' news (2 N numbers), its own book of orders. With a right to
stock it keeps the base stock of `base_stock`. It never forecasts.
Work: O(N) for each site asked, O(K x plans x hops) for each waiting request, some 0.5 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.network.graph import Network
from qdpem.network.outages import Unavailable
from qdpem.policies.inventory.base_stock import BaseStockParameters
from qdpem.policies.inventory.controller import InventoryController
from qdpem.policies.routing.delay_model import Backlog, PathFeatures
from qdpem.policies.routing.delivery_probability import DeliveryOffers, delivery_probability, link_hz
from qdpem.policies.routing.pending_requests import pending_requests
from qdpem.policies.routing.planner import Choice, Planner
from qdpem.policies.routing.stocked_pairs import StockByEnds, serve_from_stock
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import (
    EMISSION_BACKLOG,
    STATUS_WIDTH,
    TOKEN_BACKLOG,
    TOKENS,
    Allocation,
    Context,
    Decisions,
    Observation,
)
from qdpem.policy.tuning import tunable
from qdpem.scenario.words import Control, Pregeneration

Floats = NDArray[np.float64]
REPEATER, SOURCE = range(2)
_WHOLE = 1e-6


@dataclass(frozen=True, kw_only=True)
class PriceParameters(BaseStockParameters):
    """What can be set of the price-based rule; those of base stock matter only with a right to stock."""

    step_size: float = tunable(0.15, low=0.03, high=3.0, log=True)
    """Utility that a job costs for each second of work ahead at its node."""
    target_utilization: float = tunable(0.9, low=0.6, high=1.0)
    """Share of its capacity up to which a node charges nothing in the long run."""
    delay_weight_per_s: float = tunable(0.1, low=0.01, high=1.0, log=True)
    """Utility given up, where there is a choice, for each second of finish and of nodes' time saved."""
    storage_fraction: float = tunable(0.15, low=0.0, high=0.5)
    """Believed age of link pairs when they are swapped, as a share of the expected finish."""
    max_price: float = 2.0
    """No price is above this; the utility of a request is at most 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.storage_fraction <= 1.0:
            raise ValueError(f"storage_fraction is {self.storage_fraction!r}; it must be between 0 and 1")
        if not 0.0 < self.target_utilization <= 1.0:
            raise ValueError(
                f"target_utilization is {self.target_utilization!r}; it must be above 0 and at most 1"
            )
        if not (self.step_size > 0.0 and self.max_price > 0.0):
            raise ValueError(
                f"step_size is {self.step_size!r} and max_price {self.max_price!r}; both must be above 0"
            )


class PriceTable:
    """What every node charges, and what every node believes that the others charge.

    `own` float64 [N, 2]: price of a job at a node's repeater and source; `believed` [N, N, 2]: at the first
    node, of the second. `seen` [N, 5]: when a node last looked, and its tokens, swaps waiting, pairs waiting
    and whether there were any.
    """

    def __init__(
        self, network: Network, *, step_size: float, target_utilization: float, max_price: float
    ) -> None:
        nodes = network.node_count
        self._step_size, self._target_utilization, self._max_price = step_size, target_utilization, max_price
        self._rate_hz = network.repeater_rate_hz
        self._burst = network.repeater_burst
        self._pair_time_s = network.pair_time_s
        self._hops = network.hop_distance
        self._around = [[node for node, _ in around] for around in network.neighbours]
        self._via = np.stack([self._nearest(site, None) for site in range(nodes)])
        self.own = np.zeros((nodes, 2))
        self.believed = np.zeros((nodes, nodes, 2))
        self.seen = np.full((nodes, 4), np.nan)

    def update(self, observations: Observation) -> Floats:
        """Each site asked looks at itself and hears its neighbours; the news it has for them, [S, 2 N]."""
        sites = observations.site
        self._look(observations)
        self._hear(observations)
        self.believed[sites, sites] = self.own[sites]
        return self.believed[sites].reshape(len(sites), -1)

    def _look(self, observations: Observation) -> None:
        sites, status = observations.site, observations.status[:, 0]
        tokens, swaps, pairs = status[:, TOKENS], status[:, TOKEN_BACKLOG], status[:, EMISSION_BACKLOG]
        seen = self.seen[sites]
        since_s = np.nan_to_num(observations.time_s - seen[:, 0])
        rate_hz, job_s = self._rate_hz[sites], self._pair_time_s[sites]
        with np.errstate(divide="ignore", invalid="ignore"):
            # What of the refill is not in the bucket was taken, or ran over a bucket that was full.
            made = np.floor(seen[:, 1] + rate_hz * since_s - tokens + _WHOLE)
            made = np.where((tokens >= self._burst) & (rate_hz * since_s >= 1.0), 0.0, np.maximum(made, 0.0))
            swapping_s = (made + swaps - seen[:, 2]) / rate_hz
            was_busy = 0.5 * ((pairs >= 1.0).astype(float) + (seen[:, 3] >= 1.0))
            sending_s = (pairs - seen[:, 3]) * job_s + was_busy * since_s
        # Claims that gave up leave the queue and lower the price: to count them as come in makes it swing.
        came_s = np.stack([np.where(rate_hz > 0.0, swapping_s, 0.0), sending_s], axis=1)
        excess_s = np.nan_to_num(came_s - self._target_utilization * since_s[:, None])
        self.own[sites] = np.clip(self.own[sites] + self._step_size * excess_s, 0.0, self._max_price)
        self.seen[sites] = np.stack([np.full(len(sites), observations.time_s), tokens, swaps, pairs], axis=1)

    def _hear(self, observations: Observation) -> None:
        sites = observations.site
        via = self._via[sites]
        silent = np.isnan(observations.status[:, :, TOKENS]) & (observations.observed_node >= 0)
        for row in np.flatnonzero(silent.any(axis=1)).tolist():
            via[row] = self._nearest(int(sites[row]), silent[row])
        # Picked column by column: the table of news is large, and of each node one row of it is wanted.
        rows, columns = np.arange(len(sites))[:, None], STATUS_WIDTH + 2 * np.arange(via.shape[1])
        heard = np.stack(
            [observations.status[rows, via, columns + kind] for kind in (REPEATER, SOURCE)], axis=2
        )
        known = (via > 0) & np.isfinite(heard).all(axis=2)
        self.believed[sites] = np.where(
            known[:, :, None], np.clip(heard, 0.0, self._max_price), self.believed[sites]
        )

    def _nearest(self, site: int, silent: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """For each node the place in `Observation.observed_node` of the neighbour nearest to it; 0 without any, [N]."""
        around = self._around[site]
        distance = self._hops[around].astype(np.float64)
        if silent is not None:
            distance[silent[1 : len(around) + 1]] = np.inf
        if not np.isfinite(distance).any():
            return np.zeros(len(self._hops), dtype=np.int64)
        return np.asarray(distance.argmin(axis=0) + 1)


class LocalPriceBased:
    """Every node sells its repeater and its source, and buys for its own requests."""

    Parameters = PriceParameters
    name = "local-price-based"
    control: Control = Control.LOCAL
    pregeneration: Pregeneration = Pregeneration.NONE
    forecaster = "none"
    acts_every_epoch = True
    message_width = 0

    def __init__(self, parameters: PriceParameters) -> None:
        self._parameters = parameters

    def reset(self, context: Context) -> None:
        """Begin a run; its news is as wide as the network has nodes."""
        rule = self._parameters
        self._context = context
        self.message_width = 2 * context.network.node_count
        self.book = PriceTable(
            context.network,
            step_size=rule.step_size,
            target_utilization=rule.target_utilization,
            max_price=rule.max_price,
        )
        self._market = Market(context, rule)
        self._stock = InventoryController(
            context, Planner(context, storage_fraction=rule.storage_fraction), rule=rule
        )

    def act(self, observations: Observation) -> Decisions:
        """Set prices; serve what waits and is worth its price; then fill up the stock."""
        messages = self.book.update(observations)
        made = [one for occasion in self._stock.occasions(observations) for one in self._rule(*occasion)]
        return Decisions(allocations=(*made, *self._stock.link_orders(observations)), messages=messages)

    def state(self) -> dict[str, NDArray[Any]]:
        """Prices, what was seen last, and when stock was last ordered."""
        book = self.book
        return {
            "own": book.own.copy(),
            "believed": book.believed.copy(),
            "seen": book.seen.copy(),
            **self._stock.state(),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up a saved state."""
        self.book.own = np.array(state["own"])
        self.book.believed = np.array(state["believed"])
        self.book.seen = np.array(state["seen"])
        self._stock.load_state(state)

    def _rule(self, observation: Observation, missing: list[tuple[int, int]]) -> tuple[Allocation, ...]:
        load, shelf = (
            Backlog.of_observation(observation, self._context.network),
            self._stock.shelf(observation),
        )
        prices, unavailable = self.book.believed[int(observation.site[0])], observation.unavailable()
        waiting = sorted(pending_requests(observation), key=lambda request: (request.deadline_s, request.id))
        made = [
            found
            for request in waiting
            if (found := self._serve(request, observation.time_s, load, prices, shelf, unavailable))
        ]
        return (*made, *self._stock.replenish(missing, load, observation))

    def _serve(
        self,
        request: PendingRequest,
        now_s: float,
        load: Backlog,
        prices: Floats,
        shelf: StockByEnds,
        unavailable: Unavailable,
    ) -> Allocation | None:
        if shelf:
            served = serve_from_stock(request, shelf, fidelity_margin=self._parameters.fidelity_margin)
            if served is not None:
                return served
        choice = self._market.buy(request, load, prices, now_s=now_s, unavailable=unavailable)
        if choice is None:
            return None
        load.add(choice, pairs=request.pairs)
        return request.allocation(choice.path.nodes, plan=choice.plan)


class Market:
    """Chooses paths and plans by utility minus price x use."""

    def __init__(self, context: Context, rule: PriceParameters) -> None:
        self._rule = rule
        self._offers = DeliveryOffers(context)
        self._pair_time_s = context.network.pair_time_s

    def buy(
        self,
        request: PendingRequest,
        load: Backlog,
        prices: Floats,
        *,
        now_s: float,
        unavailable: Unavailable,
    ) -> Choice | None:
        """The option of largest utility - price x use that reaches the target; None if none is above 0."""
        options = self._offers.between(request.source, request.destination, unavailable)
        if options is None:
            return None
        utility = delivery_probability(options, load, pairs=request.pairs, slack_s=request.deadline_s - now_s)
        gain = utility - request.pairs * self.price(options, prices)
        found = self._offers.first_good(
            request,
            options,
            gain,
            load,
            min_gain=0.0,
            delay_weight_per_s=self._rule.delay_weight_per_s,
            storage_fraction=self._rule.storage_fraction,
        )
        return found[0] if found else None

    def price(self, options: PathFeatures, prices: Floats) -> Floats:
        """Price x use of one pair over each option, [3, K]; a job at a source is one of its mean pairs."""
        with np.errstate(divide="ignore", invalid="ignore"):
            per_s = np.nan_to_num(prices[:, SOURCE] / self._pair_time_s)
            use_s = np.where(options.is_link, options.need / link_hz(options), 0.0)
        swaps = np.where(options.is_inner, prices[:, REPEATER][options.inner], 0.0).sum(axis=1)
        per_link = np.where(options.is_link, per_s[options.first] + per_s[options.second], 0.0)
        return np.asarray(swaps + np.nan_to_num(use_s * per_link, nan=np.inf).sum(axis=2))

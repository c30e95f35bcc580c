"""Price-based allocation: nodes charge for their repeater and source, more while demand exceeds capacity.

Source: price-based rate control of Gauthier, Vardoyan and Wehner (2023, arXiv:2309.02098), there for one
switch, here for all sources and repeaters of a network; the price also follows the queue (Athuraliya, Low, Li
and Yin 2001).

A node measures work in seconds of its repeater (1/c for each swap) and of its source. At every observation,
dt after the last, it updates q <- [q + (work that arrived) - target_utilization x dt]+ for either, and a job
there costs step_size x q. It observes its own bucket, and so the swaps made, its own queues, and whether its
source had work. Prices are sent to neighbours, which pass on those of nodes behind them, each along the
fewest hops: two epochs for each hop.

A request takes, among its K paths and 3 plans, the one with the largest utility - price, where the utility is
the believed probability that all its links and swaps are in time. While none is above 0 it waits, and finally
expires. Without deadlines the fixed point is that of the dual of the flow LP. With deadlines, withdrawn
claims leave the queue, so an overloaded node stays busy, admits more than it serves, and deadlines select
among the admitted.

Knowledge: the map, its own status, neighbours' messages (2 N numbers), its own book of orders. With
pregeneration it keeps the base stock of `inventory`. It never forecasts.
Work: O(N) for each site, O(K x plans x hops) for each pending request, about 0.5 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.network.outages import Unavailable
from qdpem.policies.inventory.base_stock import BaseStock
from qdpem.policies.inventory.controller import InventoryController
from qdpem.policies.inventory.parameters import BaseStockParameters
from qdpem.policies.policy_defaults import PolicyDefaults, check_storage_fraction
from qdpem.policies.pricing.price_table import PriceTable
from qdpem.policies.pricing.priced_paths import PricedPaths
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.pending_requests import in_deadline_order, pending_requests
from qdpem.policies.routing.planner import Planner
from qdpem.policies.routing.stocked_pairs import StockByEnds, serve_from_stock
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Allocation, Context, Decisions, Observation
from qdpem.policy.tuning import tunable
from qdpem.scenario.words import Control


@dataclass(frozen=True, kw_only=True)
class PriceParameters(BaseStockParameters):
    """Parameters of price-based allocation; those of base stock have an effect only with pregeneration."""

    step_size: float = tunable(0.15, low=0.03, high=3.0, log=True)
    """Price of a job for each second of work ahead at its node (above 0); a delivery has utility 1."""
    target_utilization: float = tunable(0.9, low=0.6, high=1.0)
    """Fraction of its capacity (above 0, at most 1) up to which a node's price falls to 0 in the long run."""
    delay_weight_per_s: float = tunable(0.1, low=0.01, high=1.0, log=True)
    """Utility given up for each second of delay and of nodes' time saved by another path or plan."""
    storage_fraction: float = tunable(0.15, low=0.0, high=0.5)
    """Assumed age of link pairs when they are swapped, as a fraction (0 to 1) of the expected delay."""
    max_node_price: float = 2.0
    """Upper bound of every price (above 0). The utility of a request is at most 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_storage_fraction(self.storage_fraction)
        if not 0.0 < self.target_utilization <= 1.0:
            raise ValueError(
                f"target_utilization is {self.target_utilization!r}; it must be above 0 and at most 1"
            )
        if not (self.step_size > 0.0 and self.max_node_price > 0.0):
            raise ValueError(
                f"step_size is {self.step_size!r} and max_node_price {self.max_node_price!r};"
                " both must be above 0"
            )


class LocalPriceBased(PolicyDefaults):
    """Every node sets prices for its repeater and source, and pays those of others for its own requests."""

    Parameters = PriceParameters
    name = "local-price-based"
    family = "price-based"
    control: Control = Control.LOCAL
    acts_every_epoch = True

    def __init__(self, parameters: PriceParameters) -> None:
        self._parameters = parameters

    def reset(self, context: Context) -> None:
        """Begin a run; a message has two numbers for each node of the network."""
        parameters = self._parameters
        self._context = context
        self.message_width = 2 * context.network.node_count
        self.prices = PriceTable(
            context.network,
            step_size=parameters.step_size,
            target_utilization=parameters.target_utilization,
            max_node_price=parameters.max_node_price,
        )
        self._paths = PricedPaths(
            context,
            delay_weight_per_s=parameters.delay_weight_per_s,
            storage_fraction=parameters.storage_fraction,
        )
        planner = Planner(context, storage_fraction=parameters.storage_fraction)
        self._inventory = InventoryController(
            context, BaseStock(context, planner, parameters=parameters), parameters=parameters
        )

    def act(self, observations: Observation) -> Decisions:
        """Update prices, serve the requests that are worth their price, then replenish the stock."""
        # Prices first: the decisions of this call are made at them.
        messages = self.prices.update(observations)
        allocations = [
            allocation
            for observation, understocked in self._inventory.sites_to_act(observations)
            for allocation in self._decide(observation, understocked)
        ]
        allocations += self._inventory.link_orders(observations)
        return Decisions(allocations=tuple(allocations), messages=messages)

    def state(self) -> dict[str, NDArray[Any]]:
        """Prices and the inventory."""
        return {**self.prices.state(), **self._inventory.state()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        self.prices.load_state(state)
        self._inventory.load_state(state)

    def _decide(
        self, observation: Observation, understocked: list[tuple[int, int]]
    ) -> tuple[Allocation, ...]:
        backlog = Backlog.of_observation(observation, self._context.network)
        stock = self._inventory.ready_stock(observation)
        prices, unavailable = self.prices.believed[int(observation.site[0])], observation.unavailable()
        allocations = [
            allocation
            for request in in_deadline_order(pending_requests(observation))
            if (allocation := self._serve(request, observation.time_s, backlog, prices, stock, unavailable))
        ]
        return (*allocations, *self._inventory.replenish(understocked, backlog, observation))

    def _serve(
        self,
        request: PendingRequest,
        now_s: float,
        backlog: Backlog,
        prices: Floats,
        stock: StockByEnds,
        unavailable: Unavailable,
    ) -> Allocation | None:
        if stock:
            from_stock = serve_from_stock(request, stock, fidelity_margin=self._parameters.fidelity_margin)
            if from_stock is not None:
                return from_stock
        route = self._paths.best(request, backlog, prices, now_s=now_s, unavailable=unavailable)
        if route is None:
            return None
        # Later requests of this call must see this work; prices follow at the next observation.
        backlog.add(route, pairs=request.pairs)
        return request.allocation(route.path.nodes, plan=route.plan)

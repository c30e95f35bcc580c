"""Base of the expected-delay policies: requests in deadline order, from stock where possible.

Earliest deadline first is the classical order for jobs with deadlines (Liu and Layland 1973). Subclasses
choose the path and plan of each request.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from numpy.typing import NDArray

from qdpem.network.outages import Unavailable
from qdpem.policies.inventory.base_stock import BaseStock
from qdpem.policies.inventory.controller import InventoryController
from qdpem.policies.inventory.end_to_end_rule import EndToEndRule
from qdpem.policies.inventory.parameters import StockParameters
from qdpem.policies.policy_defaults import PolicyDefaults, check_storage_fraction
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.pending_requests import command_delay_s, in_deadline_order, pending_requests
from qdpem.policies.routing.planner import Planner
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policies.routing.separate_paths import separate_routes
from qdpem.policies.routing.stocked_pairs import (
    StockByEnds,
    remove_pairs,
    serve_from_stock,
    stock_after,
    usable_pairs,
)
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Allocation, Context, Decisions, Observation
from qdpem.policy.tuning import tunable
from qdpem.scenario.words import Control


@dataclass(frozen=True, kw_only=True)
class QueueModelParameters(StockParameters):
    """Parameters of the delay model; those of stock have an effect only with pregeneration.

    The defaults are the best of a few tried on seeds 0-4 of the quickstart, at its load and at 1.5 times it.
    """

    storage_fraction: float = tunable(0.15, low=0.0, high=0.5)
    """Assumed age of link pairs when they are swapped, as a fraction (0 to 1) of the expected delay."""
    resource_weight: float = tunable(0.1, low=0.0, high=0.5)
    """Seconds of additional delay accepted for each second of source and repeater time saved."""
    unobserved_backlog: float = 1.0
    """Pairs assumed ahead at each source without a report. The controller has reports of all nodes."""
    unobserved_tokens: float = tunable(0.0, low=0.0, high=1.0, control="local")
    """Tokens assumed at each repeater without a report. The controller has reports of all nodes."""

    end_rounds: bool = True
    """Whether pairs that distillation of links cannot bring to the target are distilled end to end too."""
    combine_stock: bool = True
    """Whether a request of several pairs, of which stock holds only some, takes these and makes the rest."""
    separate_paths: bool = tunable(True, choices=(True, False))
    """Whether the pairs of one request may take different paths."""
    retry_low_fidelity: bool = False
    """Whether a pair found below its target is asked for again. On seeds 0-5 of the quickstart that gained
    central-expected-delay .002 of delivery, with a standard error of .0015, and cost local-stock .003."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_storage_fraction(self.storage_fraction)


class EarliestDeadlineFirst(PolicyDefaults, ABC):
    """Serves requests in deadline order, from stock or over a subclass's route, and replenishes stock."""

    control: Control = Control.CENTRAL
    stock_rule: ClassVar[Callable[..., EndToEndRule]] = BaseStock
    """Builds the rule of end-to-end stock from context, planner and the policy's parameters."""

    def __init__(self, parameters: QueueModelParameters) -> None:
        self._parameters = parameters

    def reset(self, context: Context) -> None:
        """Begin a run; the policy acts at every epoch only with pregeneration."""
        parameters = self._parameters
        self._context = context
        self._planner = Planner(
            context,
            storage_fraction=parameters.storage_fraction,
            resource_weight=parameters.resource_weight,
            end_rounds=parameters.end_rounds,
        )
        self._inventory = InventoryController(context, self._build_rule(context), parameters=parameters)
        self.acts_every_epoch = self._inventory.is_active

    def _build_rule(self, context: Context) -> EndToEndRule:
        """The rule of end-to-end stock, for one run."""
        return type(self).stock_rule(context, self._planner, parameters=self._parameters)

    def act(self, observations: Observation) -> Decisions:
        """Serve pending requests, then replenish the stock."""
        allocations = [
            allocation
            for observation, understocked in self._inventory.sites_to_act(observations)
            for allocation in self._decide(observation, understocked)
        ]
        return Decisions(allocations=(*allocations, *self._inventory.link_orders(observations)))

    def state(self) -> dict[str, NDArray[Any]]:
        """The state of the inventory; everything else follows from the map."""
        return self._inventory.state()

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        self._inventory.load_state(state)

    def _decide(self, observation: Observation, understocked: list[Any]) -> list[Allocation]:
        requests = in_deadline_order(pending_requests(observation))
        backlog = Backlog.of_observation(
            observation,
            self._context.network,
            unobserved_backlog=self._parameters.unobserved_backlog,
            unobserved_tokens=self._parameters.unobserved_tokens,
        )
        # Stock serves requests only, and listing it costs time at every epoch.
        stock = self._inventory.ready_stock(observation) if requests else {}
        allocations = [
            allocation
            for request in requests
            for allocation in self._serve(request, observation, backlog, stock)
        ]
        # Last: stock gets only the capacity that requests leave, which `backlog` counts.
        return allocations + self._inventory.replenish(understocked, backlog, observation)

    def _serve(
        self,
        request: PendingRequest,
        observation: Observation,
        backlog: Backlog,
        stock: StockByEnds,
    ) -> list[Allocation]:
        """From stock if that holds all pairs, else over links, with what stock holds of them."""
        reserved = self._inventory.reserved(request.source, request.destination, request.pairs)
        from_stock = self._from_stock(request, stock, reserved)
        if from_stock is not None:
            return [from_stock]
        slack_s = request.deadline_s - observation.time_s - command_delay_s(self._context, request.source)
        stocked = self._stocked_part(request, stock, reserved)
        rest, part = replace(request, pairs=request.pairs - stocked), replace(request, pairs=stocked)
        # Between neighbours a route could rely on the same stocked pairs once more.
        margin = self._parameters.fidelity_margin
        left = stock_after(part, stock, fidelity_margin=margin) if stocked else stock
        routes = self._routes(rest, backlog, left, slack_s=slack_s, unavailable=observation.unavailable())
        from_stock = self._from_stock(part, stock, reserved) if stocked and routes else None
        over_links = [self._over_links(request, pairs, route, backlog, stock) for route, pairs in routes]
        return over_links if from_stock is None else [from_stock, *over_links]

    def _routes(
        self,
        request: PendingRequest,
        backlog: Backlog,
        stock: StockByEnds,
        *,
        slack_s: float,
        unavailable: Unavailable,
    ) -> list[tuple[RoutePlan, int]]:
        """Routes and how many of the request's pairs take each; empty to leave it pending.

        Args:
            request: with the pairs that are wanted over links.
            backlog: work ahead.
            stock: ready pairs that the site observes.
            slack_s: seconds until the deadline.
            unavailable: nodes and links to avoid.
        """
        if not self._parameters.separate_paths or request.pairs == 1 or request.repeats:
            route = self._choose(request, backlog, slack_s=slack_s, stock=stock, unavailable=unavailable)
            return [] if route is None else [(route, request.pairs)]
        one = replace(request, pairs=1)

        def choose(ahead: Backlog, left: StockByEnds) -> RoutePlan | None:
            return self._choose(one, ahead, slack_s=slack_s, stock=left, unavailable=unavailable)

        return separate_routes(choose, pairs=request.pairs, backlog=backlog, stock=stock) or []

    def _over_links(
        self, request: PendingRequest, pairs: int, route: RoutePlan, backlog: Backlog, stock: StockByEnds
    ) -> Allocation:
        # Later requests of this call must see the work and the pairs that this one takes.
        backlog.add(route, pairs=pairs)
        remove_pairs(stock, route.stocked_pairs)
        retry = self._parameters.retry_low_fidelity
        part = replace(request, pairs=pairs)
        return part.allocation(route.path.nodes, plan=route.plan, retry_low_fidelity=retry)

    def _from_stock(self, request: PendingRequest, stock: StockByEnds, reserved: int) -> Allocation | None:
        return serve_from_stock(
            request,
            stock,
            fidelity_margin=self._parameters.fidelity_margin,
            reserved=reserved,
            retry_low_fidelity=self._parameters.retry_low_fidelity,
        )

    def _stocked_part(self, request: PendingRequest, stock: StockByEnds, reserved: int) -> int:
        """The number of the request's pairs to take from stock, which holds only some of them."""
        if not self._parameters.combine_stock or request.pairs == 1:
            return 0
        usable = usable_pairs(request, stock, fidelity_margin=self._parameters.fidelity_margin)
        held = len(stock.get((request.source, request.destination), ()))
        return min(usable, max(held - reserved, 0), request.pairs - 1)

    @abstractmethod
    def _choose(
        self,
        request: PendingRequest,
        backlog: Backlog,
        *,
        slack_s: float,
        stock: StockByEnds,
        unavailable: Unavailable,
    ) -> RoutePlan | None:
        """The route of a request; None leaves it pending.

        Args:
            request: the request to serve.
            backlog: work ahead, with that of the requests served before in this call.
            slack_s: seconds from the arrival of the decision at the source to the deadline.
            stock: ready pairs that the site observes.
            unavailable: nodes and links to avoid.
        """

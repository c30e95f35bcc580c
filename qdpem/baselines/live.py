"""The queue-aware rule: each request over the path and plan of least expected finish, in deadline order.

Source: least expected completion time with admission, as in reservation routing (Li et al. 2022) and in
join-the-shortest-queue dispatching; `expected_finish` has the formulas. Knowledge: the map, news of
outages, aged reports of neighbours (local) or of all nodes (central), and the site's own book of orders.
With the right to keep stock it also holds a constant base stock (`base_stock`) and serves from it; it never
forecasts.
Work: O(K x plans x hops) for each waiting request, about 0.1 ms, and O(N) for each site asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics.plans import Plan
from qdpem.baselines.base_stock import BaseStock, BaseStockRule, ready_stock, serve_from_stock
from qdpem.baselines.expected_finish import Choice, Load, Planner
from qdpem.baselines.waiting import Waiting, waiting_requests
from qdpem.network.outages import Away
from qdpem.policy.interface import Allocation, Context, Decisions, Views
from qdpem.scenario.schema import Control, Rights


@dataclass(frozen=True, kw_only=True)
class LiveParameters(BaseStockRule):
    """What can be set of the queue-aware rule; those of base stock matter only with a right to stock.

    The defaults are the best of a few tried on seeds 0-4 of the quickstart, at its load and 1.5 times it.
    """

    wait_share: float = 0.15
    """Believed age of link pairs when they are swapped, as a share of the expected finish."""
    hope: float = 0.8
    """A request is left if even an idle network is expected to need more than this share of its slack."""

    thrift: float = 0.1
    """Seconds of later finish accepted for each second of source and repeater time left to others."""
    unseen_pairs: float = 1.0
    """Pairs believed ahead at sources a site has no news of; central: there are none."""
    unseen_tokens: float = 0.0
    """Tokens believed ready at repeaters a site has no news of."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.wait_share <= 1.0:
            raise ValueError(f"wait_share is {self.wait_share!r}; it must be between 0 and 1")
        if not self.hope > 0.0:
            raise ValueError(f"hope is {self.hope!r}; it must be above 0")


class CentralLive:
    """The controller serves each request where it is expected to finish first."""

    Parameters = LiveParameters
    name = "central-live"
    control: Control = "central"
    rights: Rights = "serve"
    knowledge = "none"
    asks_at_epochs = False
    news_width = 0

    def __init__(self, parameters: LiveParameters) -> None:
        self._parameters = parameters

    def reset(self, context: Context) -> None:
        """Begin a run; epochs are asked for only where stock may be kept."""
        self._context = context
        self._planner = Planner(
            context, wait_share=self._parameters.wait_share, thrift=self._parameters.thrift
        )
        self._stock = BaseStock(context, self._planner, rule=self._parameters)
        self.asks_at_epochs = context.rights != "serve"

    def decide(self, views: Views) -> Decisions:
        """Serve what waits, from stock where it can; then fill up the stock."""
        asked = (views.request_id >= 0).any(axis=1)
        if self._context.rights != "serve":
            asked |= self._stock.may_miss(views)
        rows = np.flatnonzero(asked).tolist()
        return Decisions(
            allocations=tuple(made for row in rows for made in self._rule(views[row], self._context))
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """When stock was last ordered for each pair of nodes; all else follows from the map."""
        return {"ordered_s": self._stock.ordered_s.copy()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up a saved state."""
        self._stock.ordered_s = np.array(state["ordered_s"], dtype=np.float64)

    def _rule(self, view: Views, context: Context) -> tuple[Allocation, ...]:
        waiting = sorted(waiting_requests(view), key=lambda request: (request.deadline_s, request.id))
        stocks = context.rights != "serve"
        missing = self._stock.missing(view) if stocks else []
        if not waiting and not missing:
            return ()
        load = Load.of_view(
            view,
            context.network,
            unseen_pairs=self._parameters.unseen_pairs,
            unseen_tokens=self._parameters.unseen_tokens,
        )
        shelf = ready_stock(view) if stocks else {}
        away = view.away()
        made = [
            found for request in waiting if (found := self._serve(request, view.time_s, load, shelf, away))
        ]
        made += self._stock.replenish(missing, load, now_s=view.time_s, away=away)
        return tuple(made)

    def _serve(
        self,
        request: Waiting,
        now_s: float,
        load: Load,
        shelf: dict[tuple[int, int], list[float]],
        away: Away,
    ) -> Allocation | None:
        if shelf:
            served = serve_from_stock(request, shelf, margin=self._parameters.margin)
            if served is not None:
                return served
        slack_s = request.deadline_s - now_s - self._command_s(request)
        choice = self._choose(request, load, slack_s=slack_s, away=away)
        if choice is None:
            return None
        load.add(choice, pairs=request.pairs)
        return request.allocation(choice.path.nodes, plan=Plan(rounds_per_link=choice.rounds))

    def _choose(self, request: Waiting, load: Load, *, slack_s: float, away: Away) -> Choice | None:
        """The path and plan of a request that has `slack_s` left; None leaves it waiting."""
        return self._planner.choose(
            request.source,
            request.destination,
            load,
            target_fidelity=request.target_fidelity,
            within_s=self._parameters.hope * slack_s,
            pairs=request.pairs,
            away=away,
        )

    def _command_s(self, request: Waiting) -> float:
        """How long the decision takes to reach the request's source."""
        plane, network = self._context.plane, self._context.network
        if self._context.control == "local" or plane.zero_delay:
            return 0.0
        return float(network.distance_s[network.median_node, request.source]) + plane.service_time_s

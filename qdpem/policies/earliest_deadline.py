"""What the queue-aware policies share: requests in order of their deadlines, from stock where it can be.

Earliest deadline first is the classical order for jobs with deadlines (Liu and Layland 1973). Subclasses say
over which path and plan a request is served.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from qdpem.network.outages import Unavailable
from qdpem.policies.inventory.base_stock import BaseStockParameters
from qdpem.policies.inventory.controller import InventoryController
from qdpem.policies.routing.delay_model import Backlog
from qdpem.policies.routing.path_evaluation import Fit
from qdpem.policies.routing.pending_requests import command_delay_s, pending_requests
from qdpem.policies.routing.planner import Choice, Planner
from qdpem.policies.routing.stocked_pairs import StockByEnds, serve_from_stock, take
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Allocation, Context, Decisions, Observation
from qdpem.policy.tuning import tunable
from qdpem.scenario.words import Control, Pregeneration


@dataclass(frozen=True, kw_only=True)
class QueueModelParameters(BaseStockParameters):
    """What can be set of what is believed of queues; those of base stock matter only with a right to stock.

    The defaults are the best of a few tried on seeds 0-4 of the quickstart, at its load and 1.5 times it.
    """

    storage_fraction: float = tunable(0.15, low=0.0, high=0.5)
    """Believed age of link pairs when they are swapped, as a share of the expected finish."""
    resource_weight: float = tunable(0.1, low=0.0, high=0.5)
    """Seconds of later finish accepted for each second of source and repeater time left to others."""
    unobserved_backlog: float = 1.0
    """Pairs believed ahead at sources a site has no news of; central: there are none."""
    unobserved_tokens: float = tunable(0.0, low=0.0, high=1.0, control="local")
    """Tokens believed ready at repeaters a site has no news of; central: there are none."""

    end_rounds: bool = True
    """Whether what no distillation of links brings to the target is distilled end to end as well."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.storage_fraction <= 1.0:
            raise ValueError(f"storage_fraction is {self.storage_fraction!r}; it must be between 0 and 1")


class EarliestDeadlineFirst(ABC):
    """Serves requests in deadline order, from stock or where a subclass chooses; keeps base stock."""

    control: Control = Control.CENTRAL
    pregeneration: Pregeneration = Pregeneration.NONE
    forecaster = "none"
    acts_every_epoch = False
    message_width = 0

    def __init__(self, parameters: QueueModelParameters) -> None:
        self._parameters = parameters

    def reset(self, context: Context) -> None:
        """Begin a run; epochs are asked for only where stock may be kept."""
        rule = self._parameters
        self._context = context
        self._planner = Planner(
            context,
            storage_fraction=rule.storage_fraction,
            resource_weight=rule.resource_weight,
            end_rounds=rule.end_rounds,
        )
        self._stock = InventoryController(context, self._planner, rule=rule)
        self.acts_every_epoch = self._stock.is_open

    def act(self, observations: Observation) -> Decisions:
        """Serve what waits, from stock where it can; then fill up the stock."""
        made = [one for occasion in self._stock.occasions(observations) for one in self._rule(*occasion)]
        return Decisions(allocations=(*made, *self._stock.link_orders(observations)))

    def state(self) -> dict[str, NDArray[Any]]:
        """What the stockroom remembers; all else follows from the map."""
        return self._stock.state()

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up a saved state."""
        self._stock.load_state(state)

    def _rule(self, observation: Observation, missing: list[tuple[int, int]]) -> list[Allocation]:
        waiting = sorted(pending_requests(observation), key=lambda request: (request.deadline_s, request.id))
        load = Backlog.of_observation(
            observation,
            self._context.network,
            unobserved_backlog=self._parameters.unobserved_backlog,
            unobserved_tokens=self._parameters.unobserved_tokens,
        )
        shelf, unavailable = self._stock.shelf(observation) if waiting else {}, observation.unavailable()
        made = [
            found
            for request in waiting
            if (found := self._serve(request, observation.time_s, load, shelf, unavailable))
        ]
        return made + self._stock.replenish(missing, load, observation)

    def _serve(
        self,
        request: PendingRequest,
        now_s: float,
        load: Backlog,
        shelf: StockByEnds,
        unavailable: Unavailable,
    ) -> Allocation | None:
        served = serve_from_stock(request, shelf, fidelity_margin=self._parameters.fidelity_margin)
        if served is not None:
            return served
        left_s = request.deadline_s - now_s - command_delay_s(self._context, request.source)
        choice = self._choose(request, load, left_s=left_s, shelf=shelf, unavailable=unavailable)
        if choice is None:
            return None
        load.add(choice, pairs=request.pairs)
        take(shelf, choice.taken)
        return request.allocation(choice.path.nodes, plan=choice.plan)

    @abstractmethod
    def _choose(
        self,
        request: PendingRequest,
        load: Backlog,
        *,
        left_s: float,
        shelf: StockByEnds,
        unavailable: Unavailable,
    ) -> Choice | Fit | None:
        """The path and plan of a request that has `left_s` left; None leaves it waiting."""

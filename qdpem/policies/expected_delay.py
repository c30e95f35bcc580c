"""Expected-delay routing: each request over the path and plan of least expected delay, in deadline order.

Source: least expected completion time with admission, as in reservation routing (Li et al. 2022) and in
join-the-shortest-queue dispatching; `routing.path_features` has the formulas.
Knowledge: the map, reports of outages, aged reports of neighbours (local) or of all nodes (central), and the
site's own book of orders.

With pregeneration it stocks link pairs (`inventory.link_stock`) and, from "end-to-end" on, end-to-end pairs
(`inventory.base_stock`). Their number follows from the demand expected in their useful life, constant or
forecast. Requests are served from stock, links with a stocked pair count as ready (`routing.stocked_pairs`),
and with "virtual-link" paths may cross end-to-end pairs (`routing.virtual_links`).

Work: O(K x plans x hops) for each pending request, about 0.1 ms, and O(N) for each site.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qdpem.network.outages import Unavailable
from qdpem.policies.earliest_deadline import EarliestDeadlineFirst, QueueModelParameters
from qdpem.policies.inventory.parameters import BaseStockParameters, PlannedStockParameters
from qdpem.policies.inventory.planned_stock import PlannedStock
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.planner import RouteQuery
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policies.routing.stocked_pairs import StockByEnds
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.tuning import tunable
from qdpem.scenario.words import Control, Pregeneration


@dataclass(frozen=True, kw_only=True)
class AdmissionParameters(QueueModelParameters):
    """The admission thresholds of expected-delay routing, and the parameters of its delay model."""

    max_unloaded_delay: float = tunable(0.8, low=0.4, high=4.0, log=True)
    """A request waits while its expected delay on an idle network exceeds this fraction of its slack."""
    max_loaded_delay: float = tunable(2.0, low=0.5, high=32.0, log=True)
    """A request waits while its expected delay behind the backlog exceeds this multiple of its slack."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.max_unloaded_delay > 0.0:
            raise ValueError(f"max_unloaded_delay is {self.max_unloaded_delay!r}; it must be above 0")
        if not self.max_loaded_delay > 0.0:
            raise ValueError(f"max_loaded_delay is {self.max_loaded_delay!r}; it must be above 0")


@dataclass(frozen=True, kw_only=True)
class ExpectedDelayParameters(BaseStockParameters, AdmissionParameters):
    """Parameters of expected-delay routing with base stock."""


@dataclass(frozen=True, kw_only=True)
class PlannedDelayParameters(PlannedStockParameters, AdmissionParameters):
    """Parameters of expected-delay routing with planned stock."""


class CentralExpectedDelay(EarliestDeadlineFirst):
    """The controller serves each request over the route of least expected delay."""

    Parameters: ClassVar[type] = ExpectedDelayParameters
    name = "central-expected-delay"
    family = "expected-delay"
    _parameters: AdmissionParameters

    def _choose(
        self,
        request: PendingRequest,
        backlog: Backlog,
        *,
        slack_s: float,
        stock: StockByEnds,
        unavailable: Unavailable,
    ) -> RoutePlan | None:
        query = RouteQuery(
            source=request.source,
            destination=request.destination,
            target_fidelity=request.target_fidelity,
            pairs=request.pairs,
            slack_s=slack_s,
            max_unloaded_delay_s=self._parameters.max_unloaded_delay * slack_s,
            max_loaded_delay_s=self._parameters.max_loaded_delay * slack_s,
            unavailable=unavailable,
        )
        return self._planner.choose(query, backlog, stock=None if request.repeats else stock)


class LocalExpectedDelay(CentralExpectedDelay):
    """Every node serves its own requests by expected delay, from its own observation."""

    name = "local-expected-delay"
    control: Control = Control.LOCAL


class LocalStock(LocalExpectedDelay):
    """`LocalExpectedDelay` that stocks end-to-end pairs for its most frequent peers by default."""

    name = "local-stock"
    pregeneration: Pregeneration = Pregeneration.END_TO_END
    forecaster = "constant"


class LocalPlannedStock(LocalExpectedDelay):
    """`LocalExpectedDelay` that makes the pairs of expected requests before they come (`planned_stock`)."""

    Parameters = PlannedDelayParameters
    name = "local-planned-stock"
    family = "planned-stock"
    stock_rule = PlannedStock
    pregeneration: Pregeneration = Pregeneration.END_TO_END
    forecaster = "gru"


class CentralPlannedStock(CentralExpectedDelay):
    """`CentralExpectedDelay` that makes the pairs of expected requests before they come (`planned_stock`)."""

    Parameters = PlannedDelayParameters
    name = "central-planned-stock"
    family = "planned-stock"
    stock_rule = PlannedStock
    pregeneration: Pregeneration = Pregeneration.END_TO_END
    forecaster = "gru"

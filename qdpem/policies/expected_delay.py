"""The queue-aware rule: each request over the path and plan of least expected finish, in deadline order.

Source: least expected completion time with admission, as in reservation routing (Li et al. 2022) and in
join-the-shortest-queue dispatching; `expected_finish` has the formulas. Knowledge: the map, news of outages,
aged reports of neighbours (local) or of all nodes (central), and the site's own book of orders. With rights
to stock it keeps link pairs (`link_stock`) and, from "remote" on, remote pairs (`base_stock`), as many as
the demand expected in their useful life is worth: constant, or after the arm's forecast. It serves from
them, counts links that have one as ready (`shelf`) and, with "virtual", goes over remote pairs
(`virtual_links`).
Work: O(K x plans x hops) for each waiting request, about 0.1 ms, and O(N) for each site asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from qdpem.network.outages import Unavailable
from qdpem.policies.earliest_deadline import EarliestDeadlineFirst, QueueModelParameters
from qdpem.policies.routing.delay_model import Backlog
from qdpem.policies.routing.path_evaluation import Fit
from qdpem.policies.routing.planner import Choice
from qdpem.policies.routing.stocked_pairs import StockByEnds
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.tuning import tunable
from qdpem.scenario.words import Control, Pregeneration


@dataclass(frozen=True, kw_only=True)
class ExpectedDelayParameters(QueueModelParameters):
    """What can be set of the queue-aware rule."""

    max_unloaded_delay: float = tunable(0.8, low=0.4, high=4.0, log=True)
    """A request is left if even an idle network is expected to need more than this share of its slack."""
    max_loaded_delay: float = tunable(2.0, low=0.5, high=32.0, log=True)
    """A request is left while, behind the work ahead, it is expected to need more than so often its slack."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.max_unloaded_delay > 0.0:
            raise ValueError(f"max_unloaded_delay is {self.max_unloaded_delay!r}; it must be above 0")
        if not self.max_loaded_delay > 0.0:
            raise ValueError(f"max_loaded_delay is {self.max_loaded_delay!r}; it must be above 0")


class CentralExpectedDelay(EarliestDeadlineFirst):
    """The controller serves each request where it is expected to finish first."""

    Parameters = ExpectedDelayParameters
    name = "central-expected-delay"
    _parameters: ExpectedDelayParameters

    def _choose(
        self,
        request: PendingRequest,
        load: Backlog,
        *,
        left_s: float,
        shelf: StockByEnds,
        unavailable: Unavailable,
    ) -> Choice | Fit | None:
        return self._planner.choose(
            request.source,
            request.destination,
            load,
            target_fidelity=request.target_fidelity,
            within_s=self._parameters.max_unloaded_delay * left_s,
            pairs=request.pairs,
            unavailable=unavailable,
            shelf=None if request.persistent else shelf,
            left_s=left_s,
            busy_s=self._parameters.max_loaded_delay * left_s,
        )


class LocalExpectedDelay(CentralExpectedDelay):
    """Every node serves its own requests by expected finish, on its own knowledge."""

    name = "local-expected-delay"
    control: Control = Control.LOCAL


class LocalStock(LocalExpectedDelay):
    """`LocalExpectedDelay` that keeps remote pairs for its top peers unless the arm says otherwise."""

    name = "local-stock"
    pregeneration: Pregeneration = Pregeneration.END_TO_END
    forecaster = "constant"

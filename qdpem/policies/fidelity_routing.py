"""Fidelity-aware routing with distillation on links, over the capacity that is left.

Source: Q-PATH and Q-LEAP (Li et al. 2022, IEEE Transactions on Communications 70, 6748). Fidelity along a
path is a product, here of the Werner weights w = (4F - 1)/3 of its links and swaps, so a shortest-path search
on -ln w finds the path of highest fidelity (`routing.highest_fidelity_paths`). Links are distilled as often
as the target needs. Cheap paths are tried before expensive ones. Granted capacity is removed from the
network, and a request that finds none left takes another path or waits.

This version differs in three points. It uses this project's distillation, not the bit-flip map. It does not
split the target among the hops: as in Q-PATH, a round is added to the link where the path gains most, by
estimates of the whole path, which are exact where a split is approximate. It considers the path of highest
fidelity with at most h hops for all h at once (Bellman and Ford). Of these it takes the one with fewest hops
that reaches the target without distillation, else the one with fewest pairs, so that it pays for fidelity
only where it is needed.

Knowledge: the map, reports of outages, reports of all nodes and the controller's own book. With pregeneration
it serves from stock and keeps base stock as `expected_delay` does.
Work: one search for each request, about 0.5 ms, up to four where capacity is short. Distillation takes
O(hops) fidelity estimates for each round of each path, some ms more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.network.outages import Unavailable
from qdpem.policies.central_routing.highest_fidelity_paths import HighestFidelityPaths
from qdpem.policies.earliest_deadline import EarliestDeadlineFirst, QueueModelParameters
from qdpem.policies.inventory.parameters import BaseStockParameters
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.expiring_set import ExpiringSet
from qdpem.policies.routing.path_evaluation import PathEvaluator
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policies.routing.stocked_pairs import StockByEnds
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Context, Decisions, Observation
from qdpem.policy.tuning import tunable

_MAX_SEARCHES = 4
"""Searches for each request, each without the links that lacked pairs in the ones before."""


@dataclass(frozen=True, kw_only=True)
class FidelityRoutingParameters(BaseStockParameters, QueueModelParameters):
    """Parameters of fidelity-aware routing, in addition to those of the delay model and base stock."""

    capacity_horizon_s: float = tunable(1.0, low=0.1, high=20.0, log=True)
    """Seconds over which the capacity of links and repeaters is counted, or the slack if that is less."""
    overflow: str = tunable("wait", choices=("wait", "queue"))
    """A request without capacity waits for it ("wait") or queues on the path of its choice ("queue")."""
    resource_weight: float = tunable(0.1, low=0.0, high=0.5, pregeneration="end-to-end")
    """Seconds of additional delay of stock accepted for each second of source and repeater time saved."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.capacity_horizon_s > 0.0:
            raise ValueError(f"capacity_horizon_s is {self.capacity_horizon_s!r}; it must be above 0")
        if self.overflow not in ("wait", "queue"):
            raise ValueError(f"overflow is {self.overflow!r}; it must be 'wait' or 'queue'")


class CentralFidelityRouting(EarliestDeadlineFirst):
    """The controller serves requests in deadline order over short paths of sufficient fidelity."""

    Parameters = FidelityRoutingParameters
    name = "central-qleap"
    family = "fidelity-routing"
    _parameters: FidelityRoutingParameters

    def reset(self, context: Context) -> None:
        """Begin a run: compute the weights of the map's links and swaps."""
        super().reset(context)
        self._evaluator = PathEvaluator(context, storage_fraction=self._parameters.storage_fraction)
        self._search = HighestFidelityPaths(context)
        self._deferred = ExpiringSet("deferred")

    def act(self, observations: Observation) -> Decisions:
        """Serve requests that find capacity; those that find none are deferred for an epoch."""
        self._now_s = observations.time_s
        return super().act(observations)

    def state(self) -> dict[str, NDArray[Any]]:
        """The inventory and the deferred requests."""
        return super().state() | self._deferred.state()

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        super().load_state(state)
        self._deferred.load_state(state)

    def _choose(
        self,
        request: PendingRequest,
        backlog: Backlog,
        *,
        slack_s: float,
        stock: StockByEnds,  # noqa: ARG002  The nodes decide which stocked pairs replace links.
        unavailable: Unavailable,
    ) -> RoutePlan | None:
        if self._deferred.contains(request.id, self._now_s):
            return None
        capacity_horizon_s = min(self._parameters.capacity_horizon_s, slack_s)
        route = self._route(request, backlog, unavailable=unavailable, capacity_horizon_s=capacity_horizon_s)
        if route is None and self._parameters.overflow == "queue":
            # An unlimited horizon is unlimited capacity: the path of its choice, behind its queues.
            route = self._route(request, backlog, unavailable=unavailable, capacity_horizon_s=np.inf)
        if route is None:
            # Not tried again before the next epoch, because each search is costly.
            self._deferred.remove_expired(self._now_s)
            self._deferred.add(request.id, self._now_s + self._context.control_settings.decision_epoch_s)
        return route

    def _route(
        self,
        request: PendingRequest,
        backlog: Backlog,
        *,
        unavailable: Unavailable,
        capacity_horizon_s: float,
    ) -> RoutePlan | None:
        """The path of fewest hops without distillation, else the one of fewest pairs, that reaches the target
        with the remaining capacity. Where links lack pairs to distil, the search is repeated without them.
        """
        remaining_pairs = self._search.remaining_pairs(backlog, capacity_horizon_s)
        for _ in range(_MAX_SEARCHES):
            route, lacking = self._cheapest(
                request,
                backlog,
                remaining_pairs,
                unavailable=unavailable,
                capacity_horizon_s=capacity_horizon_s,
            )
            if route is not None or not lacking:
                return route
            # Without capacity these links are avoided, so each further search considers other paths.
            remaining_pairs[list(lacking)] = 0.0
        return None

    def _cheapest(
        self,
        request: PendingRequest,
        backlog: Backlog,
        remaining_pairs: Floats,
        *,
        unavailable: Unavailable,
        capacity_horizon_s: float,
    ) -> tuple[RoutePlan | None, set[int]]:
        """The cheapest route that reaches the target, and the links that lack the pairs for other routes."""
        best: RoutePlan | None = None
        lacking: set[int] = set()
        for nodes in self._search.paths(
            request,
            backlog,
            remaining_pairs=remaining_pairs,
            horizon_s=capacity_horizon_s,
            unavailable=unavailable,
        ):
            route = self._evaluator.with_distillation(
                nodes, backlog, target_fidelity=request.target_fidelity, pairs=request.pairs
            )
            if route is None:
                continue
            links = np.array(route.path.links)
            short = request.pairs * route.fresh_pairs > remaining_pairs[links]
            lacking.update(links[short].tolist())
            if short.any():
                continue
            if route.rounds == 0:
                # Paths come in order of hops: the first without distillation takes the fewest pairs.
                return route, lacking
            if best is None or route.fresh_pairs.sum() < best.fresh_pairs.sum():
                best = route
        return best, lacking

"""First come, first served over the path with fewest hops: the naive policy, local and central.

Source: the usual reference of the field (e.g. Pant et al. 2019; Chakraborty et al. 2019), and the likely
baseline of the claim under test.
Knowledge: the map and reports of outages; no queue, token or stock.
Work: O(paths x plans) look-ups for each pending request, at most K x 3, cached after first use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics.plans import Plan
from qdpem.network.outages import Unavailable
from qdpem.network.path import Path
from qdpem.policies.policy_defaults import PolicyDefaults, check_storage_fraction
from qdpem.policies.routing.pending_requests import pending_requests
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Allocation, Context, Decisions, Observation, per_site
from qdpem.policy.tuning import tunable
from qdpem.scenario.words import Control


@dataclass(frozen=True, kw_only=True)
class MinimumHopParameters:
    """Parameters of the minimum-hop policies. Raises ValueError for a value out of range."""

    storage_fraction: float = tunable(0.15, low=0.0, high=0.5)
    """Assumed age of link pairs when they are swapped, as a fraction (0 to 1) of the time to the deadline.
    On seeds 0-4 of the quickstart 0.3 delivered 0.889, 0.15 and 0.1 delivered 0.891 with less contention."""

    retry_low_fidelity: bool = False
    """Whether a pair found below its target is asked for again. On seeds 0-5 of the quickstart that cost
    central-fcfs .001 of delivery; on an idle line whose memories fade it gained .12."""

    def __post_init__(self) -> None:
        check_storage_fraction(self.storage_fraction)


class LocalMinimumHop(PolicyDefaults):
    """Every node serves its own requests, oldest first, over the feasible path with fewest hops."""

    Parameters = MinimumHopParameters
    name = "local-minhop"
    family = "minimum-hop"
    control: Control = Control.LOCAL

    def __init__(self, parameters: MinimumHopParameters) -> None:
        self._parameters = parameters

    def reset(self, context: Context) -> None:
        """Begin a run."""
        self._context = context

    def act(self, observations: Observation) -> Decisions:
        """Allocate each pending request that some path can serve; the others wait until they expire."""
        return per_site(self._serve, observations, self._context)

    def state(self) -> dict[str, NDArray[Any]]:
        """Empty: the policy remembers nothing."""
        return {}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Do nothing: there is no state."""

    def _serve(self, observation: Observation, context: Context) -> tuple[Allocation, ...]:
        return tuple(
            serve_minimum_hop(
                observation,
                context,
                storage_fraction=self._parameters.storage_fraction,
                retry_low_fidelity=self._parameters.retry_low_fidelity,
            )
        )


class CentralFirstComeFirstServed(LocalMinimumHop):
    """The controller serves all requests that reach it, oldest first, in the same way."""

    name = "central-fcfs"
    control: Control = Control.CENTRAL


def serve_minimum_hop(
    observation: Observation,
    context: Context,
    *,
    storage_fraction: float,
    retry_low_fidelity: bool = False,
) -> Iterator[Allocation]:
    """Allocations for the pending requests of one site, oldest first.

    A request gets the first of its available paths (fewest hops, then shortest) that some plan brings to the
    target after the assumed storage, with the fewest rounds of distillation. If there is none, storage is
    assumed to take no time, because a request with long patience need not wait long. A request that no plan
    can serve gets nothing.
    """
    unavailable = observation.unavailable()
    for request in pending_requests(observation):
        # The deadline of a repeating request is no measure of how long one of its pairs takes.
        age_s = 0.0 if request.repeats else storage_fraction * (request.deadline_s - observation.time_s)
        route = _first_feasible(request, context, age_s=age_s, unavailable=unavailable)
        if route is None and age_s > 0.0:
            route = _first_feasible(request, context, age_s=0.0, unavailable=unavailable)
        if route is not None:
            path, rounds = route
            yield request.allocation(
                path.nodes, plan=Plan(rounds_per_link=rounds), retry_low_fidelity=retry_low_fidelity
            )


def _first_feasible(
    request: PendingRequest, context: Context, *, age_s: float, unavailable: Unavailable
) -> tuple[Path, int] | None:
    for path in context.routes.paths(request.source, request.destination, unavailable):
        # `Routes` also offers paths over links that make no pairs.
        if not np.all(context.network.link_rate_hz[list(path.links)] > 0.0):
            continue
        rounds = context.estimates.rounds_for(path, request.target_fidelity, age_s=age_s)
        if rounds is not None:
            return path, rounds
    return None

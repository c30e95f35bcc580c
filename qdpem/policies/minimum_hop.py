"""First come first served over the path with fewest hops: the naive rule, local and central.

Source: the usual reference of the field (e.g. Pant et al. 2019; Chakraborty et al. 2019), and the likely
baseline of the claim under test. Knowledge: the map and news of outages alone; no queue, token or stock is
looked at.
Work: O(paths x plans) look-ups for each waiting request, both at most K x 3, kept after first use.
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
from qdpem.policies.routing.pending_requests import pending_requests
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Allocation, Context, Decisions, Observation, per_site
from qdpem.policy.tuning import tunable
from qdpem.scenario.words import Control, Pregeneration


@dataclass(frozen=True, kw_only=True)
class MinimumHopParameters:
    """What can be set of the minimum-hop rule."""

    storage_fraction: float = tunable(0.15, low=0.0, high=0.5)
    """Believed age of link pairs when they are swapped, as a share of the time left to the deadline.
    Tried on seeds 0-4 of the quickstart: 0.3 delivers 0.889, 0.15 and 0.1 0.891 with less contention."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.storage_fraction <= 1.0:
            raise ValueError(f"storage_fraction is {self.storage_fraction!r}; it must be between 0 and 1")


class LocalMinimumHop:
    """Every node serves its own requests, oldest first, over the feasible path with fewest hops."""

    Parameters = MinimumHopParameters
    name = "local-minhop"
    control: Control = Control.LOCAL
    pregeneration: Pregeneration = Pregeneration.NONE
    forecaster = "none"
    acts_every_epoch = False
    message_width = 0

    def __init__(self, parameters: MinimumHopParameters) -> None:
        self._parameters = parameters

    def reset(self, context: Context) -> None:
        """Begin a run; nothing is remembered from the last."""
        self._context = context

    def act(self, observations: Observation) -> Decisions:
        """One allocation for each waiting request that some path can serve; the rest are left to expire."""
        return per_site(self._serve, observations, self._context)

    def state(self) -> dict[str, NDArray[Any]]:
        """Empty: the rule has no memory."""
        return {}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Nothing to take up."""

    def _serve(self, observation: Observation, context: Context) -> tuple[Allocation, ...]:
        return tuple(
            serve_minimum_hop(observation, context, storage_fraction=self._parameters.storage_fraction)
        )


class CentralFirstCome(LocalMinimumHop):
    """The controller serves all requests that reach it by the same rule."""

    name = "central-fcfs"
    control: Control = Control.CENTRAL


def serve_minimum_hop(
    observation: Observation, context: Context, *, storage_fraction: float
) -> Iterator[Allocation]:
    """Allocations for the waiting requests of a view of one site, oldest first.

    A request gets the first of its paths round what is away (fewest hops, then shortest) that some plan
    brings to the target after the believed wait, and on it the plan with fewest distillation rounds. Where
    none does, the wait is believed to be 0: who has long patience need not wait long. A request that no plan
    serves even so gets nothing.
    """
    unavailable = observation.unavailable()
    for request in pending_requests(observation):
        # The deadline of a standing request says nothing of how long one pair of it takes.
        age_s = 0.0 if request.persistent else storage_fraction * (request.deadline_s - observation.time_s)
        found = _first_feasible(request, context, age_s=age_s, unavailable=unavailable)
        if found is None and age_s > 0.0:
            found = _first_feasible(request, context, age_s=0.0, unavailable=unavailable)
        if found is not None:
            path, rounds = found
            yield request.allocation(path.nodes, plan=Plan(rounds_per_link=rounds))


def _first_feasible(
    request: PendingRequest, context: Context, *, age_s: float, unavailable: Unavailable
) -> tuple[Path, int] | None:
    for path in context.routes.paths(request.source, request.destination, unavailable):
        if not np.all(context.network.link_rate_hz[list(path.links)] > 0.0):
            continue
        rounds = context.estimates.rounds_for(path, request.target_fidelity, age_s=age_s)
        if rounds is not None:
            return path, rounds
    return None

"""PendingRequest requests as plain numbers, and what serves them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from physics.plans import Plan
from qdpem.policy.interface import Allocation, Context, Observation


@dataclass(frozen=True, kw_only=True)
class PendingRequest:
    """One waiting request, as plain numbers."""

    id: int
    source: int
    destination: int
    target_fidelity: float
    pairs: int
    deadline_s: float
    persistence: bool = False

    def allocation(self, path: tuple[int, ...], *, plan: Plan | None = None) -> Allocation:
        """Serve it over `path` at its own target until its deadline."""
        return Allocation(
            source=self.source,
            destination=self.destination,
            target_fidelity=self.target_fidelity,
            path=path,
            expires_s=self.deadline_s,
            plan=plan or Plan(),
            pairs=self.pairs,
            purpose="serve",
            request=self.id,
        )


def command_delay_s(context: Context, source: int) -> float:
    """How long a decision made now takes to reach `source`: a controller works it out and sends word."""
    plane, network = context.plane, context.network
    if context.control == "local" or plane.zero_delay:
        return 0.0
    return float(network.distance_s[network.median_node, source]) + plane.service_time_s


def pending_requests(observation: Observation) -> Iterator[PendingRequest]:
    """The waiting requests of a view of one site that can still be in time, oldest first."""
    columns = (
        observation.request_id[0].tolist(),
        observation.request_source[0].tolist(),
        observation.request_destination[0].tolist(),
        observation.request_target_fidelity[0].tolist(),
        observation.request_pairs[0].tolist(),
        observation.request_deadline_s[0].tolist(),
        observation.request_persistence[0].tolist(),
    )
    for request, source, destination, target, pairs, deadline_s, persistence in zip(*columns, strict=True):
        if request >= 0 and deadline_s > observation.time_s:
            yield PendingRequest(
                id=request,
                source=source,
                destination=destination,
                target_fidelity=target,
                pairs=pairs,
                deadline_s=deadline_s,
                persistence=persistence > 0,
            )

"""Requests that can still be served in time, and the delay of a decision."""

from __future__ import annotations

from collections.abc import Sequence

from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Context, Observation


def pending_requests(observation: Observation) -> list[PendingRequest]:
    """The pending requests of one site, oldest first, without those whose deadline has passed."""
    return [request for request in observation.requests() if request.deadline_s > observation.time_s]


def in_deadline_order(requests: Sequence[PendingRequest]) -> list[PendingRequest]:
    """Earliest deadline first (Liu and Layland 1973); equal deadlines in the order of ids."""
    return sorted(requests, key=lambda request: (request.deadline_s, request.id))


def command_delay_s(context: Context, source: int) -> float:
    """Seconds until a decision made now reaches `source`; 0 under local control.

    The controller takes `service_time_s` for the decision, and its command travels to the source.
    """
    settings, network = context.control_settings, context.network
    if context.control == "local" or settings.zero_delay:
        return 0.0
    return float(network.distance_s[network.median_node, source]) + settings.service_time_s

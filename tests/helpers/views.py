"""Views made by hand, and what a policy decides on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from qdpem.policy.interface import FREE_MEMORIES, TOKENS, Allocation, Context, Views
from qdpem.policy.synthetic import synthetic_views
from qdpem.policy.validation import validate
from qdpem.rng import stream


def quiet_views(context: Context, *requests: tuple[int, int, float, float], **about: Any) -> Views:
    """An idle network at t = 10; row 0 waits for `requests` (source, destination, target, patience)."""
    views = synthetic_views(context, stream(5, "quiet"), waiting=max(len(requests), 1), **about)
    idle = np.zeros(views.status.shape[-1])
    idle[[FREE_MEMORIES, TOKENS]] = 16.0, 1.0
    views.status[views.known >= 0] = idle
    views.request_id[:] = -1
    views.request_standing[:] = 0
    views.stock_owner[:], views.stock_id[:], views.stock_ready[:] = -1, -1, -1
    views.peer_source[:] = -1
    for column, (source, destination, target, patience_s) in enumerate(requests):
        views.request_id[0, column] = 40 + column
        views.request_source[0, column] = source
        views.request_destination[0, column] = destination
        views.request_target_fidelity[0, column] = target
        views.request_pairs[0, column] = 1
        views.request_deadline_s[0, column] = views.time_s + patience_s
    return views


def shelve(views: Views, *pairs: tuple[int, int, float]) -> None:
    for column, (owner, partner, fidelity) in enumerate(pairs):
        views.stock_id[0, column] = 70 + column
        views.stock_owner[0, column] = owner
        views.stock_partner[0, column] = partner
        views.stock_fidelity[0, column] = fidelity
        views.stock_ready[0, column] = 1


def ask_for(views: Views, *peers: tuple[int, int, float]) -> None:
    for column, (source, destination, rate_hz) in enumerate(peers):
        views.peer_source[0, column] = source
        views.peer_destination[0, column] = destination
        views.peer_rate_hz[0, column] = rate_hz


def decide(policy: Any, views: Views, context: Context) -> tuple[Allocation, ...]:
    policy.reset(context)
    decisions = policy.decide(views)
    validate(decisions, views, context, policy_name=policy.name)
    return tuple(decisions.allocations)

"""Observation made by hand, and what a policy decides on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from qdpem.policy.interface import FREE_MEMORIES, TOKENS, Allocation, Context, Observation
from qdpem.policy.synthetic import synthetic_observation
from qdpem.policy.validation import validate
from qdpem.rng import stream


def idle_observation(context: Context, *requests: tuple[int, int, float, float], **about: Any) -> Observation:
    """An idle network at t = 10; row 0 waits for `requests` (source, destination, target, patience)."""
    observations = synthetic_observation(context, stream(5, "quiet"), waiting=max(len(requests), 1), **about)
    idle = np.zeros(observations.status.shape[-1])
    idle[[FREE_MEMORIES, TOKENS]] = 16.0, 1.0
    observations.status[observations.observed_node >= 0] = idle
    observations.carried_count[observations.carried_count > 0] = 0
    observations.request_id[:] = -1
    observations.request_repeat_until_deadline[:] = 0
    observations.stock_owner[:], observations.stock_id[:], observations.stock_ready[:] = -1, -1, -1
    observations.top_pair_source[:] = -1
    for column, (source, destination, target, patience_s) in enumerate(requests):
        observations.request_id[0, column] = 40 + column
        observations.request_source[0, column] = source
        observations.request_destination[0, column] = destination
        observations.request_target_fidelity[0, column] = target
        observations.request_pairs[0, column] = 1
        observations.request_deadline_s[0, column] = observations.time_s + patience_s
    return observations


def put_in_stock(observations: Observation, *pairs: tuple[int, int, float]) -> None:
    for column, (owner, partner, fidelity) in enumerate(pairs):
        observations.stock_id[0, column] = 70 + column
        observations.stock_owner[0, column] = owner
        observations.stock_partner[0, column] = partner
        observations.stock_fidelity[0, column] = fidelity
        observations.stock_ready[0, column] = 1


def ask_for(observations: Observation, *peers: tuple[int, int, float]) -> None:
    for column, (source, destination, rate_hz) in enumerate(peers):
        observations.top_pair_source[0, column] = source
        observations.top_pair_destination[0, column] = destination
        observations.top_pair_rate_hz[0, column] = rate_hz


def act(policy: Any, observations: Observation, context: Context) -> tuple[Allocation, ...]:
    policy.reset(context)
    decisions = policy.act(observations)
    validate(decisions, observations, context, policy_name=policy.name)
    return tuple(decisions.allocations)

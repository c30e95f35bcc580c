"""Allocations and rules as scripts say them, for policies that do as they are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from physics.plans import Plan, Rounds
from qdpem.policy.interface import Allocation, Decisions, Observation


def order(
    path: tuple[int, ...],
    expires_s: float,
    *,
    request: int = -1,
    pairs: int = 1,
    rounds: Rounds = 0,
    target_fidelity: float = 0.7,
) -> Allocation:
    """Pairs over `path`: for a request, or else to be kept in stock."""
    return Allocation(
        source=path[0],
        destination=path[-1],
        target_fidelity=target_fidelity,
        path=path,
        expires_s=expires_s,
        plan=Plan(rounds_per_link=rounds),
        purpose="stock" if request < 0 else "serve",
        request=request,
        pairs=pairs,
    )


def each(made: Sequence[Callable[[Observation], Decisions]]) -> Callable[[Observation], Decisions]:
    """A rule that answers one arrival after the other with `made`, and nothing else."""
    left = list(made)
    return lambda observations: (
        left.pop(0)(observations) if observations.reason[0] == 0 and left else Decisions()
    )


def serving_the_line(
    rounds: int = 0, *, expires_s: Mapping[int, float] | None = None
) -> Callable[[Observation], Decisions]:
    """A rule that serves all that waits along the line, with so many rounds on each link.

    Request k expires at `expires_s[k]`, or at its deadline.
    """
    early_s = expires_s or {}

    def rule(observations: Observation) -> Decisions:
        made = []
        for row, column in np.argwhere(observations.request_id >= 0).tolist():
            request = int(observations.request_id[row, column])
            ends = (
                int(observations.request_source[row, column]),
                int(observations.request_destination[row, column]),
            )
            step = 1 if ends[0] < ends[1] else -1
            made.append(
                Allocation(
                    source=ends[0],
                    destination=ends[1],
                    target_fidelity=float(observations.request_target_fidelity[row, column]),
                    path=tuple(range(ends[0], ends[1] + step, step)),
                    expires_s=early_s.get(request, float(observations.request_deadline_s[row, column])),
                    plan=Plan(rounds_per_link=rounds),
                    pairs=int(observations.request_pairs[row, column]),
                    request=request,
                )
            )
        return Decisions(allocations=tuple(made))

    return rule

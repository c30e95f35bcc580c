"""The decisions of a policy, in full, for records of level "full": `qdpem replay --decisions` reads them.

The optional parts of a policy are asked for here and nowhere else, so that other levels do not pay for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from physics.interface import PROTOCOLS
from physics.plans import SCHEDULES
from qdpem.events.full_tables import DECIDED_ALLOCATIONS, DECIDED_STEPS, DISCARDS, OUTPUT_LABELS, POLICY
from qdpem.events.recorder import Recorder
from qdpem.events.words import Purpose
from qdpem.policy.interface import Allocation, Decisions, Policy

_SEPARATE = -1
"""In the column `rounds`: each step has its own number."""


class DecisionLog:
    """Writes every allocation and discard as the policy gave it, in order; nothing if nobody wants that.

    `active`: whether the recorder wants the rows.
    """

    def __init__(self, recorder: Recorder, policy: Policy) -> None:
        self.active = recorder.wants(DECIDED_ALLOCATIONS)
        self._explain: Callable[[], Mapping[str, NDArray[Any]]] | None = getattr(policy, "explain", None)
        self._allocations = 0
        self._write_allocation = recorder.appender(DECIDED_ALLOCATIONS)
        self._write_step = recorder.appender(DECIDED_STEPS)
        self._write_discard = recorder.appender(DISCARDS)
        if self.active:
            _record_policy(policy, recorder)

    def explained(self, decisions: Decisions) -> Decisions:
        """The decisions just made, with what the policy tells about them; unchanged unless that is wanted."""
        if not self.active or self._explain is None:
            return decisions
        return replace(decisions, info={**decisions.info, **self._explain()})

    def discard(self, decision: int, pair: int) -> None:
        """Write a discard that the row `decision` of the table `decisions` made."""
        self._write_discard((decision, pair))

    def allocate(self, decision: int, allocation: Allocation, started: int) -> None:
        """Write an allocation of the row `decision`; `started` is its id, -1 if it did not begin."""
        plan = allocation.plan
        each = plan.rounds_per_link
        self._write_allocation(
            (
                decision,
                started,
                allocation.request,
                Purpose(allocation.purpose).code,
                allocation.source,
                allocation.destination,
                allocation.target_fidelity,
                allocation.pairs,
                each if isinstance(each, int) else _SEPARATE,
                plan.end_rounds,
                SCHEDULES.index(plan.schedule),
                PROTOCOLS.index(plan.protocol),
                allocation.expires_s,
                int(allocation.retry_low_fidelity),
            )
        )
        last = len(allocation.path) - 1
        for position, node in enumerate(allocation.path):
            rounds = plan.rounds_on(position) if position < last else 0
            self._write_step((self._allocations, position, node, rounds))
        self._allocations += 1


def _record_policy(policy: Policy, recorder: Recorder) -> None:
    """Write how often the policy is asked, what its training spent, and the labels of its outputs."""
    spent: Callable[[], tuple[float, float]] | None = getattr(policy, "privacy_spent", None)
    epsilon, delta = spent() if spent is not None else (math.nan, math.nan)
    recorder.appender(POLICY)((int(policy.acts_every_epoch), policy.message_width, epsilon, delta))
    labels: Mapping[str, tuple[str, ...]] = getattr(policy, "output_labels", {})
    write = recorder.appender(OUTPUT_LABELS)
    for output, each in labels.items():
        for position, label in enumerate(each):
            write((output, position, label))

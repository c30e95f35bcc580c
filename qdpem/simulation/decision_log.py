"""The decisions of a policy, in full, for records of level "full": `qdpem replay --decisions` reads them."""

from __future__ import annotations

from physics.interface import PROTOCOLS
from physics.plans import SCHEDULES
from qdpem.events.recorder import Recorder
from qdpem.events.tables import DECIDED_ALLOCATIONS, DECIDED_STEPS, DISCARDS, POLICY
from qdpem.events.words import Purpose
from qdpem.policy.interface import Allocation, Policy

_SEPARATE = -1
"""In the column `rounds`: each step has its own number."""


class DecisionLog:
    """Writes every allocation and discard as the policy gave it, in order; nothing if nobody wants that.

    `active`: whether the recorder wants the rows.
    """

    def __init__(self, recorder: Recorder, policy: Policy) -> None:
        self.active = recorder.wants(DECIDED_ALLOCATIONS)
        self._allocations = 0
        self._write_allocation = recorder.appender(DECIDED_ALLOCATIONS)
        self._write_step = recorder.appender(DECIDED_STEPS)
        self._write_discard = recorder.appender(DISCARDS)
        if self.active:
            recorder.appender(POLICY)((int(policy.acts_every_epoch), policy.message_width))

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

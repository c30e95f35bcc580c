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
from qdpem.events.recorder import Recorder, named_row
from qdpem.events.tables import DECISIONS
from qdpem.events.words import Purpose
from qdpem.policy.interface import Allocation, Decisions, Observation, Policy

_SEPARATE = -1
"""In the column `rounds`: each step has its own number."""

_row = named_row(DECISIONS)
_allocation_row = named_row(DECIDED_ALLOCATIONS)
_step_row = named_row(DECIDED_STEPS)
_discard_row = named_row(DISCARDS)
_policy_row = named_row(POLICY)
_label_row = named_row(OUTPUT_LABELS)


class DecisionTable:
    """Writes the table `decisions`, and hands the policy's own outputs to the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._write = recorder.appender(DECISIONS)
        self._rows = 0

    def write(
        self, decisions: Decisions, observations: Observation, *, site_of: Callable[[int], int]
    ) -> dict[int, int]:
        """One row for each site asked, and the policy's own outputs for the same sites; site -> its row.

        `site_of`: the site that decides for a node.
        """
        sites = observations.site.tolist()
        allocations = dict.fromkeys(sites, 0)
        for allocation in decisions.allocations:
            allocations[site_of(allocation.source)] += 1
        waiting = (observations.request_id >= 0).sum(axis=1).tolist()
        reasons = observations.reason.tolist()
        for row, site in enumerate(sites):
            self._write(
                _row(
                    time_s=observations.time_s,
                    deciding_node=site,
                    reason=reasons[row],
                    waiting=waiting[row],
                    allocations=allocations[site],
                )
            )
        self._recorder.policy_outputs(decisions.info)
        first, self._rows = self._rows, self._rows + len(sites)
        return dict(zip(sites, range(first, self._rows), strict=True))


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
        self._write_discard(_discard_row(decision=decision, pair=pair))

    def allocate(self, decision: int, allocation: Allocation, started: int) -> None:
        """Write an allocation of the row `decision`; `started` is its id, -1 if it did not begin."""
        plan = allocation.plan
        each = plan.rounds_per_link
        self._write_allocation(
            _allocation_row(
                decision=decision,
                allocation=started,
                request=allocation.request,
                purpose=Purpose(allocation.purpose).code,
                source=allocation.source,
                destination=allocation.destination,
                target_fidelity=allocation.target_fidelity,
                pairs=allocation.pairs,
                rounds=each if isinstance(each, int) else _SEPARATE,
                end_rounds=plan.end_rounds,
                schedule=SCHEDULES.index(plan.schedule),
                protocol=PROTOCOLS.index(plan.protocol),
                expires_s=allocation.expires_s,
                retry_low_fidelity=int(allocation.retry_low_fidelity),
            )
        )
        last = len(allocation.path) - 1
        for position, node in enumerate(allocation.path):
            rounds = plan.rounds_on(position) if position < last else 0
            self._write_step(
                _step_row(decided_allocation=self._allocations, position=position, node=node, rounds=rounds)
            )
        self._allocations += 1


def _record_policy(policy: Policy, recorder: Recorder) -> None:
    """Write how often the policy is asked, what its training spent, and the labels of its outputs."""
    spent: Callable[[], tuple[float, float]] | None = getattr(policy, "privacy_spent", None)
    epsilon, delta = spent() if spent is not None else (math.nan, math.nan)
    recorder.appender(POLICY)(
        _policy_row(
            acts_every_epoch=int(policy.acts_every_epoch),
            message_width=policy.message_width,
            epsilon=epsilon,
            delta=delta,
        )
    )
    labels: Mapping[str, tuple[str, ...]] = getattr(policy, "output_labels", {})
    write = recorder.appender(OUTPUT_LABELS)
    for output, each in labels.items():
        for position, label in enumerate(each):
            write(_label_row(output=output, position=position, label=label))

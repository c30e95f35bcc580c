"""The decisions that a record of level "full" holds, given again in place of its policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from physics.interface import PROTOCOLS
from physics.plans import SCHEDULES, Plan
from qdpem.errors import RecordError
from qdpem.events.full_tables import DECIDED_ALLOCATIONS, DECIDED_STEPS, DISCARDS, POLICY
from qdpem.events.tables import DECISIONS
from qdpem.events.words import Purpose
from qdpem.policy.interface import Allocation, Context, Decisions, Observation
from qdpem.records.compare import Difference
from qdpem.records.reader import Record
from qdpem.scenario.words import Control, Pregeneration
from qdpem.simulation.arms import ResolvedArm

_COMPARED = ("time_s", "deciding_node", "reason")


class DivergedError(Exception):
    """The replay asks other sites, or at another time, than the record says; `difference` is the first."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(difference)
        self.difference = difference


class LogEndedError(Exception):
    """The replay asks for a decision after the last one that the record of a stopped run holds."""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Log:
    """All decisions of a record, as Python values in the order in which they were made."""

    asked: dict[str, list[Any]]
    allocations: tuple[tuple[int, Allocation], ...]
    discards: tuple[tuple[int, int], ...]


class LoggedDecisions:
    """A policy that gives the decisions of a record again, and knows nothing else.

    Every allocation and discard names the row of `decisions` that made it. Each call takes as many of these
    rows as there are sites, and raises DivergedError unless they have the same times, sites and reasons.
    """

    Parameters: ClassVar[type] = Record
    name: ClassVar[str] = "logged decisions"
    family: ClassVar[str] = "logged decisions"
    forecaster: ClassVar[str] = "none"

    def __init__(self, record: Record) -> None:
        self._record = record
        self.control = record.arm.control or Control.LOCAL
        self.pregeneration = record.arm.pregeneration or Pregeneration.NONE
        policy = _columns(record, POLICY.name)
        self.acts_every_epoch = bool(policy["acts_every_epoch"][0])
        self.message_width = int(policy["message_width"][0])
        self._spent = float(policy["epsilon"][0]), float(policy["delta"][0])

    def reset(self, context: Context) -> None:  # noqa: ARG002
        """Begin with the first decision."""
        self._log = _read_log(self._record)
        self._row = self._allocation = self._discard = 0

    def act(self, observations: Observation) -> Decisions:
        """The recorded decisions of the sites of `observations`."""
        last = self._row + len(observations)
        self._require_same(observations, last)
        discards = []
        while self._discard < len(self._log.discards) and self._log.discards[self._discard][0] < last:
            discards.append(self._log.discards[self._discard][1])
            self._discard += 1
        allocations = []
        while (
            self._allocation < len(self._log.allocations)
            and self._log.allocations[self._allocation][0] < last
        ):
            allocations.append(self._log.allocations[self._allocation][1])
            self._allocation += 1
        self._row = last
        return Decisions(allocations=tuple(allocations), discards=tuple(discards))

    def privacy_spent(self) -> tuple[float, float]:
        """What the training of the recorded policy spent."""
        return self._spent

    def state(self) -> dict[str, NDArray[Any]]:
        """The rows that come next."""
        return {"next": np.array([self._row, self._allocation, self._discard])}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        self._row, self._allocation, self._discard = state["next"].tolist()

    def _require_same(self, observations: Observation, last: int) -> None:
        asked = self._log.asked
        recorded = len(asked["time_s"])
        if last > recorded and not self._record.complete:
            raise LogEndedError
        sites, reasons = observations.site.tolist(), observations.reason.tolist()
        for index, (site, reason) in enumerate(zip(sites, reasons, strict=True)):
            row, present = self._row + index, (observations.time_s, site, reason)
            if row >= recorded:
                raise DivergedError(_difference("row", row, "no row", "a row"))
            for name, value in zip(_COMPARED, present, strict=True):
                if asked[name][row] != value:
                    raise DivergedError(_difference(name, row, asked[name][row], value))


def logged_arm(record: Record) -> ResolvedArm:
    """The arm of a record with its logged decisions in place of its policy, and without a forecaster.

    Raises RecordError for a record that does not hold every decision.
    """
    if not all(name in record.tables for name in (POLICY.name, DECIDED_ALLOCATIONS.name)):
        raise RecordError(
            f"{record.path} does not hold its decisions in full: it was recorded at level"
            f" {record.scenario.record.level!r}; run again with --set record.level=full"
        )
    if len(_columns(record, POLICY.name)["message_width"]) != 1:
        raise RecordError(f"{record.path} holds no decision: its run stopped before the first one")
    if record.arm.control is None or record.arm.pregeneration is None:
        raise RecordError(
            f"{record.path} does not state the control and pregeneration of its arm, so its decisions cannot"
            " be replayed without its policy"
        )
    return ResolvedArm(arm=replace(record.arm, forecaster="none"), factory=LoggedDecisions, parameters=record)


def _columns(record: Record, table: str) -> Mapping[str, NDArray[Any]]:
    return record.tables[table]


def _difference(column: str, row: int, first: object, second: object) -> Difference:
    return Difference(table=DECISIONS.name, column=column, row=row, first=str(first), second=str(second))


def _read_log(record: Record) -> _Log:
    asked = _columns(record, DECISIONS.name)
    discards = _columns(record, DISCARDS.name)
    return _Log(
        asked={name: asked[name].tolist() for name in _COMPARED},
        allocations=tuple(_allocations(record)),
        discards=tuple(zip(discards["decision"].tolist(), discards["pair"].tolist(), strict=True)),
    )


def _allocations(record: Record) -> Iterator[tuple[int, Allocation]]:
    """Each allocation with the row of `decisions` that made it, as the policy gave it."""
    columns = _columns(record, DECIDED_ALLOCATIONS.name)
    paths, rounds = _steps(record, count=len(columns["decision"]))
    rows = zip(*(columns[name].tolist() for name in DECIDED_ALLOCATIONS.names), strict=True)
    for index, (
        decision, _, request, purpose, source, destination, target_fidelity, pairs, rounds_per_link,
        end_rounds, schedule, protocol, expires_s, retry_low_fidelity,
    ) in enumerate(rows):  # fmt: skip
        plan = Plan(
            protocol=PROTOCOLS[protocol],
            # The last step leads nowhere.
            rounds_per_link=tuple(rounds[index][:-1]) if rounds_per_link < 0 else rounds_per_link,
            end_rounds=end_rounds,
            schedule=SCHEDULES[schedule],
        )
        yield (
            decision,
            Allocation(
                source=source,
                destination=destination,
                target_fidelity=target_fidelity,
                path=tuple(paths[index]),
                expires_s=expires_s,
                plan=plan,
                pairs=pairs,
                purpose=Purpose.from_code(purpose),
                request=request,
                retry_low_fidelity=bool(retry_low_fidelity),
            ),
        )


def _steps(record: Record, *, count: int) -> tuple[list[list[int]], list[list[int]]]:
    """The nodes of the path of each allocation, and the rounds of its steps."""
    columns = _columns(record, DECIDED_STEPS.name)
    paths: list[list[int]] = [[] for _ in range(count)]
    rounds: list[list[int]] = [[] for _ in range(count)]
    for allocation, node, number in zip(
        *(columns[name].tolist() for name in ("decided_allocation", "node", "rounds")), strict=True
    ):
        paths[allocation].append(node)
        rounds[allocation].append(number)
    return paths, rounds

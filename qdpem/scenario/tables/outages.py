"""The tables of outages: what fails, recovers and joins while a run goes on."""

from __future__ import annotations

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from qdpem.scenario.tables.fields import CHECKED, NotNegative, Positive
from qdpem.scenario.words import OutageKind


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class ScheduledOutage:
    """One outage at a known time. Without `until_s` it lasts for the rest of the run.

    `name` is that of a node, or of a link as "one end/other end" in either order. The controller has no name.
    """

    kind: OutageKind
    from_s: NotNegative
    name: str = ""
    until_s: Positive | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ScheduledOutage:
        if self.until_s is not None and self.until_s <= self.from_s:
            raise ValueError(f"until_s = {self.until_s:g} must be above from_s = {self.from_s:g}")
        if self.kind is OutageKind.CONTROLLER and self.name:
            raise ValueError(f"name = {self.name!r} has no meaning: there is one controller; leave it out")
        if self.kind is not OutageKind.CONTROLLER and not self.name:
            raise ValueError(f"name is missing; should be that of a {self.kind}")
        return self


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Join:
    """A node that joins the network, with all its links, at `at_s`."""

    node: str
    at_s: Positive


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class RandomOutages:
    """Independent failures of all of one kind, up at t = 0, with exponential times up and down."""

    mean_up_s: Positive
    mean_down_s: Positive


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Outages:
    """All outages of a run. Outages of one node or link that overlap count as one."""

    scheduled: tuple[ScheduledOutage, ...] = ()
    joins: tuple[Join, ...] = ()
    links: RandomOutages | None = None
    nodes: RandomOutages | None = None
    controller: RandomOutages | None = None

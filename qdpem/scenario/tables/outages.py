"""The tables of outages: what fails, recovers and joins while a run goes on."""

from __future__ import annotations

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from qdpem.scenario.tables.fields import CHECKED, NotNegative, Positive
from qdpem.scenario.words import OutageKind


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class ScheduledOutage:
    """One outage at a known time."""

    kind: OutageKind
    """What becomes unavailable."""
    from_s: NotNegative
    """When it becomes unavailable; 0: from the start, and known to all."""
    name: str = ""
    """Name of a node, or of a link as "one end/other end" in either order. The controller has none. Nodes
    of a generated topology are called `n0`, `n1`, ..."""
    until_s: Positive | None = None
    """When it is available again; never by default."""

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
    """A node that joins the network, with all its links."""

    node: str
    """Name of the node."""
    at_s: Positive
    """When it joins."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class RandomOutages:
    """Independent failures of all resources of one kind."""

    mean_up_s: Positive
    """Mean of the exponential time until it fails; it is up at t = 0."""
    mean_down_s: Positive
    """Mean of the exponential time until it is up again."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Outages:
    """All outages of a run. Outages of one node or link that overlap count as one."""

    scheduled: tuple[ScheduledOutage, ...] = ()
    """Outages at known times."""
    joins: tuple[Join, ...] = ()
    """Nodes that join during the run."""
    links: RandomOutages | None = None
    """Random failures of every link, each on its own."""
    nodes: RandomOutages | None = None
    """Random failures of every node, each on its own."""
    controller: RandomOutages | None = None
    """Random failures of the controller; they matter only to central control."""

"""The tables of demand processes: streams of requests beside, or in place of, the Poisson stream."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field
from pydantic.dataclasses import dataclass

from qdpem.scenario.tables.classes import RequestClass
from qdpem.scenario.tables.fields import CHECKED, NotNegative, Positive

Classes: TypeAlias = Annotated[tuple[RequestClass, ...], Field(min_length=1)]
PartOfAll: TypeAlias = Annotated[float, Field(gt=0, le=1)]
"""A fraction of all requests."""
Some: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
"""A fraction that leaves something."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Timetable:
    """Every demanded pair of nodes asks at its own regular times, one end for all of them.

    Each pair of nodes has a class, a period and a phase of its own. Its mean period follows from the rate of
    the demand and the weight of the pair.
    """

    fraction: PartOfAll
    """Fraction of all requests that come from this process."""
    classes: Classes
    """The classes of its requests. A pair of nodes has one of them, drawn by their fractions."""
    kind: Literal["timetable"] = "timetable"
    period_spread: Some = 0.25
    """Periods are drawn between 1 - this and 1 + this times their mean."""
    jitter_s: NotNegative = 1.0
    """Standard deviation by which a start is displaced."""
    jitter_accumulates: bool = False
    """If false, each start is displaced from a fixed calendar. If true, it is displaced from the start before
    it, so that the calendar drifts."""
    skipped_fraction: Some = 0.0
    """Fraction of the starts that are left out."""
    unannounced_fraction: Some = 0.0
    """Fraction of the process's requests that come at random times, as a Poisson process."""


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Session:
    """Every demanded pair of nodes is alternately on and off; while it is on, one end asks at random."""

    fraction: PartOfAll
    """Fraction of all requests that come from this process."""
    classes: Classes
    """The classes of its requests. A pair of nodes has one of them, drawn by their fractions."""
    kind: Literal["session"] = "session"
    on_s: Positive = 20.0
    """Mean time on, exponentially distributed."""
    off_s: Positive = 100.0
    """Mean time off, exponentially distributed."""


Process: TypeAlias = Timetable | Session

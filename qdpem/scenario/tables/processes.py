"""The tables of demand processes: streams of requests beside, or in place of, the Poisson stream."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from qdpem.scenario.tables.classes import RequestClass
from qdpem.scenario.tables.fields import CHECKED, NotNegative, Positive
from qdpem.scenario.words import NodeMap, TraceGaps

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
    """Names this kind."""
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

    @property
    def starts_per_request(self) -> float:
        """Starts on the timetable, skipped ones too, for each of the process's requests."""
        return (1.0 - self.unannounced_fraction) / (1.0 - self.skipped_fraction)


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Session:
    """Every demanded pair of nodes is alternately on and off; while it is on, one end asks at random."""

    fraction: PartOfAll
    """Fraction of all requests that come from this process."""
    classes: Classes
    """The classes of its requests. A pair of nodes has one of them, drawn by their fractions."""
    kind: Literal["session"] = "session"
    """Names this kind."""
    on_s: Positive = 20.0
    """Mean time on, exponentially distributed."""
    off_s: Positive = 100.0
    """Mean time off, exponentially distributed."""

    @property
    def rate_factor(self) -> float:
        """The rate of a pair of nodes while it is on, over its mean rate."""
        return (self.on_s + self.off_s) / self.on_s


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Trace:
    """Requests from a file: traffic matrices, whose rates requests follow at random, or a list of requests.

    Every pair of nodes has its own rate over time, in proportion to its traffic and linear between the
    middles of intervals. The mean over the whole file is `fraction` of the rate of the demand. A list of
    requests is thinned to that rate. `weights` of the demand play no part.
    """

    fraction: PartOfAll
    """Fraction of all requests that come from this process."""
    classes: Classes
    """The classes of its requests, and of a list those that have what the list does not say."""
    path: Annotated[str, Field(min_length=1)]
    """Path seen from the directory of the scenario file. Traffic matrices: CSV with a column
    `SOURCE>DESTINATION` for each pair, or SNDlib XML in a file, a folder or an archive. Requests: a table in
    CSV or Parquet, JSON lines of QNetBench, or a record. All but folders may be packed with gzip."""
    kind: Literal["trace"] = "trace"
    """Names this kind."""
    start_s: NotNegative = 0.0
    """Time of the file that is t = 0 of the run: in seconds of the file, from its first interval, or from
    time 0 of a list. The history of forecasters is the traffic before it."""
    time_compression: Positive = 1.0
    """Seconds of the file in each second of the run. Patience and hardware stay as they are."""
    symmetrised: bool = True
    """Whether both directions of a pair of nodes share their sum: entanglement has no direction."""
    clip_quantile: PartOfAll = 0.999
    """Traffic of each pair above its own quantile over the whole file is cut to it; 1 cuts nothing."""
    exponent: Positive = 1.0
    """Power to which traffic is raised. Below 1 it makes pairs and times more alike."""
    gaps: TraceGaps = TraceGaps.REFUSE
    """What takes the place of missing intervals and cells. "refuse": an error. "repeat": the value before.
    "interpolate": a straight line."""
    step_s: Positive | None = None
    """Length of an interval of the file, needed if it has one row. If given, the file must have this one."""
    unit: str | None = None
    """Unit of the traffic. If given, the file must not state another."""
    node_map: NodeMap = NodeMap.NAME
    """Which node of the network each node of the file is. "name": the one of its name. "rank": the busiest is
    the node with most links, and so on, equal ones by name; such a pairing is synthetic."""
    nodes: dict[str, str] = field(default_factory=dict)
    """With `node_map = "name"`: the network's node of single nodes of the file; "" leaves a node out."""
    thinned: bool = True
    """Only for lists. If true, each request is kept at random, so that the mean rate is that of the process.
    If false, every request is kept, and the process must have the rate of the list."""

    @model_validator(mode="after")
    def _consistent(self) -> Trace:
        if self.nodes and self.node_map is NodeMap.RANK:
            raise ValueError('nodes means nothing with node_map = "rank"; leave one of them out')
        return self


Process: TypeAlias = Timetable | Session | Trace

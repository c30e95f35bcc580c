"""The tables of demand: its rate, its processes, where requests come from, and bursts."""

from __future__ import annotations

import math
import re
from dataclasses import field, replace
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from qdpem.scenario.tables.classes import RequestClass
from qdpem.scenario.tables.fields import CHECKED, Count, NotNegative, Positive
from qdpem.scenario.tables.processes import Process, Trace
from qdpem.scenario.words import Arrivals, BurstTiming, DemandWeights

_DAY_S = 86400.0

POISSON = "poisson"
"""The name of the Poisson stream among the processes."""

FRACTION_TOLERANCE = 1e-6
"""Fractions that should sum to 1 may miss it by this much."""


def _by_name(processes: dict[str, Process]) -> dict[str, Process]:
    """The processes in the order of their names.

    A record keeps keys in this order. The order of a file must not number the processes otherwise.
    """
    return dict(sorted(processes.items()))


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Bursts:
    """Bursts of demand: a region has `peak` times its mean rate for `duration_s` about every `period_s`.

    Outside bursts the rate is lower, so that the long-run mean is that of the demand.
    """

    timing: BurstTiming = BurstTiming.CALENDAR
    """When bursts start. "calendar": every `period_s` in each region, each start displaced by a normal draw
    of standard deviation `jitter_s`. "memoryless": on and off for exponential times with these means,
    independently in each region, so that a burst can be detected but not predicted. "cascading": region 0 is
    memoryless, and each other region follows the one before it by `lag_s`."""
    regions: Count = 4
    """Number of regions. Each bursts by itself, or one after the other in a cascade."""
    period_s: Positive = 32.0
    """Time between the starts of bursts; without a calendar its mean."""
    duration_s: Positive = 8.0
    """Length of a burst, below `period_s`; without a calendar its mean."""
    jitter_s: NotNegative = 1.0
    """Standard deviation of a start; only with a calendar."""
    lag_s: Positive | None = None
    """Time by which each region bursts after the one before it; only in a cascade, and required there."""
    peak: Annotated[float, Field(ge=1)] = 3.0
    """Factor on the mean rate inside a burst, at most `period_s` / `duration_s`."""

    @model_validator(mode="after")
    def _consistent(self) -> Bursts:
        if self.timing is BurstTiming.CASCADING and self.lag_s is None:
            raise ValueError("cascading bursts need lag_s, the seconds by which one region follows another")
        if self.timing is not BurstTiming.CASCADING and self.lag_s is not None:
            raise ValueError(
                f"lag_s = {self.lag_s:g} means nothing with timing {self.timing!r}; leave it out"
            )
        if self.duration_s >= self.period_s:
            raise ValueError(f"duration_s = {self.duration_s:g} must be below period_s = {self.period_s:g}")
        if self.peak * self.duration_s > self.period_s:
            limit = self.period_s / self.duration_s
            raise ValueError(
                f"peak = {self.peak:g} leaves no demand outside bursts; it must be at most"
                f" period_s / duration_s = {limit:g}"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Neighbourhood:
    """Pairs of nodes at least `min_hops` and at most `max_hops` apart, with equal weights."""

    min_hops: Count = 2
    """Fewest hops between two nodes that exchange requests."""
    max_hops: Count = 4
    """Most hops between two nodes that exchange requests."""
    peers: Count | None = None
    """Peers that each node picks at random among the nodes within reach (topology seed). Two nodes exchange
    requests if one has picked the other. All nodes within reach by default."""

    @model_validator(mode="after")
    def _ordered(self) -> Neighbourhood:
        if self.min_hops > self.max_hops:
            raise ValueError(f"min_hops = {self.min_hops} must not be above max_hops = {self.max_hops}")
        return self


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Demand:
    """The requests of a run: their classes, rate, node pairs and arrival times.

    Demand is a mixture: a Poisson stream of the `classes`, and any number of other `processes`. All but
    traces have the same weights of node pairs.
    """

    classes: tuple[RequestClass, ...] = ()
    """The classes of the Poisson stream, which makes all requests that no other process makes."""
    processes: Annotated[dict[str, Process], AfterValidator(_by_name)] = field(default_factory=dict)
    """Other processes by name, each of a `kind`: "timetable", "session" or "trace"."""
    rate_hz: Positive | None = None
    """Mean requests per second of the whole network. Give either this or `load_factor`, or neither if
    `arrivals` is "batch"."""
    load_factor: Positive | None = None
    """Requests while all regions burst, as a fraction of the supportable load, which a flow program computes
    for each seed."""
    served_fraction: Annotated[float, Field(gt=0, le=1)] = 0.9
    """The fraction of requests that must be served for a load to count as supportable; only with
    `load_factor`."""
    arrivals: Arrivals = Arrivals.POISSON
    """When requests arrive. "poisson": stationary without `bursts`. "batch": at t = 0 each pair of nodes with
    a weight makes one request of each class, from its lower node, and no more follow."""
    weights: DemandWeights = DemandWeights.UNIFORM
    """How requests are distributed over pairs of nodes. "matrix": the demand matrix of the topology.
    "uniform": all pairs alike. "neighbourhood": the pairs that `[demand.neighbourhood]` describes, alike.
    "endpoints": only the first and the last node of the topology, as of a line."""
    neighbourhood: Neighbourhood | None = None
    """The pairs of nodes with `weights = "neighbourhood"`."""
    bursts: Bursts | None = None
    """Bursts of the Poisson stream. Without them it is stationary."""

    @property
    def poisson_fraction(self) -> float:
        """Fraction of all requests that the Poisson stream makes: what the other processes leave."""
        if not self.classes:
            return 0.0
        return 1.0 - math.fsum(process.fraction for process in self.processes.values())

    @property
    def season_s(self) -> float:
        """The period of bursts, else a day of the first trace in the time of the run, else 0."""
        if self.bursts is not None:
            return self.bursts.period_s
        factors = [each.time_compression for each in self.processes.values() if isinstance(each, Trace)]
        return _DAY_S / factors[0] if factors else 0.0

    @property
    def all_classes(self) -> tuple[RequestClass, ...]:
        """The classes of all processes, each with its fraction of ALL requests, the Poisson stream first."""
        if not self.processes:
            return self.classes
        parts = [(self.poisson_fraction, self.classes)]
        parts += [(process.fraction, process.classes) for process in self.processes.values()]
        return tuple(
            replace(each, fraction=fraction * each.fraction)
            for fraction, classes in parts
            for each in classes
        )

    @property
    def class_keys(self) -> tuple[str, ...]:
        """The dotted key of each of `all_classes`."""
        own = [f"demand.classes.{index}" for index in range(len(self.classes))]
        return (
            *own,
            *(
                f"demand.processes.{name}.classes.{index}"
                for name, process in self.processes.items()
                for index in range(len(process.classes))
            ),
        )

    @model_validator(mode="after")
    def _consistent(self) -> Demand:
        if self.neighbourhood is not None and self.weights is not DemandWeights.NEIGHBOURHOOD:
            raise ValueError(
                f"neighbourhood means nothing while weights is {self.weights!r}; set weights to"
                " 'neighbourhood' or leave it out"
            )
        if not self.classes and (self.arrivals is Arrivals.BATCH or not self.processes):
            raise ValueError("it has no classes; should have [[demand.classes]], the classes of its requests")
        for name in self.processes:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ValueError(
                    f"processes has {name!r}; a name should be of letters A to Z, digits, hyphens and"
                    " underscores"
                )
        if POISSON in self.processes:
            raise ValueError(
                f"processes has {POISSON!r}, the name of the stream of classes; choose another name"
            )
        if self.bursts is not None and not self.classes:
            raise ValueError(
                "bursts means nothing without classes, the Poisson stream that bursts; leave it out"
            )
        if self.arrivals is Arrivals.BATCH:
            self._check_batch()
        else:
            self._check_rate()
            self._check_fractions()
        return self

    def _check_fractions(self) -> None:
        """The other processes leave the Poisson stream something if it has classes, else nothing."""
        total = math.fsum(process.fraction for process in self.processes.values())
        listed = ", ".join(f"{name} {process.fraction:g}" for name, process in self.processes.items())
        if self.classes and not total < 1.0:
            raise ValueError(
                f"the fractions of processes sum to {total:g} ({listed}), which leaves nothing for classes;"
                " should be below 1"
            )
        if not self.classes and abs(total - 1.0) > FRACTION_TOLERANCE:
            raise ValueError(
                f"the fractions of processes sum to {total:g} ({listed}); should sum to 1, or leave the rest"
                " to a Poisson stream of [[demand.classes]]"
            )

    def _check_batch(self) -> None:
        for name, value in (("rate_hz", self.rate_hz), ("load_factor", self.load_factor)):
            if value is not None:
                raise ValueError(
                    f"{name} = {value:g} means nothing while arrivals is 'batch', when all requests come"
                    " at t = 0; leave it out"
                )
        for name in ("bursts", "processes"):
            if getattr(self, name):
                raise ValueError(f"{name} means nothing while arrivals is 'batch'; leave it out")

    def _check_rate(self) -> None:
        if self.rate_hz is None and self.load_factor is None:
            raise ValueError(
                "it has neither rate_hz nor load_factor; should have one of them: requests per second, or"
                " the fraction of what the network can carry"
            )
        if self.rate_hz is not None and self.load_factor is not None:
            raise ValueError(
                f"load_factor = {self.load_factor:g} excludes rate_hz = {self.rate_hz:g}: each sets how much"
                " is requested; leave one of them out"
            )

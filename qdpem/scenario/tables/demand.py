"""The tables of demand: classes of requests, their rate, where they come from, and bursts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from qdpem.scenario.tables.fields import CHECKED, Count, NotNegative, Positive, Quantity
from qdpem.scenario.words import Application, Arrivals, BurstTiming, DemandWeights, Repetition


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class RequestClass:
    """One kind of request and its fraction of all requests.

    A repeating request keeps asking until its patience is over, for `pairs` at a time, each delivered by
    itself. With `repeat_until_deadline` "pair" the next pair begins when the last one is delivered; with
    "link" every link keeps generating.
    """

    application: Application
    fraction: Positive
    target_fidelity: Annotated[float, Field(gt=0.5, lt=1)]
    patience_s: Positive
    pairs: Quantity = 1
    repeat_until_deadline: Repetition = Repetition.NO


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Bursts:
    """Bursts of demand: a region has `peak` times its mean rate for `duration_s` about every `period_s`.

    Outside bursts the rate is lower, so that the long-run mean is that of the demand. `timing`:

    - "calendar": every `period_s`, each start displaced by a normal draw of standard deviation `jitter_s`;
    - "memoryless": on and off for exponential times with these means, independently in each region, so that a
      burst can be detected but not predicted;
    - "cascading": region 0 is memoryless, and each other region follows the one before it by `lag_s`.
    """

    timing: BurstTiming = BurstTiming.CALENDAR
    regions: Count = 4
    period_s: Positive = 32.0
    duration_s: Positive = 8.0
    jitter_s: NotNegative = 1.0
    lag_s: Positive | None = None
    peak: Annotated[float, Field(ge=1)] = 3.0

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
    """Pairs of nodes at least `min_hops` and at most `max_hops` apart, with equal weights.

    With `peers`, every node picks that many of the nodes within its reach at random, and only pairs of which
    one node has picked the other make requests.
    """

    min_hops: Count = 2
    max_hops: Count = 4
    peers: Count | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Neighbourhood:
        if self.min_hops > self.max_hops:
            raise ValueError(f"min_hops = {self.min_hops} must not be above max_hops = {self.max_hops}")
        return self


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Demand:
    """The requests of a run: their classes, rate, node pairs and arrival times.

    - `rate_hz` is the mean rate of all requests of the network. `load_factor` gives the rate instead as a
      fraction of the largest rate that the network could serve to `served_fraction`, while all regions burst.
      A flow program for each seed computes that rate.
    - `weights`: "matrix" uses the demand matrix of the topology; "uniform" gives all pairs of nodes equal
      weights; "neighbourhood" selects the pairs that `neighbourhood` describes; "endpoints" selects one pair,
      the first and the last node of the topology, as for a line.
    - `arrivals`: "poisson" is stationary without `bursts`. With "batch", each pair of nodes with a weight
      makes one request of each class at t = 0, from its lower node, and no more follow, so that there is no
      rate.
    """

    classes: Annotated[tuple[RequestClass, ...], Field(min_length=1)]
    rate_hz: Positive | None = None
    load_factor: Positive | None = None
    served_fraction: Annotated[float, Field(gt=0, le=1)] = 0.9
    arrivals: Arrivals = Arrivals.POISSON
    weights: DemandWeights = DemandWeights.UNIFORM
    neighbourhood: Neighbourhood | None = None
    bursts: Bursts | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Demand:
        if self.neighbourhood is not None and self.weights is not DemandWeights.NEIGHBOURHOOD:
            raise ValueError(
                f"neighbourhood means nothing while weights is {self.weights!r}; set weights to"
                " 'neighbourhood' or leave it out"
            )
        if self.arrivals is Arrivals.BATCH:
            self._check_batch()
        else:
            self._check_rate()
        return self

    def _check_batch(self) -> None:
        for name, value in (("rate_hz", self.rate_hz), ("load_factor", self.load_factor)):
            if value is not None:
                raise ValueError(
                    f"{name} = {value:g} means nothing while arrivals is 'batch', when all requests come"
                    " at t = 0; leave it out"
                )
        if self.bursts is not None:
            raise ValueError("bursts means nothing while arrivals is 'batch'; leave it out")

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

"""The metrics that tables print: their headings, units and decimals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from qdpem.scenario.schema import Demand
from qdpem.study.analysis.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class MetricFormat:
    """The form in which tables print the metric `name`.

    `meaning` explains it in a few words. `better` is "higher" or "lower". Values are multiplied by `scale`,
    and are then in `unit`. `verb` and `amount` make sentences of primary metrics: an arm "delivered" 0.9
    "of the requests".
    """

    name: str
    heading: str
    meaning: str
    better: str
    unit: str = ""
    decimals: int = 3
    scale: float = 1.0
    verb: str = ""
    amount: str = ""

    def text(self, value: float) -> str:
        """The number as tables print it, an en dash for NaN."""
        return "–" if math.isnan(value) else f"{value * self.scale:.{self.decimals}f}"

    @property
    def heading_with_unit(self) -> str:
        """The heading of a column, with the unit if there is one."""
        return f"{self.heading}, {self.unit}" if self.unit else self.heading

    def mean_text(self, mean: Interval, *, interval: bool = True) -> str:
        """A mean as tables print it, with its interval in brackets if it has one and `interval`."""
        bounds = f" [{self.text(mean.low)}, {self.text(mean.high)}]"
        return self.text(mean.estimate) + bounds * (interval and not math.isnan(mean.low))

    def signed(self, value: float) -> str:
        """A difference as tables print it, with its sign."""
        return "–" if math.isnan(value) else f"{value * self.scale:+.{self.decimals}f}"


DELIVERY = MetricFormat(
    name="delivery_ratio",
    heading="delivered",
    meaning="fraction of requests that got all pairs in time and at the target fidelity",
    better="higher",
    verb="delivered",
    amount="of the requests",
)
CONTENTION = MetricFormat(
    name="contended_claims_per_request",
    heading="contended / request",
    meaning="claims whose resource went to another claim meanwhile, per request",
    better="lower",
    decimals=2,
    verb="contended",
)
ADMISSION_DELAY = MetricFormat(
    name="admission_delay_s_per_request",
    heading="admission delay / request",
    meaning="time from arrival to the first allocation; it is not contention",
    better="lower",
    unit="ms",
    decimals=1,
    scale=1000.0,
)
METRIC_FORMATS: tuple[MetricFormat, ...] = (
    DELIVERY,
    CONTENTION,
    MetricFormat(
        name="delivered_fidelity",
        heading="delivered fidelity",
        meaning="mean true fidelity of the delivered requests",
        better="higher",
    ),
    MetricFormat(
        name="latency_p50_s",
        heading="latency p50",
        meaning="median time from arrival to delivery",
        better="lower",
        unit="ms",
        decimals=0,
        scale=1000.0,
    ),
    MetricFormat(
        name="latency_p95_s",
        heading="latency p95",
        meaning="time within which 95 % of the deliveries came",
        better="lower",
        unit="ms",
        decimals=0,
        scale=1000.0,
    ),
    MetricFormat(
        name="pairs_ratio",
        heading="pairs delivered / asked",
        meaning="pairs in time and at the target fidelity / pairs asked for",
        better="higher",
    ),
    ADMISSION_DELAY,
    MetricFormat(
        name="contended_serve_claims_per_request",
        heading="contended to serve / request",
        meaning="contended claims made to serve requests",
        better="lower",
        decimals=2,
    ),
    MetricFormat(
        name="contended_stock_claims_per_request",
        heading="contended to stock / request",
        meaning="contended claims made to stock pairs ahead of demand",
        better="lower",
        decimals=2,
    ),
    MetricFormat(
        name="refusals_per_request",
        heading="refusals / request",
        meaning="allocations refused, or undone by a failed swap",
        better="lower",
        decimals=2,
    ),
    MetricFormat(
        name="pairs_wasted_fraction",
        heading="pairs wasted",
        meaning="fraction of the fresh pairs that expired or were lost",
        better="lower",
        decimals=2,
    ),
    MetricFormat(
        name="jain_index",
        heading="Jain fairness",
        meaning="evenness of delivery over requesting nodes: 1 is even",
        better="higher",
    ),
    MetricFormat(
        name="messages_per_request",
        heading="messages / request",
        meaning="control messages, counted once per hop",
        better="lower",
        decimals=1,
    ),
)
"""The terminal's table has the first five; the report and results.csv have all."""

APPLICATION_FORMATS: tuple[MetricFormat, ...] = (
    MetricFormat(
        name="key_bits_per_s",
        heading="secret key",
        meaning="secret bits per second from delivered qkd requests (BBM92, sifting not counted)",
        better="higher",
        unit="bit/s",
        decimals=2,
    ),
    MetricFormat(
        name="teleportation_fidelity",
        heading="teleportation fidelity",
        meaning="mean fidelity (2F + 1)/3 of a state teleported through delivered teleportation pairs",
        better="higher",
    ),
    MetricFormat(
        name="computing_delivery_ratio",
        heading="computing delivered",
        meaning="fraction of computing requests that had all pairs alive together in time",
        better="higher",
    ),
)
"""The figure of merit of each application. Tables show those that a study has numbers of."""

PAIR_RATE = MetricFormat(
    name="pairs_per_s",
    heading="pairs / s",
    meaning="pairs delivered per second of the measured window",
    better="higher",
    decimals=2,
    verb="delivered",
    amount="pairs per second",
)
PAIR_WAITING = MetricFormat(
    name="pair_waiting_s",
    heading="pair waiting time",
    meaning="mean time from request, or last delivery, to delivery",
    better="lower",
    unit="ms",
    decimals=2,
    scale=1000.0,
)
PAIR_FIDELITY = MetricFormat(
    name="pair_fidelity",
    heading="pair fidelity",
    meaning="mean true fidelity of the delivered pairs",
    better="higher",
    decimals=4,
)
PAIR_METRIC_FORMATS: tuple[MetricFormat, ...] = (
    PAIR_RATE,
    PAIR_WAITING,
    PAIR_FIDELITY,
    MetricFormat(
        name="pairs_wasted_fraction",
        heading="pairs wasted",
        meaning="fraction of the fresh pairs that expired or were lost",
        better="lower",
        decimals=2,
    ),
)
"""Replaces METRIC_FORMATS where all requests come at t = 0: no request arrives in the window to divide by."""


BOUND_FRACTIONS: tuple[MetricFormat, ...] = (
    MetricFormat(
        name="fraction_of_flow_bound",
        heading="of flow bound",
        meaning="deliveries, warm-up included / the most that the rates of sources and swaps allow",
        better="higher",
    ),
    MetricFormat(
        name="fraction_of_time_bound",
        heading="of time bound",
        meaning="deliveries, warm-up included / the most that rates and deadlines allow",
        better="higher",
    ),
    MetricFormat(
        name="fraction_of_stockless_bound",
        heading="of bound without stock",
        meaning="deliveries, warm-up included / the most that an arm without stock can reach",
        better="higher",
    ),
)
"""Deliveries of the whole run over the seed's bounds. Arms that keep stock may exceed the last bound."""

BOUND_HEADINGS: Mapping[str, str] = {
    "flow": "flow bound",
    "time": "time bound",
    "time_without_stock": "time bound without stock",
}
"""Fields of `qdpem.bounds.seed_bounds.Bounds` and their names in tables, in the order of BOUND_FRACTIONS."""

DECISION = MetricFormat(
    name="decision_ms",
    heading="decision / site asked",
    meaning="wall time of one decision of one node or controller",
    better="lower",
    unit="ms of wall time",
)
"""A metric of studies only. It is not compared between arms, and records keep wall times apart."""


def metric_formats_of(demand: Demand) -> tuple[MetricFormat, ...]:
    """The metrics that tables print for a scenario with this demand."""
    return PAIR_METRIC_FORMATS if demand.arrivals == "batch" else METRIC_FORMATS


def primary_formats_of(demand: Demand) -> tuple[MetricFormat, ...]:
    """The primary metrics: those by which arms are compared in sentences and ranked."""
    return (PAIR_RATE,) if demand.arrivals == "batch" else (DELIVERY, CONTENTION)

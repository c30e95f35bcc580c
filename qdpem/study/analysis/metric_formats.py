"""What tables say of a run: which metrics, under which heading, in which unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from qdpem.scenario.schema import Demand


@dataclass(frozen=True, kw_only=True)
class MetricFormat:
    """A metric as tables print it: heading, unit, decimals; `better` is "higher" or "lower"."""

    metric: str
    heading: str
    better: str
    unit: str = ""
    decimals: int = 3
    scale: float = 1.0

    def text(self, value: float) -> str:
        """The number as tables print it, an en dash for NaN."""
        return "–" if math.isnan(value) else f"{value * self.scale:.{self.decimals}f}"

    def signed(self, value: float) -> str:
        """A difference as tables print it, with its sign."""
        return "–" if math.isnan(value) else f"{value * self.scale:+.{self.decimals}f}"


DELIVERY = MetricFormat(metric="delivery_ratio", heading="delivered", better="higher")
CONTENTION = MetricFormat(
    metric="contended_claims_per_request", heading="contended / request", better="lower", decimals=2
)
METRIC_FORMATS: tuple[MetricFormat, ...] = (
    DELIVERY,
    CONTENTION,
    MetricFormat(metric="delivered_fidelity", heading="fidelity", better="higher"),
    MetricFormat(
        metric="latency_p50_s", heading="latency p50", better="lower", unit="ms", decimals=0, scale=1000.0
    ),
    MetricFormat(
        metric="latency_p95_s", heading="latency p95", better="lower", unit="ms", decimals=0, scale=1000.0
    ),
    MetricFormat(metric="pairs_ratio", heading="pairs delivered / asked", better="higher"),
    MetricFormat(
        metric="admission_delay_s_per_request",
        heading="admission delay / request",
        better="lower",
        unit="ms",
        decimals=1,
        scale=1000.0,
    ),
    MetricFormat(
        metric="contended_serve_claims_per_request",
        heading="contended to serve / request",
        better="lower",
        decimals=2,
    ),
    MetricFormat(
        metric="contended_stock_claims_per_request",
        heading="contended to stock / request",
        better="lower",
        decimals=2,
    ),
    MetricFormat(metric="refusals_per_request", heading="refusals / request", better="lower", decimals=2),
    MetricFormat(metric="pairs_wasted_fraction", heading="pairs wasted", better="lower", decimals=2),
    MetricFormat(metric="jain_index", heading="Jain fairness", better="higher"),
    MetricFormat(metric="messages_per_request", heading="messages / request", better="lower", decimals=1),
)
"""The first five make the terminal's table; the report and results.csv have all."""

PAIR_RATE = MetricFormat(metric="pairs_per_s", heading="pairs / s", better="higher", decimals=2)
PAIR_METRIC_FORMATS: tuple[MetricFormat, ...] = (
    PAIR_RATE,
    MetricFormat(
        metric="pair_waiting_s", heading="waiting / pair", better="lower", unit="ms", decimals=2, scale=1000.0
    ),
    MetricFormat(metric="pair_fidelity", heading="fidelity / pair", better="higher", decimals=4),
    MetricFormat(metric="pairs_wasted_fraction", heading="pairs wasted", better="lower", decimals=2),
)
"""In place of METRIC_FORMATS where all requests come at t = 0: none arrives in the window to divide by."""


BOUND_SHARES: tuple[MetricFormat, ...] = (
    MetricFormat(metric="share_of_flow_bound", heading="of flow bound", better="higher"),
    MetricFormat(metric="share_of_time_bound", heading="of time bound", better="higher"),
    MetricFormat(metric="share_of_stockless_bound", heading="of bound without stock", better="higher"),
)
"""Deliveries of the whole run over the seed's bounds; the last may be passed by arms that keep stock."""

BOUND_HEADINGS: Mapping[str, str] = {
    "flow": "flow bound",
    "time": "time bound",
    "time_without_stock": "time bound without stock",
}
"""The bounds of `qdpem.bounds.seed_bounds.Bounds` as tables name them, in the order of BOUND_SHARES."""

DECISION = MetricFormat(
    metric="decision_ms", heading="decision / site asked", better="lower", unit="ms of wall time"
)
"""Of a study alone: records keep wall-clock times apart, and no comparison is made of them."""

PAIRS_WITH_ERRORS = ("pair_waiting_s", "pair_fidelity")
"""Those that `qdpem run` prints with a standard error of their own."""


def metric_formats_of(demand: Demand) -> tuple[MetricFormat, ...]:
    """What tables print of a scenario with this demand."""
    return PAIR_METRIC_FORMATS if demand.arrivals == "batch" else METRIC_FORMATS


def headline_formats_of(demand: Demand) -> tuple[tuple[MetricFormat, str], ...]:
    """The measures that arms are compared by, each with the verb of its sentence."""
    if demand.arrivals == "batch":
        return ((PAIR_RATE, "delivered"),)
    return ((DELIVERY, "delivered"), (CONTENTION, "contended"))

"""What a study found, as values: one outcome per arm and seed, and what they say together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qdpem.scenario.schema import Arm, Demand, Scenario
from qdpem.study.statistics import (
    Effect,
    Interval,
    PairedDifference,
    holm,
    mean_interval,
    paired_difference,
    two_way_anova,
)

if TYPE_CHECKING:
    from qdpem.simulation.bounds import Bounds
    from qdpem.study.strongest import Strongest

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Measure:
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


DELIVERY = Measure(metric="delivery_ratio", heading="delivered", better="higher")
CONTENTION = Measure(
    metric="contended_claims_per_request", heading="contended / request", better="lower", decimals=2
)
MEASURES: tuple[Measure, ...] = (
    DELIVERY,
    CONTENTION,
    Measure(metric="delivered_fidelity", heading="fidelity", better="higher"),
    Measure(
        metric="latency_p50_s", heading="latency p50", better="lower", unit="ms", decimals=0, scale=1000.0
    ),
    Measure(
        metric="latency_p95_s", heading="latency p95", better="lower", unit="ms", decimals=0, scale=1000.0
    ),
    Measure(metric="pairs_ratio", heading="pairs delivered / asked", better="higher"),
    Measure(
        metric="held_back_s_per_request",
        heading="held back / request",
        better="lower",
        unit="ms",
        decimals=1,
        scale=1000.0,
    ),
    Measure(
        metric="contended_serve_claims_per_request",
        heading="contended to serve / request",
        better="lower",
        decimals=2,
    ),
    Measure(
        metric="contended_stock_claims_per_request",
        heading="contended to stock / request",
        better="lower",
        decimals=2,
    ),
    Measure(metric="conflicts_per_request", heading="conflicts / request", better="lower", decimals=2),
    Measure(metric="pairs_wasted_share", heading="pairs wasted", better="lower", decimals=2),
    Measure(metric="jain_index", heading="Jain fairness", better="higher"),
    Measure(metric="messages_per_request", heading="messages / request", better="lower", decimals=1),
)
"""The first five make the terminal's table; the report and results.csv have all."""

PAIR_RATE = Measure(metric="pairs_per_s", heading="pairs / s", better="higher", decimals=2)
PAIR_MEASURES: tuple[Measure, ...] = (
    PAIR_RATE,
    Measure(
        metric="pair_waiting_s", heading="waiting / pair", better="lower", unit="ms", decimals=2, scale=1000.0
    ),
    Measure(metric="pair_fidelity", heading="fidelity / pair", better="higher", decimals=4),
    Measure(metric="pairs_wasted_share", heading="pairs wasted", better="lower", decimals=2),
)
"""In place of MEASURES where all requests come at t = 0: none arrives in the window to divide by."""


BOUND_SHARES: tuple[Measure, ...] = (
    Measure(metric="share_of_flow_bound", heading="of flow bound", better="higher"),
    Measure(metric="share_of_time_bound", heading="of time bound", better="higher"),
    Measure(metric="share_of_stockless_bound", heading="of bound without stock", better="higher"),
)
"""Deliveries of the whole run over the seed's bounds; the last may be passed by arms that keep stock."""

BOUND_HEADINGS: Mapping[str, str] = {
    "flow": "flow bound",
    "time": "time bound",
    "time_without_stock": "time bound without stock",
}
"""The bounds of `qdpem.simulation.bounds.Bounds` as tables name them, in the order of BOUND_SHARES."""

DECISION = Measure(
    metric="decision_ms", heading="decision / site asked", better="lower", unit="ms of wall time"
)
"""Of a study alone: records keep wall-clock times apart, and no comparison is made of them."""


MANY_ARMS = 8
"""With more arms than these, sentences and curves speak of groups of them, not of each."""

PAIRS_WITH_ERRORS = ("pair_waiting_s", "pair_fidelity")
"""Those that `qdpem run` prints with a standard error of their own."""


def measures_of(demand: Demand) -> tuple[Measure, ...]:
    """What tables print of a scenario with this demand."""
    return PAIR_MEASURES if demand.arrivals == "once" else MEASURES


def headlines_of(demand: Demand) -> tuple[tuple[Measure, str], ...]:
    """The measures that arms are compared by, each with the verb of its sentence."""
    if demand.arrivals == "once":
        return ((PAIR_RATE, "delivered"),)
    return ((DELIVERY, "delivered"), (CONTENTION, "contended"))


def counted(number: int, what: str) -> str:
    """How many, in words.

    >>> counted(1, "seed"), counted(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def p_text(value: float) -> str:
    """A p-value as tables and sentences print it.

    >>> p_text(0.0002), p_text(0.04)
    ('< 0.001', '0.040')
    """
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One task's end. `fault` is a sentence when it failed, `note` one when a record was kept or redone.

    `asked_hz`: the mean rate of requests, the same for every arm of a seed. `decision_ms`: wall time for each
    site asked.
    """

    arm: str
    seed: int
    path: Path
    metrics: Mapping[str, float] | None = None
    fault: str = ""
    note: str = ""
    reused: bool = False
    asked_hz: float = math.nan
    wall_s: float = math.nan
    decision_ms: float = math.nan


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyResult:
    """A study's outcomes. `arms` are resolved: every one states policy, control, rights and knowledge.

    `strongest` says how the reference was found where it was, on the outcomes `tuning`. `bounds`: by seed,
    those that were found. `report` and `table`: the HTML page and the CSV file, once written.
    """

    scenario: Scenario
    directory: Path
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    reference: str
    outcomes: tuple[Outcome, ...]
    wall_s: float = math.nan
    report: Path | None = None
    table: Path | None = None
    strongest: Strongest | None = None
    tuning: tuple[Outcome, ...] = ()
    bounds: Mapping[int, Bounds] = field(default_factory=dict)
    bound_notes: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[Outcome, ...]:
        """All outcomes, those that found the reference first, each once."""
        return tuple({one.path: one for one in (*self.tuning, *self.outcomes)}.values())

    @property
    def faults(self) -> tuple[str, ...]:
        """A sentence per arm and fault, with the seeds it befell."""
        seeds: dict[tuple[str, str], list[str]] = {}
        for outcome in self.runs:
            if outcome.fault:
                seeds.setdefault((outcome.arm, outcome.fault), []).append(str(outcome.seed))
        return tuple(
            f"{arm}, seed{'s' if len(befallen) > 1 else ''} {', '.join(befallen)}: {fault}"
            for (arm, fault), befallen in seeds.items()
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about records that were redone, each once, and about bounds."""
        redone = dict.fromkeys(outcome.note for outcome in self.runs if outcome.note)
        return (*redone, *self.bound_notes)

    @cached_property
    def _by_task(self) -> dict[tuple[str, int], Outcome]:
        return {(outcome.arm, outcome.seed): outcome for outcome in self.outcomes}

    def outcome(self, arm: str, *, seed: int) -> Outcome:
        """The outcome of one task."""
        return self._by_task[arm, seed]

    def known(self, measures: Sequence[Measure]) -> tuple[Measure, ...]:
        """Those of `measures` that any outcome has."""
        found = [outcome.metrics or {} for outcome in self.outcomes]
        return tuple(
            one for one in measures if any(math.isfinite(some.get(one.metric, math.nan)) for some in found)
        )

    def asked_hz(self, seed: int) -> float:
        """Requests per second that a seed asks for on average; NaN where every task of it failed."""
        known = [one.asked_hz for one in self.outcomes if one.seed == seed and not math.isnan(one.asked_hz)]
        return known[0] if known else math.nan

    def scores(self, metric: str) -> dict[str, Floats]:
        """Arm -> float64 [seeds] in the order of `seeds`, NaN where a task failed."""
        return {
            arm.name: np.array([self._score(arm.name, seed, metric) for seed in self.seeds])
            for arm in self.arms
        }

    def _score(self, arm: str, seed: int, metric: str) -> float:
        metrics = self._by_task[arm, seed].metrics
        return math.nan if metrics is None else float(metrics.get(metric, math.nan))

    def means(self, metric: str) -> dict[str, Interval]:
        """Arm -> mean over seeds with its interval."""
        if metric not in self._means:
            self._means[metric] = {
                arm: mean_interval(values, key=f"{metric}/{arm}")
                for arm, values in self.scores(metric).items()
            }
        return dict(self._means[metric])

    @cached_property
    def _means(self) -> dict[str, dict[str, Interval]]:
        """As `_differences`."""
        return {}

    def most(self) -> dict[str, Interval]:
        """Bound, as BOUND_HEADINGS names it, -> the share of requests that it allows, mean over seeds.

        Of the whole run, warm-up included. Empty where requests are not what is counted, or none arrive.
        """
        counted = [one for one in self.bounds.values() if math.isfinite(one.asked) and one.asked > 0.0]
        shares = {
            name: np.array([getattr(one, name) / one.asked for one in counted]) for name in BOUND_HEADINGS
        }
        return {
            name: mean_interval(values, key=f"bound/{name}")
            for name, values in shares.items()
            if np.isfinite(values).any()
        }

    def difference(self, metric: str, arm: str, *, reference: str) -> PairedDifference:
        """The paired difference of any two arms: `arm` minus `reference`."""
        key = f"{metric}/{arm}" if reference == self.reference else f"{metric}/{arm}/{reference}"
        scores = self.scores(metric)
        return paired_difference(scores[arm], reference=scores[reference], key=key)

    def differences(self, metric: str) -> dict[str, PairedDifference]:
        """Arm -> paired difference from the reference arm; the reference itself is left out."""
        if metric not in self._differences:
            self._differences[metric] = {
                arm.name: self.difference(metric, arm.name, reference=self.reference)
                for arm in self.arms
                if arm.name != self.reference
            }
        return dict(self._differences[metric])

    @cached_property
    def _differences(self) -> dict[str, dict[str, PairedDifference]]:
        """Those worked out before: tables and sentences ask for the same ones again and again."""
        return {}

    @cached_property
    def ranked(self) -> tuple[Arm, ...]:
        """The arms, best first by the mean of the first headline; those without one come last."""
        measure = headlines_of(self.scenario.demand)[0][0]
        means = {arm: mean.estimate for arm, mean in self.means(measure.metric).items()}
        sign = -1.0 if measure.better == "higher" else 1.0
        return tuple(
            sorted(
                self.arms,
                key=lambda arm: math.inf if math.isnan(means[arm.name]) else sign * means[arm.name],
            )
        )

    def adjusted_p(self, metric: str) -> dict[str, float]:
        """Arm -> Holm's p of the paired t tests of this metric."""
        return holm({arm: found.p_value for arm, found in self.differences(metric).items()})

    def effects(self, metric: str) -> tuple[Effect, ...]:
        """Two-way analysis of variance of this metric; empty where there is too little to analyse."""
        scores = self.scores(metric).items()
        return two_way_anova({arm: values for arm, values in scores if np.isfinite(values).any()})

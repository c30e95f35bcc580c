"""The result of a study: its outcomes, one per arm and seed, and the statistics of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from qdpem.arrays import Floats
from qdpem.bounds.seed_bounds import Bounds
from qdpem.html_tables import html_heading, html_table
from qdpem.metrics.definitions import METRICS
from qdpem.scenario.load import scenario_hash
from qdpem.scenario.schema import Arm, Scenario
from qdpem.study.analysis.metric_formats import (
    BOUND_HEADINGS,
    DECISION,
    MetricFormat,
    metric_formats_of,
    primary_formats_of,
)
from qdpem.study.analysis.outcome import Outcome
from qdpem.study.analysis.reference_arm import ReferenceArm
from qdpem.study.analysis.statistics import (
    Effect,
    Interval,
    PairedDifference,
    holm,
    mean_interval,
    paired_difference,
    two_way_anova,
)

if TYPE_CHECKING:
    from pandas import DataFrame

TUNED_MARK = "†"

_SHOWN_METRICS = 5
"""Metrics of the table in a notebook."""

UNITS: Mapping[str, str] = MappingProxyType(
    {metric.name: metric.unit for metric in METRICS} | {DECISION.name: DECISION.unit}
)
"""The unit of each metric of a study, "" for a pure number."""


def arm_factors(arm: Arm) -> dict[str, str]:
    """Policy, control, pregeneration and forecaster of a resolved arm."""
    return {
        "policy": arm.policy or arm.name,
        "control": str(arm.control or ""),
        "pregeneration": str(arm.pregeneration or ""),
        "forecaster": arm.forecaster or "",
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyResult:
    """The outcomes of a study.

    Every arm states its policy, control, pregeneration and forecaster. If the reference was found on tuning
    seeds, `reference_arm` states how, and `tuning` has the outcomes there. `bounds` are by seed. `report` and
    `table` are the HTML page and the CSV file, once written.
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
    reference_arm: ReferenceArm | None = None
    tuning: tuple[Outcome, ...] = ()
    bounds: Mapping[int, Bounds] = field(default_factory=dict)
    bound_notes: tuple[str, ...] = ()
    directory_notes: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[Outcome, ...]:
        """All outcomes, each once; those that found the reference come first."""
        return tuple({outcome.path: outcome for outcome in (*self.tuning, *self.outcomes)}.values())

    @property
    def faults(self) -> tuple[str, ...]:
        """A sentence per arm and fault, with the seeds at which it occurred."""
        seeds: dict[tuple[str, str], list[str]] = {}
        for outcome in self.runs:
            if outcome.fault:
                seeds.setdefault((outcome.arm, outcome.fault), []).append(str(outcome.seed))
        return tuple(
            f"{arm}, seed{'s' if len(failed) > 1 else ''} {', '.join(failed)}: {fault}"
            for (arm, fault), failed in seeds.items()
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about records that were made again, each once, and about bounds."""
        redone = dict.fromkeys(outcome.note for outcome in self.runs if outcome.note)
        return (*redone, *self.bound_notes, *self.directory_notes)

    @cached_property
    def _by_task(self) -> dict[tuple[str, int], Outcome]:
        return {(outcome.arm, outcome.seed): outcome for outcome in self.outcomes}

    def outcome(self, arm: str, *, seed: int) -> Outcome:
        """The outcome of one task."""
        return self._by_task[arm, seed]

    def known(self, metric_formats: Sequence[MetricFormat]) -> tuple[MetricFormat, ...]:
        """Those of `metric_formats` for which any outcome has a number."""
        all_metrics = [outcome.metrics or {} for outcome in self.outcomes]
        return tuple(
            metric_format
            for metric_format in metric_formats
            if any(math.isfinite(metrics.get(metric_format.name, math.nan)) for metrics in all_metrics)
        )

    @cached_property
    def tuned_arms(self) -> Mapping[str, tuple[int, ...]]:
        """Arm -> the seeds of this comparison on which it was tuned or chosen as the reference, if any.

        Its figures on them are optimistic, so every table marks such an arm.
        """
        used = {arm.name: set(arm.tuned_on) for arm in self.arms}
        if self.reference_arm is not None:
            # The reference is the best on these seeds, partly by luck.
            used[self.reference] |= {outcome.seed for outcome in self.tuning}
        both = {arm: tuple(sorted(seeds.intersection(self.seeds))) for arm, seeds in used.items()}
        return {arm: seeds for arm, seeds in both.items() if seeds}

    def marked(self, arm: str) -> str:
        """The arm's name in a table, with TUNED_MARK if it is one of `tuned_arms`."""
        return f"{arm} {TUNED_MARK}" if arm in self.tuned_arms else arm

    @property
    def tuning_sentence(self) -> str:
        """What the mark means, and the arms and seeds concerned; "" if no arm is marked."""
        if not self.tuned_arms:
            return ""
        groups: dict[tuple[int, ...], list[str]] = {}
        for arm, seeds in self.tuned_arms.items():
            groups.setdefault(seeds, []).append(arm)
        listed = "; ".join(
            f"{', '.join(arms)} on seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
            for seeds, arms in groups.items()
        )
        return (
            f"{TUNED_MARK} Seeds of this comparison were also used for tuning, or to choose the reference:"
            f" {listed}. Figures of these arms are optimistic; compare on other seeds"
        )

    def frame(self) -> DataFrame:
        """All outcomes as a pandas DataFrame: a row for each arm and seed, a column for each metric.

        The index has the levels "arm" and "seed". A failed task has NaN throughout. Values are in the unit
        of the metric; `frame.attrs` has these "units" by metric, the "arms" with their factors, the name and
        hash of the scenario, and the name of the reference.
        """
        import pandas

        index = pandas.MultiIndex.from_tuples(
            [(outcome.arm, outcome.seed) for outcome in self.outcomes], names=["arm", "seed"]
        )
        frame = pandas.DataFrame([dict(outcome.metrics or {}) for outcome in self.outcomes], index=index)
        frame.columns.name = "metric"
        frame.attrs = {
            "scenario": self.scenario.name,
            "scenario_hash": scenario_hash(replace(self.scenario, study=None)),
            "reference": self.reference,
            "arms": {arm.name: arm_factors(arm) for arm in self.arms},
            "units": {name: UNITS.get(name, "") for name in frame.columns},
        }
        return frame

    def _repr_html_(self) -> str:
        """The means of all arms, best first, primary metrics with their intervals."""
        metric_formats = metric_formats_of(self.scenario.demand)[:_SHOWN_METRICS]
        primary = primary_formats_of(self.scenario.demand)
        rows = []
        for arm in self.ranked:
            mark = " *" if arm.name == self.reference else ""
            means = [(each, self.means(each.name)[arm.name]) for each in metric_formats]
            cells = [each.mean_text(mean, interval=each in primary) for each, mean in means]
            rows.append([self.marked(arm.name) + mark, *arm_factors(arm).values(), *cells])
        heads = ["arm", "policy", "control", "pregeneration", "forecaster"]
        heads += [each.heading_with_unit for each in metric_formats]
        title = f"Study {self.scenario.name}"
        note = f"mean of {len(self.seeds)} seeds [95 % interval], best first, * the reference"
        faults = "".join(html_heading("failed:", fault) for fault in self.faults)
        return html_heading(title, note) + html_table(heads, rows) + faults

    def asked_hz(self, seed: int) -> float:
        """The mean rate of requests of a seed; NaN if every task of it failed."""
        rates_hz = [
            outcome.asked_hz
            for outcome in self.outcomes
            if outcome.seed == seed and not math.isnan(outcome.asked_hz)
        ]
        return rates_hz[0] if rates_hz else math.nan

    def scores(self, metric: str) -> dict[str, Floats]:
        """Arm -> float64 [seeds] in the order of `seeds`; NaN where a task failed."""
        return {
            arm.name: np.array([self._score(arm.name, seed, metric) for seed in self.seeds])
            for arm in self.arms
        }

    def _score(self, arm: str, seed: int, metric: str) -> float:
        metrics = self._by_task[arm, seed].metrics
        return math.nan if metrics is None else float(metrics.get(metric, math.nan))

    def means(self, metric: str) -> dict[str, Interval]:
        """Arm -> the mean over seeds with its interval."""
        if metric not in self._means:
            self._means[metric] = {
                arm: mean_interval(values, key=f"{metric}/{arm}")
                for arm, values in self.scores(metric).items()
            }
        return dict(self._means[metric])

    @cached_property
    def _means(self) -> dict[str, dict[str, Interval]]:
        """A cache, as `_differences`."""
        return {}

    def maximum(self) -> dict[str, Interval]:
        """Key of BOUND_HEADINGS -> the fraction of requests that this bound allows, mean over seeds.

        Bounds are of the whole run, warm-up included. Empty if no requests arrive, and if bounds count pairs.
        """
        bounds = [
            bounds for bounds in self.bounds.values() if math.isfinite(bounds.asked) and bounds.asked > 0.0
        ]
        fractions = {
            name: np.array([getattr(of_seed, name) / of_seed.asked for of_seed in bounds])
            for name in BOUND_HEADINGS
        }
        return {
            name: mean_interval(values, key=f"bound/{name}")
            for name, values in fractions.items()
            if np.isfinite(values).any()
        }

    def difference(self, metric: str, arm: str, *, reference: str) -> PairedDifference:
        """The paired difference of any two arms: `arm` minus `reference`."""
        # The key names the stream of the bootstrap, so that a pair of arms always has the same interval.
        key = f"{metric}/{arm}" if reference == self.reference else f"{metric}/{arm}/{reference}"
        scores = self.scores(metric)
        return paired_difference(scores[arm], reference=scores[reference], key=key)

    def differences(self, metric: str) -> dict[str, PairedDifference]:
        """Arm -> its paired difference from the reference arm, which is itself left out."""
        if metric not in self._differences:
            self._differences[metric] = {
                arm.name: self.difference(metric, arm.name, reference=self.reference)
                for arm in self.arms
                if arm.name != self.reference
            }
        return dict(self._differences[metric])

    @cached_property
    def _differences(self) -> dict[str, dict[str, PairedDifference]]:
        """A cache: tables and sentences use the same differences, and each takes thousands of resamples."""
        return {}

    @cached_property
    def ranked(self) -> tuple[Arm, ...]:
        """The arms, best first by the mean of the first primary metric; arms without a mean come last."""
        metric_format = primary_formats_of(self.scenario.demand)[0]
        means = {arm: mean.estimate for arm, mean in self.means(metric_format.name).items()}
        sign = -1.0 if metric_format.better == "higher" else 1.0
        return tuple(
            sorted(
                self.arms,
                key=lambda arm: math.inf if math.isnan(means[arm.name]) else sign * means[arm.name],
            )
        )

    def adjusted_p(self, metric: str) -> dict[str, float]:
        """Arm -> Holm's p of the paired t tests of this metric."""
        return holm({arm: difference.p_value for arm, difference in self.differences(metric).items()})

    def effects(self, metric: str) -> tuple[Effect, ...]:
        """Two-way analysis of variance of this metric; empty if there are too few arms or seeds."""
        scores = self.scores(metric).items()
        return two_way_anova({arm: values for arm, values in scores if np.isfinite(values).any()})

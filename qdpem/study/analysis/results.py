"""What a study found, as values: what its outcomes, one per arm and seed, say together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdpem.bounds.seed_bounds import Bounds
from qdpem.scenario.schema import Arm, Scenario
from qdpem.study.analysis.metric_formats import BOUND_HEADINGS, MetricFormat, headline_formats_of
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

Floats = NDArray[np.float64]


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
    strongest: ReferenceArm | None = None
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

    def known(self, measures: Sequence[MetricFormat]) -> tuple[MetricFormat, ...]:
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

    def maximum(self) -> dict[str, Interval]:
        """Bound, as BOUND_HEADINGS names it, -> the share of requests that it allows, mean over seeds.

        Of the whole run, warm-up included. Empty where requests are not what is counted, or none arrive.
        """
        counted = [one for one in self.bounds.values() if math.isfinite(one.asked) and one.asked > 0.0]
        fractions = {
            name: np.array([getattr(one, name) / one.asked for one in counted]) for name in BOUND_HEADINGS
        }
        return {
            name: mean_interval(values, key=f"bound/{name}")
            for name, values in fractions.items()
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
        measure = headline_formats_of(self.scenario.demand)[0][0]
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

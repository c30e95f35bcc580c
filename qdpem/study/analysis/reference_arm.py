"""The reference arm: the strongest arm without a forecast, found on the tuning seeds.

A gain over a weak arm proves nothing. Every arm of a study whose forecaster is none or constant, under either
control and with any pregeneration, therefore runs on the tuning seeds first. The best of them by mean
delivery is the reference on the seeds that count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qdpem.scenario.schema import Arm
from qdpem.study.analysis.metric_formats import MetricFormat
from qdpem.study.analysis.outcome import Outcome
from qdpem.study.analysis.statistics import PairedDifference, paired_difference

WITHOUT_FORECAST = ("none", "constant")
"""Forecasters that foresee nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceArm:
    """The name of the strongest arm without a forecast, and the result that made it the reference.

    `means` has the mean of every contender, best first. `margin` is the best minus the next, None with one
    arm. `unfinished` are the arms that failed on a tuning seed, which excludes them.
    """

    name: str
    metric_format: MetricFormat
    seeds: tuple[int, ...]
    means: dict[str, float]
    margin: PairedDifference | None
    unfinished: tuple[str, ...] = ()


def contenders(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """The resolved arms without a forecast."""
    return tuple(arm for arm in arms if arm.forecaster in WITHOUT_FORECAST)


def find_reference_arm(
    names: Sequence[str], outcomes: Sequence[Outcome], *, seeds: Sequence[int], metric_format: MetricFormat
) -> ReferenceArm:
    """The best of the arms `names` on the tuning `seeds`; the first of them if every one failed there."""
    by_task = {
        (outcome.arm, outcome.seed): outcome.metrics for outcome in outcomes if outcome.metrics is not None
    }
    metric = metric_format.name
    scores = {
        name: np.array(
            [by_task[name, seed][metric] if (name, seed) in by_task else math.nan for seed in seeds]
        )
        for name in names
    }
    finished = [name for name in names if np.isfinite(scores[name]).all()]
    # The sort is stable: equal arms stay in the order of the study.
    ranked = sorted(finished, key=lambda name: -float(scores[name].mean()))
    margin = None
    if len(ranked) > 1:
        first, second = ranked[:2]
        margin = paired_difference(scores[first], reference=scores[second], key=f"strongest/{first}")
    return ReferenceArm(
        name=ranked[0] if ranked else names[0],
        metric_format=metric_format,
        seeds=tuple(seeds),
        means={name: float(scores[name].mean()) for name in ranked},
        margin=margin,
        unfinished=tuple(name for name in names if name not in finished),
    )


def reference_sentences(reference: ReferenceArm, *, compared_on: Sequence[int]) -> list[str]:
    """Sentences that state how the reference was found; `compared_on` are the seeds of the comparison."""
    seeds = f"tuning seed{'s' if len(reference.seeds) > 1 else ''} {', '.join(map(str, reference.seeds))}"
    if not reference.means:
        return [
            f"Every arm without a forecast failed on a {seeds}, so the strongest is unknown."
            f" {reference.name}, the first of them, is the reference instead."
        ]
    sentences = [_strongest(reference, seeds)]
    if reference.unfinished:
        sentences.append(
            f"{', '.join(reference.unfinished)} failed on a {seeds} and could not become the reference."
        )
    if set(reference.seeds) & set(compared_on):
        sentences.append(
            f"{reference.name} was chosen on seeds that are also compared here, so its lead over the other"
            " arms without a forecast is optimistic."
        )
    return sentences


def _strongest(reference: ReferenceArm, seeds: str) -> str:
    text, (best, *others) = reference.metric_format.text, reference.means.items()
    sentence = (
        f"The reference is {best[0]}, the strongest of {len(reference.means)} arms without a forecast."
        f" On the {seeds} its mean of {reference.metric_format.heading!r} is {text(best[1])}"
    )
    if reference.margin is None:
        return f"{sentence}."
    return f"{sentence}; the next, {others[0][0]}, has {text(others[0][1])} ({_margin(reference)})."


def _margin(reference: ReferenceArm) -> str:
    margin, signed = reference.margin, reference.metric_format.signed
    assert margin is not None
    if math.isnan(margin.student_low):
        return f"{signed(margin.difference.estimate)}, no interval from one seed"
    bounds = f"{signed(margin.student_low)} to {signed(margin.student_high)}"
    verdict = "" if margin.clear else ", too little to distinguish the two"
    return f"{signed(margin.difference.estimate)}, 95 % interval {bounds}{verdict}"

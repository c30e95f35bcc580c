"""The strongest arm without a forecast: found on the tuning seeds, then what all others are compared with.

A gain over a weak arm proves nothing. So every arm of a study whose knowledge is none or constant, of
whatever control and rights, runs on tuning seeds first, and the best of them by mean delivery is the
reference on the seeds that count.
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
"""Knowledge that foresees nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceArm:
    """Which arm it is, by how much, and on which seeds it was found.

    `means`: the measure of every arm that could be it, best first; `margin`: the best minus the next, None
    with one arm. `unfinished`: arms that failed on a tuning seed, and so could not be it.
    """

    name: str
    measure: MetricFormat
    seeds: tuple[int, ...]
    means: dict[str, float]
    margin: PairedDifference | None
    unfinished: tuple[str, ...] = ()


def contenders(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """The resolved arms that foresee nothing."""
    return tuple(arm for arm in arms if arm.forecaster in WITHOUT_FORECAST)


def find_reference_arm(
    names: Sequence[str], outcomes: Sequence[Outcome], *, seeds: Sequence[int], measure: MetricFormat
) -> ReferenceArm:
    """The best of the arms `names` on the tuning `seeds`; the first of them where every one failed there."""
    found = {(one.arm, one.seed): one.metrics for one in outcomes if one.metrics is not None}
    scores = {
        name: np.array(
            [found[name, seed][measure.metric] if (name, seed) in found else math.nan for seed in seeds]
        )
        for name in names
    }
    whole = [name for name in names if np.isfinite(scores[name]).all()]
    ranked = sorted(whole, key=lambda name: -float(scores[name].mean()))
    margin = None
    if len(ranked) > 1:
        first, second = ranked[:2]
        margin = paired_difference(scores[first], reference=scores[second], key=f"strongest/{first}")
    return ReferenceArm(
        name=ranked[0] if ranked else names[0],
        measure=measure,
        seeds=tuple(seeds),
        means={name: float(scores[name].mean()) for name in ranked},
        margin=margin,
        unfinished=tuple(name for name in names if name not in whole),
    )


def reference_sentence(found: ReferenceArm, *, compared_on: Sequence[int]) -> list[str]:
    """What was found, in sentences."""
    on = f"tuning seed{'s' if len(found.seeds) > 1 else ''} {', '.join(map(str, found.seeds))}"
    if not found.means:
        return [
            f"Every arm without a forecast failed on a {on}, so that the strongest is unknown;"
            f" {found.name} stands in for it."
        ]
    text, (best, *others) = found.measure.text, found.means.items()
    said = (
        f"{best[0]} is the strongest of {len(found.means)} arms without a forecast, and what the others are"
    )
    said += f" compared with; {found.measure.heading} on the {on}: {text(best[1])}"
    if found.margin is not None:
        said += f", and {text(others[0][1])} by {others[0][0]}, the next ({_margin(found, found.margin)})"
    sentences = [f"{said}."]
    if found.unfinished:
        sentences.append(f"{', '.join(found.unfinished)} failed on a {on} and could not be the strongest.")
    if set(found.seeds) & set(compared_on):
        sentences.append(
            f"{found.name} was chosen on seeds that are compared here: its lead over the others without a"
            " forecast is optimistic."
        )
    return sentences


def _margin(found: ReferenceArm, margin: PairedDifference) -> str:
    scale, decimals = found.measure.scale, found.measure.decimals
    gap = f"{margin.difference.estimate * scale:+.{decimals}f}"
    if math.isnan(margin.student_low):
        return f"{gap}, one seed gives no interval"
    bounds = f"{margin.student_low * scale:+.{decimals}f} to {margin.student_high * scale:+.{decimals}f}"
    told = "" if margin.clear else ", too little to tell the two apart"
    return f"{gap}, 95 % interval {bounds}{told}"

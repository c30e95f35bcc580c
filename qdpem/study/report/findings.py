"""Findings: sentences computed from intervals that state what a study shows, and what it does not."""

from __future__ import annotations

import math

from qdpem.scenario.schema import Arm
from qdpem.study.analysis.contrasts import contrast_pairs
from qdpem.study.analysis.metric_formats import (
    ADMISSION_DELAY,
    CONTENTION,
    DELIVERY,
    primary_formats_of,
)
from qdpem.study.analysis.reference_arm import reference_sentences
from qdpem.study.analysis.results import StudyResult
from qdpem.study.report.claim import claim_sentences, claimed_arm
from qdpem.study.report.comparisons import MANY_ARMS, arm_sentence, arm_sentences, decided
from qdpem.study.report.wording import counted, listed

FEW_SEEDS = 10

MAX_SHOWN = 5
"""Findings that a report and a terminal show; the others are folded or left to the report."""

_FACTORS = ("control", "pregeneration", "forecaster", "policy")


def findings(result: StudyResult) -> list[str]:
    """Sentences on what the study shows, the most important first.

    They begin with the best arm, the claim under test, the arm of that claim (or the best arm other than the
    reference) beside the reference, and the limits of few seeds. The origin of the reference, all other arms
    and confounded factors follow. A difference is stated as one only if `PairedDifference.clear` and Holm's
    p is below 0.05.
    """
    subject = _subject(result)
    subjects = [subject.name] if subject else []
    metric_formats = primary_formats_of(result.scenario.demand)
    first = [arm_sentence(result, metric, arm) for arm in subjects for metric in metric_formats]
    others = [
        sentence for metric in metric_formats for sentence in arm_sentences(result, metric, without=subjects)
    ]
    origin = (
        reference_sentences(result.reference_arm, compared_on=result.seeds) if result.reference_arm else []
    )
    return [
        *([f"{result.tuning_sentence}."] if result.tuned_arms else []),
        *_best(result),
        *claim_sentences(result),
        *(first or others),
        *_few_seeds(result),
        *_admission_delay(result),
        *origin,
        *(others if first else ()),
        *_confounded(result),
    ]


def _subject(result: StudyResult) -> Arm | None:
    """The arm a reader looks for first: that of the claim, or the best one other than the reference.

    Many arms without a claim have none, because those with the same verdict share a sentence.
    """
    others = [arm for arm in result.ranked if arm.name != result.reference]
    claimed = claimed_arm(result)
    if claimed in others:
        return claimed
    return next(iter(others), None) if len(result.arms) <= MANY_ARMS else None


def _best(result: StudyResult) -> list[str]:
    """The arm with the highest mean of the first primary metric; nothing where there is no other arm."""
    metric, best = primary_formats_of(result.scenario.demand)[0], result.ranked[0].name
    mean = result.means(metric.name)[best]
    if math.isnan(mean.estimate) or len(result.arms) < 2:
        return []
    known = not math.isnan(mean.low)
    bounds = f" (95 % interval {metric.text(mean.low)} to {metric.text(mean.high)})" if known else ""
    return [f"{best} {metric.verb} most: {metric.text(mean.estimate)} {metric.amount}{bounds}."]


def _admission_delay(result: StudyResult) -> list[str]:
    """Arms that contend less than the reference and delay requests longer: such a delay is no claim."""
    adjusted = result.adjusted_p(CONTENTION.name)
    delays = result.differences(ADMISSION_DELAY.name)
    delay_p = result.adjusted_p(ADMISSION_DELAY.name)
    sentences = []
    for arm, contention in result.differences(CONTENTION.name).items():
        longer = delays[arm].difference
        contends_less = decided(contention, p=adjusted[arm]) and contention.difference.estimate < 0.0
        if contends_less and decided(delays[arm], p=delay_p[arm]) and longer.estimate > 0.0:
            sentences.append(
                f"{arm} waits {1e3 * longer.estimate:.0f} ms longer than {result.reference} before it claims"
                " resources for a request, on average. Contention does not count this delay, which lowers it."
            )
    return sentences


def _confounded(result: StudyResult) -> list[str]:
    """Arms that differ from the reference in several factors, those with the same factors together.

    Two arms of a contrast differ in one factor, whatever their settings.
    """
    reference = next(other for other in result.arms if other.name == result.reference)
    contrasts = [
        {arm.name for arm in pair} for pairs in contrast_pairs(result.arms).values() for pair in pairs
    ]
    by_factors: dict[tuple[str, ...], list[str]] = {}
    for arm in result.arms:
        if {arm.name, reference.name} in contrasts:
            continue
        different = tuple(name for name in _FACTORS if getattr(arm, name) != getattr(reference, name))
        if len(different) > 1:
            by_factors.setdefault(different, []).append(arm.name)
    return [
        f"{listed(arms)} {'differs' if len(arms) == 1 else 'differ'} from {reference.name} in"
        f" {listed(factors)} at once, so the difference cannot be attributed to one of them."
        for factors, arms in by_factors.items()
    ]


def _few_seeds(result: StudyResult) -> list[str]:
    if len(result.seeds) >= FEW_SEEDS:
        return []
    return [
        f"With {counted(len(result.seeds), 'seed')} every interval here is rough. Bootstrap intervals of so"
        " few seeds are too narrow, and a difference that is not shown may still exist."
    ]


def spread_sentence(result: StudyResult) -> str:
    """The measured effect of pairing by seed on the standard error of delivery; "" if there is none."""
    differences = [
        difference
        for difference in result.differences(DELIVERY.name).values()
        if difference.paired_spread > 0.0 and math.isfinite(difference.unpaired_spread)
    ]
    if not differences:
        return ""
    factors = sorted(difference.unpaired_spread / difference.paired_spread for difference in differences)
    median = factors[len(factors) // 2]
    effect = "smaller" if median > 1.0 else "larger"
    size = median if median > 1.0 else 1.0 / median
    return (
        f"Pairing arms by seed makes the standard error of a delivery difference {size:.1f} times {effect}"
        " (median arm)."
    )

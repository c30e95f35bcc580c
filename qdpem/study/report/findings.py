"""Findings: sentences computed from intervals that state what a study shows, and what it does not."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

from qdpem.scenario.schema import Arm, Claim
from qdpem.study.analysis.contrasts import contrast_pairs
from qdpem.study.analysis.metric_formats import (
    ADMISSION_DELAY,
    CONTENTION,
    DELIVERY,
    MetricFormat,
    primary_formats_of,
)
from qdpem.study.analysis.reference_arm import reference_sentences
from qdpem.study.analysis.results import StudyResult
from qdpem.study.analysis.statistics import CONFIDENCE, PairedDifference
from qdpem.study.report.wording import counted, listed, p_text

FEW_SEEDS = 10
MANY_ARMS = 8
"""With more arms than these, sentences and curves show groups of arms instead of each arm."""

_FACTORS = ("control", "pregeneration", "forecaster", "policy")

_Verdict: TypeAlias = Literal["more", "less", "equal", "unknown", "too few seeds", "no ratio"]


def findings(result: StudyResult) -> list[str]:
    """Sentences on the reference, each arm's primary metrics beside it, and the limits of the comparison.

    A difference is stated as one only if `PairedDifference.clear` and Holm's p is below 0.05. If there are
    many arms, those with the same verdict share a sentence without intervals.
    """
    sentences: list[str] = [f"{result.tuning_sentence}."] if result.tuned_arms else []
    if result.reference_arm:
        sentences += reference_sentences(result.reference_arm, compared_on=result.seeds)
    for metric_format in primary_formats_of(result.scenario.demand):
        compare = _by_arm if len(result.arms) <= MANY_ARMS else _by_verdict
        sentences += compare(result, metric_format)
    sentences += _admission_delay(result)
    sentences += _claim_under_test(result)
    sentences += _confounded(result)
    sentences += _few_seeds(result)
    return sentences


def decided(difference: PairedDifference, *, p: float) -> bool:
    """Whether a difference counts as one: both intervals exclude zero, and Holm's p is below 0.05."""
    return difference.clear and p < 1.0 - CONFIDENCE


def _by_arm(result: StudyResult, metric_format: MetricFormat) -> list[str]:
    """A sentence per arm."""
    adjusted = result.adjusted_p(metric_format.name)
    return [
        _compare(arm, metric_format, difference, reference=result.reference, p=adjusted[arm])
        for arm, difference in result.differences(metric_format.name).items()
    ]


def _by_verdict(result: StudyResult, metric_format: MetricFormat) -> list[str]:
    """A sentence per verdict, its arms in the order of their differences."""
    adjusted, differences = result.adjusted_p(metric_format.name), result.differences(metric_format.name)
    groups: dict[_Verdict, list[str]] = {verdict: [] for verdict in get_args(_Verdict)}
    for arm, difference in differences.items():
        groups[_verdict(difference, p=adjusted[arm])].append(arm)
    sentences = []
    for verdict, arms in groups.items():
        arms.sort(key=lambda arm: abs(differences[arm].difference.estimate))
        if len(arms) == 1:
            [arm] = arms
            sentences.append(
                _compare(arm, metric_format, differences[arm], reference=result.reference, p=adjusted[arm])
            )
        elif arms:
            sentences.append(_compare_group(verdict, arms, metric_format, result))
    return sentences


def _verdict(difference: PairedDifference, *, p: float) -> _Verdict:
    if difference.difference.seeds < 2:
        return "too few seeds"
    if not math.isfinite(difference.ratio.estimate):
        return "no ratio"
    if not decided(difference, p=p):
        return "equal" if difference.equal else "unknown"
    return "more" if difference.ratio.estimate > 1.0 else "less"


def _compare_group(
    verdict: _Verdict, arms: list[str], metric_format: MetricFormat, result: StudyResult
) -> str:
    """One sentence on several arms with the same verdict."""
    reference, verb = result.reference, metric_format.verb
    differences = result.differences(metric_format.name)
    if verdict == "too few seeds":
        return f"{listed(arms)} have too few seeds in common with {reference} to compare what they {verb}."
    if verdict == "no ratio":
        return f"{reference} {verb} nothing, so no ratio with {listed(arms)} exists."
    changes = listed([f"{arm} {differences[arm].ratio.estimate - 1.0:+.1%}" for arm in arms])
    if verdict == "equal":
        return f"{len(arms)} arms {verb} as much as {reference} to within 3 %: {changes}."
    if verdict == "unknown":
        return (
            f"{len(arms)} arms cannot be distinguished from {reference} by what they {verb}: the bootstrap"
            f" interval, Student's t interval and Holm's p do not all show a difference: {changes}."
        )
    worse = "" if (verdict == "more") == (metric_format.better == "higher") else ", which is worse"
    return f"{len(arms)} arms {verb} {verdict} than {reference}{worse}: {changes}."


def _compare(
    arm: str, metric_format: MetricFormat, difference: PairedDifference, *, reference: str, p: float
) -> str:
    verb, seeds = metric_format.verb, f"{difference.difference.seeds} seeds"
    if difference.difference.seeds < 2:
        return f"{arm} and {reference} have too few seeds in common to compare what they {verb}."
    if not math.isfinite(difference.ratio.estimate):
        return f"{reference} {verb} nothing, so no ratio with {arm} exists."
    change = difference.ratio.estimate - 1.0
    amount = f"{abs(change):.1%} {'more' if change > 0.0 else 'less'}"
    if not decided(difference, p=p):
        if difference.equal:
            return f"{arm} {verb} as much as {reference} to within 3 % ({_bounds(difference)}, {seeds})."
        return (
            f"{arm} and {reference} cannot be distinguished by what they {verb}: the bootstrap interval,"
            f" Student's t interval and Holm's p {p_text(p)} do not all show a difference"
            f" ({_bounds(difference)}, {seeds})."
        )
    better = (change > 0.0) == (metric_format.better == "higher")
    verdict = "" if better else ", which is worse"
    return (
        f"{arm} {verb} {amount} than {reference}{verdict}"
        f" ({_bounds(difference)}, {seeds}, Holm's p {p_text(p)})."
    )


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


def _bounds(difference: PairedDifference) -> str:
    low, high = difference.ratio.low - 1.0, difference.ratio.high - 1.0
    if math.isnan(low):
        return "no interval of the ratio exists"
    return f"95 % interval {low:+.1%} to {high:+.1%}"


def claimed_arm(result: StudyResult) -> Arm | None:
    """The arm whose claim the study tests; None without a claim or without the arm."""
    claim = _claim_of(result)
    return next((arm for arm in result.arms if claim is not None and arm.name == claim.arm), None)


def _claim_of(result: StudyResult) -> Claim | None:
    return result.scenario.study.claim if result.scenario.study else None


def _claim_under_test(result: StudyResult) -> list[str]:
    """Whether the study's claim is reached: the bounds of both intervals must reach it."""
    claim, arm = _claim_of(result), claimed_arm(result)
    against = _rival(result, claim) if claim and arm else None
    if claim is None or arm is None or against is None:
        return []
    delivered = result.difference(DELIVERY.name, arm.name, reference=against)
    contended = result.difference(CONTENTION.name, arm.name, reference=against)
    if delivered.difference.seeds < 2 or not math.isfinite(delivered.ratio.estimate):
        return []
    more = delivered.ratio.low >= 1.0 + claim.delivery_gain
    less = contended.ratio.high <= 1.0 - claim.contention_relief
    verdict = "reached" if more and less else "not reached"
    if more != less:
        verdict = "reached only for delivery" if more else "reached only for contention"
    return [
        f"The claim that {arm.name} delivers {claim.delivery_gain:.0%} more and contends"
        f" {claim.contention_relief:.0%} less than {against} is {verdict}; the bounds of the 95 % intervals"
        " decide."
    ]


def _rival(result: StudyResult, claim: Claim) -> str | None:
    """The arm that the claim is made against; None if the study has none.

    The strongest arm under central control is the reference if that is central, otherwise the best central
    arm on the tuning seeds, otherwise the best central arm of the comparison.
    """
    control = {arm.name: arm.control for arm in result.arms}
    if claim.against:
        return claim.against if claim.against in control else None
    on_tuning_seeds = result.reference_arm.means if result.reference_arm else ()
    by_strength = (result.reference, *on_tuning_seeds, *(arm.name for arm in result.ranked))
    return next((name for name in by_strength if control[name] == "central" and name != claim.arm), None)


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


def demand_sentence(result: StudyResult) -> str:
    """The rate of requests over the seeds, and the rule that sets it."""
    demand = result.scenario.demand
    if demand.arrivals == "batch":
        return "all requests arrive at t = 0"
    if demand.rate_hz is not None:
        return f"{demand.rate_hz:g} requests/s on average"
    rates_hz = [rate for rate in map(result.asked_hz, result.seeds) if not math.isnan(rate)]
    rule = (
        f"peak at {demand.load_factor:g} of the rate at which the network of each seed could serve"
        f" {demand.served_fraction:.0%} of the requests in the long run"
    )
    if not rates_hz:
        return rule
    mean = math.fsum(rates_hz) / len(rates_hz)
    return f"{rule}: {mean:.3g} requests/s on average, {min(rates_hz):.3g} to {max(rates_hz):.3g} by seed"


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

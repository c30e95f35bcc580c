"""Sentences computed from intervals: what a study shows, and what it does not."""

from __future__ import annotations

import math

from qdpem.study.analysis.contrasts import contrast_pairs
from qdpem.study.analysis.metric_formats import CONTENTION, DELIVERY, MetricFormat, headline_formats_of
from qdpem.study.analysis.reference_arm import reference_sentence
from qdpem.study.analysis.results import StudyResult
from qdpem.study.analysis.statistics import CONFIDENCE, PairedDifference
from qdpem.study.report.wording import counted, listed, p_text

FEW_SEEDS = 10
_ADMISSION_DELAY = "admission_delay_s_per_request"
MANY_ARMS = 8
"""With more arms than these, sentences and curves speak of groups of them, not of each."""

CLAIMANT = "dpem"
"""The policy whose claim is under test."""

CLAIMED_GAIN, CLAIMED_RELIEF = 0.25, 0.17
"""What predictive decentralised allocation is said to gain over central allocation."""


def findings(result: StudyResult) -> list[str]:
    """How the reference was found, what each arm does beside it by each headline metric, then what the
    comparison mixes and how far to trust it.

    A difference is called one only when it is `PairedDifference.clear` and Holm's p is below 0.05. Of many
    arms those of one verdict share a sentence, and the intervals stand in the table of differences alone.
    """
    sentences = reference_sentence(result.strongest, compared_on=result.seeds) if result.strongest else []
    for measure, verb in headline_formats_of(result.scenario.demand):
        compare = _by_arm if len(result.arms) <= MANY_ARMS else _by_verdict
        sentences += compare(result, measure, verb)
    sentences += _admission_delay(result)
    sentences += _claims(result)
    sentences += _confounded(result)
    return [sentence for sentence in [*sentences, _few(result)] if sentence]


def decided(found: PairedDifference, *, p: float) -> bool:
    """Whether a difference may be called one: both intervals exclude zero, and so does Holm's test."""
    return found.clear and p < 1.0 - CONFIDENCE


def _by_arm(result: StudyResult, measure: MetricFormat, verb: str) -> list[str]:
    """A sentence per arm."""
    adjusted = result.adjusted_p(measure.metric)
    return [
        _compare(arm, verb, measure, found, reference=result.reference, p=adjusted[arm])
        for arm, found in result.differences(measure.metric).items()
    ]


def _by_verdict(result: StudyResult, measure: MetricFormat, verb: str) -> list[str]:
    """A sentence per verdict, its arms in the order of what they differ by."""
    adjusted, differences = result.adjusted_p(measure.metric), result.differences(measure.metric)
    groups: dict[str, list[str]] = {one: [] for one in ("more", "less", "equal", "unknown", "few", "none")}
    for arm, found in differences.items():
        groups[_verdict(found, p=adjusted[arm])].append(arm)
    sentences = []
    for verdict, arms in groups.items():
        arms.sort(key=lambda arm: abs(differences[arm].difference.estimate))
        if len(arms) == 1:
            [arm] = arms
            sentences.append(
                _compare(arm, verb, measure, differences[arm], reference=result.reference, p=adjusted[arm])
            )
        elif arms:
            sentences.append(_together(verdict, arms, verb, measure, result))
    return sentences


def _verdict(found: PairedDifference, *, p: float) -> str:
    if found.difference.seeds < 2:
        return "few"
    if not math.isfinite(found.ratio.estimate):
        return "none"
    if not decided(found, p=p):
        return "equal" if found.equal else "unknown"
    return "more" if found.ratio.estimate > 1.0 else "less"


def _together(verdict: str, arms: list[str], verb: str, measure: MetricFormat, result: StudyResult) -> str:
    """What several arms of one verdict do."""
    reference, differences = result.reference, result.differences(measure.metric)
    if verdict == "few":
        return f"{listed(arms)} have too few seeds in common with {reference} to compare what they {verb}."
    if verdict == "none":
        return f"{reference} {verb} nothing, so no ratio with {listed(arms)} exists."
    changes = listed([f"{arm} {differences[arm].ratio.estimate - 1.0:+.1%}" for arm in arms])
    if verdict == "equal":
        return f"{len(arms)} arms {verb} as much as {reference} to within 3 %: {changes}."
    if verdict == "unknown":
        return (
            f"{len(arms)} arms and {reference} cannot be told apart by what they {verb}, since bootstrap"
            f" interval, Student's t interval and Holm's p do not all show a difference: {changes}."
        )
    gain = "" if (verdict == "more") == (measure.better == "higher") else ", which is no gain"
    return f"{len(arms)} arms {verb} {verdict} than {reference}{gain}: {changes}."


def _compare(
    arm: str, verb: str, measure: MetricFormat, found: PairedDifference, *, reference: str, p: float
) -> str:
    seeds = f"{found.difference.seeds} seeds"
    if found.difference.seeds < 2:
        return f"{arm} and {reference} have too few seeds in common to compare what they {verb}."
    if not math.isfinite(found.ratio.estimate):
        return f"{reference} {verb} nothing, so no ratio with {arm} exists."
    change = found.ratio.estimate - 1.0
    amount = f"{abs(change):.1%} {'more' if change > 0.0 else 'less'}"
    if not decided(found, p=p):
        if found.equal:
            return f"{arm} {verb} as much as {reference} to within 3 % ({_bounds(found)}, {seeds})."
        return (
            f"{arm} and {reference} cannot be told apart by what they {verb}: bootstrap interval, Student's t"
            f" interval and Holm's p {p_text(p)} do not all show a difference ({_bounds(found)}, {seeds})."
        )
    gain = (change > 0.0) == (measure.better == "higher")
    verdict = "" if gain else ": no gain here"
    return f"{arm} {verb} {amount} than {reference} ({_bounds(found)}, {seeds}, Holm p {p_text(p)}){verdict}."


def _admission_delay(result: StudyResult) -> list[str]:
    """Arms that contend less than the reference and hold requests back longer: such waiting is no claim."""
    adjusted = result.adjusted_p(CONTENTION.metric)
    waits = result.differences(_ADMISSION_DELAY)
    wait_p = result.adjusted_p(_ADMISSION_DELAY)
    sentences = []
    for arm, found in result.differences(CONTENTION.metric).items():
        longer = waits[arm].difference
        less = decided(found, p=adjusted[arm]) and found.difference.estimate < 0.0
        if less and decided(waits[arm], p=wait_p[arm]) and longer.estimate > 0.0:
            sentences.append(
                f"{arm} holds requests back {1e3 * longer.estimate:.0f} ms longer than {result.reference}"
                " before it claims anything for them, on average; contention does not see that wait, and is"
                " lower for it."
            )
    return sentences


def _bounds(found: PairedDifference) -> str:
    low, high = found.ratio.low - 1.0, found.ratio.high - 1.0
    if math.isnan(low):
        return "no interval of the ratio exists"
    return f"95 % interval {low:+.1%} to {high:+.1%}"


def _claims(result: StudyResult) -> list[str]:
    """Whether each dpem arm reaches the published claim against a central reference: both bounds must."""
    control = {arm.name: arm.control for arm in result.arms}
    if control[result.reference] != "central":
        return []
    delivered, contended = result.differences(DELIVERY.metric), result.differences(CONTENTION.metric)
    sentences = []
    for arm in result.arms:
        if arm.policy != CLAIMANT or arm.name == result.reference or delivered[arm.name].difference.seeds < 2:
            continue
        if not math.isfinite(delivered[arm.name].ratio.estimate):
            continue
        more = delivered[arm.name].ratio.low >= 1.0 + CLAIMED_GAIN
        less = contended[arm.name].ratio.high <= 1.0 - CLAIMED_RELIEF
        reached = "both reached" if more and less else "not reached"
        if more != less:
            reached = "reached for delivery alone" if more else "reached for contention alone"
        sentences.append(
            f"The claim under test, {CLAIMED_GAIN:.0%} more delivered and {CLAIMED_RELIEF:.0%} less contended"
            f" than central allocation, is {reached} by {arm.name} here (the bounds of the 95 % intervals"
            " decide)."
        )
    return sentences


def _confounded(result: StudyResult) -> list[str]:
    """Arms that differ from the reference in more than one setting, those of the same settings together.

    A step of a ladder counts as one setting.
    """
    reference = next(other for other in result.arms if other.name == result.reference)
    contrasts = [
        {one.name for one in pair} for pairs in contrast_pairs(result.arms).values() for pair in pairs
    ]
    found: dict[tuple[str, ...], list[str]] = {}
    for arm in result.arms:
        if {arm.name, reference.name} in contrasts:
            continue
        factors = ("control", "pregeneration", "forecaster", "policy")
        different = tuple(name for name in factors if getattr(arm, name) != getattr(reference, name))
        if len(different) > 1:
            found.setdefault(different, []).append(arm.name)
    return [
        f"{listed(arms)} {'differs' if len(arms) == 1 else 'differ'} from {reference.name} in"
        f" {listed(different)} at once; no single one of them is shown to matter."
        for different, arms in found.items()
    ]


def demand_sentence(result: StudyResult) -> str:
    """How much the seeds asked for, and by what rule."""
    demand = result.scenario.demand
    if demand.arrivals == "batch":
        return "all requests at t = 0, and no more"
    if demand.rate_hz is not None:
        return f"{demand.rate_hz:g} requests/s on average"
    asked = [rate for rate in map(result.asked_hz, result.seeds) if not math.isnan(rate)]
    rule = (
        f"at the peak {demand.load_factor:g} of what the network of each seed could serve to"
        f" {demand.served_fraction:.0%} in the long run"
    )
    if not asked:
        return rule
    mean = math.fsum(asked) / len(asked)
    return f"{rule}: {mean:.3g} requests/s on average, {min(asked):.3g} to {max(asked):.3g} by seed"


def _few(result: StudyResult) -> str:
    if len(result.seeds) >= FEW_SEEDS:
        return ""
    return (
        f"With {counted(len(result.seeds), 'seed')} every interval here is rough: bootstrap intervals of so"
        " few are too narrow, and a missing difference is no proof of equality."
    )


def spread_sentence(result: StudyResult) -> str:
    """How much pairing by seed narrows the comparison of delivery, as measured."""
    found = [
        difference
        for difference in result.differences(DELIVERY.metric).values()
        if difference.paired_spread > 0.0 and math.isfinite(difference.unpaired_spread)
    ]
    if not found:
        return ""
    factors = sorted(difference.unpaired_spread / difference.paired_spread for difference in found)
    middle = factors[len(factors) // 2]
    effect = "narrower" if middle > 1.0 else "wider"
    size = middle if middle > 1.0 else 1.0 / middle
    return (
        "Pairing arms by seed makes the standard error of a delivery difference"
        f" {size:.1f} times {effect} (median arm)."
    )

"""Sentences that compare arms with the reference in one metric, computed from intervals."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal, TypeAlias, get_args

from qdpem.study.analysis.metric_formats import MetricFormat
from qdpem.study.analysis.results import StudyResult
from qdpem.study.analysis.statistics import CONFIDENCE, PairedDifference
from qdpem.study.report.wording import listed, p_text

MANY_ARMS = 8
"""With more arms than these, sentences and curves show groups of arms instead of each arm."""

_Verdict: TypeAlias = Literal["more", "less", "equal", "unknown", "too few seeds", "no ratio"]


def decided(difference: PairedDifference, *, p: float) -> bool:
    """Whether a difference counts as one: both intervals exclude zero, and Holm's p is below 0.05."""
    return difference.clear and p < 1.0 - CONFIDENCE


def arm_sentences(
    result: StudyResult, metric_format: MetricFormat, *, without: Collection[str] = ()
) -> list[str]:
    """Sentences on all arms beside the reference, except those named in `without`.

    If there are many arms, those with the same verdict share a sentence without intervals.
    """
    arms = [arm for arm in result.differences(metric_format.name) if arm not in without]
    if len(result.arms) <= MANY_ARMS:
        return [arm_sentence(result, metric_format, arm) for arm in arms]
    return _by_verdict(result, metric_format, arms)


def arm_sentence(result: StudyResult, metric_format: MetricFormat, arm: str) -> str:
    """The sentence on one arm beside the reference."""
    difference, p = result.differences(metric_format.name)[arm], result.adjusted_p(metric_format.name)[arm]
    return _compare(arm, metric_format, difference, reference=result.reference, p=p)


def _by_verdict(result: StudyResult, metric_format: MetricFormat, arms_compared: list[str]) -> list[str]:
    """A sentence per verdict, its arms in the order of their differences."""
    adjusted, differences = result.adjusted_p(metric_format.name), result.differences(metric_format.name)
    groups: dict[_Verdict, list[str]] = {verdict: [] for verdict in get_args(_Verdict)}
    for arm in arms_compared:
        groups[_verdict(differences[arm], p=adjusted[arm])].append(arm)
    sentences = []
    for verdict, arms in groups.items():
        arms.sort(key=lambda arm: abs(differences[arm].difference.estimate))
        if len(arms) == 1:
            sentences.append(arm_sentence(result, metric_format, arms[0]))
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


def _bounds(difference: PairedDifference) -> str:
    low, high = difference.ratio.low - 1.0, difference.ratio.high - 1.0
    if math.isnan(low):
        return "no interval of the ratio exists"
    return f"95 % interval {low:+.1%} to {high:+.1%}"

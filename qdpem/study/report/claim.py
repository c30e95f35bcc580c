"""The claim that a study tests, and whether it is reached."""

from __future__ import annotations

import math

from qdpem.scenario.schema import Arm, Claim
from qdpem.study.analysis.metric_formats import CONTENTION, DELIVERY
from qdpem.study.analysis.results import StudyResult


def claimed_arm(result: StudyResult) -> Arm | None:
    """The arm whose claim the study tests; None without a claim or without the arm."""
    claim = _claim_of(result)
    return next((arm for arm in result.arms if claim is not None and arm.name == claim.arm), None)


def _claim_of(result: StudyResult) -> Claim | None:
    return result.scenario.study.claim if result.scenario.study else None


def claim_sentences(result: StudyResult) -> list[str]:
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

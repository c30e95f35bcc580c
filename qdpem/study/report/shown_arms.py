"""Which arms stand for the others where a figure has no room for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qdpem.scenario.schema import Arm
from qdpem.scenario.words import Pregeneration
from qdpem.study.analysis.reference_arm import WITHOUT_FORECAST
from qdpem.study.analysis.results import StudyResult
from qdpem.study.report.figure_style import ArmStyle, arm_styles
from qdpem.study.report.findings import CLAIMANT, MANY_ARMS

_MAX_SHOWN = 7


def shown_arms(result: StudyResult) -> tuple[Arm, ...]:
    """All arms of a small study; of a large one those a reader looks for, in the study's order.

    These are the reference, the best arm of the policy whose claim is under test, and the best of each kind:
    central or local, with stock or without, with a forecast or without.
    """
    if len(result.arms) <= MANY_ARMS:
        return result.arms
    kinds: dict[tuple[str | None, bool, bool], Arm] = {}
    for arm in result.ranked:
        kinds.setdefault(
            (
                arm.control,
                arm.pregeneration != Pregeneration.NONE,
                arm.forecaster not in WITHOUT_FORECAST,
            ),
            arm,
        )
    first = [arm for arm in result.arms if arm.name == result.reference]
    first += [arm for arm in result.ranked if arm.policy == CLAIMANT][:1]
    chosen = list(dict.fromkeys(arm.name for arm in (*first, *kinds.values())))[:_MAX_SHOWN]
    return tuple(arm for arm in result.arms if arm.name in chosen)


def styles_of(result: StudyResult) -> Mapping[str, ArmStyle]:
    """How each arm looks in every figure and table: headline arms first, each in a colour of its own."""
    names = [arm.name for arm in shown_arms(result)]
    return arm_styles([*names, *(arm.name for arm in result.arms if arm.name not in names)])


def shown_arms_sentence(shown: Sequence[Arm], result: StudyResult) -> str:
    """What a caption adds where some arms are left out; "" where all are shown."""
    if len(shown) == len(result.arms):
        return ""
    claimed = f", {CLAIMANT}" if any(arm.policy == CLAIMANT for arm in shown) else ""
    return (
        f" Shown are {len(shown)} of {len(result.arms)} arms: the reference{claimed} and the best of each"
        " kind (central or local, with stock or without, with a forecast or without)."
    )

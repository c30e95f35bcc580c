"""The arms that represent all others in a figure without room for every arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qdpem.scenario.schema import Arm
from qdpem.scenario.words import Pregeneration
from qdpem.study.analysis.reference_arm import WITHOUT_FORECAST
from qdpem.study.analysis.results import StudyResult
from qdpem.study.report.claim import claimed_arm
from qdpem.study.report.comparisons import MANY_ARMS
from qdpem.study.report.figures.style import ArmStyle, arm_styles

_MAX_SHOWN = 7


def shown_arms(result: StudyResult) -> tuple[Arm, ...]:
    """All arms of a small study; of a large one its representatives, in the study's order.

    These are the reference, the arm whose claim is under test, and the best arm of each kind: central or
    local, with stock or without, with a forecast or without.
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
    claimed = claimed_arm(result)
    first = [arm for arm in result.arms if arm.name == result.reference] + ([claimed] if claimed else [])
    chosen = list(dict.fromkeys(arm.name for arm in (*first, *kinds.values())))[:_MAX_SHOWN]
    return tuple(arm for arm in result.arms if arm.name in chosen)


def styles_of(result: StudyResult) -> Mapping[str, ArmStyle]:
    """The style of each arm in all figures and tables; each shown arm has a colour of its own."""
    names = [arm.name for arm in shown_arms(result)]
    return arm_styles([*names, *(arm.name for arm in result.arms if arm.name not in names)])


def shown_arms_sentence(shown: Sequence[Arm], result: StudyResult) -> str:
    """A caption's sentence on the arms that are left out; "" if all are shown."""
    if len(shown) == len(result.arms):
        return ""
    claimed = claimed_arm(result)
    also = f", {claimed.name}" if claimed and claimed.name != result.reference else ""
    return (
        f" The figure shows {len(shown)} of {len(result.arms)} arms: the reference{also} and the best of each"
        " kind (central or local, with stock or without, with a forecast or without)."
    )

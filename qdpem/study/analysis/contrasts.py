"""Contrasts: pairs of arms that differ in only one factor, their pregeneration or their forecaster.

Stock of pairs and the forecast that controls it are often studied together. If a study has arms of one policy
family that differ only in pregeneration, or only in the forecaster, their paired differences separate the two
effects. The pairs follow from the settings of the arms, not from their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from qdpem import registry
from qdpem.scenario.load import parameters_of
from qdpem.scenario.schema import Arm
from qdpem.scenario.words import Pregeneration
from qdpem.study.analysis.metric_formats import primary_formats_of
from qdpem.study.analysis.reference_arm import WITHOUT_FORECAST
from qdpem.study.analysis.results import StudyResult
from qdpem.study.analysis.statistics import PairedDifference, holm

CONTRAST_HEADINGS: Mapping[str, str] = {
    "pregeneration": "effect of pregeneration alone",
    "forecaster": "effect of the forecaster alone",
}


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Two arms that differ in one factor.

    `differences` of the primary metrics are `upper` minus `lower`. `p_values` are Holm's p of the paired t
    test, over the contrasts of the family.
    """

    lower: Arm
    upper: Arm
    differences: Mapping[str, PairedDifference]
    p_values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ContrastFamily:
    """All contrasts of one `factor`, "pregeneration" or "forecaster"."""

    factor: str
    contrasts: tuple[Contrast, ...]


@dataclass(frozen=True)
class _Family:
    """All that decides an arm's allocations, except its pregeneration and its forecaster."""

    family: str
    control: str | None
    parameters: Any


def contrast_families(result: StudyResult) -> tuple[ContrastFamily, ...]:
    """The contrasts of a study by factor, pregeneration first; a factor without a contrast is left out."""
    return tuple(
        ContrastFamily(factor=factor, contrasts=_contrasts(result, pairs))
        for factor, pairs in contrast_pairs(result.arms).items()
        if pairs
    )


def contrast_pairs(arms: Sequence[Arm]) -> dict[str, list[tuple[Arm, Arm]]]:
    """Factor -> the pairs of resolved arms that differ only in it."""
    families = {arm.name: _family(arm) for arm in arms}
    return {
        "pregeneration": pregeneration_pairs(arms, families.__getitem__),
        "forecaster": forecaster_pairs(arms, families.__getitem__),
    }


def pregeneration_pairs(arms: Sequence[Arm], family: Callable[[str], object]) -> list[tuple[Arm, Arm]]:
    """Pairs of resolved arms with neighbouring pregenerations, of one family and forecaster.

    `family` maps an arm's name to its family. An arm without pregeneration keeps no stock, so its forecast
    has no effect. The arm of the family without pregeneration and without a forecast is therefore also the
    lowest of those with a constant forecast.
    """
    pairs = []
    for group in _groups(arms, lambda arm: (family(arm.name), arm.forecaster)):
        # Reversed, so that the first of several arms with the same word stays.
        by_pregeneration = {arm.pregeneration: arm for arm in reversed(group)}
        if group[0].forecaster in WITHOUT_FORECAST and Pregeneration.NONE not in by_pregeneration:
            relatives = (arm for arm in arms if family(arm.name) == family(group[0].name))
            by_pregeneration |= {
                arm.pregeneration: arm
                for arm in relatives
                if arm.pregeneration == Pregeneration.NONE and arm.forecaster in WITHOUT_FORECAST
            }
        ordered = [by_pregeneration[word] for word in Pregeneration if word in by_pregeneration]
        pairs += list(pairwise(ordered))
    return pairs


def forecaster_pairs(arms: Sequence[Arm], family: Callable[[str], object]) -> list[tuple[Arm, Arm]]:
    """Pairs of resolved arms with different forecasters, of one family and pregeneration.

    `family` maps an arm's name to its family. Each arm with a forecast is paired with the constant one. If no
    arm is constant, it is paired with the arm without a forecast, and if there is none, with the first arm.
    The constant arm is paired with the arm without a forecast.
    """
    pairs = []
    for group in _groups(arms, lambda arm: (family(arm.name), arm.pregeneration)):
        # Reversed, as above.
        by_forecaster = {arm.forecaster: arm for arm in reversed(group)}
        without = [by_forecaster[word] for word in WITHOUT_FORECAST if word in by_forecaster]
        foreseeing = [arm for arm in group if by_forecaster[arm.forecaster] is arm and arm not in without]
        base = without[-1] if without else foreseeing.pop(0)
        pairs += [*pairwise(without), *((base, arm) for arm in foreseeing)]
    return pairs


def contrast_notes(result: StudyResult, family: ContrastFamily) -> list[str]:
    """Notes to the contrasts of pregeneration: forecasters that differ too, and arms that are left out."""
    if family.factor != "pregeneration":
        return []
    mixed = [
        contrast for contrast in family.contrasts if contrast.lower.forecaster != contrast.upper.forecaster
    ]
    notes = [
        f"{contrast.lower.name} and {contrast.upper.name} also differ in the forecaster, which has no effect"
        " on an arm without stock."
        for contrast in mixed
    ]
    return [*notes, *_left_out(result, family)]


def _left_out(result: StudyResult, family: ContrastFamily) -> list[str]:
    """A sentence for each arm that only its parameters exclude from the contrasts."""
    families = {arm.name: _family(arm) for arm in result.arms}
    rules = {name: (own.family, own.control) for name, own in families.items()}
    compared = {arm.name for contrast in family.contrasts for arm in (contrast.lower, contrast.upper)}
    compared_rules = [rules[name] for name in compared]
    return [
        f"{arm.name} is left out: its parameters differ too, so a difference would show more than the effect"
        " of pregeneration."
        for arm in result.arms
        if arm.name not in compared
        and arm.forecaster in WITHOUT_FORECAST
        and rules[arm.name] in compared_rules
    ]


def _family(arm: Arm) -> _Family:
    """The family of a resolved arm. A policy that declares none is a family of its own."""
    factory = registry.load("policy", arm.policy)
    parameters = parameters_of(factory, arm.parameters, path=f"arm {arm.name}.parameters")
    family = getattr(factory, "family", factory.name)
    return _Family(family=family, control=arm.control, parameters=parameters)


def _groups(arms: Iterable[Arm], key: Callable[[Arm], object]) -> list[list[Arm]]:
    """Arms with equal keys together, in the order in which they come; keys need not be hashable."""
    groups: list[tuple[object, list[Arm]]] = []
    for arm in arms:
        group = next((members for other, members in groups if other == key(arm)), None)
        if group is None:
            groups.append((key(arm), [arm]))
        else:
            group.append(arm)
    return [members for _, members in groups]


def _contrasts(result: StudyResult, pairs: Sequence[tuple[Arm, Arm]]) -> tuple[Contrast, ...]:
    all_differences: list[dict[str, PairedDifference]] = [{} for _ in pairs]
    all_p_values: list[dict[str, float]] = [{} for _ in pairs]
    for metric in (metric_format.name for metric_format in primary_formats_of(result.scenario.demand)):
        for (lower, upper), differences in zip(pairs, all_differences, strict=True):
            differences[metric] = result.difference(metric, upper.name, reference=lower.name)
        # Holm's correction covers all contrasts of the factor in one metric.
        raw = {str(index): by_metric[metric].p_value for index, by_metric in enumerate(all_differences)}
        for index, p in holm(raw).items():
            all_p_values[int(index)][metric] = p
    return tuple(
        Contrast(lower=lower, upper=upper, differences=differences, p_values=p_values)
        for (lower, upper), differences, p_values in zip(pairs, all_differences, all_p_values, strict=True)
    )

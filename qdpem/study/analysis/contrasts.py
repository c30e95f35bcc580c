"""What one more right or another forecast is worth: arms of a study that are alike but for that one setting.

The right to keep stock and the forecast that steers it are often sold together. Where a study has arms of one
rule that differ in nothing but rights, or in nothing but knowledge, their paired differences tell the two
apart. Which arms those are follows from their settings, not from their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from qdpem import registry
from qdpem.scenario.load import parameters_of
from qdpem.scenario.schema import PREGENERATIONS, Arm
from qdpem.study.analysis.metric_formats import headline_formats_of
from qdpem.study.analysis.reference_arm import WITHOUT_FORECAST
from qdpem.study.analysis.results import StudyResult
from qdpem.study.analysis.statistics import PairedDifference, holm

CONTRAST_HEADINGS: Mapping[str, str] = {
    "pregeneration": "what rights alone are worth",
    "forecaster": "what forecasts alone are worth",
}


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Two arms that differ in one setting, and what `upper` has more of each headline metric than `lower`.

    `p_values`: Holm's p of the paired t test, over the steps of the ladder.
    """

    lower: Arm
    upper: Arm
    differences: Mapping[str, PairedDifference]
    p_values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ContrastFamily:
    """All steps of one `setting`, "rights" or "knowledge"."""

    setting: str
    contrasts: tuple[Contrast, ...]


@dataclass(frozen=True)
class _Decider:
    """The part of an arm that decides; arms with equal ones differ in pregeneration or forecaster only."""

    family: str
    control: str | None
    parameters: Any


def contrast_families(result: StudyResult) -> tuple[ContrastFamily, ...]:
    """The ladders of a study's arms: rights, then knowledge; those without a step are left out."""
    return tuple(
        ContrastFamily(setting=setting, contrasts=_contrasts(result, pairs))
        for setting, pairs in contrast_pairs(result.arms).items()
        if pairs
    )


def contrast_pairs(arms: Sequence[Arm]) -> dict[str, list[tuple[Arm, Arm]]]:
    """Setting -> the pairs of resolved arms that differ in it alone, as steps of its ladder."""
    deciders = {arm.name: _decider(arm) for arm in arms}
    return {
        "pregeneration": pregeneration_pairs(arms, deciders.__getitem__),
        "forecaster": forecaster_pairs(arms, deciders.__getitem__),
    }


def pregeneration_pairs(arms: Sequence[Arm], decider: Callable[[str], object]) -> list[tuple[Arm, Arm]]:
    """Neighbours in the order of rights among resolved arms of one `decider` (by name) and knowledge.

    A serve-only arm that foresees nothing starts the ladder of those that keep a constant stock: without
    stock there is nothing to foresee for.
    """
    pairs = []
    for group in _groups(arms, lambda arm: (decider(arm.name), arm.forecaster)):
        rungs = {arm.pregeneration: arm for arm in reversed(group)}
        if group[0].forecaster in WITHOUT_FORECAST and PREGENERATIONS[0] not in rungs:
            alike = (one for one in arms if decider(one.name) == decider(group[0].name))
            rungs |= {
                one.pregeneration: one
                for one in alike
                if one.pregeneration == PREGENERATIONS[0] and one.forecaster in WITHOUT_FORECAST
            }
        family = [rungs[right] for right in PREGENERATIONS if right in rungs]
        pairs += list(pairwise(family))
    return pairs


def forecaster_pairs(arms: Sequence[Arm], decider: Callable[[str], object]) -> list[tuple[Arm, Arm]]:
    """Among resolved arms of one `decider` (by name) and rights: each knowledge and the constant one.

    Where no arm is constant, with the one that knows nothing, and without that with the first; the constant
    one itself with the one that knows nothing.
    """
    pairs = []
    for group in _groups(arms, lambda arm: (decider(arm.name), arm.pregeneration)):
        rungs = {arm.forecaster: arm for arm in reversed(group)}
        blind = [rungs[forecaster] for forecaster in WITHOUT_FORECAST if forecaster in rungs]
        seeing = [arm for arm in group if rungs[arm.forecaster] is arm and arm not in blind]
        base = blind[-1] if blind else seeing.pop(0)
        pairs += [*pairwise(blind), *((base, arm) for arm in seeing)]
    return pairs


def contrast_notes(result: StudyResult, family: ContrastFamily) -> list[str]:
    """What a reader of a ladder must know: where knowledge changes too, and which arms are left out."""
    if family.setting != "pregeneration":
        return []
    mixed = any(contrast.lower.forecaster != contrast.upper.forecaster for contrast in family.contrasts)
    start = (
        "The ladder of constant stock starts at the arm that serves only and foresees nothing: without stock"
        " there is no amount to keep constant."
    )
    return [*([start] if mixed else []), *_left_out(result, family)]


def _left_out(result: StudyResult, family: ContrastFamily) -> list[str]:
    """Arms that would be on the ladder, had they not parameters of their own."""
    deciders = {arm.name: _decider(arm) for arm in result.arms}
    rules = {name: (decider.family, decider.control) for name, decider in deciders.items()}
    placed = {arm.name for contrast in family.contrasts for arm in (contrast.lower, contrast.upper)}
    on_ladder = [rules[name] for name in placed]
    return [
        f"{arm.name}, of the same rule, has parameters of its own and is left out: a step from or to it would"
        " show more than the right."
        for arm in result.arms
        if arm.name not in placed and arm.forecaster in WITHOUT_FORECAST and rules[arm.name] in on_ladder
    ]


def _decider(arm: Arm) -> _Decider:
    """The decider of a resolved arm; a policy that declares no family is one of its own."""
    factory = registry.load("policy", arm.policy)
    parameters = parameters_of(factory, arm.parameters, path=f"arm {arm.name}.parameters")
    family = getattr(factory, "family", factory.name)
    return _Decider(family=family, control=arm.control, parameters=parameters)


def _groups(arms: Iterable[Arm], key: Callable[[Arm], object]) -> list[list[Arm]]:
    """Arms with equal keys together, in the order they come; keys need not be hashable."""
    found: list[tuple[object, list[Arm]]] = []
    for arm in arms:
        known = next((group for other, group in found if other == key(arm)), None)
        if known is None:
            found.append((key(arm), [arm]))
        else:
            known.append(arm)
    return [group for _, group in found]


def _contrasts(result: StudyResult, pairs: Sequence[tuple[Arm, Arm]]) -> tuple[Contrast, ...]:
    differences: list[dict[str, PairedDifference]] = [{} for _ in pairs]
    p_values: list[dict[str, float]] = [{} for _ in pairs]
    for measure, _ in headline_formats_of(result.scenario.demand):
        for (lower, upper), found in zip(pairs, differences, strict=True):
            found[measure.metric] = result.difference(measure.metric, upper.name, reference=lower.name)
        raw = {str(place): found[measure.metric].p_value for place, found in enumerate(differences)}
        for place, p in holm(raw).items():
            p_values[int(place)][measure.metric] = p
    return tuple(
        Contrast(lower=lower, upper=upper, differences=found, p_values=p)
        for (lower, upper), found, p in zip(pairs, differences, p_values, strict=True)
    )

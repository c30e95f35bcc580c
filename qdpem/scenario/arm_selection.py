"""Leaves arms out of a scenario's study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from qdpem.errors import Fault, ScenarioError, UnknownNameError
from qdpem.scenario.schema import Scenario, Study


def without_arms(scenario: Scenario, names: Sequence[str]) -> Scenario:
    """The scenario without the arms `names` of its study, and without a claim about one of them.

    Raises UnknownNameError for a name that is no arm. Raises ScenarioError where the reference or the last
    arm would be left out, and where a sweep sets keys of arms by their number, which would change.
    """
    study = scenario.study
    if not names or study is None:
        return scenario
    known = [arm.name for arm in study.arms]
    for name in names:
        if name not in known:
            raise UnknownNameError("arm of this study", name, known)
    if faults := _faults(study, names):
        raise ScenarioError(faults, origin=f"the scenario {scenario.name!r} without {', '.join(names)}")
    claim = study.claim
    if claim is not None and {claim.arm, claim.against} & set(names):
        claim = None
    arms = tuple(arm for arm in study.arms if arm.name not in names)
    return replace(scenario, study=replace(study, arms=arms, claim=claim))


def _faults(study: Study, names: Sequence[str]) -> list[Fault]:
    faults = []
    if study.reference in names:
        wrong = f"{study.reference!r} is left out; should be another arm: --set study.reference=NAME"
        faults.append(Fault("study.reference", wrong))
    if {arm.name for arm in study.arms} <= set(names):
        faults.append(Fault("study.arms", "no arm is left; should be one at least"))
    if numbered := [key for key in _swept_keys(study) if key.startswith("study.arms.")]:
        wrong = f"sets {numbered[0]!r} by the number of an arm, so no arm can be left out"
        faults.append(Fault("study.sweep", wrong))
    return faults


def _swept_keys(study: Study) -> Iterable[str]:
    for axis, values in study.sweep.items():
        yield axis
        for value in values:
            yield from value if isinstance(value, dict) else ()

"""Arms that are `like` others: a parameter vector is written once, and other arms refer to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qdpem.errors import Fault, ScenarioError, UnknownNameError
from qdpem.scenario.faults.messages import shown
from qdpem.scenario.overrides import Plain, merged

LIKE = "like"
_INHERITED = ("policy", "control", "pregeneration", "forecaster", "parameters", "tuned_on")


def arms_of(values: Plain) -> list[Any]:
    """The list of arms in a scenario's plain values; empty where there is none."""
    study = values.get("study")
    arms = study.get("arms") if isinstance(study, dict) else None
    return arms if isinstance(arms, list) else []


def resolve_likes(values: Plain, *, base_arms: Iterable[Any] = (), origin: str) -> None:
    """Replace `like` in the arms of a scenario's plain values, in place, by what it stands for.

    An arm takes from the arm it is like: policy, control, pregeneration, forecaster, parameters and the seeds
    that these were tuned on. Its own keys come first, and parameters are merged key by key. The other arm is
    one of the same list; where that has no other arm of this name, one of `base_arms`, which are resolved
    already.

    Raises ScenarioError for a name that no arm has, a value that is no name, and arms that are like each
    other.
    """
    arms = arms_of(values)
    if not any(isinstance(arm, dict) and LIKE in arm for arm in arms):
        return
    resolver = _Resolver(arms, _by_name(base_arms))
    resolved = [resolver.resolved(index, ()) for index in range(len(arms))]
    if resolver.faults:
        raise ScenarioError([fault for _, fault in sorted(resolver.faults.items())], origin=origin)
    values["study"]["arms"] = resolved


def _by_name(arms: Iterable[Any]) -> dict[str, Plain]:
    """The first arm of each name; what is no arm is left for the schema to refuse."""
    named: dict[str, Plain] = {}
    for arm in arms:
        if isinstance(arm, dict) and isinstance(arm.get("name"), str):
            named.setdefault(arm["name"], arm)
    return named


class _Resolver:
    """Resolves the arms of one list. `faults` maps the index of each unresolvable arm to its fault."""

    def __init__(self, arms: list[Any], base_arms: dict[str, Plain]) -> None:
        self._arms = arms
        self._base_arms = base_arms
        self._own = _by_name(arms)
        self.faults: dict[int, Fault] = {}

    def resolved(self, index: int, chain: tuple[int, ...]) -> Any:
        """The arm at `index` without `like`; `chain` holds the indices of the arms that lead here."""
        arm = self._arms[index]
        if not isinstance(arm, dict) or LIKE not in arm:
            return arm
        own = {key: value for key, value in arm.items() if key != LIKE}
        other = self._other(index, arm, chain)
        if other is None:
            return own
        inherited = {key: other[key] for key in _INHERITED if key in other}
        inherited.setdefault("policy", other["name"])
        result = merged(inherited, own)
        if result["policy"] == result.get("name"):
            # The policy called like the arm is the default, and equal arms have equal texts.
            del result["policy"]
        return result

    def _other(self, index: int, arm: Plain, chain: tuple[int, ...]) -> Plain | None:
        """The resolved arm that the arm at `index` is like; None after noting a fault."""
        like = arm[LIKE]
        if not isinstance(like, str):
            self._fail(index, f"{shown(like)} is not allowed; should be the name of another arm")
            return None
        if like in self._own and self._own[like] is not arm:
            other = next(place for place, each in enumerate(self._arms) if each is self._own[like])
            # Every arm of a circle comes by here on its own, so that each of them gets its fault.
            if other in (index, *chain):
                self._fail(index, f"{like!r} leads back to this arm; should be an arm that is not like it")
                return None
            resolved: Plain = self.resolved(other, (index, *chain))
            return resolved
        if like in self._base_arms:
            return self._base_arms[like]
        if like == arm.get("name"):
            self._fail(index, f"{like!r} is the arm itself; should be the name of another arm")
        else:
            known = {*self._own, *self._base_arms} - {arm.get("name")}
            self._fail(index, str(UnknownNameError("arm", like, known)))
        return None

    def _fail(self, index: int, wrong: str) -> None:
        # An arm is resolved again whenever another leads to it: its first fault stays.
        self.faults.setdefault(index, Fault(f"study.arms.{index}.{LIKE}", wrong))

"""Grids: one study for each combination of values of some keys, and the scenario of each."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from qdpem.errors import Fault, ScenarioError
from qdpem.scenario.messages import shown
from qdpem.scenario.overrides import set_key, without_none
from qdpem.scenario.schema import Scenario
from qdpem.scenario.semantics import semantic_faults
from qdpem.scenario.validation import checked

LABEL = "label"
"""In a value that sets several keys: what the value is called."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination: what each axis says in words, the keys set, and the scenario of it, without sweep."""

    words: Mapping[str, str]
    settings: Mapping[str, Any]
    scenario: Scenario

    @property
    def name(self) -> str:
        """A directory's name: axes and their values.

        >>> Cell(words={"load_factor": "0.3", "size": "25"}, settings={}, scenario=None).name
        'load_factor=0.3,size=25'
        """
        return ",".join(f"{axis}={word}" for axis, word in self.words.items())


@dataclass(frozen=True, kw_only=True)
class _Value:
    word: str
    settings: Mapping[str, Any]


def sweep_cells(scenario: Scenario) -> tuple[Cell, ...]:
    """The cells of the scenario's study, the last axis varying fastest; none without a sweep.

    An axis named by a dotted key sets that key; one named by a free word takes values that are tables of
    dotted keys, set together. Raises ScenarioError for an axis that is neither and for a cell that is no
    sound scenario.
    """
    if scenario.study is None or not scenario.study.sweep:
        return ()
    axes = _axes(scenario.study.sweep)
    cells = []
    for values in itertools.product(*axes.values()):
        words = {name: value.word for name, value in zip(axes, values, strict=True)}
        settings = {key: each for value in values for key, each in value.settings.items()}
        cells.append(Cell(words=words, settings=settings, scenario=_with(scenario, words, settings)))
    return tuple(cells)


def _axes(sweep: Mapping[str, Any]) -> dict[str, list[_Value]]:
    """Short name of each axis -> its values."""
    faults: list[Fault] = []
    found = {}
    last = [key.rpartition(".")[2] for key in sweep]
    for key, values in sweep.items():
        short = key.rpartition(".")[2]
        name = short if last.count(short) == 1 else key
        found[name] = list(_values(key, values, faults))
        if len({value.word for value in found[name]}) < len(found[name]):
            faults.append(Fault(f"study.sweep.{key}", "has a value twice; should have each once"))
    if faults:
        raise ScenarioError(faults)
    return found


def _values(key: str, values: Any, faults: list[Fault]) -> Iterator[_Value]:
    path = f"study.sweep.{key}"
    if not isinstance(values, list | tuple) or not values:
        wrong = 'should be a list of values, its dotted key in quotes: "nodes.memories" = [8, 16]'
        faults.append(Fault(path, f"{shown(values)} is not allowed; {wrong}"))
        return
    for place, value in enumerate(values):
        if "." in key:
            yield _Value(word=_word(value, place), settings={key: value})
        elif isinstance(value, Mapping) and (settings := {one: value[one] for one in value if one != LABEL}):
            first = next(iter(settings.values()))
            yield _Value(word=_word(value.get(LABEL, first), place), settings=settings)
        else:
            wrong = "should be a table of dotted keys in quotes, for the axis is not a dotted key itself"
            faults.append(Fault(f"{path}.{place}", f"{shown(value)} is not allowed; {wrong}"))


def _word(value: Any, place: int) -> str:
    """A value in a directory's name: numbers and words as they are, all else by its place."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    plain = isinstance(value, str | int | float) and all(each.isalnum() or each in ".-+_" for each in text)
    return text if plain and text else str(place)


def _with(scenario: Scenario, words: Mapping[str, str], settings: Mapping[str, Any]) -> Scenario:
    said = ", ".join(f"{axis} = {word}" for axis, word in words.items())
    origin = f"the scenario {scenario.name!r} with {said}"
    values = without_none(json.loads(json.dumps(asdict(scenario))))
    values["name"] = f"{scenario.name}, {said}"
    del values["study"]["sweep"]
    faults = [fault for key, value in settings.items() for fault in set_key(values, key, value)]
    if faults:
        raise ScenarioError(faults, origin=origin)
    found: Scenario = checked(Scenario, values, origin=origin)
    faults = semantic_faults(found)
    if faults:
        raise ScenarioError(faults, origin=origin)
    return found

"""Sweeps: one study for each combination of values of some keys, and its scenario."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from qdpem.errors import Fault, ScenarioError
from qdpem.scenario.faults.messages import shown
from qdpem.scenario.faults.semantics import semantic_faults
from qdpem.scenario.faults.validation import checked
from qdpem.scenario.overrides import set_key, without_none
from qdpem.scenario.paths import is_path_key
from qdpem.scenario.schema import Scenario
from qdpem.strict_json import json_text, json_value

_MAX_NAME_BYTES = 80
"""File systems allow 255 bytes for a name, which may hold several axes."""

LABEL = "label"
"""In a value that sets several keys: the name of the value."""


@dataclass(frozen=True, kw_only=True)
class SweepCell:
    """One combination: the value of each axis as a word, the keys it sets, and its scenario without sweep."""

    words: Mapping[str, str]
    settings: Mapping[str, Any]
    scenario: Scenario

    @property
    def name(self) -> str:
        """The name of its directory: axes and their values. Signs that may not be in a name become %XX.

        >>> SweepCell(words={"load_factor": "0.3", "size": "25"}, settings={}, scenario=None).name
        'load_factor=0.3,size=25'
        >>> SweepCell(words={"fibre": "dark / 2 cores"}, settings={}, scenario=None).name
        'fibre=dark %2F 2 cores'
        """
        return ",".join(f"{_file_name(axis)}={_file_name(word)}" for axis, word in self.words.items())


@dataclass(frozen=True, kw_only=True)
class _Value:
    word: str
    settings: Mapping[str, Any]


def sweep_cells(scenario: Scenario) -> tuple[SweepCell, ...]:
    """The cells of the sweep, with the last axis varying fastest; none without a sweep.

    An axis named by a dotted key sets that key. The values of an axis named by a free word are tables of
    dotted keys, which are set together. Raises ScenarioError for an axis that is neither, and for the faults
    of a cell.
    """
    if scenario.study is None or not scenario.study.sweep:
        return ()
    axes = _axes(scenario.study.sweep)
    cells = []
    for values in itertools.product(*axes.values()):
        words = {name: value.word for name, value in zip(axes, values, strict=True)}
        settings = {key: setting for value in values for key, setting in value.settings.items()}
        cells.append(SweepCell(words=words, settings=settings, scenario=_with(scenario, words, settings)))
    return tuple(cells)


def _axes(sweep: Mapping[str, Any]) -> dict[str, list[_Value]]:
    """Short name of each axis -> its values."""
    faults: list[Fault] = []
    axes = {}
    short_names = [key.rpartition(".")[2] for key in sweep]
    for key, values in sweep.items():
        short = key.rpartition(".")[2]
        name = short if short_names.count(short) == 1 else key
        axes[name] = list(_values(key, values, faults))
        if len({value.word for value in axes[name]}) < len(axes[name]):
            faults.append(Fault(f"study.sweep.{key}", "has a value twice; should have each once"))
    if faults:
        raise ScenarioError(faults)
    return axes


def _values(key: str, values: Any, faults: list[Fault]) -> Iterator[_Value]:
    path = f"study.sweep.{key}"
    if not isinstance(values, list | tuple) or not values:
        wrong = 'should be a list of values, its dotted key in quotes: "nodes.memories" = [8, 16]'
        faults.append(Fault(path, f"{shown(values)} is not allowed; {wrong}"))
        return
    for index, value in enumerate(values):
        if "." in key:
            named = os.path.basename(value) if isinstance(value, str) and is_path_key(key) else value
            yield _Value(word=_word(named, index), settings={key: value})
        elif isinstance(value, Mapping) and (
            settings := {name: value[name] for name in value if name != LABEL}
        ):
            first = next(iter(settings.values()))
            yield _Value(word=_word(value.get(LABEL, first), index), settings=settings)
        else:
            wrong = "should be a table of dotted keys in quotes, because the axis is not a dotted key itself"
            faults.append(Fault(f"{path}.{index}", f"{shown(value)} is not allowed; {wrong}"))


def _word(value: Any, index: int) -> str:
    """A value in one word: text as it is, a number with all its digits, anything else by its index.

    >>> _word(0.9999999, 0), _word(1.0, 1), _word("dark / 2 cores", 2), _word([1, 2], 3)
    ('0.9999999', '1', 'dark / 2 cores', '3')
    """
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value) if isinstance(value, str | int) and str(value) else str(index)


def _file_name(word: str) -> str:
    """A word as part of the name of a directory; no two words give one name."""
    name = "".join(letter if letter.isalnum() or letter in ".-+_ ()" else _escaped(letter) for letter in word)
    if len(name.encode()) <= _MAX_NAME_BYTES:
        return name
    digest = hashlib.blake2b(word.encode(), digest_size=8).hexdigest()
    return name.encode()[: _MAX_NAME_BYTES - 17].decode(errors="ignore") + "~" + digest


def _escaped(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode())


def _with(scenario: Scenario, words: Mapping[str, str], settings: Mapping[str, Any]) -> Scenario:
    label = ", ".join(f"{axis} = {word}" for axis, word in words.items())
    assert scenario.study is not None
    without_sweep = replace(scenario, study=replace(scenario.study, sweep={}))
    return with_settings(
        without_sweep,
        settings,
        name=f"{scenario.name}, {label}",
        origin=f"the scenario {scenario.name!r} with {label}",
    )


def with_settings(scenario: Scenario, settings: Mapping[str, Any], *, name: str, origin: str) -> Scenario:
    """The scenario with other values for some dotted keys, under another name.

    Raises ScenarioError for a key or a value that is wrong; `origin` says where they come from.
    """
    # Through JSON, words become plain text and tuples become lists, as in a file.
    values = without_none(json_value(json_text(asdict(scenario))))
    values["name"] = name
    faults = [fault for key, value in settings.items() for fault in set_key(values, key, value)]
    if faults:
        raise ScenarioError(faults, origin=origin)
    changed: Scenario = checked(Scenario, values, origin=origin)
    faults = semantic_faults(changed)
    if faults:
        raise ScenarioError(faults, origin=origin)
    return changed

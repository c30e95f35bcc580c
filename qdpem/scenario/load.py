"""Reads scenarios from TOML, reporting all faults at once, and writes them as one canonical text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qdpem.errors import Fault, ScenarioError
from qdpem.scenario.arm_inheritance import arms_of, resolve_likes
from qdpem.scenario.faults.semantics import semantic_faults
from qdpem.scenario.faults.validation import checked, parameters_of, text_faults
from qdpem.scenario.inheritance import BASED_ON, parse_toml, read_values
from qdpem.scenario.overrides import apply_overrides, without_none
from qdpem.scenario.paths import absolute_paths
from qdpem.scenario.schema import Scenario
from qdpem.scenario.shipped import scenario_file
from qdpem.scenario.sweep import sweep_cells
from qdpem.strict_json import json_text, json_value

__all__ = [
    "apply_overrides",
    "load_scenario",
    "parameters_of",
    "parse_scenario",
    "scenario_from_text",
    "scenario_hash",
    "scenario_text",
]


def load_scenario(path: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario in a TOML file, with `overrides` such as "nodes.memories=4" applied.

    `path` is the path of the file, or the name of a scenario that ships with qdpem, such as "quickstart". A
    text that is such a name always means the shipped scenario; "./quickstart" or a Path means the file. Paths
    in the file are seen from its directory, those in overrides from the working directory.

    Raises ScenarioError when the file cannot be read and for everything `parse_scenario` finds.
    """
    origin = f"the scenario {str(path)!r}"
    return _scenario(read_values(scenario_file(path), origin=origin), origin=origin, overrides=overrides)


def parse_scenario(text: str, *, origin: str = "the scenario", overrides: Sequence[str] = ()) -> Scenario:
    """The scenario in TOML `text`, which is not based on another file.

    Args:
        text: the TOML text.
        origin: the name of the scenario in messages.
        overrides: each "dotted.path=value", with the value as in TOML. A bare word is text. A number in the
            path is an item of a list, counted from 0 ("demand.classes.0.fraction=0.5"), and "*" stands for
            every item. Without a value ("nodes.memories=") the key is removed.

    Raises ScenarioError with all faults of the first stage that finds any: TOML; overrides; types, ranges,
    unknown and missing keys; meaning (unregistered names, fractions, seeds); cells of a sweep.
    """
    values = parse_toml(text, origin=origin)
    if BASED_ON in values:
        wrong = "is relative to a file, but this scenario was given as text"
        raise ScenarioError([Fault(BASED_ON, wrong)], origin=origin)
    resolve_likes(values, origin=origin)
    return _scenario(values, origin=origin, overrides=overrides)


def _scenario(values: dict[str, Any], *, origin: str, overrides: Sequence[str]) -> Scenario:
    # A copy, because overrides change the arms in place.
    file_arms = deepcopy(arms_of(values))
    apply_overrides(values, overrides, origin=origin)
    # Overrides may add arms, and these may be like those of the file.
    resolve_likes(values, base_arms=file_arms, origin=origin)
    # Those of the file are absolute already; those of overrides are seen from the working directory.
    values = absolute_paths(values, Path.cwd())
    if faults := text_faults(values):
        raise ScenarioError(faults, origin=origin)
    scenario: Scenario = checked(Scenario, values, origin=origin)
    faults = semantic_faults(scenario)
    if faults:
        raise ScenarioError(faults, origin=origin)
    # Only for its faults: an invalid cell is reported now and not after the cells before it.
    sweep_cells(scenario)
    return scenario


def scenario_text(scenario: Scenario) -> str:
    """The scenario as canonical JSON on one line, with sorted keys and every default.

    Equal scenarios have equal texts, whatever the order and the comments of their files. An infinite number
    is the text "inf" (`qdpem.strict_json`).
    """
    return json_text(asdict(scenario), compact=True)


def scenario_from_text(text: str) -> Scenario:
    """The scenario that `scenario_text` wrote. Raises ScenarioError if it does not fit this schema."""
    try:
        values = json_value(text)
    except ValueError as error:
        raise ScenarioError(
            [Fault("", f"it is not valid JSON: {error}")], origin="the scenario text"
        ) from error
    scenario: Scenario = checked(Scenario, without_none(values), origin="the scenario text")
    return scenario


def scenario_hash(scenario: Scenario) -> str:
    """Sixteen hexadecimal digits of the BLAKE2b hash of `scenario_text`."""
    return hashlib.blake2b(scenario_text(scenario).encode(), digest_size=8).hexdigest()

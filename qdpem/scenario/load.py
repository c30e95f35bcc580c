"""Read a scenario: TOML to typed values, with every fault at once, and back to one canonical text."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qdpem.errors import Fault, ScenarioError
from qdpem.scenario.faults import checked, parameters_of
from qdpem.scenario.schema import Scenario
from qdpem.scenario.sense import sense_faults
from qdpem.scenario.wording import shown

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
    """The scenario in the TOML file `path`, with `overrides` such as "nodes.memories=4" applied.

    Raises ScenarioError when the file cannot be read and for everything `parse_scenario` finds.
    """
    origin = f"the scenario {str(path)!r}"
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ScenarioError([Fault("", "there is no such file")], origin=origin) from None
    except OSError as error:
        raise ScenarioError([Fault("", f"it cannot be read: {error.strerror}")], origin=origin) from error
    except UnicodeDecodeError as error:
        wrong = f"it is not UTF-8 text (byte {error.start}); a scenario is a TOML file"
        raise ScenarioError([Fault("", wrong)], origin=origin) from error
    return parse_scenario(text, origin=origin, overrides=overrides)


def parse_scenario(text: str, *, origin: str = "the scenario", overrides: Sequence[str] = ()) -> Scenario:
    """The scenario in TOML `text`; `origin` is what messages call it.

    An override is "dotted.path=value": the value as in TOML, a bare word is text, and a number in the
    path counts the items of a list from 0 ("demand.classes.0.share=0.5"). Without a value
    ("nodes.memories=") it takes the key out, as if it did not stand in the file.

    Raises ScenarioError with all faults of the first kind present: TOML, overrides, shape (types,
    ranges, unknown and missing keys), sense (names nobody registered, shares, seeds).
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError([Fault("", f"it is not valid TOML: {error}")], origin=origin) from error
    apply_overrides(values, overrides, origin=origin)
    scenario: Scenario = checked(Scenario, values, origin=origin)
    faults = sense_faults(scenario)
    if faults:
        raise ScenarioError(faults, origin=origin)
    return scenario


def apply_overrides(values: dict[str, Any], overrides: Sequence[str], *, origin: str) -> None:
    """Set in `values` what `overrides` such as "nodes.memories=4" say; ScenarioError if that cannot be."""
    faults = [fault for override in overrides for fault in _override(values, override)]
    if faults:
        raise ScenarioError(faults, origin=origin)


def scenario_text(scenario: Scenario) -> str:
    """The scenario as canonical JSON: sorted keys, every default written out, one line.

    Equal scenarios have equal texts, whatever the order or comments of their files.
    """
    return json.dumps(asdict(scenario), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def scenario_from_text(text: str) -> Scenario:
    """The scenario that `scenario_text` wrote. Raises ScenarioError if it does not fit the present schema."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ScenarioError(
            [Fault("", f"it is not valid JSON: {error}")], origin="the scenario text"
        ) from error
    scenario: Scenario = checked(Scenario, _without_none(values), origin="the scenario text")
    return scenario


def scenario_hash(scenario: Scenario) -> str:
    """Sixteen hexadecimal digits of the BLAKE2b hash of `scenario_text`."""
    return hashlib.blake2b(scenario_text(scenario).encode(), digest_size=8).hexdigest()


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def _override(values: dict[str, Any], override: str) -> list[Fault]:
    """Set what `override` says in `values`; the fault if it cannot be set."""
    path, equals, text = override.partition("=")
    parts = path.strip().split(".")
    if not equals or not all(parts):
        return [Fault("", f"{override!r} is not an override; should be like nodes.memories=4")]
    here: Any = values
    for depth, part in enumerate(parts):
        index: str | int = part
        if isinstance(here, list):
            if not part.isdecimal() or int(part) >= len(here):
                place = ".".join(parts[:depth])
                return [Fault(place, f"has {len(here)} items; {part!r} is not one of 0 to {len(here) - 1}")]
            index = int(part)
        elif not isinstance(here, dict):
            return [Fault(".".join(parts[:depth]), f"is {shown(here)}, which has no {part!r}; set it whole")]
        if depth == len(parts) - 1:
            _set(here, index, text.strip())
        elif isinstance(here, dict):
            here = here.setdefault(part, {})
        else:
            here = here[index]
    return []


def _set(here: Any, index: str | int, text: str) -> None:
    """The one value there, or nothing any more where `text` is empty."""
    if text:
        here[index] = _value(text)
    elif not isinstance(here, dict) or index in here:
        del here[index]


def _value(text: str) -> Any:
    """`text` as TOML, or as a bare word when it is none."""
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text.strip()
    return found["value"] if set(found) == {"value"} else text.strip()

"""Reads the plain values of a scenario from its file and from the file that it is based on."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from qdpem.errors import Fault, ScenarioError
from qdpem.scenario.arm_inheritance import arms_of, resolve_likes
from qdpem.scenario.faults.messages import shown
from qdpem.scenario.overrides import Plain, merged, set_key
from qdpem.scenario.paths import absolute_paths
from qdpem.scenario.shipped import missing_file, scenario_file

BASED_ON, WITHOUT = "based_on", "without"


def read_values(path: Path, *, origin: str, above: tuple[Path, ...] = ()) -> Plain:
    """The values in the TOML file `path`, merged into those of the file that it is `based_on`.

    Paths are seen from the file that holds them. Tables are merged key by key. All other values, whole lists
    included, replace those of the other file. Keys in `without` are first removed from the other file. Arms
    that are `like` others are resolved. `above` holds the files that lead here. Raises ScenarioError for a
    file that cannot be read or is not TOML, for files that are based on each other, and for a key of
    `without` that the other file lacks.
    """
    values: Plain = absolute_paths(parse_toml(_text(path, origin=origin), origin=origin), path.parent)
    other, without = values.pop(BASED_ON, None), values.pop(WITHOUT, [])
    if other is None:
        if without:
            _fail(WITHOUT, "has no meaning without based_on: there is nothing to remove", origin)
        resolve_likes(values, origin=origin)
        return values
    if not isinstance(other, str):
        _fail(
            BASED_ON,
            f"{shown(other)} is not allowed; should be a shipped scenario or a path relative to this file",
            origin,
        )
    # Resolved, so that symbolic links and ".." cannot hide a circle.
    base_path = scenario_file(other, folder=path.parent).resolve()
    if base_path in (path.resolve(), *above):
        _fail(BASED_ON, f"{other!r} leads back to itself", origin)
    base = read_values(base_path, origin=f"the scenario {str(base_path)!r}", above=(path.resolve(), *above))
    # Before the merge, which replaces the list of arms of the other file as a whole.
    resolve_likes(values, base_arms=arms_of(base), origin=origin)
    if not isinstance(without, list) or not all(isinstance(key, str) for key in without):
        _fail(WITHOUT, f"{shown(without)} is not allowed; should be a list of dotted keys", origin)
    # Before the merge, so that this file can set a removed key anew.
    for index, key in enumerate(without):
        if not _has_key(base, key):
            _fail(f"{WITHOUT}.{index}", f"{key!r} is not a key of {other!r}", origin)
        set_key(base, key, None)
    return merged(base, values)


def parse_toml(text: str, *, origin: str) -> Plain:
    """The values in TOML `text`. Raises ScenarioError if it is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError([Fault("", f"it is not valid TOML: {error}")], origin=origin) from error


def _has_key(values: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


def _text(path: Path, *, origin: str) -> str:
    try:
        # With or without a byte-order mark, which some editors write.
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ScenarioError([Fault("", missing_file(path))], origin=origin) from None
    except OSError as error:
        raise ScenarioError([Fault("", f"it cannot be read: {error.strerror}")], origin=origin) from error
    except UnicodeDecodeError as error:
        wrong = f"it is not UTF-8 text (byte {error.start}); a scenario is a TOML file"
        raise ScenarioError([Fault("", wrong)], origin=origin) from error


def _fail(path: str, wrong: str, origin: str) -> None:
    raise ScenarioError([Fault(path, wrong)], origin=origin)

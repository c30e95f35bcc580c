"""Plain values of a scenario, as TOML has them: setting one at a dotted key, merging tables, writing them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from qdpem.errors import Fault, ScenarioError
from qdpem.scenario.faults.messages import shown

Plain = dict[str, Any]

EVERY = "*"
"""In a dotted key: every item of a list."""


def apply_overrides(values: dict[str, Any], overrides: Sequence[str], *, origin: str) -> None:
    """Apply overrides such as "nodes.memories=4" to `values`. Raises ScenarioError for those that fail."""
    faults = [fault for override in overrides for fault in _override(values, override)]
    if faults:
        raise ScenarioError(faults, origin=origin)


def set_key(values: dict[str, Any], key: str, value: Any) -> list[Fault]:
    """Set the value at a dotted key, in which a number is an item of a list and "*" is every item.

    The value None removes the key. Returns the faults of a key that cannot be set.

    >>> values = {"classes": [{"fraction": 1}, {"fraction": 2}]}
    >>> set_key(values, "classes.*.fraction", 3)
    []
    >>> values
    {'classes': [{'fraction': 3}, {'fraction': 3}]}
    """
    return [fault for parts in _spread(values, key.split(".")) for fault in _set_at(values, parts, value)]


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> Plain:
    """`own` on top of `base`: tables key by key, all else whole.

    >>> merged({"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}, "d": 4})
    {'a': {'b': 1, 'c': [3]}, 'd': 4}
    """
    result = dict(base)
    for key, value in own.items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


def toml_value(value: Any) -> str:
    """A plain value in TOML, on one line.

    >>> toml_value({"low": 0.5, "names": ["a", True]})
    '{ "low" = 0.5, "names" = ["a", true] }'
    """
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{json.dumps(key)} = {toml_value(item)}" for key, item in value.items()) + " }"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    # JSON would write Infinity where TOML has inf.
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def without_none(value: Any) -> Any:
    """Plain values without the keys that are None, which TOML cannot express."""
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, list) else value


def _override(values: dict[str, Any], override: str) -> list[Fault]:
    """Apply one override to `values`; returns the faults if that fails."""
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        return [Fault("", f"{override!r} is not an override; should be like nodes.memories=4")]
    return set_key(values, key, _value(text.strip()))


def _spread(values: Any, parts: list[str]) -> list[list[str]]:
    """The same parts with "*" replaced by every item of its list."""
    if EVERY not in parts:
        return [parts]
    star = parts.index(EVERY)
    here = values
    for part in parts[:star]:
        if isinstance(here, list) and part.isdecimal() and int(part) < len(here):
            here = here[int(part)]
        else:
            here = here.get(part) if isinstance(here, dict) else None
    if not isinstance(here, list):
        return [parts]
    items = ([*parts[:star], str(item), *parts[star + 1 :]] for item in range(len(here)))
    return [spread for item in items for spread in _spread(values, item)]


def _set_at(values: dict[str, Any], parts: list[str], value: Any) -> list[Fault]:
    here: Any = values
    for depth, part in enumerate(parts):
        index: str | int = part
        if isinstance(here, list):
            if not part.isdecimal() or int(part) >= len(here):
                path = ".".join(parts[:depth])
                return [Fault(path, f"has {len(here)} items; {part!r} is not one of 0 to {len(here) - 1}")]
            index = int(part)
        elif not isinstance(here, dict):
            return [Fault(".".join(parts[:depth]), f"is {shown(here)}, which has no {part!r}; set it whole")]
        if depth == len(parts) - 1:
            _set(here, index, value)
        elif isinstance(here, dict):
            # A missing table is created. A missing item of a list is a fault.
            here = here.setdefault(part, {})
        else:
            here = here[index]
    return []


def _set(here: Any, index: str | int, value: Any) -> None:
    """Set the value, or remove it if it is None."""
    if value is not None:
        here[index] = value
    elif not isinstance(here, dict) or index in here:
        del here[index]


def _value(text: str) -> Any:
    """`text` as a TOML value, as text if it is not TOML, None if it is empty."""
    if not text:
        return None
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    # Text with a line break may define further keys; such text is no value.
    return table["value"] if set(table) == {"value"} else text

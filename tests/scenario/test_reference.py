"""docs/scenario.md names every key of the schema with its default, and no other."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from physics.hardware import LinkHardware
from qdpem.network.catalogue import FileParameters, TopohubParameters
from qdpem.network.generators import GridParameters, LineParameters, MeshParameters
from qdpem.scenario.schema import Scenario

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "scenario.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(?P<key>\w+)`(?P<must> \*)? \| (?P<default>[^|]*)\|", re.MULTILINE)


def keys_of(kind: Any, *, path: str = "", own: str = "") -> dict[str, Any]:
    """Dotted keys and defaults; tables inside are walked, memory kinds are one key.

    Keys of a kind of link stand under "links.hardware(kind)."; tables that kinds share have the same defaults
    in all of them and stand once, under "links.hardware.".
    """
    found: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for item in fields(kind):
        inner = [part for part in (hints[item.name], *get_args(hints[item.name])) if is_dataclass(part)]
        if hints[item.name] == LinkHardware:
            for one in inner:
                name = f"{path}{item.name}"
                walked = keys_of(one, path=f"{name}.", own=f"{name}({one.kind}).")
                assert all(found.get(key, default) == default for key, default in walked.items())
                found.update(walked)
        elif len(inner) == 1 and inner[0].__name__ != "Uniform":
            found.update(keys_of(inner[0], path=f"{path}{item.name}."))
        else:
            found[(own or path) + item.name] = item.default
    return found


def keys_of_page() -> dict[str, tuple[bool, str]]:
    found, section = {}, ""
    for text in PAGE.splitlines():
        heading = re.match(r"^(?:## )?`\[+([\w.]+)\]+`(?:, `kind = \"([\w-]+)\"`)?", text)
        if heading:
            section = f"{heading[1]}({heading[2]})." if heading[2] else heading[1] + "."
        row = ROW.match(text)
        if row and not text.startswith("| `topohub`"):
            found[section + row["key"]] = (row["must"] is not None, row["default"].strip().strip('"'))
    return found


def test_the_page_names_every_key_and_no_other() -> None:
    named = {key for key in keys_of_page() if not key.startswith("topology.") or key in keys_of(Scenario)}
    kinds = {f"topology.{kind}" for kind in ("file", "geometric", "uniform", "line", "grid")}
    assert set(keys_of_page()) - named == kinds
    assert named == set(keys_of(Scenario))


@pytest.mark.parametrize("key", sorted(keys_of(Scenario)))
def test_the_page_has_the_default(key: str) -> None:
    must, said = keys_of_page()[key]
    default = keys_of(Scenario)[key]
    if isinstance(default, tuple):
        assert json.loads(said) == list(default)
    elif isinstance(default, bool):
        assert said == str(default).lower()
    elif isinstance(default, int | float):
        assert float(said) == default
    elif isinstance(default, str) and default and not must:
        assert said == default


def test_the_page_names_topology_parameters() -> None:
    for kind in (FileParameters, TopohubParameters, MeshParameters, GridParameters, LineParameters):
        for item in fields(kind):
            star = " *" if item.default is MISSING else ""
            assert f"`{item.name}`{star}" in PAGE

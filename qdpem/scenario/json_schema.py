"""The JSON schema of scenario files, for editors and other programs that read or write them.

It follows from the tables: types, ranges and words from the annotations, descriptions from the docstrings of
the fields. Parameters of registered policies, physics models and topologies follow from their `Parameters` in
the same way. What depends on several keys at once (fractions that sum to 1, seeds of their kinds) is checked
by `load_scenario` only.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import is_dataclass
from itertools import pairwise
from typing import Any, TypeAlias, cast

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from qdpem.errors import QdpemError
from qdpem.registry import list_names, load
from qdpem.scenario.arm_inheritance import LIKE
from qdpem.scenario.inheritance import BASED_ON, WITHOUT
from qdpem.scenario.schema import Scenario

Schema: TypeAlias = dict[str, Any]
"""A JSON schema, or a part of one."""

_REFERENCE = "#/$defs/"
_DIFFERENCES = "Differences"
_BASED_ON: Schema = {"type": "string", "description": "The file that this one is based on, relative to it."}
_WITHOUT: Schema = {
    "type": "array",
    "items": {"type": "string"},
    "description": "Dotted keys that are first removed from the file that this one is based on.",
}
_LIKE: Schema = {"type": "string", "description": "Another arm, whose settings this one takes and changes."}


def scenario_json_schema() -> Schema:
    """The JSON schema (draft 2020-12) of a scenario file, with the plugins that are installed here.

    A file that is `based_on` another may leave out any key, except in items of lists, which replace those of
    the other file. Every other file needs all keys that are required.
    """
    schema: Schema = _without_null(TypeAdapter(Scenario).json_schema(schema_generator=_Plain))
    tables = schema.pop("$defs")
    tables["Scenario"] = schema
    _name_plugins(tables)
    schema["properties"] |= {BASED_ON: _BASED_ON, WITHOUT: _WITHOUT}
    _add_differences(tables)
    # Keys stand at the root, where every editor finds them, and not behind a reference or a condition.
    root: Schema = tables.pop("Scenario" + _DIFFERENCES)
    root |= {"if": {"not": {"required": [BASED_ON]}}, "then": {"$ref": _reference("Scenario")}}
    used = _reachable(root, tables)
    title: Schema = {"$schema": GenerateJsonSchema.schema_dialect, "title": "A scenario of qdpem"}
    return root | title | {"$defs": {name: tables[name] for name in sorted(used)}}


def parameters_json_schema(parameters: type) -> Schema:
    """The JSON schema of a plugin's dataclass of parameters, described by the docstrings of its fields."""
    schema: Schema = _without_null(TypeAdapter(parameters).json_schema(schema_generator=_Plain))
    schema["additionalProperties"] = False
    # In place of references, which would have to stand at the root of the whole schema.
    return cast(Schema, _inlined(schema, schema.pop("$defs", {})))


def _inlined(part: Any, definitions: Mapping[str, Schema]) -> Any:
    """A part of a schema, with definitions in place of references; types of parameters never recur."""
    if isinstance(part, list):
        return [_inlined(each, definitions) for each in part]
    if not isinstance(part, Mapping):
        return part
    own = {key: _inlined(value, definitions) for key, value in part.items() if key != "$ref"}
    name = _referred(part)
    return own if not name else {**_inlined(definitions[name], definitions), **own}


def field_docstrings(kind: type) -> dict[str, str]:
    """The docstring below each field of a dataclass and of its bases, on one line.

    A class whose source cannot be read has none.
    """
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if is_dataclass(base):
            found |= _own_docstrings(base)
    return found


class _Plain(GenerateJsonSchema):
    """Without titles, which would only repeat the names of keys, and with defaults that JSON can hold.

    Fields are described by their docstrings.
    """

    def dataclass_schema(self, schema: Any) -> Schema:
        """The schema of a table."""
        made: Schema = super().dataclass_schema(schema)
        for name, text in field_docstrings(schema["cls"]).items():
            if name in made.get("properties", {}):
                made["properties"][name]["description"] = text
        return made

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def encode_default(self, dft: Any) -> Any:
        """The default; of a number that is not finite, as Python's JSON writes it."""
        return str(dft) if isinstance(dft, float) and dft - dft != 0.0 else super().encode_default(dft)


def _without_null(schema: Any) -> Any:
    """Without "null", which TOML lacks: a key that may be None may be left out. Descriptions on one line."""
    if isinstance(schema, list):
        return [_without_null(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    plain = {key: _without_null(value) for key, value in schema.items()}
    if isinstance(plain.get("description"), str):
        plain["description"] = " ".join(plain["description"].split())
    if {"type": "null"} in plain.get("anyOf", ()):
        choices = [each for each in plain.pop("anyOf") if each != {"type": "null"}]
        plain |= choices[0] if len(choices) == 1 else {"anyOf": choices}
    if plain.get("default", "") is None:
        del plain["default"]
    return plain


def _own_docstrings(kind: type) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    return {
        field.target.id: " ".join(below.value.value.split())
        for field, below in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


def _name_plugins(tables: dict[str, Schema]) -> None:
    """Replace free names by those registered, and free parameters by those of the plugin that is named."""
    arm = tables["Arm"]["properties"]
    arm[LIKE] = _LIKE
    arm["policy"] |= {"enum": ["", *list_names("policy")]}
    arm["forecaster"] |= {"enum": list_names("forecaster")}
    own_policy = {"not": {"anyOf": [{"required": ["policy"]}, {"required": [LIKE]}]}}
    _choose_parameters(tables, "Arm", "policy", kind="policy", unless_named=("name", own_policy))
    for table, key, kind in (("PhysicsChoice", "model", "physics"), ("Topology", "kind", "topology")):
        tables[table]["properties"][key] |= {"enum": list_names(kind)}
        default = tables[table]["properties"][key].get("default")
        _choose_parameters(tables, table, key, kind=kind, default=default)


def _choose_parameters(
    tables: dict[str, Schema],
    table: str,
    key: str,
    *,
    kind: str,
    default: str | None = None,
    unless_named: tuple[str, Schema] | None = None,
) -> None:
    """Add one condition for each plugin: if `key` names it, `parameters` are those that it takes.

    Args:
        tables: the tables of the schema by name, changed in place.
        table: the table with `key` and `parameters`.
        key: the key that names the plugin.
        kind: the kind of plugin.
        default: the plugin that counts as named if the key is missing.
        unless_named: another key that names the plugin, and the condition under which it does.
    """
    conditions = []
    for name in list_names(kind):
        parameters = _parameters(kind, name)
        if parameters is None:
            continue
        definition = f"{kind}:{name}"
        tables[definition] = parameters
        named: Schema = {"properties": {key: {"const": name}}}
        if name != default:
            named["required"] = [key]
        if unless_named is not None:
            other, where = unless_named
            by_other = {"properties": {other: {"const": name}}, "required": [other], **where}
            named = {"anyOf": [named, by_other]}
        then = {"properties": {"parameters": {"$ref": _reference(definition)}}}
        conditions.append({"if": named, "then": then})
    tables[table]["allOf"] = conditions


def _parameters(kind: str, name: str) -> Schema | None:
    """The schema of a plugin's parameters; None if it cannot be imported, as any may be taken then."""
    try:
        parameters = getattr(load(kind, name), "Parameters", None)
    except QdpemError:
        return None
    if parameters is None:
        return {"type": "object", "additionalProperties": False, "description": "It takes no parameters."}
    return parameters_json_schema(parameters)


def _add_differences(tables: dict[str, Schema]) -> None:
    """Add a copy of each table, without required keys, that refers to such copies outside lists."""
    names = {name for name, each in tables.items() if "properties" in each}
    for name in sorted(names):
        copy = _differences(deepcopy(tables[name]), names)
        copy.pop("required", None)
        tables[name + _DIFFERENCES] = copy


def _differences(schema: Any, names: set[str]) -> Any:
    if isinstance(schema, list):
        return [_differences(each, names) for each in schema]
    if not isinstance(schema, Mapping) or schema.get("type") == "array":
        return schema
    changed = {key: _differences(value, names) for key, value in schema.items()}
    name = _referred(changed)
    if name in names:
        changed["$ref"] = _reference(name + _DIFFERENCES)
    return changed


def _reachable(root: Schema, tables: Mapping[str, Schema]) -> set[str]:
    """The names of all tables that `root` refers to, at first or any later hand."""
    found: set[str] = set()
    pending: list[Any] = [root]
    while pending:
        part = pending.pop()
        if isinstance(part, Mapping):
            pending.extend(part.values())
            name = _referred(part)
            if name and name not in found:
                found.add(name)
                pending.append(tables[name])
        elif isinstance(part, list):
            pending.extend(part)
    return found


def _referred(schema: Mapping[str, Any]) -> str:
    """The name of the table that a part of a schema refers to; "" if it is no reference."""
    reference = schema.get("$ref")
    return reference.removeprefix(_REFERENCE) if isinstance(reference, str) else ""


def _reference(name: str) -> str:
    return _REFERENCE + name

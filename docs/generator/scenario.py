"""Every key of a scenario, table by table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from generator.markdown import code, paragraph
from generator.schema_values import Schema, key_table, subtables
from qdpem.registry import list_names, load
from qdpem.scenario.json_schema import scenario_json_schema

PLUGINS = {"Topology": "topology", "PhysicsChoice": "physics"}


def scenario_keys() -> str:
    """A section for each table of a scenario."""
    schema = scenario_json_schema()
    tables: dict[str, Any] = schema["$defs"]
    return "\n\n".join(filter(None, _sections(tables["Scenario"], tables, path="", level=2)))


def _sections(schema: Schema, tables: Mapping[str, Schema], *, path: str, level: int) -> Iterator[str]:
    """The keys of the root, then a section for each table in `schema`."""
    if not path:
        yield "## The file itself"
        yield key_table(schema, tables)
    for name, each in schema["properties"].items():
        names = subtables(each, tables)
        if not names:
            continue
        dotted = f"{path}.{name}".lstrip(".")
        if isinstance(each.get("additionalProperties"), Mapping):
            # A table whose keys are names of the user's own.
            dotted = f"{dotted}.NAME"
        title = f"[[{dotted}]]" if each.get("type") == "array" else f"[{dotted}]"
        yield f"{'#' * level} `{title}`"
        if len(names) > 1:
            yield from _kinds(each, names, tables, path=dotted, level=min(level + 1, 4))
        else:
            yield tables[names[0]].get("description", each["description"])
            yield key_table(tables[names[0]], tables)
            if names[0] in PLUGINS:
                yield _plugins(PLUGINS[names[0]], tables)
            yield from _sections(tables[names[0]], tables, path=dotted, level=min(level + 1, 4))


def _kinds(
    schema: Schema, names: list[str], tables: Mapping[str, Schema], *, path: str, level: int
) -> Iterator[str]:
    """A section for each kind of a table; what several kinds hold alike stands once, after them."""
    yield schema["description"]
    shared: dict[str, tuple[str, list[str]]] = {}
    for name in names:
        kind = tables[name]["properties"]["kind"]["const"]
        yield f'{"#" * level} `[{path}]`, `kind = "{kind}"`'
        yield tables[name]["description"]
        yield key_table(tables[name], tables)
        for key, each in tables[name]["properties"].items():
            for inner in subtables(each, tables):
                shared.setdefault(key, (inner, []))[1].append(code(f'"{kind}"'))
    for key, (inner, kinds) in shared.items():
        yield f"{'#' * level} `[{path}.{key}]`, of {', '.join(kinds)}"
        yield tables[inner]["description"]
        yield key_table(tables[inner], tables)


def _plugins(kind: str, tables: Mapping[str, Schema]) -> str:
    parts = []
    for name in list_names(kind):
        schema = tables.get(f"{kind}:{name}")
        if schema is None or not schema.get("properties"):
            continue
        keys = "\n\n".join(
            (
                f"`parameters` of {code(name)}: {paragraph(load(kind, name).__doc__ or '')}",
                key_table(schema, tables),
            )
        )
        parts.append(keys)
    return "\n\n".join(parts)

"""The values that a key may have, in words, from its part of the JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from generator.markdown import code, table

Schema = Mapping[str, Any]

UNITS = {"_hz": "Hz", "_db_per_km": "dB/km", "_km": "km", "_db": "dB", "_rad": "rad", "_s": "s"}
TYPES = {
    "string": "text",
    "boolean": "true or false",
    "object": "table",
    "number": "number",
    "integer": "integer",
}


def key_table(schema: Schema, tables: Mapping[str, Schema]) -> str:
    """One row for each key of a table that holds no table of its own."""
    required = schema.get("required", ())
    rows = [
        (
            code(name) + (" *" if name in required else ""),
            values(each, tables),
            unit_of(name),
            default_of(each),
            each.get("description", ""),
        )
        for name, each in schema.get("properties", {}).items()
        if not subtables(each, tables) and "const" not in each
    ]
    return table(("key", "values", "unit", "default", "meaning"), rows) if rows else ""


def subtables(schema: Schema, tables: Mapping[str, Schema]) -> list[str]:
    """The names of the tables that a key, or the items of its list, may be."""
    names = [name for name in references(schema) if is_table(tables[name])]
    return [name for name in names if name != "Uniform"]


def references(schema: Schema) -> Iterator[str]:
    """Names of the definitions that a key refers to."""
    if "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2]
    inner = [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), Mapping)]
    for each in (*schema.get("anyOf", ()), *inner):
        yield from references(each)


def is_table(schema: Schema) -> bool:
    """Whether a definition is a table, and not a list of words."""
    return "properties" in schema


def values(schema: Schema, tables: Mapping[str, Schema]) -> str:
    """The values in words: type and range."""
    if "anyOf" in schema:
        return ", or ".join(values(each, tables) for each in schema["anyOf"])
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return "`{ low, high }`" if is_table(tables[name]) else values(tables[name], tables)
    if "enum" in schema:
        return ", ".join(code(json.dumps(each)) for each in schema["enum"])
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return f"list of {len(schema['prefixItems'])} numbers"
        return f"list of: {values(schema.get('items', {}), tables)}"
    kind = TYPES.get(schema.get("type", ""), "any value")
    return " ".join(filter(None, (kind, range_of(schema))))


def range_of(schema: Schema) -> str:
    """The range of a number."""
    signs = (("exclusiveMinimum", ">"), ("minimum", "≥"), ("exclusiveMaximum", "<"), ("maximum", "≤"))
    return " and ".join(f"{sign}\u00a0{schema[key]:g}" for key, sign in signs if key in schema)


def default_of(schema: Schema) -> str:
    """The default as TOML; "" if the key is required or has none."""
    if "default" not in schema:
        return ""
    default = schema["default"]
    return code(default if default in ("inf", "-inf") else json.dumps(default))


def unit_of(key: str) -> str:
    """The unit with which a key ends."""
    return next((unit for end, unit in UNITS.items() if key.endswith(end)), "")

"""Cards of policies, forecasters and physics models: what each declares of itself."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

from generator.markdown import code, paragraph, table
from generator.schema_values import default_of, unit_of, values
from qdpem.policies.inventory.base_stock import BaseStockParameters
from qdpem.policy.tuning import Choices, declarations
from qdpem.registry import list_names, load
from qdpem.scenario.json_schema import parameters_json_schema

LABELS = {"Source": "Source", "Knowledge": "Knows", "Work": "Work"}


def policy_card(*names: str) -> str:
    """The card of the policies of one module: idea of each, source, knowledge, work, and parameters."""
    factories = {name: load("policy", name) for name in names}
    rows = [
        (
            code(name),
            str(each.control),
            str(each.pregeneration),
            each.forecaster,
            paragraph(each.__doc__ or ""),
        )
        for name, each in factories.items()
    ]
    first = next(iter(factories.values()))
    facts = _facts(sys.modules[first.__module__].__doc__ or "")
    lines = [f"- **{LABELS[label]}**: {fact}" for label, fact in facts.items()]
    heads = ("policy", "control", "pregeneration", "forecaster", "idea")
    parts = [table(heads, rows), "\n".join(lines), _parameters(first.Parameters, without=BaseStockParameters)]
    if issubclass(first.Parameters, BaseStockParameters):
        parts.append("It also takes the [parameters of stock](#stock).")
    return "\n\n".join(parts)


def stock_parameters() -> str:
    """The parameters that all policies with base stock share."""
    return _parameters(BaseStockParameters)


def forecaster_cards() -> str:
    """A card for each forecaster."""
    return "\n\n".join(_card("forecaster", name) for name in list_names("forecaster"))


def physics_cards() -> str:
    """A card for each physics model."""
    return "\n\n".join(_card("physics", name) for name in list_names("physics"))


def _card(kind: str, name: str) -> str:
    factory = load(kind, name)
    about = inspect.getdoc(factory) or ""
    about = about.split("\n>>> ")[0].strip()
    parts = [f"## {code(name)}", about]
    if getattr(factory, "oracle", False):
        parts.append("It is an oracle: it sees the true rates, and is a bound, not a rival.")
    if getattr(factory, "pooled", False):
        parts.append("Its weights are fitted on the requests of all nodes, which no node knows: an ablation.")
    if getattr(factory, "reference", None):
        parts.append(f"Its reference is {code(factory.reference)}.")
    if getattr(factory, "Parameters", None) is not None:
        parts.append(_parameters(factory.Parameters))
    return "\n\n".join(filter(None, parts))


def _parameters(kind: type, *, without: type = object) -> str:
    """A row for each parameter that `kind` declares or changes, and not only takes over from `without`."""
    own = {name for each in kind.__mro__ for name in _annotated(each, without)}
    schema = parameters_json_schema(kind)
    tuned = declarations(kind)
    tables: dict[str, Any] = schema.get("$defs", {})
    rows = [
        (
            code(name),
            values(each, tables),
            unit_of(name),
            default_of(each),
            _searched(tuned[name]) if name in tuned else "",
            each.get("description", ""),
        )
        for name, each in schema.get("properties", {}).items()
        if name in own
    ]
    return (
        table(("parameter", "values", "unit", "default", "`tune` searches", "meaning"), rows) if rows else ""
    )


def _annotated(kind: type, without: type) -> set[str]:
    """The names that a class annotates itself, unless it is `without` or one of its bases."""
    return set() if issubclass(without, kind) else set(vars(kind).get("__annotations__", ()))


def _searched(declared: Any) -> str:
    space = declared.space
    if isinstance(space, Choices):
        return ", ".join(code(each) for each in space.values)
    where = [f"{space.low:g} to {space.high:g}", *(["log"] if space.log else [])]
    where += [f"{declared.control} control"] if declared.control else []
    where += [f"from {declared.pregeneration}"] if str(declared.pregeneration) != "none" else []
    return ", ".join(where)


def _facts(docstring: str) -> dict[str, str]:
    """The labelled paragraphs of a module's docstring."""
    found = re.findall(
        r"^(Source|Knowledge|Work): (.*?)(?=^\w+: |\n\n|\Z)", docstring, re.MULTILINE | re.DOTALL
    )
    return {label: " ".join(text.split()) for label, text in found}

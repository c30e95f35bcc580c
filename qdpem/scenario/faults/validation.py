"""Checks plain values against a dataclass; every wrong value gets one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from qdpem.errors import Fault, ScenarioError, is_text
from qdpem.scenario.faults.fault_report import FaultReport
from qdpem.scenario.faults.messages import unknown_key


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Built once, because building takes longer than reading a scenario, and a sweep reads many."""
    return TypeAdapter(kind)


def checked(kind: Any, values: Mapping[str, Any], *, origin: str, path: str = "") -> Any:
    """`values` as an instance of the dataclass `kind`, without conversion between types.

    Raises ScenarioError with every fault, each at a dotted path that begins with `path`.
    """
    adapter = _adapter(kind)
    try:
        # In JSON mode pydantic is strict with scalars and still takes tables and lists.
        return adapter.validate_json(to_json(values, inf_nan_mode="constants"), strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise ScenarioError(FaultReport(kind, values, path).faults(details), origin=origin) from None


def text_faults(values: Any, path: str = "") -> list[Fault]:
    """A fault for every text that a record cannot hold, each at its dotted path."""
    if isinstance(values, str) and not is_text(values):
        return [Fault(path, f"{values!r} is not allowed; should have no NUL and no half of a surrogate pair")]
    items = (
        values.items()
        if isinstance(values, Mapping)
        else enumerate(values)
        if isinstance(values, list)
        else ()
    )
    return [
        fault for key, item in items for fault in text_faults(item, f"{path}.{key}" if path else str(key))
    ]


def parameters_of(factory: Any, values: Mapping[str, Any], *, path: str) -> Any:
    """`values` as an instance of `factory.Parameters`, the frozen dataclass that a plugin names.

    Unknown keys are faults, even if the dataclass would accept them. For a factory without `Parameters` the
    result is None, and every key is a fault. Raises ScenarioError with every fault under the dotted `path`.
    """
    kind = getattr(factory, "Parameters", None)
    known = {item.name for item in fields(kind)} if kind is not None else set()
    wrong = "is not a known key; it takes no parameters"
    faults = [
        Fault(f"{path}.{key}", unknown_key(key, kind) if known else wrong)
        for key in values
        if key not in known
    ]
    parameters = None
    try:
        if kind is not None:
            known_values = {key: value for key, value in values.items() if key in known}
            parameters = checked(kind, known_values, origin="the scenario", path=path)
    except ScenarioError as error:
        faults.extend(error.faults)
    if faults:
        raise ScenarioError(faults)
    return parameters

"""From what pydantic found wrong to sentences: one per wrong value, with its path and what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeAlias, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, to_json

from qdpem.errors import Fault, ScenarioError
from qdpem.scenario.messages import choice, described, members, options, own_words, shown, unknown_key

Location: TypeAlias = tuple[str | int, ...]

_PLAIN = {
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "string_type": "should be text in quotes",
    "bool_type": "should be true or false",
    "dict_type": "should be a table",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "finite_number": "should be finite",
}


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Built once: it takes longer than to read a scenario with it, and a grid reads many."""
    return TypeAdapter(kind)


def checked(kind: Any, values: Mapping[str, Any], *, origin: str, path: str = "") -> Any:
    """`values` as an instance of the dataclass `kind`, each type taken strictly.

    Raises ScenarioError with every fault, each at a dotted path that begins with `path`.
    """
    adapter = _adapter(kind)
    try:
        # JSON is the mode in which pydantic is strict with scalars and still takes tables and lists.
        return adapter.validate_json(to_json(values, inf_nan_mode="constants"), strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise ScenarioError(_Reading(kind, values, path).faults(details), origin=origin) from None


def parameters_of(factory: Any, values: Mapping[str, Any], *, path: str) -> Any:
    """`values` as an instance of `factory.Parameters`, the frozen dataclass a plugin names.

    Unknown keys are faults whatever the dataclass itself says. A factory without `Parameters` takes
    none and gets None. Raises ScenarioError with every fault under the dotted `path`.
    """
    kind = getattr(factory, "Parameters", None)
    known = {item.name for item in fields(kind)} if kind is not None else set()
    wrong = "is not a known key; it takes no parameters"
    faults = [
        Fault(f"{path}.{key}", unknown_key(key, kind) if known else wrong)
        for key in values
        if key not in known
    ]
    found = None
    try:
        if kind is not None:
            rest = {key: value for key, value in values.items() if key in known}
            found = checked(kind, rest, origin="the scenario", path=path)
    except ScenarioError as error:
        faults.extend(error.faults)
    if faults:
        raise ScenarioError(faults)
    return found


class _Reading:
    """One failed reading: the root type, the values given, and the path they stand under."""

    def __init__(self, kind: Any, values: Mapping[str, Any], path: str) -> None:
        self._kind, self._values, self._path = kind, values, path

    def faults(self, details: Sequence[ErrorDetails]) -> list[Fault]:
        """Every fault once, unions collapsed to one branch, in the order in which they were found."""
        found: dict[Location, str] = {}
        unions: dict[Location, list[tuple[Location, str, ErrorDetails]]] = {}
        for detail in details:
            place, union, tag = self._place(detail)
            if union is None:
                self._note(found, place, detail)
            else:
                unions.setdefault(union, []).append((place, tag, detail))
        for union, branches in unions.items():
            self._note_union(found, union, branches)
        self._note_lonely(found)
        return [Fault(self._dotted(place), message) for place, message in found.items()]

    def _place(self, detail: ErrorDetails) -> tuple[Location, Location | None, str]:
        """The path in the file, the path of the union around it, and pydantic's name of the branch."""
        place: list[str | int] = []
        union: Location | None = None
        here: Any = self._values
        tag = ""
        location = detail["loc"]
        for index, part in enumerate(location):
            absent = detail["type"] == "missing" and index == len(location) - 1
            if isinstance(part, int) and absent:
                break  # A list of a fixed length is too short: that is a fault of the list.
            inside = part in here if isinstance(here, Mapping) else isinstance(part, int)
            if inside:
                place.append(part)
                here = here[part]
            elif absent:
                place.append(part)
            else:
                union, tag = tuple(place), str(part)
        return tuple(place), union, tag

    def _note(self, found: dict[Location, str], place: Location, detail: ErrorDetails) -> None:
        if detail["type"] == "too_short" and len(self._at(place)) > 0:
            return  # Its items were wrong and are reported; the list itself is long enough.
        if detail["type"] == "value_error":
            place = self._named(place, str(detail["ctx"]["error"]))
        found.setdefault(place, self._sentence(place, detail))

    def _note_union(
        self,
        found: dict[Location, str],
        union: Location,
        branches: list[tuple[Location, str, ErrorDetails]],
    ) -> None:
        value, hint = self._at(union), self._hint(union)
        if isinstance(value, Mapping):
            tables: list[Any] = [member for member in members(hint) if is_dataclass(member)]
            names = [item.default for table in tables for item in fields(table) if item.name == "kind"]
            if "kind" in value and names and value["kind"] not in names:
                found[(*union, "kind")] = choice(value["kind"], names)
                return
            chosen = max(tables, key=lambda table: _likeness(table, value))
            for place, tag, detail in branches:
                if re.search(rf"\b{chosen.__name__}\b", tag):
                    self._note(found, place, detail)
            return
        for _, _, detail in branches:
            if _is_number(value) and detail["type"] not in ("dataclass_type", "float_type", "int_type"):
                found[union] = f"{self._sentence(union, detail)}; or {_table_part(hint)}"
                return
        found[union] = f"{shown(value)} is not allowed; should be {described(hint)}"

    def _note_lonely(self, found: dict[Location, str]) -> None:
        """Faults of single values that a dataclass checks itself, hidden behind the first one it met."""
        for table in {place[:length] for place in found for length in range(len(place) + 1)}:
            value = self._at(table)
            if not isinstance(value, Mapping):
                continue
            kind = self._table_kind(table)
            for name, message in _lonely_faults(kind, value) if kind else ():
                found.setdefault((*table, name), message)

    def _sentence(self, place: Location, detail: ErrorDetails) -> str:
        kind, value = detail["type"], self._at(place)
        if kind == "missing" and isinstance(detail["loc"][-1], int):
            return f"{shown(value)} is not allowed; should have {len(get_args(self._hint(place)))} items"
        if kind == "missing":
            return f"is missing; should be {described(self._hint(place))}"
        if kind == "unexpected_keyword_argument":
            return unknown_key(str(place[-1]), self._table_kind(place[:-1]))
        if kind == "value_error":
            return own_words(str(detail["ctx"]["error"]))
        if kind in ("enum", "literal_error"):
            return choice(value, options(self._hint(place)))
        if kind == "dataclass_type":
            wanted = f"should be {described(self._hint(place))}"
        elif kind == "too_short":
            wanted = f"should have at least {detail['ctx']['min_length']} item"
        elif kind == "too_long":
            wanted = f"should have at most {detail['ctx']['max_length']} items"
        elif kind == "string_pattern_mismatch":
            wanted = f"should match the pattern {detail['ctx']['pattern']}"
        else:
            wanted = _PLAIN.get(kind, detail["msg"].removeprefix("Input "))
        return f"{shown(value)} is not allowed; {wanted}"

    def _table_kind(self, place: Location) -> Any:
        """The dataclass that the table at `place` is most like, or None."""
        kinds = [member for member in members(self._hint(place)) if is_dataclass(member)]
        return max(kinds, key=lambda kind: _likeness(kind, self._at(place)), default=None)

    def _named(self, place: Location, message: str) -> Location:
        """The path of the field that a dataclass' own message begins with, else of the dataclass."""
        value, word = self._at(place), message.split(" ", 1)[0].partition("[")[0]
        return (*place, word) if isinstance(value, Mapping) and word in value else place

    def _at(self, place: Location) -> Any:
        here: Any = self._values
        for part in place:
            if isinstance(here, Mapping):
                here = here.get(str(part))
            elif isinstance(here, list | tuple) and isinstance(part, int) and part < len(here):
                here = here[part]
            else:
                return None
        return here

    def _hint(self, place: Location) -> Any:
        """The type that stands at `place`; for a union, all of it."""
        hint: Any = self._kind
        for part in place:
            inner = []
            for member in members(hint):
                if is_dataclass(member):
                    inner.append(get_type_hints(member, include_extras=True).get(str(part)))
                elif get_origin(member) is tuple and isinstance(part, int):
                    inner.append(get_args(member)[0])
            known = [item for item in inner if item is not None]
            if not known:
                return Any
            hint = Union[tuple(known)]  # noqa: UP007
        return hint

    def _dotted(self, place: Location) -> str:
        return ".".join([*([self._path] if self._path else []), *(str(part) for part in place)])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _likeness(table: Any, value: Mapping[str, Any]) -> tuple[bool, int]:
    """How much `value` looks meant to be a `table`: its kind first, then how many keys fit."""
    names = {item.name: item.default for item in fields(table)}
    return ("kind" in value and names.get("kind") == value["kind"], sum(key in names for key in value))


def _table_part(hint: Any) -> str:
    return " or ".join(described(member) for member in members(hint) if is_dataclass(member))


def _lonely_faults(kind: Any, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a standard dataclass says to each value on its own, beside the defaults of all others."""
    check = getattr(kind, "__post_init__", None)
    defaults = {item.name: item.default for item in fields(kind) if item.default is not MISSING}
    if check is None or hasattr(kind, "__pydantic_validator__"):
        return
    for name, value in values.items():
        if name not in defaults or not _is_number(value):
            continue
        alone = object.__new__(kind)
        for key, default in {**defaults, name: value}.items():
            object.__setattr__(alone, key, default)
        try:
            check(alone)
        except ValueError as error:
            yield name, own_words(str(error))
        except (AttributeError, TypeError):
            continue

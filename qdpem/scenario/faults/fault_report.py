"""Turns the errors of pydantic into faults: for each wrong value its path and one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, NamedTuple, TypeAlias, Union, get_args, get_origin, get_type_hints

from pydantic_core import ErrorDetails

from qdpem.errors import Fault
from qdpem.scenario.faults.messages import (
    choice,
    described,
    members,
    misplaced_key,
    options,
    own_words,
    shown,
    unknown_key,
)

Location: TypeAlias = tuple[str | int, ...]

_WRONG_TYPE = ("dataclass_type", "float_type", "int_type")
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


class _BranchError(NamedTuple):
    """An error inside a union: the path of the value, pydantic's name of the branch, and its details."""

    location: Location
    branch: str
    detail: ErrorDetails


class FaultReport:
    """Turns the errors of one failed validation into faults.

    pydantic reports an error for each branch of a union, and only the first error that a dataclass raises in
    its own check. A user should see one sentence for each wrong value. Errors are therefore read in three
    passes.

    1. `_locate` splits the location of each error into the path of a value in the file and, inside a union,
       the path of the union and pydantic's name of the branch. Errors outside unions become faults at once.
    2. The errors of a union become one fault, or those of the one branch that the value was most likely
       meant to be: a table with the same `kind`, or with the most keys in common.
    3. A dataclass of `physics` checks its values one after another and raises at the first wrong one. Each
       of its other values is checked by itself, beside the defaults of the rest, to find the wrong ones
       behind the first.

    `kind` is the type that was expected, `values` what was given, and `path` the dotted path of `values`.
    """

    def __init__(self, kind: Any, values: Mapping[str, Any], path: str) -> None:
        self._kind, self._values, self._path = kind, values, path
        self._messages: dict[Location, str] = {}

    def faults(self, details: Sequence[ErrorDetails]) -> list[Fault]:
        """One fault for each wrong value, in the order in which pydantic found them."""
        unions: dict[Location, list[_BranchError]] = {}
        for detail in details:
            location, union, branch = self._locate(detail)
            if union is None:
                self._add(location, detail)
            else:
                unions.setdefault(union, []).append(_BranchError(location, branch, detail))
        for union, errors in unions.items():
            self._add_union(union, errors)
        self._add_hidden()
        return [Fault(self._dotted(location), message) for location, message in self._messages.items()]

    def _locate(self, detail: ErrorDetails) -> tuple[Location, Location | None, str]:
        """The path in the file, the path of the union around it, and pydantic's name of the branch.

        pydantic puts names of branches between the keys. They are the parts that are not in the values given.
        """
        location: list[str | int] = []
        union: Location | None = None
        here: Any = self._values
        branch = ""
        parts = detail["loc"]
        for index, part in enumerate(parts):
            missing = detail["type"] == "missing" and index == len(parts) - 1
            if isinstance(part, int) and missing:
                break  # A list of a fixed length is too short. That is a fault of the list.
            given = part in here if isinstance(here, Mapping) else isinstance(part, int)
            if given:
                location.append(part)
                here = here[part]
            elif missing:
                location.append(part)
            else:
                union, branch = tuple(location), str(part)
        return tuple(location), union, branch

    def _add(self, location: Location, detail: ErrorDetails) -> None:
        if detail["type"] == "too_short" and len(self._value(location)) > 0:
            return  # Its items were wrong and are reported; the list itself is long enough.
        if detail["type"] == "value_error":
            location = self._named(location, str(detail["ctx"]["error"]))
        self._messages.setdefault(location, self._sentence(location, detail))

    def _add_union(self, union: Location, errors: Sequence[_BranchError]) -> None:
        value, hint = self._value(union), self._hint(union)
        if isinstance(value, Mapping):
            self._add_table(union, value, hint, errors)
            return
        for error in errors:
            # A number that is out of range: its own sentence, and the table that could stand in its place.
            if _is_number(value) and error.detail["type"] not in _WRONG_TYPE:
                self._messages[union] = f"{self._sentence(union, error.detail)}; or {_table_part(hint)}"
                return
        self._messages[union] = f"{shown(value)} is not allowed; should be {described(hint)}"

    def _add_table(
        self, union: Location, value: Mapping[str, Any], hint: Any, errors: Sequence[_BranchError]
    ) -> None:
        """The faults of a table of several kinds: its unknown kind, or those of the nearest kind."""
        tables: list[Any] = [member for member in members(hint) if is_dataclass(member)]
        kinds = [item.default for table in tables for item in fields(table) if item.name == "kind"]
        if "kind" in value and kinds and value["kind"] not in kinds:
            self._messages[(*union, "kind")] = choice(value["kind"], kinds)
            return
        chosen = max(tables, key=lambda table: _likeness(table, value))
        for error in errors:
            if re.search(rf"\b{chosen.__name__}\b", error.branch):
                self._add(error.location, error.detail)

    def _add_hidden(self) -> None:
        """Add the faults that a dataclass did not report because it raised at an earlier one."""
        for table in {at[:length] for at in self._messages for length in range(len(at) + 1)}:
            value = self._value(table)
            if not isinstance(value, Mapping):
                continue
            kind = self._table_kind(table)
            for name, message in _hidden_faults(kind, value) if kind else ():
                self._messages.setdefault((*table, name), message)

    def _sentence(self, location: Location, detail: ErrorDetails) -> str:
        kind, value = detail["type"], self._value(location)
        if kind == "missing" and isinstance(detail["loc"][-1], int):
            length = len(get_args(self._hint(location)))
            return f"{shown(value)} is not allowed; should have {length} items"
        if kind == "missing":
            return f"is missing; should be {described(self._hint(location))}"
        if kind == "unexpected_keyword_argument":
            return self._unknown_key(location)
        if kind == "value_error":
            return own_words(str(detail["ctx"]["error"]))
        if kind in ("enum", "literal_error"):
            return choice(value, options(self._hint(location)))
        if kind == "dataclass_type":
            wanted = f"should be {described(self._hint(location))}"
        elif kind == "too_short":
            wanted = f"should have at least {detail['ctx']['min_length']} item"
        elif kind == "too_long":
            wanted = f"should have at most {detail['ctx']['max_length']} items"
        elif kind == "string_pattern_mismatch":
            # The only pattern is that of the names of arms, which also name directories.
            wanted = "should be lower-case letters, digits and hyphens, and not begin with a hyphen"
        else:
            wanted = _PLAIN.get(kind, detail["msg"].removeprefix("Input "))
        return f"{shown(value)} is not allowed; {wanted}"

    def _unknown_key(self, location: Location) -> str:
        """The sentence for a key that its table lacks; it may be one of the file, or of a table inside."""
        table, key = location[:-1], str(location[-1])
        if table and not self._path and (at_top := self._hint((key,))) is not Any:
            return misplaced_key(key, at_top)
        kind = self._table_kind(table)
        below = [(*table, item.name, key) for item in fields(kind)]
        found = [self._dotted(path) for path in below if self._hint(path) is not Any]
        return unknown_key(key, kind, elsewhere=found)

    def _table_kind(self, location: Location) -> Any:
        """The dataclass that the table at `location` is most like, or None."""
        kinds = [member for member in members(self._hint(location)) if is_dataclass(member)]
        return max(kinds, key=lambda kind: _likeness(kind, self._value(location)), default=None)

    def _named(self, location: Location, message: str) -> Location:
        """The path of the field that the message of a dataclass begins with, else of the dataclass."""
        value, word = self._value(location), message.split(" ", 1)[0].partition("[")[0]
        return (*location, word) if isinstance(value, Mapping) and word in value else location

    def _value(self, location: Location) -> Any:
        """The value given at `location`; None where there is none."""
        here: Any = self._values
        for part in location:
            if isinstance(here, Mapping):
                here = here.get(str(part))
            elif isinstance(here, list | tuple) and isinstance(part, int) and part < len(here):
                here = here[part]
            else:
                return None
        return here

    def _hint(self, location: Location) -> Any:
        """The type expected at `location`; all of it if it is a union."""
        hint: Any = self._kind
        for part in location:
            inner = []
            for member in members(hint):
                if is_dataclass(member):
                    inner.append(get_type_hints(member, include_extras=True).get(str(part)))
                elif get_origin(member) is tuple and isinstance(part, int):
                    inner.append(get_args(member)[0])
                elif get_origin(member) is dict and len(get_args(member)) == 2:
                    inner.append(get_args(member)[1])
            known = [item for item in inner if item is not None]
            if not known:
                return Any
            hint = Union[tuple(known)]  # noqa: UP007
        return hint

    def _dotted(self, location: Location) -> str:
        return ".".join([*([self._path] if self._path else []), *(str(part) for part in location)])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _likeness(table: Any, value: Mapping[str, Any]) -> tuple[bool, int]:
    """How likely `value` was meant to be a `table`: whether its kind fits, then how many keys do."""
    names = {item.name: item.default for item in fields(table)}
    return ("kind" in value and names.get("kind") == value["kind"], sum(key in names for key in value))


def _table_part(hint: Any) -> str:
    return " or ".join(described(member) for member in members(hint) if is_dataclass(member))


def _hidden_faults(kind: Any, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The message of a standard dataclass about each value by itself, beside the defaults of all others.

    pydantic dataclasses need no such check: they report every wrong value.
    """
    check = getattr(kind, "__post_init__", None)
    defaults = {item.name: item.default for item in fields(kind) if item.default is not MISSING}
    if check is None or hasattr(kind, "__pydantic_validator__"):
        return
    for name, value in values.items():
        if name not in defaults or not _is_number(value):
            continue
        instance = object.__new__(kind)
        for key, default in {**defaults, name: value}.items():
            object.__setattr__(instance, key, default)
        try:
            check(instance)
        except ValueError as error:
            yield name, own_words(str(error))
        except (AttributeError, TypeError):
            continue

"""The sentences of faults: the value given, what would be right, and the nearest right name."""

from __future__ import annotations

import json
import types
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from qdpem.errors import nearest
from qdpem.scenario.faults.renamed import new_key, new_word
from qdpem.scenario.words import Word

_SHOWN = 60
_SCALARS = {float: "a number", int: "a whole number", str: "text in quotes", bool: "true or false"}


def shown(value: Any) -> str:
    """`value` nearly as in the file, shortened if long.

    >>> shown("fast"), shown(True), shown(0.5)
    ("'fast'", 'true', '0.5')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list | tuple):
        text = json.dumps(value, default=str, ensure_ascii=False)
        return text if len(text) <= _SHOWN else text[: _SHOWN - 4] + " ..."
    return repr(value)


def described(hint: Any) -> str:
    """The description of a value of the type `hint`, as it appears in a file.

    >>> from qdpem.scenario.words import Control
    >>> described(float | None), described(Control)
    ('a number', "'local' or 'central'")
    """
    parts = []
    for member in members(hint):
        if is_dataclass(member):
            required = [item.name for item in fields(member) if _default(item) is MISSING]
            parts.append(f"a table with {', '.join(required)}" if required else "a table")
        elif allowed := options(member):
            parts.extend(map(repr, allowed))
        else:
            origin = get_origin(member) or member
            parts.append(_SCALARS.get(origin, "a list" if origin in (tuple, list) else "a table"))
    return " or ".join(dict.fromkeys(parts))


def members(hint: Any) -> list[Any]:
    """The types that a hint allows: the members of unions, without Annotated and None."""
    origin = get_origin(hint)
    if origin is Annotated:
        return members(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return [member for part in get_args(hint) for member in members(part)]
    return [] if hint is type(None) else [hint]


def options(hint: Any) -> list[Any]:
    """The values that a hint lists: those of a `Literal`, or the words of an enumeration."""
    listed: list[Any] = []
    for member in members(hint):
        if get_origin(member) is Literal:
            listed.extend(get_args(member))
        elif isinstance(member, type) and issubclass(member, Word):
            listed.extend(member)
    return listed


def _default(item: Field[Any]) -> Any:
    return item.default_factory if item.default is MISSING else item.default


def choice(value: Any, options: Sequence[Any]) -> str:
    """The sentence for a `value` that is none of `options`, with the nearest of them.

    An old word is answered with the one that took its place.
    """
    if isinstance(value, str) and (new := new_word(value, options)):
        return f"{value!r} is now {new!r}"
    near = nearest(value, options) if isinstance(value, str) else None
    hint = f" (did you mean {near!r}?)" if near else ""
    return f"{shown(value)} is not allowed; should be {' or '.join(repr(name) for name in options)}{hint}"


def own_words(message: str) -> str:
    """The message of a dataclass. "x is 2; it must be ..." loses the name, which is already in the path."""
    given, _, wanted = message.partition("; it must be ")
    value = given.partition(" is ")[2]
    return f"{value} is not allowed; should be {wanted}" if wanted and value else message


def unknown_key(key: str, kind: Any, *, elsewhere: Sequence[str] = ()) -> str:
    """The sentence for a `key` that the dataclass `kind` does not have, with the nearest it has.

    An old key is answered with the one that took its place. `elsewhere`: dotted paths of keys of that name.
    """
    known = [item.name for item in fields(kind)]
    if new := new_key(key, known):
        return f"is now {new!r}"
    near = nearest(key, known)
    meant = [repr(each) for each in (near, *elsewhere) if each]
    hint = f"did you mean {' or '.join(meant)}? " if meant else ""
    return f"is not a known key; {hint}known: {', '.join(known)}"


def misplaced_key(key: str, hint: Any) -> str:
    """The sentence for a `key` of the file itself that stands in one of its tables."""
    is_table = any(is_dataclass(member) for member in members(hint))
    heading = f", or as a table [{key}] of its own" if is_table else ""
    return f"is a key of the file itself; should stand above its first table{heading}"

"""A census of a running simulation: objects by class, and elements by the attribute that holds them."""

from __future__ import annotations

import functools
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_NUMBERS = (int, float, complex, np.generic, np.random.Generator)
_ATOMS = (*_NUMBERS, str, bytes, type(None), type, ModuleType)
_COUNTED = (list, dict, set, deque)

MIN_ELEMENTS = 20
MIN_FRACTION = 0.1


def census(root: object, *, lasting: tuple[type, ...] = ()) -> Counter[str]:
    """Everything reachable from `root`: instances under "Class", elements under "Class.attribute".

    Lists, dicts, sets, deques and arrays count by their length, also those inside others. The contents of
    closures, bound methods and partials count too. Objects of the types `lasting` are not entered.
    """
    found: Counter[str] = Counter()
    # Identities, because most containers cannot be hashed and equal ones count separately.
    seen = {id(root)}
    waiting: list[tuple[object, str]] = [(root, type(root).__name__)]
    while waiting:
        here, label = waiting.pop()
        if isinstance(here, _COUNTED):
            found[label] += len(here)
        elif isinstance(here, np.ndarray):
            found[label] += here.size
        elif not isinstance(here, tuple | frozenset | FunctionType | MethodType):
            found[type(here).__name__] += 1
        for child, name in _children(here, label):
            if not isinstance(child, (*_ATOMS, *lasting)) and id(child) not in seen:
                seen.add(id(child))
                waiting.append((child, name))
    return found


Counts = Mapping[str, int]


def grown(first: Sequence[Counts], last: Sequence[Counts]) -> dict[str, tuple[int, int]]:
    """Name -> its largest count in `first` and its smallest in `last`, for names that have grown.

    A name has grown if the second exceeds the first by more than 20 and by more than a tenth.
    """
    names = {name for one in last for name in one}
    maximum = {name: max(one.get(name, 0) for one in first) for name in names}
    minimum = {name: min(one.get(name, 0) for one in last) for name in names}
    return {
        name: (maximum[name], minimum[name])
        for name in sorted(names)
        if minimum[name] - maximum[name] > max(MIN_ELEMENTS, MIN_FRACTION * maximum[name])
    }


def _children(here: object, label: str) -> Iterator[tuple[object, str]]:
    """The objects that `here` refers to, each with the name under which its elements count."""
    if isinstance(here, dict):
        yield from ((child, label) for item in here.items() for child in item)
    elif isinstance(here, list | tuple | set | frozenset | deque):
        yield from ((child, label) for child in here)
    elif isinstance(here, FunctionType):
        cells = here.__closure__ or ()
        yield from ((cell.cell_contents, label) for cell in cells)
    elif isinstance(here, MethodType | BuiltinFunctionType):
        yield here.__self__, label
    elif isinstance(here, functools.partial):
        yield from ((part, label) for part in (here.func, here.args, here.keywords))
    else:
        yield from _attributes(here)


def _attributes(here: Any) -> Iterator[tuple[object, str]]:
    kind = type(here).__name__
    for name, child in getattr(here, "__dict__", {}).items():
        yield child, f"{kind}.{name}"
    # Slots are declared class by class; `__dict__` does not have them.
    for base in type(here).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(here, name):
                yield getattr(here, name), f"{kind}.{name}"

"""Factories by name, from the entry points of installed packages. Standard library only.

Any group of entry points is served alike, so packages above this one find their plugins here too.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any


class EntryPointError(ValueError):
    """An entry point whose object cannot be imported; the message names it and the reason."""


def installed(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of `group` by name. Nothing is imported.

    >>> installed("qdpem.physics")["pauli"].value
    'physics.pauli:PauliModel'
    """
    return _installed(group, tuple(sys.path))


def load(kind: str, point: EntryPoint) -> Any:
    """The object that the entry point of a `kind` ("physics model") names; its module is imported now.

    Raises EntryPointError, with the cause, for whatever the import raises.
    """
    try:
        return point.load()
    except Exception as error:  # a plugin's module may raise anything
        raise EntryPointError(f"{kind} {point.name!r} ({point.value}) cannot be loaded: {error}") from error


@cache
def _installed(group: str, _search_path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    # Every query of the metadata reads files of all installed packages: once per search path is enough.
    return MappingProxyType({point.name: point for point in entry_points(group=group)})

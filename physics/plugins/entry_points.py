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
    'physics.models.pauli:PauliModel'
    """
    return _installed(group, tuple(sys.path))


def load(kind: str, point: EntryPoint) -> Any:
    """The object that the entry point of a `kind` ("physics model") names; its module is imported now.

    Raises EntryPointError, with the cause, for whatever the import raises, and for a name that two packages
    offer: which of them is meant would depend on the search path.
    """
    offers = _offers(point.group, tuple(sys.path)).get(point.name, ())
    if len(offers) > 1:
        packages = " and by ".join(f"{distribution(offer) or 'an unnamed package'}" for offer in offers)
        raise EntryPointError(
            f"{kind} {point.name!r} is offered by {packages}; uninstall all but one of them, or rename an"
            " entry point"
        )
    try:
        return point.load()
    except Exception as error:  # a plugin's module may raise anything
        origin = ", from ".join(filter(None, (point.value, distribution(point))))
        raise EntryPointError(
            f"{kind} {point.name!r} ({origin}) cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def distribution(point: EntryPoint) -> str:
    """The installed package that offers an entry point, and its version; "" when unknown.

    >>> distribution(installed("qdpem.physics")["pauli"]).split()[0]
    'qdpem'
    """
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else ""


def _installed(group: str, search_path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    return MappingProxyType({name: offers[0] for name, offers in _offers(group, search_path).items()})


@cache
def _offers(group: str, _search_path: tuple[str, ...]) -> Mapping[str, tuple[EntryPoint, ...]]:
    """All entry points of every name, those of the first package on the search path first."""
    # Every query of the metadata reads files of all installed packages: once per search path is enough.
    offers: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        offers[point.name] = (*offers.get(point.name, ()), point)
    return MappingProxyType(offers)

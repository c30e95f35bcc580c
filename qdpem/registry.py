"""Names to factories, by entry points, loaded only when asked for.

qdpem's own policies, forecasters and topologies are registered exactly like a stranger's, in the
`pyproject.toml` of their package, so no lower room spells the name of an upper one.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from qdpem.errors import QdpemError, UnknownNameError

KINDS = {
    "policy": "qdpem.policies",
    "forecaster": "qdpem.forecasters",
    "topology": "qdpem.topologies",
    "physics": "qdpem.physics",
}


def list_names(kind: str) -> list[str]:
    """Sorted names registered under `kind`: policy, forecaster, topology or physics.

    Raises UnknownNameError for another kind.

    >>> "local-minhop" in list_names("policy")
    True
    """
    return sorted(_found(kind))


def load(kind: str, name: str) -> Any:
    """The factory registered as `name`; its module is imported now, not before.

    Raises UnknownNameError with the nearest right name, or QdpemError when its import fails.
    """
    point = _named(kind, name)
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise QdpemError(f"the {kind} {name!r} ({point.value}) cannot be loaded: {error}") from error


def package_of(kind: str, name: str) -> str:
    """The top-level package or module that offers `name`; nothing is imported.

    Raises UnknownNameError with the nearest right name.

    >>> package_of("physics", "pauli")
    'physics'
    """
    return _named(kind, name).module.partition(".")[0]


def _named(kind: str, name: str) -> EntryPoint:
    found = _found(kind)
    if name not in found:
        raise UnknownNameError(kind, name, found)
    return found[name]


def _found(kind: str) -> dict[str, EntryPoint]:
    if kind not in KINDS:
        raise UnknownNameError("kind of plugin", kind, KINDS)
    return _installed(KINDS[kind], tuple(sys.path))


@cache
def _installed(group: str, _search: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Read once for each search path: every reading goes through the files of all packages installed."""
    return {point.name: point for point in entry_points(group=group)}

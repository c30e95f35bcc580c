"""Names to factories, by entry points, loaded only when asked for.

qdpem registers its own policies, forecasters and topologies as any other package does: in `pyproject.toml`.
A lower room therefore never names a module of an upper one. `physics.entry_points` reads
and loads the entry points.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from physics import entry_points
from qdpem.errors import QdpemError, UnknownNameError

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "policy": "qdpem.policies",
        "forecaster": "qdpem.forecasters",
        "topology": "qdpem.topologies",
        "physics": "qdpem.physics",
    }
)
"""The group of entry points of each kind of plugin."""


def list_names(kind: str) -> list[str]:
    """Sorted names registered under `kind`: policy, forecaster, topology or physics.

    Raises UnknownNameError for another kind.

    >>> "local-minhop" in list_names("policy")
    True
    """
    return sorted(_installed(kind))


def load(kind: str, name: str) -> Any:
    """The factory registered as `name`; its module is imported now, not before.

    Raises UnknownNameError with the nearest right name, or QdpemError when its import fails.
    """
    point = _named(kind, name)
    try:
        return entry_points.load(f"the {kind}", point)
    except entry_points.EntryPointError as error:
        raise QdpemError(str(error)) from error


def package_of(kind: str, name: str) -> str:
    """The top-level package or module that offers `name`; nothing is imported.

    Raises UnknownNameError with the nearest right name.

    >>> package_of("physics", "pauli")
    'physics'
    """
    return _named(kind, name).module.partition(".")[0]


def _named(kind: str, name: str) -> EntryPoint:
    points = _installed(kind)
    if name not in points:
        raise UnknownNameError(kind, name, points)
    return points[name]


def _installed(kind: str) -> Mapping[str, EntryPoint]:
    if kind not in KINDS:
        raise UnknownNameError("kind of plugin", kind, KINDS)
    points = entry_points.installed(KINDS[kind])
    # qdpem itself registers some of every kind.
    if not points:
        raise QdpemError(
            f"no {kind} is registered at all: {Path(__file__).parent} is imported but not installed;"
            " install it with pip, so that its entry points are found"
        )
    return points

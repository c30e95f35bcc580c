"""Names to factories, by entry points, loaded only when asked for.

qdpem registers its own policies, forecasters and topologies as any other package does: in `pyproject.toml`.
A lower room therefore never names a module of an upper one. `physics.plugins.entry_points` reads
and loads the entry points.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from physics.plugins import entry_points
from qdpem.errors import PluginError, QdpemError, UnknownNameError

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "policy": "qdpem.policies",
        "forecaster": "qdpem.forecasters",
        "topology": "qdpem.topologies",
        "physics": "qdpem.physics",
    }
)
"""The group of entry points of each kind of plugin."""

OWN_PACKAGES: Final = frozenset({"qdpem", "physics"})


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


def distribution_of(kind: str, name: str) -> str:
    """The installed package that offers `name`, and its version; "" when unknown. Nothing is imported.

    Raises UnknownNameError with the nearest right name.

    >>> distribution_of("policy", "local-minhop").split()[0]
    'qdpem'
    """
    return entry_points.distribution(_named(kind, name))


def plugin_fault(error: BaseException) -> PluginError | None:
    """The error as a plugin's, if code of a plugin raised it or called what did; None for qdpem's own code.

    A plugin is a package other than qdpem that offers an entry point of one of the `KINDS`.
    """
    plugins = _plugins()
    place = None
    # The last frame of a plugin is the innermost one.
    for frame, line in traceback.walk_tb(error.__traceback__):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in plugins:
            place = (plugins[package], frame.f_code, line)
    if place is None:
        return None
    plugin, code, line = place
    # Notes say what the command that called the plugin has kept.
    notes = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
    return PluginError(
        f"{plugin} failed: {type(error).__name__}: {error} ({code.co_filename}, line {line}, in"
        f" {code.co_name}); QDPEM_TRACEBACK=1 before the command shows the whole traceback.{notes}"
    )


def _plugins() -> dict[str, str]:
    """The packages of all plugins but qdpem's own, each as a name with its version and its offers."""
    plugins: dict[str, str] = {}
    for kind in KINDS:
        for name, point in _installed(kind).items():
            package = point.module.partition(".")[0]
            if package not in OWN_PACKAGES:
                origin = entry_points.distribution(point) or package
                offers = plugins.get(package, f"the package {origin}, with the")
                plugins[package] = f"{offers}{' and' if package in plugins else ''} {kind} {name!r}"
    return plugins


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

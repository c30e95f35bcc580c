"""qdpem: an open, physics-grounded laboratory for entanglement allocation in quantum networks.

Everything below is loaded when first asked for:

>>> import qdpem
>>> "local-minhop" in qdpem.list_names("policy")
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physics.plugins import load_physics
    from qdpem import study
    from qdpem.records.reader import open_record
    from qdpem.registry import list_names
    from qdpem.scenario.load import load_scenario
    from qdpem.simulation.run import Simulation, simulate

    __version__: str

__all__ = [
    "Simulation",
    "__version__",
    "list_names",
    "load_physics",
    "load_scenario",
    "open_record",
    "simulate",
    "study",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "__version__":
        from importlib.metadata import version

        return version("qdpem")
    homes = {
        "Simulation": "qdpem.simulation.run",
        "list_names": "qdpem.registry",
        "load_physics": "physics.plugins",
        "load_scenario": "qdpem.scenario.load",
        "open_record": "qdpem.records.reader",
        "simulate": "qdpem.simulation.run",
    }
    if name == "study":
        return import_module("qdpem.study")
    if name not in homes:
        raise AttributeError(f"module 'qdpem' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(homes[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""Pair-level quantum physics of entanglement distribution: seconds, kilometres, no clock, no hidden chance.

Names are offered lazily, so `import physics` loads neither NumPy nor QuTiP.

>>> import physics
>>> model = physics.load_physics("pauli")
>>> round(model.fidelity(model.link(physics.LinkHardware(length_km=20.0)).fresh), 6)
0.98
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physics.conformance import Check, check_model
    from physics.density_matrix import DensityMatrixModel
    from physics.interface import (
        CompiledLink,
        DepolarisingMemory,
        Distilled,
        LinkHardware,
        Memory,
        NodeHardware,
        PhysicsModel,
        RelaxingMemory,
        Swapped,
    )
    from physics.pauli import PauliModel
    from physics.plugins import UnknownPhysicsError, load_physics, physics_names

__all__ = [
    "Check",
    "CompiledLink",
    "DensityMatrixModel",
    "DepolarisingMemory",
    "Distilled",
    "LinkHardware",
    "Memory",
    "NodeHardware",
    "PauliModel",
    "PhysicsModel",
    "RelaxingMemory",
    "Swapped",
    "UnknownPhysicsError",
    "check_model",
    "load_physics",
    "physics_names",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'physics' has no attribute {name!r}; it offers {', '.join(__all__)}")
    if name in ("Check", "check_model"):
        room = "conformance"
    elif name in ("UnknownPhysicsError", "load_physics", "physics_names"):
        room = "plugins"
    else:
        room = {"DensityMatrixModel": "density_matrix", "PauliModel": "pauli"}.get(name, "interface")
    return getattr(import_module(f"physics.{room}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

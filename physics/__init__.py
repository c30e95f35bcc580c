"""Pair-level quantum physics of entanglement distribution: seconds and kilometres, no clock, no randomness.

Names are loaded lazily, so `import physics` loads neither NumPy nor QuTiP.

>>> import physics
>>> model = physics.load_physics("pauli")
>>> round(model.fidelity(model.link(physics.SourceLink(), 20.0).fresh), 6)
0.98
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physics.batched import BatchedPhysicsModel
    from physics.conformance import Check, check_model
    from physics.hardware import (
        DepolarisingMemory,
        Detector,
        DirectLink,
        DoubleClickLink,
        Fibre,
        LinkHardware,
        Memory,
        MidpointSourceLink,
        NodeHardware,
        RelaxingMemory,
        SingleClickLink,
        SourceLink,
    )
    from physics.interface import CompiledLink, Distilled, PhysicsModel, Swapped
    from physics.models.density_matrix import DensityMatrixModel
    from physics.models.pauli import PauliModel
    from physics.models.werner import WernerModel
    from physics.plans import Estimate, Plan, estimate
    from physics.plugins.load import UnknownPhysicsError, load_physics, physics_names
    from physics.presets import UnknownPresetError, preset, preset_names
    from physics.presets.sourced import Preset, SourcedValue

_MODULES = {
    "batched": ("BatchedPhysicsModel",),
    "conformance": ("Check", "check_model"),
    "models.density_matrix": ("DensityMatrixModel",),
    "hardware": (
        "DepolarisingMemory",
        "Detector",
        "DirectLink",
        "DoubleClickLink",
        "Fibre",
        "LinkHardware",
        "Memory",
        "MidpointSourceLink",
        "NodeHardware",
        "RelaxingMemory",
        "SingleClickLink",
        "SourceLink",
    ),
    "interface": ("CompiledLink", "Distilled", "PhysicsModel", "Swapped"),
    "models.pauli": ("PauliModel",),
    "plans": ("Estimate", "Plan", "estimate"),
    "plugins.load": ("UnknownPhysicsError", "load_physics", "physics_names"),
    "presets": ("UnknownPresetError", "preset", "preset_names"),
    "presets.sourced": ("Preset", "SourcedValue"),
    "models.werner": ("WernerModel",),
}
_MODULE_OF = MappingProxyType({name: module for module, names in _MODULES.items() for name in names})

__all__ = [
    "BatchedPhysicsModel",
    "Check",
    "CompiledLink",
    "DensityMatrixModel",
    "DepolarisingMemory",
    "Detector",
    "DirectLink",
    "Distilled",
    "DoubleClickLink",
    "Estimate",
    "Fibre",
    "LinkHardware",
    "Memory",
    "MidpointSourceLink",
    "NodeHardware",
    "PauliModel",
    "PhysicsModel",
    "Plan",
    "Preset",
    "RelaxingMemory",
    "SingleClickLink",
    "SourceLink",
    "SourcedValue",
    "Swapped",
    "UnknownPhysicsError",
    "UnknownPresetError",
    "WernerModel",
    "check_model",
    "estimate",
    "load_physics",
    "physics_names",
    "preset",
    "preset_names",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'physics' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f"physics.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

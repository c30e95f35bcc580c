"""Hardware of memories, fibres, links and nodes: frozen values, checked when built. Seconds, kilometres.

Scenario files use these classes directly: `kind` names each variant, and unknown keys are refused.
"""

from physics.hardware.links import (
    DirectLink,
    DoubleClickLink,
    LinkHardware,
    MidpointSourceLink,
    SingleClickLink,
    SourceLink,
)
from physics.hardware.memories import DepolarisingMemory, Memory, RelaxingMemory
from physics.hardware.nodes import HERALDED_FRACTIONS, BellMeasurement, NodeHardware
from physics.hardware.optics import FIBRE_SPEED_KM_PER_S, Detector, Fibre

__all__ = [
    "FIBRE_SPEED_KM_PER_S",
    "HERALDED_FRACTIONS",
    "BellMeasurement",
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
]

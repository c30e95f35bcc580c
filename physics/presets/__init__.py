"""Hardware presets by name: the values of `physics.presets.platforms`, each with its source and standing.

>>> nv_centre = preset("nv-centre")
>>> nv_centre.node.memory.dephasing_s
1.0
>>> nv_centre.link_values[0].origin
'checked: Humphreys et al. 2018, Nature 558, 268'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from physics.errors import UnknownNameError
from physics.presets.platforms import PLATFORMS
from physics.presets.sourced import Preset

_PRESETS: Final[Mapping[str, Preset]] = MappingProxyType({platform.name: platform for platform in PLATFORMS})


class UnknownPresetError(UnknownNameError):
    """A name that no hardware preset has, answered with the nearest right one."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__("hardware preset", name, known)


def preset_names() -> list[str]:
    """Names of the hardware presets, sorted.

    >>> preset_names()
    ['neutral-atom', 'nv-centre', 'projected', 'rare-earth', 'trapped-ion']
    """
    return sorted(_PRESETS)


def preset(name: str) -> Preset:
    """The hardware preset called `name`. Raises UnknownPresetError, with the nearest right name.

    >>> preset("nv-centre").link.kind, preset("nv-centre").node.memory.coherence_attempts
    ('single-click', 1000.0)
    """
    if name not in _PRESETS:
        raise UnknownPresetError(name, preset_names())
    return _PRESETS[name]

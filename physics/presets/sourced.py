"""Hardware values with their sources, and the hardware built from them. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, cast

from physics import hardware
from physics.hardware import LinkHardware, Memory, NodeHardware

Standing: TypeAlias = Literal["checked", "reported", "remembered", "assumed"]

STANDINGS: Final[Mapping[Standing, str]] = MappingProxyType(
    {
        "checked": "read in the source, or in the text that the note names",
        "reported": "from a collection that restates published numbers",
        "remembered": "cited without reading the source again: look it up before relying on it",
        "assumed": "nobody's measurement: a neutral value, or a choice of this project",
    }
)
"""The meaning of each standing."""

# The first ending that fits counts, so longer endings come before those that they end with.
_UNITS: Final = (
    ("_db_per_km", "dB/km"),
    ("_db", "dB"),
    ("_hz", "Hz"),
    ("_rad", "rad"),
    ("_km", "km"),
    ("_s", "s"),
)
_MEMORIES: Final = (hardware.DepolarisingMemory, hardware.RelaxingMemory)
_LINKS: Final = (
    hardware.SourceLink,
    hardware.MidpointSourceLink,
    hardware.DoubleClickLink,
    hardware.SingleClickLink,
    hardware.DirectLink,
)


@dataclass(frozen=True)
class SourcedValue:
    """One value with its source: the dotted name carries the unit, `note` tells how the value was derived.

    Raises ValueError for a standing that is not in `STANDINGS`, and for an empty name or source.
    """

    name: str
    value: float | int | bool | str
    source: str
    standing: Standing
    note: str = ""

    def __post_init__(self) -> None:
        if self.standing not in STANDINGS:
            raise ValueError(f"standing is {self.standing!r}; it must be one of {', '.join(STANDINGS)}")
        for part in ("name", "source"):
            if not getattr(self, part):
                raise ValueError(f"{part} is {getattr(self, part)!r}; it must not be empty")

    @property
    def unit(self) -> str:
        """The unit at the end of the name; empty for a pure number, a word or a boolean.

        >>> SourcedValue("fibre.loss_db_per_km", 0.2, "a handbook", "assumed").unit
        'dB/km'
        """
        return next((unit for ending, unit in _UNITS if self.name.endswith(ending)), "")

    @property
    def origin(self) -> str:
        """Standing, source and note in one line.

        >>> SourcedValue("gate_fidelity", 1.0, "ideal", "assumed").origin
        'assumed: ideal'
        """
        return f"{self.standing}: {self.source}" + (f"; {self.note}" if self.note else "")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """The hardware of one platform, with a source for each value.

    `node_values` and `link_values` name every field of a `NodeHardware` and of one kind of link, such as
    "memory.kind" and "fibre.fixed_loss_db". `results` are figures that experiments achieved, for comparison;
    nothing is built from them. Raises ValueError for a value that the hardware refuses, for an unknown or
    repeated name and for a missing one.
    """

    name: str
    description: str
    node_values: tuple[SourcedValue, ...]
    link_values: tuple[SourcedValue, ...]
    results: tuple[SourcedValue, ...] = ()

    def __post_init__(self) -> None:
        for built, values in ((self.node, self.node_values), (self.link, self.link_values)):
            names = [sourced.name for sourced in values]
            # Repeated names, and by the symmetric difference unknown and missing ones.
            wrong = sorted(
                {name for name in names if names.count(name) > 1} | set(names) ^ set(_names(built))
            )
            if wrong:
                raise ValueError(
                    f"preset {self.name!r} must give every field once; look at {', '.join(wrong)}"
                )

    @property
    def node(self) -> NodeHardware:
        """The node, built from `node_values`."""
        fields = _nested(self.node_values)
        fields["memory"] = cast(Memory, _of_kind(_MEMORIES, fields["memory"]))
        return NodeHardware(**fields)

    @property
    def link(self) -> LinkHardware:
        """The link, built from `link_values`."""
        fields = _nested(self.link_values)
        for part, kind in (("fibre", hardware.Fibre), ("detector", hardware.Detector)):
            if part in fields:
                fields[part] = kind(**fields[part])
        return cast(LinkHardware, _of_kind(_LINKS, fields))


def _nested(values: tuple[SourcedValue, ...]) -> dict[str, Any]:
    """Dotted names to tables in tables; no name has more than one dot."""
    tables: dict[str, Any] = {}
    for sourced in values:
        table, _, name = sourced.name.rpartition(".")
        (tables.setdefault(table, {}) if table else tables)[name] = sourced.value
    return tables


def _of_kind(kinds: tuple[Any, ...], fields: Mapping[str, Any]) -> object:
    named = {kind.kind: kind for kind in kinds}
    if fields.get("kind") not in named:
        raise ValueError(f"kind is {fields.get('kind')!r}; it must be one of {', '.join(named)}")
    built: object = named[fields["kind"]](**fields)
    return built


def _names(built: Any) -> Iterator[str]:
    """Dotted names of all fields of `built` and of the hardware inside it."""
    for field in fields(built):
        value = getattr(built, field.name)
        if is_dataclass(value):
            yield from (f"{field.name}.{inner}" for inner in _names(value))
        else:
            yield field.name

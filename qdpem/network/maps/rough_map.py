"""A map as it was drawn: nodes that may lack a position, links that may lack a length or be there twice."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

import numpy as np

from physics.hardware import DepolarisingMemory, Fibre, LinkHardware, NodeHardware, RelaxingMemory
from qdpem.arrays import Floats
from qdpem.errors import Fault, ScenarioError
from qdpem.network.maps.map_files import MapContent
from qdpem.scenario.schema import Links, Nodes
from qdpem.scenario.words import PositionUnit

LENGTH_ATTRIBUTES = ("length_km", "dist")
LENGTH_LIKE = frozenset({"distance", "distance_km", "dist_km", "km", "length", "weight"})
"""Attributes of links that other programs write for a length. They have no certain unit and are not read."""
NODE_NUMBERS = ("memories", "source_rate_hz", "repeater_rate_hz")
"""What a map may set for each node, in place of the scenario's value for all."""

_IN_KM = ("x_km", "y_km")
_IN_DEGREES = (("lon", "lat"), ("longitude", "latitude"), ("Longitude", "Latitude"))
_POSITION = "pos"
_PATH = "topology.parameters"
_MAX_FAULTS = 8
_QUBITS = range(1, 1_000_001)


@dataclass(frozen=True, kw_only=True)
class RoughMap:
    """Nodes by index with their names, positions (None: unknown) and numbers; links with their ends.

    `positions`: longitude and latitude in degrees or, if `unit` is "km", x and y. `links`: the two ends and
    the length in km, None where the file states none. `numbers`: NODE_NUMBERS that the map sets for a node.
    `ignored`: what the file says about hardware and is not used: number of nodes or links by key, with words
    like `distance` on links that state no length under a key that is read.
    """

    name: str
    names: tuple[str, ...]
    positions: tuple[tuple[float, float] | None, ...]
    unit: PositionUnit
    links: tuple[tuple[int, int, float | None], ...]
    numbers: tuple[Mapping[str, float], ...]
    demand: Floats | None
    ignored: Mapping[str, int]


def rough_map(content: MapContent, *, name: str, unit: PositionUnit | None) -> RoughMap:
    """The map that a file holds. `unit`: that of the attribute `pos`.

    Raises ScenarioError with a sentence for each value that is no length, position, number or weight.
    """
    faults: list[Fault] = []
    index = {node: number for number, node in enumerate(content.nodes)}
    names = _node_names(content)
    places = [_position(data, names[index[node]], unit, faults) for node, data in content.nodes.items()]
    units = {place[0] for place in places if place is not None}
    if len(units) > 1:
        faults.append(Fault(_PATH, f"{name} has positions in degrees and in km; should have one of them"))
    links = []
    for first, second, data in content.links:
        ends = sorted((index[first], index[second]))
        label = f"the link {names[ends[0]]} - {names[ends[1]]}"
        links.append((ends[0], ends[1], _length_km(data, label, faults)))
    numbers = tuple(_numbers(data, names[index[node]], faults) for node, data in content.nodes.items())
    demand = _demand(content.demands, index, faults)
    if faults:
        more = len(faults) - _MAX_FAULTS
        rest = [Fault(_PATH, f"{more} more like these")] if more > 0 else []
        raise ScenarioError([*faults[:_MAX_FAULTS], *rest], origin=f"the map {name}")
    return RoughMap(
        name=name,
        names=tuple(names),
        positions=tuple(None if place is None else place[1] for place in places),
        unit=next(iter(units), PositionUnit.KM),
        links=tuple(links),
        numbers=numbers,
        demand=demand,
        ignored=_ignored(content),
    )


def _node_names(content: MapContent) -> list[str]:
    """One name per node; nodes that share a name also get their id."""
    plain = [str(data.get("name") or data.get("label") or node) for node, data in content.nodes.items()]
    return [
        name if plain.count(name) == 1 else f"{name} ({node})"
        for name, node in zip(plain, content.nodes, strict=True)
    ]


def _position(
    data: Mapping[str, Any], node: str, unit: PositionUnit | None, faults: list[Fault]
) -> tuple[PositionUnit, tuple[float, float]] | None:
    """The unit and the two numbers of a node's position; None if it has none, or a wrong one."""
    for keys in (_IN_KM, *_IN_DEGREES):
        if all(data.get(key) not in (None, "") for key in keys):
            values = tuple(data[key] for key in keys)
            own = PositionUnit.KM if keys == _IN_KM else PositionUnit.DEGREES
            return _checked_position(values, f"{keys[0]}, {keys[1]} of {node}", own, faults)
    if data.get(_POSITION) is None:
        return None
    # Without a unit any two numbers will do; their meaning is missing.
    checked = _checked_position(data[_POSITION], f"pos of {node}", unit or PositionUnit.KM, faults)
    if unit is None and checked is not None:
        wrong = (
            f"is not set, and the file gives `pos` without a unit: should be"
            f" {' or '.join(repr(str(word)) for word in PositionUnit)}"
        )
        if not any(fault.path == f"{_PATH}.position_unit" for fault in faults):
            faults.append(Fault(f"{_PATH}.position_unit", wrong))
        return None
    return checked


def _checked_position(
    value: Any, what: str, unit: PositionUnit, faults: list[Fault]
) -> tuple[PositionUnit, tuple[float, float]] | None:
    numbers = [_number(item) for item in value] if isinstance(value, list | tuple) else []
    if len(numbers) != 2 or None in numbers:
        faults.append(Fault(_PATH, f"{what} is {value!r}; should be two numbers"))
        return None
    first, second = (float(number) for number in numbers if number is not None)
    if unit is PositionUnit.DEGREES and not (abs(first) <= 180.0 and abs(second) <= 90.0):
        wrong = (
            f"{what} is {first:g}, {second:g}; should be a longitude of -180 to 180 and a latitude of -90 to"
            " 90 degrees"
        )
        faults.append(Fault(_PATH, wrong))
        return None
    return unit, (first, second)


def _number(value: Any) -> float | None:
    """A finite number, also one written as text, as attributes of GraphML often are; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _length_km(data: Mapping[str, Any], link: str, faults: list[Fault]) -> float | None:
    for key in LENGTH_ATTRIBUTES:
        if key in data:
            length = _number(data[key])
            if length is None or length < 0.0:
                wrong = f"{key} of {link} is {_plain(data[key])}; should be a number of km, 0 or more"
                faults.append(Fault(_PATH, wrong))
            return length
    return None


def _numbers(data: Mapping[str, Any], node: str, faults: list[Fault]) -> dict[str, float]:
    found = {}
    for key in NODE_NUMBERS:
        if key not in data:
            continue
        number, counted = _number(data[key]), key == "memories"
        if number is None or number < 0.0 or (counted and number not in _QUBITS):
            kind = "a whole number of 1 to 1000000" if counted else "a number, 0 or more"
            faults.append(Fault(_PATH, f"{key} of {node} is {_plain(data[key])}; should be {kind}"))
        else:
            found[key] = number
    return found


def _demand(demands: Any, index: Mapping[Hashable, int], faults: list[Fault]) -> Floats | None:
    """The demand matrix, float64 [N, N], symmetric with zero diagonal."""
    if not demands:
        return None
    # Keys of JSON are text even where the ids of nodes are numbers.
    by_text = {str(node): number for node, number in index.items()}
    weights = np.zeros((len(index), len(index)))
    for path, source, destination, value in _demand_entries(demands, faults):
        weight = _number(value)
        unknown = [end for end in (source, destination) if end not in by_text]
        if unknown:
            faults.append(Fault(_PATH, f"{path} names {unknown[0]!r}, which is the id of no node"))
        elif weight is None or weight < 0.0:
            faults.append(Fault(_PATH, f"{path} is {_plain(value)}; should be a weight of 0 or more"))
        else:
            weights[by_text[source], by_text[destination]] += weight
    np.fill_diagonal(weights, 0.0)
    return weights + weights.T


def _demand_entries(demands: Any, faults: list[Fault]) -> Iterator[tuple[str, str, str, Any]]:
    """The dotted path, source, destination and weight of every entry."""
    if not isinstance(demands, Mapping):
        faults.append(Fault(_PATH, "graph.demands is no table; should be {source: {destination: weight}}"))
        return
    for source, row in demands.items():
        if not isinstance(row, Mapping):
            wrong = f"graph.demands.{source} is {_plain(row)}; should be a table of weights"
            faults.append(Fault(_PATH, wrong))
            continue
        for destination, value in row.items():
            yield f"graph.demands.{source}.{destination}", str(source), str(destination), value


def _ignored(content: MapContent) -> dict[str, int]:
    """How often the map gives each attribute of hardware, or of a link's length, that is not used."""
    used, words = {*NODE_NUMBERS, *LENGTH_ATTRIBUTES, "name"}, _hardware_words()
    counts: dict[str, int] = {}
    attributes = [*content.nodes.values(), *(data for _, _, data in content.links)]
    for data in attributes:
        for key in data.keys() & words - used:
            counts[key] = counts.get(key, 0) + 1
    for _, _, data in content.links:
        # Beside a length that is read, a weight or distance is something else.
        for key in () if data.keys() & set(LENGTH_ATTRIBUTES) else data.keys() & LENGTH_LIKE:
            counts[key] = counts.get(key, 0) + 1
    return dict(sorted(counts.items()))


def _hardware_words() -> set[str]:
    """Every key of a scenario that describes a node or a link, and the plain word for fidelity."""
    kinds = (Nodes, Links, NodeHardware, DepolarisingMemory, RelaxingMemory, Fibre, *get_args(LinkHardware))
    return ({item.name for kind in kinds for item in fields(kind)} | {"fidelity"}) - {"kind", "hardware"}


def _plain(value: Any) -> str:
    return "null" if value is None else repr(value)

"""Real topologies: those of the topohub package, and files of the user."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from qdpem.arrays import Floats
from qdpem.errors import Fault, ScenarioError, UnknownNameError
from qdpem.network.generators import with_files, with_parameters
from qdpem.network.graph import Graph
from qdpem.network.maps.cleaning import clean_map
from qdpem.network.maps.distances import projected_km
from qdpem.network.maps.map_files import MapContent, node_link_content, read_map
from qdpem.network.maps.rough_map import NODE_NUMBERS, RoughMap, rough_map
from qdpem.scenario.words import Cleaning, PositionUnit

_IN_KM_GROUP = "gabriel"
"""The group of topohub whose synthetic networks lie on a plane in km."""


@dataclass(frozen=True, kw_only=True)
class TopohubParameters:
    """Which network of topohub."""

    key: str
    """A "group/name" of topohub, such as "sndlib/germany50" or "topozoo/Abilene". Lengths are along great
    circles. SNDlib networks bring a demand matrix. Networks drawn in arbitrary units, such as
    "sndlib/france", are refused."""
    cleaning: Cleaning = Cleaning.NONE
    """As for a file."""
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012


def topohub_files(parameters: TopohubParameters) -> tuple[Path, ...]:
    """The file of the topohub package that holds the topology."""
    return (Path(str(files("topohub") / "data")) / f"{parameters.key}.json",)


@with_files(topohub_files)
@with_parameters(TopohubParameters)
def topohub_network(parameters: TopohubParameters, *, stream: np.random.Generator) -> Graph:  # noqa: ARG001
    """The topology `key` of the topohub package.

    Lengths are its `dist` in km along great circles; fibre is longer, see `topology.length_scale`. Positions
    are longitude and latitude, projected on a plane. The demand matrix, if there is one, is the sum of both
    directions. Raises UnknownNameError with the nearest known key, and ScenarioError for a network whose
    positions are drawing units or that needs cleaning.
    """
    (file,) = topohub_files(parameters)
    if not file.is_file():
        known = _candidate_keys(files("topohub") / "data", parameters.key)
        raise UnknownNameError("topology of topohub", parameters.key, known)
    content = node_link_content(json.loads(file.read_text(encoding="utf-8")))
    if parameters.key.partition("/")[0] == _IN_KM_GROUP:
        return _graph(content, parameters.key, parameters.cleaning, PositionUnit.KM)
    if not _on_the_globe(content):
        message = (
            f"{parameters.key!r} is not usable: its positions are drawing units, and topohub took them for"
            " degrees to compute its lengths; should be a network with longitudes and latitudes"
        )
        raise ScenarioError([Fault("topology.parameters.key", message)])
    return _graph(content, parameters.key, parameters.cleaning, PositionUnit.DEGREES)


@dataclass(frozen=True, kw_only=True)
class FileParameters:
    """A map in a file: which file, and how it is read."""

    path: str
    """Path of a node-link JSON (.json), GraphML (.graphml, .xml) or GML (.gml) file, seen from the directory
    of the scenario file. A link's length is its `length_km` or `dist`, both in km, or else the distance
    between its ends."""
    cleaning: Cleaning = Cleaning.NONE
    """What happens to a map with parallel links, links from a node to itself, several parts, or nodes whose
    position is needed and missing. "none" refuses it; "standard" mends it by the rules of
    `qdpem.network.maps.cleaning`, and says so in one line."""
    position_unit: PositionUnit | None = None
    """The unit of the attribute `pos` of nodes, "degrees" (longitude, latitude) or "km" (x, y). A file with
    `pos` needs it, because the unit is never guessed."""
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012


def map_files(parameters: FileParameters) -> tuple[Path, ...]:
    """The file that holds the map."""
    return (Path(parameters.path),)


@with_files(map_files)
@with_parameters(FileParameters)
def file_network(parameters: FileParameters, *, stream: np.random.Generator) -> Graph:  # noqa: ARG001
    """The topology in a file of node-link JSON (as networkx writes it), GraphML or GML.

    A link's length is its attribute `length_km`, else `dist`, both in km, else the distance between the
    positions of its ends. A node's position is `x_km` and `y_km`, or `lon` and `lat` (also spelled
    `longitude`, `Longitude`), or `pos` in `position_unit`. Without positions, nodes are placed on a circle,
    for pictures only. A node's name is `name` or `label`, else its id. A node's `memories`, `source_rate_hz`
    and `repeater_rate_hz` take the place of the scenario's. JSON may hold a demand matrix as `graph.demands`
    = {source id: {destination id: weight}}; both directions are added.

    Raises QdpemError for a file that cannot be read or is no map, and ScenarioError for wrong values and
    for a map that needs cleaning.
    """
    path = Path(parameters.path)
    return _graph(read_map(path), path.stem, parameters.cleaning, parameters.position_unit)


def _graph(content: MapContent, name: str, cleaning: Cleaning, unit: PositionUnit | None) -> Graph:
    """The cleaned map in the content of a file."""
    rough, done = clean_map(rough_map(content, name=name, unit=unit), cleaning)
    lengths = [0.0 if length is None else length for _, _, length in rough.links]
    plane_km = _plane_km(rough, float(np.mean(lengths)) if lengths else 1.0)
    return Graph(
        name=name,
        node_names=rough.names,
        x_km=plane_km[:, 0],
        y_km=plane_km[:, 1],
        link_ends=np.array([link[:2] for link in rough.links], dtype=np.int64).reshape(-1, 2),
        length_km=np.array(lengths, dtype=np.float64),
        demand_weights=rough.demand,
        node_numbers={
            key: np.array([own.get(key, np.nan) for own in rough.numbers], dtype=np.float64)
            for key in NODE_NUMBERS
            if any(key in own for own in rough.numbers)
        },
        cleaning=done,
        ignored=rough.ignored,
    )


def _plane_km(rough: RoughMap, link_km: float) -> Floats:
    """Positions on a plane, float64 [N, 2]: those of the map, or a circle unless every node has one."""
    places = [place for place in rough.positions if place is not None]
    if not places or len(places) < len(rough.positions):
        return _circle_km(len(rough.names), link_km)
    table = np.array(places)
    return projected_km(table) if rough.unit is PositionUnit.DEGREES else table


def _on_the_globe(content: MapContent) -> bool:
    """Whether all positions can be longitudes and latitudes."""
    places = [data["pos"] for data in content.nodes.values() if data.get("pos")]
    return all(abs(longitude) <= 180.0 and abs(latitude) <= 90.0 for longitude, latitude in places)


def _candidate_keys(data: Any, key: str) -> list[str]:
    """All keys of the group in `key`, else of every group except those with hundreds of networks."""
    groups = sorted(item.name for item in data.iterdir() if item.is_dir())
    prefix = key.partition("/")[0]
    chosen = (
        [prefix] if prefix in groups else [group for group in groups if group not in ("caida", "gabriel")]
    )
    root = Path(str(data))
    return [
        str(file.relative_to(root).with_suffix("")).replace("\\", "/")
        for group in chosen
        for file in (root / group).rglob("*.json")
    ]


def _circle_km(nodes: int, link_km: float) -> Floats:
    """Positions on a circle with `link_km` from one node to the next, [N, 2]."""
    angle = 2.0 * np.pi * np.arange(nodes) / max(nodes, 1)
    return max(nodes, 1) * link_km / (2.0 * np.pi) * np.stack([np.cos(angle), np.sin(angle)], axis=1)

"""Real topologies: those of the topohub package, and files of the user."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from qdpem.arrays import Floats
from qdpem.errors import Fault, QdpemError, ScenarioError, UnknownNameError
from qdpem.network.generators import with_parameters
from qdpem.network.graph import Graph

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG)."""

LENGTH_ATTRIBUTES = ("length_km", "dist")
_LONGITUDE_LATITUDE = (("lon", "lat"), ("longitude", "latitude"), ("Longitude", "Latitude"))


@dataclass(frozen=True, kw_only=True)
class TopohubParameters:
    """`key`: "group/name" in topohub, such as "sndlib/germany50"."""

    key: str
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012


@with_parameters(TopohubParameters)
def topohub_network(parameters: TopohubParameters, *, stream: np.random.Generator) -> Graph:  # noqa: ARG001
    """The topology `key` of the topohub package.

    Lengths are its `dist` in km along great circles; fibre is longer, see `topology.length_scale`. Positions
    are longitude and latitude, projected on a plane. The demand matrix, if there is one, is the sum of both
    directions. Raises UnknownNameError with the nearest known key, and ScenarioError for a network whose
    positions are drawing units.
    """
    data = files("topohub") / "data"
    file = data / f"{parameters.key}.json"
    if not file.is_file():
        raise UnknownNameError("topology of topohub", parameters.key, _candidate_keys(data, parameters.key))
    content = _topohub_content(json.loads(file.read_text(encoding="utf-8")))
    graph = _graph(content, name=parameters.key)
    if not _positions(content)[1] and not _lengths_fit(graph):
        message = (
            f"{parameters.key!r} is not usable: its positions are drawing units, and topohub took them for"
            " degrees to compute its lengths; should be a network with longitudes and latitudes"
        )
        raise ScenarioError([Fault("topology.parameters.key", message)])
    return graph


@dataclass(frozen=True, kw_only=True)
class FileParameters:
    """`path`: a node-link JSON (.json) or GraphML (.graphml, .xml) file, from the working directory."""

    path: str
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012


@with_parameters(FileParameters)
def file_network(parameters: FileParameters, *, stream: np.random.Generator) -> Graph:  # noqa: ARG001
    """The topology in a file of node-link JSON (as networkx writes it) or GraphML.

    A link's length is its attribute `length_km`, else `dist`, both in km, else the distance between the
    positions of its ends. A node's position is `x_km` and `y_km`, or `lon` and `lat` (also spelled
    `longitude`, `Longitude`), or `pos` = [lon, lat]. Without positions, nodes are placed on a circle, for
    pictures only. A node's name is `name` or `label`, else its id. JSON may hold a demand matrix as
    `graph.demands` = {source id: {destination id: weight}}; both directions are added.

    Raises QdpemError for a file that cannot be read, and ScenarioError for one that holds no network.
    """
    import networkx as nx

    path = Path(parameters.path)
    try:
        if path.suffix == ".json":
            values = json.loads(path.read_text(encoding="utf-8"))
            graph = nx.node_link_graph(values, edges="edges" if "edges" in values else "links")
        elif path.suffix in (".graphml", ".xml"):
            graph = nx.read_graphml(path)
        else:
            raise QdpemError(f"the topology file {path} is {path.suffix!r}; should be .json or .graphml")
    except OSError as error:
        raise QdpemError(f"the topology file {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, SyntaxError, nx.NetworkXError) as error:
        raise QdpemError(f"the topology file {path} is no node-link JSON or GraphML: {error}") from error
    content = _Content(dict(graph.nodes(data=True)), list(graph.edges(data=True)), graph.graph.get("demands"))
    return _graph(content, name=path.stem)


def great_circle_km(
    first_longitude: float, first_latitude: float, second_longitude: float, second_latitude: float
) -> float:
    """Distance in km between two points given in degrees, by the haversine formula (Sinnott 1984).

    >>> round(great_circle_km(0.0, 0.0, 0.0, 90.0))
    10008
    """
    low, high = math.radians(first_latitude), math.radians(second_latitude)
    across = math.radians(second_longitude - first_longitude)
    square = math.sin((high - low) / 2) ** 2 + math.cos(low) * math.cos(high) * math.sin(across / 2) ** 2
    # Rounding can lift the square just above 1 at antipodes, where asin is undefined.
    return 2.0 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(square, 1.0)))


def projected_km(degrees: Floats) -> Floats:
    """Longitude and latitude [N, 2] to x and y in km [N, 2], equirectangular about their mean.

    True in length along parallels of the mean latitude and all meridians.
    """
    angles = np.radians(degrees[:, 0])
    # A circular mean: an arithmetic one fails for networks on both sides of the date line.
    middle = math.degrees(math.atan2(float(np.sin(angles).mean()), float(np.cos(angles).mean())))
    east = np.radians((degrees[:, 0] - middle + 180.0) % 360.0 - 180.0)
    latitude = np.radians(degrees[:, 1])
    mean = float(latitude.mean())
    return EARTH_RADIUS_KM * np.stack([east * math.cos(mean), latitude - mean], axis=1)


def _lengths_fit(graph: Graph) -> bool:
    """Whether at least half of the lengths are within 5 % of the straight line between the ends."""
    first, second = graph.link_ends.T
    straight = np.hypot(graph.x_km[first] - graph.x_km[second], graph.y_km[first] - graph.y_km[second])
    # The median tolerates a few links with wrong lengths or positions.
    return bool(np.median(np.abs(straight - graph.length_km) - 0.05 * straight) <= 0.0)


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


@dataclass(frozen=True)
class _Content:
    """A network as its file has it: attributes of each node and link, and the weights of the demand."""

    nodes: Mapping[Hashable, Mapping[str, Any]]
    links: Sequence[tuple[Hashable, Hashable, Mapping[str, Any]]]
    demands: Mapping[Any, Mapping[Any, float]] | None


def _topohub_content(values: Mapping[str, Any]) -> _Content:
    """The content of topohub's node-link JSON, whose graphs are undirected and have no parallel links."""
    # As networkx would read it; the import of networkx would take longer than all else here.
    return _Content(
        {node["id"]: node for node in values["nodes"]},
        [(link["source"], link["target"], link) for link in values["edges"]],
        values["graph"].get("demands"),
    )


def _graph(content: _Content, *, name: str) -> Graph:
    """The Graph of a file; duplicate links and loops are kept, so that the checks report them."""
    index: dict[Hashable, int] = {node: number for number, node in enumerate(content.nodes)}
    names = _node_names(content)
    positions, degrees = _positions(content)
    ends, lengths, faults = [], [], []
    for first, second, data in content.links:
        pair = sorted((index[first], index[second]))
        length = _length_km(data, pair, positions, degrees)
        if length is None:
            link = f"the link {names[pair[0]]} - {names[pair[1]]}"
            message = f"{link} of {name} has no length: give it length_km, or its nodes positions"
            faults.append(Fault("topology.parameters", message))
        # A link without a length keeps its place, so that all of them are reported at once.
        ends.append(pair)
        lengths.append(0.0 if length is None else length)
    if faults:
        raise ScenarioError(faults)
    if positions is None:
        plane_km = _circle_km(len(names), float(np.mean(lengths)) if lengths else 1.0)
    else:
        plane_km = projected_km(positions) if degrees else positions
    return Graph(
        name=name,
        node_names=tuple(names),
        x_km=plane_km[:, 0],
        y_km=plane_km[:, 1],
        link_ends=np.array(ends, dtype=np.int64).reshape(-1, 2),
        length_km=np.array(lengths, dtype=np.float64),
        demand_weights=_demand(content.demands, index),
    )


def _node_names(content: _Content) -> list[str]:
    """One name per node; nodes that share a name also get their id."""
    plain = [str(data.get("name") or data.get("label") or node) for node, data in content.nodes.items()]
    return [
        name if plain.count(name) == 1 else f"{name} ({node})"
        for name, node in zip(plain, content.nodes, strict=True)
    ]


def _positions(content: _Content) -> tuple[Floats | None, bool]:
    """Positions [N, 2] in degrees (True) or km (False); None unless every node has one."""
    data = list(content.nodes.values())
    for keys in (("x_km", "y_km"), *_LONGITUDE_LATITUDE):
        if data and all(key in attributes for attributes in data for key in keys):
            table = [[float(attributes[key]) for key in keys] for attributes in data]
            return np.array(table), keys[0] != "x_km"
    if data and all("pos" in attributes for attributes in data):
        table = [[float(value) for value in attributes["pos"]] for attributes in data]
        positions = np.array(table)
        # topohub's synthetic (Gabriel) graphs lie on a plane in km, without an attribute that says so.
        in_range = np.abs(positions[:, 1]).max() <= 90.0 and np.abs(positions[:, 0]).max() <= 180.0
        return positions, bool(in_range)
    return None, False


def _length_km(
    data: Mapping[str, Any], pair: list[int], positions: Floats | None, degrees: bool
) -> float | None:
    for key in LENGTH_ATTRIBUTES:
        if key in data:
            return float(data[key])
    if positions is None:
        return None
    first, second = positions[pair[0]].tolist(), positions[pair[1]].tolist()
    return great_circle_km(*first, *second) if degrees else math.dist(first, second)


def _circle_km(nodes: int, link_km: float) -> Floats:
    """Positions on a circle with `link_km` from one node to the next, [N, 2]."""
    angle = 2.0 * np.pi * np.arange(nodes) / max(nodes, 1)
    return max(nodes, 1) * link_km / (2.0 * np.pi) * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _demand(
    demands: Mapping[Any, Mapping[Any, float]] | None, index: Mapping[Hashable, int]
) -> Floats | None:
    """The demand matrix, float64 [N, N], symmetric with zero diagonal."""
    if not demands:
        return None
    # Keys of JSON are text even where the ids of nodes are numbers.
    by_text = {str(node): number for node, number in index.items()}
    weights = np.zeros((len(index), len(index)))
    for source, row in demands.items():
        for destination, weight in row.items():
            weights[by_text[str(source)], by_text[str(destination)]] += float(weight)
    np.fill_diagonal(weights, 0.0)
    return weights + weights.T

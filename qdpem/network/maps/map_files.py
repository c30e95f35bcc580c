"""Files of maps: node-link JSON, GraphML and GML, read into one value that keeps all the file says."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdpem.errors import QdpemError

SUFFIXES = (".json", ".graphml", ".xml", ".gml")
_ENDS = ("source", "target")


@dataclass(frozen=True)
class MapContent:
    """All that a file says: the attributes of each node by id, ends and attributes of links, the demand."""

    nodes: Mapping[Hashable, Mapping[str, Any]]
    links: Sequence[tuple[Hashable, Hashable, Mapping[str, Any]]]
    demands: Any


def read_map(path: Path) -> MapContent:
    """The content of a file; a byte-order mark is no fault.

    Raises QdpemError for a file that cannot be read or is no map, with the first thing that is wrong.
    """
    if path.suffix not in SUFFIXES:
        wanted = ", ".join(SUFFIXES[:-1])
        raise QdpemError(f"the topology file {path} is {path.suffix!r}; should be {wanted} or {SUFFIXES[-1]}")
    try:
        if path.suffix == ".json":
            return node_link_content(json.loads(path.read_text(encoding="utf-8-sig")))
        return _graph_content(path)
    except OSError as error:
        raise QdpemError(f"the topology file {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:
        raise QdpemError(f"the topology file {path} is no node-link JSON, GraphML or GML: {error}") from error


def node_link_content(values: Any) -> MapContent:
    """The content of node-link `values`, with links under `edges` or `links`.

    It is read without networkx, whose import takes longer than all else that a run does first, and which
    would let the last of two links that join the same nodes win. Raises ValueError for anything else.
    """
    table = _table(values, "the file")
    demands = _table(table.get("graph", {}), "graph").get("demands")
    nodes: dict[Hashable, Mapping[str, Any]] = {}
    for index, node in enumerate(_list(table, "nodes")):
        attributes = _attributes(node, f"nodes.{index}")
        name = _id(attributes.pop("id", None), f"nodes.{index}.id")
        if name in nodes:
            raise ValueError(f"nodes.{index}.id is {name!r}, as that of another node; should be unique")
        nodes[name] = attributes
    kind = "edges" if "edges" in table else "links"
    links = []
    for index, link in enumerate(_list(table, kind)):
        attributes = _attributes(link, f"{kind}.{index}")
        first, second = (_id(attributes.pop(end, None), f"{kind}.{index}.{end}") for end in _ENDS)
        for end, name in zip(_ENDS, (first, second), strict=True):
            if name not in nodes:
                raise ValueError(f"{kind}.{index}.{end} is {name!r}, which is the id of no node")
        links.append((first, second, attributes))
    return MapContent(nodes, links, demands)


def _graph_content(path: Path) -> MapContent:
    """The content of GraphML or GML, each direction a link of its own."""
    import networkx as nx

    try:
        if path.suffix == ".gml":
            graph = nx.parse_gml(_with_parallel_links(path), label="id")
        else:
            graph = nx.read_graphml(path, force_multigraph=True)
    except nx.NetworkXError as error:
        raise ValueError(str(error)) from error
    return MapContent(dict(graph.nodes(data=True)), list(graph.edges(data=True)), graph.graph.get("demands"))


def _attributes(value: Any, where: str) -> dict[str, Any]:
    return {str(key): item for key, item in _table(value, where).items()}


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is {_shown(value)}; should be a table")
    return value


def _list(table: Mapping[str, Any], key: str) -> list[Any]:
    if key not in table:
        raise ValueError(f"it has no {key!r}")
    items = table[key]
    if isinstance(items, list):
        return items
    raise ValueError(f"{key} is {_shown(items)}; should be a list")


def _id(value: Any, where: str) -> str | int | float:
    if isinstance(value, str | int | float):
        return value
    raise ValueError(f"{where} is {_shown(value)}; should be text or a number")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else f"{text[:40]} ..."


def _with_parallel_links(path: Path) -> str:
    """The GML text, declared to be a multigraph: many files hold parallel links without saying so."""
    text = path.read_text(encoding="utf-8-sig")
    if re.search(r"^\s*multigraph\b", text, flags=re.MULTILINE):
        return text
    return re.sub(r"^\s*graph\s*\[", "graph [\n  multigraph 1", text, count=1, flags=re.MULTILINE)

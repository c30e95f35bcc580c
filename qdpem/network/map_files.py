"""Files of maps: node-link JSON, GraphML and GML, read into one multigraph that keeps all the file says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qdpem.errors import QdpemError

SUFFIXES = (".json", ".graphml", ".xml", ".gml")


def read_map(path: Path) -> Any:
    """The networkx multigraph in a file; a byte-order mark is no fault.

    Raises QdpemError for a file that cannot be read or is no map, with the first thing that is wrong.
    """
    import networkx as nx

    if path.suffix not in SUFFIXES:
        wanted = ", ".join(SUFFIXES[:-1])
        raise QdpemError(f"the topology file {path} is {path.suffix!r}; should be {wanted} or {SUFFIXES[-1]}")
    try:
        if path.suffix == ".json":
            return node_link_graph(json.loads(path.read_text(encoding="utf-8-sig")))
        if path.suffix == ".gml":
            return _undirected(nx.parse_gml(_with_parallel_links(path), label="id"))
        return _undirected(nx.read_graphml(path, force_multigraph=True))
    except OSError as error:
        raise QdpemError(f"the topology file {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, SyntaxError, nx.NetworkXError) as error:
        raise QdpemError(f"the topology file {path} is no node-link JSON, GraphML or GML: {error}") from error


def node_link_graph(values: Any) -> Any:
    """The multigraph of node-link `values`, with links under `edges` or `links`.

    Unlike networkx, it keeps every link, also when two join the same nodes. Raises ValueError for anything
    else.
    """
    import networkx as nx

    table = _table(values, "the file")
    graph = nx.MultiGraph(**{str(key): item for key, item in _table(table.get("graph", {}), "graph").items()})
    for index, node in enumerate(_list(table, "nodes")):
        attributes = dict(_table(node, f"nodes.{index}"))
        name = _id(attributes.pop("id", None), f"nodes.{index}.id")
        if name in graph:
            raise ValueError(f"nodes.{index}.id is {name!r}, as that of another node; should be unique")
        graph.add_node(name, **{str(key): item for key, item in attributes.items()})
    links = "edges" if "edges" in table else "links"
    for index, link in enumerate(_list(table, links)):
        attributes = dict(_table(link, f"{links}.{index}"))
        ends = [_id(attributes.pop(end, None), f"{links}.{index}.{end}") for end in ("source", "target")]
        for end, name in zip(("source", "target"), ends, strict=True):
            if name not in graph:
                raise ValueError(f"{links}.{index}.{end} is {name!r}, which is the id of no node")
        attributes.pop("key", None)
        graph.add_edges_from([(*ends, {str(key): item for key, item in attributes.items()})])
    return graph


def _undirected(graph: Any) -> Any:
    """The same nodes and links, each direction a link of its own: networkx would let the last one win."""
    import networkx as nx

    undirected = nx.MultiGraph(**{str(key): item for key, item in graph.graph.items()})
    undirected.add_nodes_from(graph.nodes(data=True))
    undirected.add_edges_from(graph.edges(data=True))
    return undirected


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

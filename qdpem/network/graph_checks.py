"""Checks that a topology can be simulated: all its faults, as values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from qdpem.arrays import Ints
from qdpem.errors import Fault, is_text
from qdpem.network.graph import Graph

_MAX_FAULTS = 8


def components(node_count: int, link_ends: Ints) -> Ints:
    """The index of each node's connected component, int64 [N]; `link_ends` int64 [L, 2].

    >>> components(4, np.array([[0, 1], [1, 3]])).tolist()
    [0, 0, 1, 0]
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(link_ends), dtype=np.int8)
    adjacency = csr_matrix((ones, (link_ends[:, 0], link_ends[:, 1])), shape=(node_count, node_count))
    return np.asarray(connected_components(adjacency, directed=False)[1]).astype(np.int64)


def graph_faults(graph: Graph, *, path: str = "topology") -> list[Fault]:
    """Duplicate names or links, loops, bad lengths or weights, a second component; `path` locates them."""
    faults = _node_faults(graph, path)
    if not faults:
        # Messages about links name their ends, so names must be valid first.
        faults = _link_faults(graph, path) + _matrix_faults(graph, path)
    if not faults:
        # Invalid links would make the components misleading.
        faults = _connection_faults(graph, path)
    return faults


def _node_faults(graph: Graph, path: str) -> list[Fault]:
    names = graph.node_names
    if len(names) < 2:
        return [Fault(path, f"{graph.name} has {len(names)} nodes; should be at least 2")]
    unfit = [name for name in names if not is_text(name)]
    if unfit:
        wrong = "has a character that no text can hold (NUL, or half of a pair of surrogates)"
        return [Fault(path, f"the node {name!r} of {graph.name} {wrong}") for name in unfit[:_MAX_FAULTS]]
    duplicates = sorted(name for name, count in Counter(names).items() if count > 1)
    return [
        Fault(path, f"{graph.name} has more than one node called {name!r}")
        for name in duplicates[:_MAX_FAULTS]
    ]


def _link_faults(graph: Graph, path: str) -> list[Fault]:
    names, faults = graph.node_names, []
    seen: set[tuple[int, int]] = set()
    for (first, second), length in zip(graph.link_ends.tolist(), graph.length_km.tolist(), strict=True):
        link = f"the link {names[first]} - {names[second]}"
        if first == second:
            faults.append(Fault(path, f"{link} joins a node to itself; should join two nodes"))
        elif (min(first, second), max(first, second)) in seen:
            faults.append(Fault(path, f"{link} is there more than once; should be there once"))
        elif not 0.0 <= length < np.inf:
            faults.append(Fault(path, f"{link} is {length:g} km long; should be 0 or more, and finite"))
        seen.add((min(first, second), max(first, second)))
    return faults[:_MAX_FAULTS]


def _matrix_faults(graph: Graph, path: str) -> list[Fault]:
    weights = graph.demand_weights
    if weights is None:
        return []
    if not np.isfinite(weights).all() or weights.min() < 0.0:
        return [Fault(path, f"the demand matrix of {graph.name} has weights below 0 or not finite")]
    return []


def _connection_faults(graph: Graph, path: str) -> list[Fault]:
    labels = components(len(graph.node_names), graph.link_ends)
    if labels.max() == 0:
        return []
    return [Fault(path, f"{parts_sentence(graph.name, graph.node_names, labels)}; should be one")]


def parts_sentence(name: str, node_names: Sequence[str], labels: Ints) -> str:
    """How large the parts of a disconnected topology are; `labels` as from `components`."""
    sizes = np.bincount(labels)
    smallest = int(sizes.argmin())
    node = node_names[int((labels == smallest).argmax())]
    shown_sizes = ", ".join(str(size) for size in sorted(sizes.tolist(), reverse=True)[:_MAX_FAULTS])
    more = ", ..." if len(sizes) > _MAX_FAULTS else ""
    where = "has no link at all" if sizes[smallest] == 1 else f"is in a part of {sizes[smallest]} nodes"
    return f"{name} falls into {len(sizes)} parts of {shown_sizes}{more} nodes ({node} {where})"

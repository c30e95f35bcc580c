"""The file of a trace process on the nodes of a network: the mean rates of pairs of nodes, or the requests.

Nothing is drawn here. Every fault names the key of the scenario that leads to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.demand.traces.matrices.nodes import map_nodes, rank_mapping
from qdpem.demand.traces.matrices.operations import apply_exponent, clip_pairs, relative_rates, symmetrise
from qdpem.demand.traces.matrices.traffic_matrices import TrafficMatrices
from qdpem.demand.traces.node_mapping import named_nodes, ranked_nodes
from qdpem.demand.traces.read import FORMS, read_trace
from qdpem.demand.traces.requests.request_list import RequestList, map_request_nodes
from qdpem.errors import Fault, QdpemError, ScenarioError, UnknownNameError
from qdpem.network.graph import Network
from qdpem.scenario.schema import Trace
from qdpem.scenario.words import NodeMap


@dataclass(frozen=True, eq=False, kw_only=True)
class MatrixTrace:
    """Traffic between E ordered pairs of nodes of the network in T intervals, relative to its mean.

    `source`, `destination` int64 [E]: nodes of the network. `relative` float64 [T, E]: the rate of each pair
    in each interval; the mean over intervals of the sum over pairs is 1. `step_s`: length of an interval, in
    seconds of the file. `notes`: what was left out or changed, from the file on.
    """

    source: Ints
    destination: Ints
    relative: Floats
    step_s: float
    notes: tuple[str, ...]

    @property
    def length_s(self) -> float:
        """The length of the whole trace in seconds of the file."""
        return self.step_s * len(self.relative)

    def mean(self, nodes: int) -> Floats:
        """The mean over time, float64 [nodes, nodes] with the sum 1."""
        mean = np.zeros((nodes, nodes))
        mean[self.source, self.destination] = self.relative.mean(axis=0)
        return mean


def load_trace(name: str, settings: Trace, network: Network) -> MatrixTrace | RequestList:
    """The file of the process `name`, with its nodes mapped to those of `network`.

    Raises ScenarioError for a file that is missing or wrong, and for nodes that cannot be mapped.
    """
    key = f"demand.processes.{name}"
    if not Path(settings.path).exists():
        wrong = f"there is nothing at {settings.path}; should be {FORMS}; --set {key}.path=FILE names another"
        raise _fault(f"{key}.path", wrong)
    try:
        trace = read_trace(
            Path(settings.path), unit=settings.unit, step_s=settings.step_s, gaps=settings.gaps
        )
    except QdpemError as error:
        raise _fault(f"{key}.path", str(error)) from error
    if isinstance(trace, RequestList):
        mapping = _list_mapping(key, settings, trace, network)
        return map_request_nodes(trace, network.graph.node_names, mapping)
    try:
        return _on_network(key, settings, _shaped(settings, trace), network)
    except ScenarioError:
        raise
    except QdpemError as error:
        raise _fault(f"{key}.path", str(error)) from error


def trace_fault(name: str, key: str, wrong: str) -> ScenarioError:
    """An error at a key of the process `name`."""
    return _fault(f"demand.processes.{name}.{key}", wrong)


def _fault(path: str, wrong: str) -> ScenarioError:
    return ScenarioError([Fault(path, wrong)])


def _shaped(settings: Trace, matrices: TrafficMatrices) -> TrafficMatrices:
    """The traffic as the keys of the process change it, before its nodes are mapped."""
    if settings.symmetrised:
        matrices = symmetrise(matrices)
    if settings.clip_quantile < 1.0:
        matrices = clip_pairs(matrices, quantile=settings.clip_quantile)
    return apply_exponent(matrices, settings.exponent)


def _on_network(key: str, settings: Trace, matrices: TrafficMatrices, network: Network) -> MatrixTrace:
    names = network.graph.node_names
    if settings.node_map is NodeMap.RANK:
        mapping = _ranked(key, lambda: rank_mapping(matrices, names, _degree(network)))
    else:
        mapping = _by_name(key, settings, matrices.node_names, network, matrices.origin)
    # Only the nodes that are used: a trace of a few nodes stays small on a large network.
    used = tuple(name for name in names if name in set(mapping.values()))
    if len(used) < 2:
        raise _fault(f"{key}.nodes", f"only {len(used)} nodes of {matrices.origin} are left; should be two")
    mapped = map_nodes(matrices, used, mapping)
    relative = relative_rates(mapped)
    source, destination = np.nonzero(relative.any(axis=0))
    index = np.array([names.index(name) for name in used], dtype=np.int64)
    return MatrixTrace(
        source=index[source],
        destination=index[destination],
        relative=relative[:, source, destination],
        step_s=mapped.step_s,
        notes=mapped.notes,
    )


def _list_mapping(
    key: str, settings: Trace, requests: RequestList, network: Network
) -> dict[str, str | None]:
    if settings.node_map is NodeMap.RANK:
        ends = (*requests.source, *requests.destination)
        totals = {name: float(count) for name, count in Counter(ends).items()}
        return _ranked(
            key,
            lambda: ranked_nodes(totals, network.graph.node_names, _degree(network), requests.origin),
        )
    ends = tuple(dict.fromkeys((*requests.source, *requests.destination)))
    return _by_name(key, settings, ends, network, requests.origin)


def _by_name(
    key: str, settings: Trace, trace_names: Sequence[str], network: Network, origin: str
) -> dict[str, str | None]:
    for name in settings.nodes:
        if name not in trace_names:
            wrong = str(UnknownNameError(f"node of {origin}", name, list(trace_names)))
            raise _fault(f"{key}.nodes", wrong)
    mapping = {name: settings.nodes.get(name, name) or None for name in trace_names}
    try:
        return named_nodes(trace_names, network.graph.node_names, mapping, origin)
    except UnknownNameError as error:
        wrong = f'{error}; {key}.nodes can name another node, or "" to leave a node of {origin} out'
        raise _fault(f"{key}.nodes", wrong) from error


def _ranked(key: str, rank: Callable[[], dict[str, str | None]]) -> dict[str, str | None]:
    try:
        return rank()
    except QdpemError as error:
        raise _fault(f"{key}.node_map", str(error)) from error


def _degree(network: Network) -> Ints:
    """Links of each node, int64 [N]."""
    return np.bincount(network.graph.link_ends.ravel(), minlength=network.node_count)

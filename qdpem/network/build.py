"""Build the network of a scenario: topology by name, rates from keyed streams, links compiled by physics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from physics.hardware import FIBRE_SPEED_KM_PER_S
from physics.interface import CompiledLink, PhysicsModel
from physics.plugins.load import load_physics
from qdpem import registry
from qdpem.arrays import Floats, Ints
from qdpem.errors import Fault, ScenarioError
from qdpem.network.graph import Graph, Network
from qdpem.network.graph_checks import graph_faults
from qdpem.network.maps.rough_map import LENGTH_LIKE
from qdpem.network.outages import outage_faults
from qdpem.network.path import Path
from qdpem.network.routing import Routes
from qdpem.rng import stream
from qdpem.scenario.faults.messages import own_words
from qdpem.scenario.load import parameters_of
from qdpem.scenario.schema import Nodes, PerNode, RequestClass, Scenario, Topology, Uniform

_MAX_NAMES = 5


def build_physics(scenario: Scenario) -> PhysicsModel:
    """The physics model that a scenario names.

    Raises ScenarioError for an unknown model, with the nearest known name, and for unknown parameters.
    """
    try:
        return load_physics(scenario.physics.model, scenario.physics.parameters)
    except (LookupError, TypeError, ValueError) as error:
        fault = Fault("physics", str(error))
        raise ScenarioError([fault], origin=f"the scenario {scenario.name!r}") from error


def build_network(scenario: Scenario, physics: PhysicsModel, *, seed: int) -> Network:
    """The network of `scenario` under `seed`, or under the scenario's own `topology_seed` if it has one.

    Raises UnknownNameError for an unknown kind of topology. Raises ScenarioError for parameters that it does
    not take, a topology in more than one part, duplicate links or loops, a demand matrix that the scenario
    asks for and the topology lacks, outages of unknown nodes or links, and links that can never make a pair
    or whose attempts take no time.
    """
    return equip_graph(build_graph(scenario, seed=seed), scenario, physics, seed=seed)


def equip_graph(graph: Graph, scenario: Scenario, physics: PhysicsModel, *, seed: int) -> Network:
    """The network of `graph`, which is already scaled and checked, with the hardware of `scenario`.

    Raises ScenarioError for links that can never make a pair or whose attempts take no time.
    """
    root = seed if scenario.topology_seed is None else scenario.topology_seed
    nodes = scenario.nodes
    source_rate_hz = 0.0 if nodes.source_rate_hz is None else nodes.source_rate_hz
    return Network(
        graph=graph,
        source_rate_hz=_of_map(
            graph, "source_rate_hz", _per_node(source_rate_hz, graph.node_names, seed=root, key="source_rate")
        ),
        repeater_rate_hz=_of_map(
            graph,
            "repeater_rate_hz",
            _per_node(nodes.repeater_rate_hz, graph.node_names, seed=root, key="repeater_rate"),
        ),
        repeater_burst=nodes.repeater_burst,
        swap_time_s=nodes.swap_time_s,
        distillation_time_s=nodes.distillation_time_s,
        swap_order=nodes.swap_order,
        cutoff_s=math.inf if nodes.cutoff_s is None else nodes.cutoff_s,
        memories=_of_map(graph, "memories", _memories(nodes, graph)).astype(np.int64),
        remote_storage_quota=nodes.remote_storage_quota,
        # `light_delay` is a flag; without it only the processing delay remains.
        delay_s=scenario.links.light_delay * graph.length_km / FIBRE_SPEED_KM_PER_S
        + scenario.links.processing_delay_s,
        slotted=scenario.links.slotted,
        links=_compile(graph.length_km, scenario, physics),
        hardware=(nodes.hardware,) * len(graph.node_names),
        memories_per_link=nodes.memories_per_link,
        repeater_kind=nodes.repeater_kind,
    )


def build_graph(scenario: Scenario, *, seed: int) -> Graph:
    """The scaled and checked topology, without hardware. Raises as `build_network` does."""
    root = seed if scenario.topology_seed is None else scenario.topology_seed
    topology = scenario.topology
    factory = registry.load("topology", topology.kind)
    parameters = parameters_of(factory, topology.parameters, path="topology.parameters")
    graph: Graph = factory(parameters, stream=stream(root, "topology"))
    # All faults are collected before any is raised, so that one run of the program reports them together.
    faults = graph_faults(graph)
    if scenario.demand.weights == "matrix" and (
        graph.demand_weights is None or not graph.demand_weights.any()
    ):
        wrong = f"'matrix' is not possible: {graph.name} has no demand matrix; should be 'uniform'"
        faults.append(Fault("demand.weights", wrong))
    faults += outage_faults(scenario.outages, graph)
    faults += _map_faults(scenario.nodes, graph)
    if faults:
        raise ScenarioError(faults, origin=f"the scenario {scenario.name!r}")
    return _scaled(graph, topology)


def _map_faults(nodes: Nodes, graph: Graph) -> list[Fault]:
    """Numbers of the map that exclude settings of the scenario."""
    faults = []
    if nodes.memories_per_link is not None and "memories" in graph.node_numbers:
        wrong = f"{nodes.memories_per_link} excludes the memories that {graph.name} sets for its nodes; leave"
        faults.append(Fault("nodes.memories_per_link", f"{wrong} one of them out"))
    rate_hz = graph.node_numbers.get("repeater_rate_hz")
    if nodes.repeater_kind == "server" and rate_hz is not None:
        fastest_hz = float(np.nanmax(rate_hz))
        if nodes.swap_time_s * fastest_hz > 1.0:
            wrong = f"{nodes.swap_time_s:g} does not fit into the 1/rate of a server of {graph.name}, down to"
            faults.append(Fault("nodes.swap_time_s", f"{wrong} {1.0 / fastest_hz:g} s"))
    return faults


def network_warnings(network: Network) -> tuple[str, ...]:
    """Sentences about legal but probably unintended settings, such as nodes that never swap."""
    names = network.graph.node_names
    warnings = []
    if network.source_limited.any() and not network.source_rate_hz.any():
        warnings.append("no source emits (every source_rate_hz is 0): nothing can be served at all")
    dead_links = np.flatnonzero(network.link_rate_hz <= 0.0)
    if len(dead_links):
        ends = network.graph.link_ends[dead_links[:_MAX_NAMES]].tolist()
        examples = _listed([f"{names[first]} - {names[second]}" for first, second in ends], len(dead_links))
        warnings.append(
            f"{len(dead_links)} of {network.link_count} links make no pairs (both sources at 0): {examples}"
        )
    if network.graph.ignored:
        given = ", ".join(f"{key} ({count})" for key, count in network.graph.ignored.items())
        lengths = LENGTH_LIKE & network.graph.ignored.keys()
        hint = "; a link's length is read from length_km or dist, in km" if lengths else ""
        warnings.append(f"{network.graph.name} gives hardware that is not used: {given}{hint}")
    if any(np.isfinite(hardware.memory.coherence_attempts) for hardware in network.hardware):
        warnings.append("attempts do not disturb stored pairs in networks: coherence_attempts is not used")
    no_repeater = np.flatnonzero(network.repeater_rate_hz <= 0.0)
    if len(no_repeater) == network.node_count:
        warnings.append("no node can swap (all repeater rates are 0): only neighbours can be served")
    elif len(no_repeater):
        examples = _listed([names[node] for node in no_repeater[:_MAX_NAMES]], len(no_repeater))
        warnings.append(
            f"{len(no_repeater)} of {network.node_count} nodes never swap (repeater rate 0): {examples}"
        )
    one_qubit = np.flatnonzero((network.memories < 2) & (np.bincount(network.graph.link_ends.ravel()) > 1))
    if len(one_qubit):
        examples = _listed([names[node] for node in one_qubit[:_MAX_NAMES]], len(one_qubit))
        warnings.append(
            f"{len(one_qubit)} of {network.node_count} nodes never swap (one qubit, and a swap needs two):"
            f" {examples}"
        )
    return tuple(warnings)


@dataclass(frozen=True, kw_only=True)
class UnservedDemand:
    """The part of a class's demand that nothing can serve: `fraction` of it, in `pairs` node pairs.

    `example`: the names of one of these pairs.
    """

    application: str
    target_fidelity: float
    fraction: float
    pairs: int
    example: tuple[str, str] | None

    def __str__(self) -> str:
        between = f" (for one, {self.example[0]} - {self.example[1]})" if self.example else ""
        return (
            f"nothing can serve {self.fraction:.1%} of the {self.application} demand at fidelity"
            f" {self.target_fidelity:g}: {self.pairs} node {'pair' if self.pairs == 1 else 'pairs'}{between}"
        )


def unserved_demand(
    network: Network,
    *,
    routes: Routes,
    can_serve: Callable[[Path, RequestClass], bool],
    weights: Floats,
    classes: Sequence[RequestClass],
) -> tuple[UnservedDemand, ...]:
    """For each class, the demand between node pairs that have no path to serve it.

    Args:
        network: the network; paths over links that make no pairs serve nothing.
        routes: its paths.
        can_serve: whether a path can serve a class; if so, it can serve all with lower target fidelities.
        weights: float64 [N, N], the demand of each node pair, on any scale.
        classes: the request classes.
    """
    node_pairs = [(source, destination) for source, destination in np.argwhere(weights > 0.0).tolist()]
    # `Routes` also offers paths over links without a rate, which serve nothing.
    working = (network.link_rate_hz > 0.0).tolist()
    names, unserved = network.graph.node_names, []
    missed_of: dict[float, list[tuple[int, int]]] = {}
    # The hardest first: what it does not miss, no easier one does.
    missed = node_pairs
    for request_class in sorted(classes, key=lambda each: each.target_fidelity, reverse=True):
        missed = [
            pair
            for pair in missed
            if not any(
                all(working[link] for link in path.links) and can_serve(path, request_class)
                for path in routes.each_path(*pair)
            )
        ]
        missed_of[request_class.target_fidelity] = missed
    for request_class in classes:
        missed = missed_of[request_class.target_fidelity]
        missed_weight = float(sum(weights[pair] for pair in missed))
        unserved.append(
            UnservedDemand(
                application=request_class.application,
                target_fidelity=request_class.target_fidelity,
                fraction=missed_weight / float(weights.sum()) if missed else 0.0,
                pairs=len({frozenset(pair) for pair in missed}),
                example=(names[missed[0][0]], names[missed[0][1]]) if missed else None,
            )
        )
    return tuple(unserved)


def _scaled(graph: Graph, topology: Topology) -> Graph:
    """Lengths and positions times the scale, with no link below the minimum length; links sorted by ends."""
    scale = topology.length_scale
    # Sorted links make the network independent of the order in which a file lists them.
    order = np.lexsort((graph.link_ends.max(axis=1), graph.link_ends.min(axis=1)))
    length_km = np.maximum(graph.length_km[order] * scale, topology.min_length_km)
    return replace(
        graph,
        x_km=graph.x_km * scale,
        y_km=graph.y_km * scale,
        link_ends=np.sort(graph.link_ends[order], axis=1),
        length_km=length_km,
    )


def _memories(nodes: Nodes, graph: Graph) -> Ints:
    """Qubits of each node, int64 [N]: shared by its links, or the sum of the qubits of each link there."""
    count = len(graph.node_names)
    if nodes.memories_per_link is None:
        # Without qubits per link, all links of a node share its memories.
        return np.full(count, nodes.memories, dtype=np.int64)
    links = np.bincount(graph.link_ends.ravel(), minlength=count)
    return np.asarray(nodes.memories_per_link * links, dtype=np.int64)


def _per_node(value: PerNode, names: Sequence[str], *, seed: int, key: str) -> Floats:
    """One number per node, float64 [N], each from its own stream, so that another node changes none."""
    if not isinstance(value, Uniform):
        return np.full(len(names), float(value))
    return np.array(
        [stream(seed, f"node/{name}/{key}").uniform(value.low, value.high) for name in names],
        dtype=np.float64,
    )


def _of_map(graph: Graph, key: str, values: Floats | Ints) -> Floats:
    """The numbers that the map sets for single nodes, and `values` for all others, float64 [N]."""
    own = graph.node_numbers.get(key)
    return np.asarray(values, dtype=np.float64) if own is None else np.where(np.isnan(own), values, own)


def _compile(length_km: Floats, scenario: Scenario, physics: PhysicsModel) -> tuple[CompiledLink, ...]:
    # Compilation is slow and depends on length only; grids and lines have one length.
    compiled: dict[float, CompiledLink] = {}
    for length in length_km.tolist():
        if length not in compiled:
            compiled[length] = _compile_one(length, scenario, physics)
    return tuple(compiled[length] for length in length_km.tolist())


def _compile_one(length_km: float, scenario: Scenario, physics: PhysicsModel) -> CompiledLink:
    hardware = scenario.links.hardware
    try:
        link = physics.link(hardware, length_km)
        if link.source_limited or link.attempt_period_s > 0.0:
            return link
        raise ValueError(
            f"attempt_period_s of a {hardware.kind} link of {length_km:g} km is {link.attempt_period_s!r};"
            " it must be above 0, or it never stops making pairs"
        )
    except ValueError as error:
        # Messages of physics begin with the parameter at fault, which completes the path in the scenario.
        word, path = str(error).partition(" ")[0], "links.hardware"
        path += f".{word}" if hasattr(hardware, word) else ""
        fault = Fault(path, own_words(str(error)))
        raise ScenarioError([fault], origin=f"the scenario {scenario.name!r}") from error


def _listed(examples: Sequence[str], count: int) -> str:
    more = f" and {count - len(examples)} more" if count > len(examples) else ""
    return ", ".join(examples) + more

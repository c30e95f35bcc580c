"""From a scenario to its network: topology by name, rates from keyed streams, links compiled by physics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from physics.hardware import FIBRE_SPEED_KM_PER_S
from physics.interface import CompiledLink, PhysicsModel
from physics.plugins import load_physics
from qdpem import registry
from qdpem.errors import Fault, ScenarioError
from qdpem.network.checks import graph_faults
from qdpem.network.graph import Graph, Network
from qdpem.network.outages import outage_faults
from qdpem.network.path import Path
from qdpem.network.routing import Routes
from qdpem.rng import stream
from qdpem.scenario.load import parameters_of
from qdpem.scenario.messages import own_words
from qdpem.scenario.schema import Nodes, PerNode, RequestClass, Scenario, Topology, Uniform

_SHOWN = 5


def build_physics(scenario: Scenario) -> PhysicsModel:
    """The physics model a scenario names.

    Raises ScenarioError for an unknown model, with the nearest right name, or parameters it does not take.
    """
    try:
        return load_physics(scenario.physics.model, scenario.physics.parameters)
    except (LookupError, TypeError, ValueError) as error:
        fault = Fault("physics", str(error))
        raise ScenarioError([fault], origin=f"the scenario {scenario.name!r}") from error


def build_network(scenario: Scenario, physics: PhysicsModel, *, seed: int) -> Network:
    """The network of `scenario` under `seed`, or under the scenario's own `topology_seed` if it has one.

    Raises UnknownNameError for an unknown kind of topology, ScenarioError for parameters it does not
    take, a topology in more than one part, doubled or looping links, a demand matrix that is wanted
    and not there, outages of nodes or links that are not there, or links that can never make a pair or
    would attempt without end in no time.
    """
    root = seed if scenario.topology_seed is None else scenario.topology_seed
    graph = build_graph(scenario, seed=seed)
    nodes = scenario.nodes
    source_rate_hz = 0.0 if nodes.source_rate_hz is None else nodes.source_rate_hz
    return Network(
        graph=graph,
        source_rate_hz=_per_node(source_rate_hz, graph.node_names, seed=root, key="source_rate"),
        repeater_rate_hz=_per_node(nodes.repeater_rate_hz, graph.node_names, seed=root, key="repeater_rate"),
        repeater_burst=nodes.repeater_burst,
        swap_time_s=nodes.swap_time_s,
        distillation_time_s=nodes.distillation_time_s,
        swap_order=nodes.swap_order,
        cutoff_s=math.inf if nodes.cutoff_s is None else nodes.cutoff_s,
        memories=_memories(nodes, graph),
        remote_storage_quota=nodes.remote_storage_quota,
        delay_s=scenario.links.light_delay * graph.length_km / FIBRE_SPEED_KM_PER_S
        + scenario.links.processing_delay_s,
        slotted=scenario.links.slotted,
        links=_compile(graph.length_km, scenario, physics),
        hardware=(nodes.hardware,) * len(graph.node_names),
        memories_per_link=nodes.memories_per_link,
        repeater_kind=nodes.repeater_kind,
    )


def build_graph(scenario: Scenario, *, seed: int) -> Graph:
    """The scaled and checked topology alone, without hardware. Raises as `build_network` does."""
    root = seed if scenario.topology_seed is None else scenario.topology_seed
    topology = scenario.topology
    factory = registry.load("topology", topology.kind)
    parameters = parameters_of(factory, topology.parameters, path="topology.parameters")
    graph: Graph = factory(parameters, stream=stream(root, "topology"))
    faults = graph_faults(graph)
    if scenario.demand.weights == "matrix" and (
        graph.demand_weights is None or not graph.demand_weights.any()
    ):
        wrong = f"'matrix' is not possible: {graph.name} has no demand matrix; should be 'uniform'"
        faults.append(Fault("demand.weights", wrong))
    faults += outage_faults(scenario.outages, graph)
    if faults:
        raise ScenarioError(faults, origin=f"the scenario {scenario.name!r}")
    return _scaled(graph, topology)


def network_warnings(network: Network) -> tuple[str, ...]:
    """Sentences about what is legal and probably not meant: links that never fire, nodes that never swap."""
    names = network.graph.node_names
    warnings = []
    if network.source_limited.any() and not network.source_rate_hz.any():
        warnings.append("no source emits (every source_rate_hz is 0): nothing can be served at all")
    silent = np.flatnonzero(network.link_rate_hz <= 0.0)
    if len(silent):
        ends = network.graph.link_ends[silent[:_SHOWN]].tolist()
        shown = _listed([f"{names[first]} - {names[second]}" for first, second in ends], len(silent))
        warnings.append(
            f"{len(silent)} of {network.link_count} links make no pairs (both sources at 0): {shown}"
        )
    if any(np.isfinite(hardware.memory.coherence_attempts) for hardware in network.hardware):
        warnings.append("attempts do not disturb stored pairs in networks: coherence_attempts is not used")
    idle = np.flatnonzero(network.repeater_rate_hz <= 0.0)
    if len(idle) == network.node_count:
        warnings.append("no node can swap (all repeater rates are 0): only neighbours can be served")
    elif len(idle):
        shown = _listed([names[node] for node in idle[:_SHOWN]], len(idle))
        warnings.append(f"{len(idle)} of {network.node_count} nodes never swap (repeater rate 0): {shown}")
    lone = np.flatnonzero((network.memories < 2) & (np.bincount(network.graph.link_ends.ravel()) > 1))
    if len(lone):
        shown = _listed([names[node] for node in lone[:_SHOWN]], len(lone))
        warnings.append(
            f"{len(lone)} of {network.node_count} nodes never swap (one qubit, and a swap needs two): {shown}"
        )
    return tuple(warnings)


@dataclass(frozen=True, kw_only=True)
class Unserved:
    """What of one class nothing can serve: `fraction` of its demand, in `pairs` node pairs, one named."""

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
    weights: NDArray[np.float64],
    classes: Sequence[RequestClass],
) -> tuple[Unserved, ...]:
    """For each class, the demand between pairs with no path that `can_serve` accepts.

    `weights` float64 [N, N], the demand of each pair, any scale. A link that makes no pairs serves none.
    """
    demanded = np.argwhere(weights > 0.0).tolist()
    working = network.link_rate_hz > 0.0
    open_paths = {
        (source, destination): [
            path for path in routes.paths(source, destination) if working[list(path.links)].all()
        ]
        for source, destination in demanded
    }
    found = []
    for kind in classes:
        missed = [
            pair for pair, paths in open_paths.items() if not any(can_serve(path, kind) for path in paths)
        ]
        lost = float(sum(weights[pair] for pair in missed))
        names = network.graph.node_names
        found.append(
            Unserved(
                application=kind.application,
                target_fidelity=kind.target_fidelity,
                fraction=lost / float(weights.sum()) if missed else 0.0,
                pairs=len({frozenset(pair) for pair in missed}),
                example=(names[missed[0][0]], names[missed[0][1]]) if missed else None,
            )
        )
    return tuple(found)


def unserved_fraction(
    network: Network,
    *,
    routes: Routes,
    can_serve: Callable[[Path, RequestClass], bool],
    weights: NDArray[np.float64],
    classes: Sequence[RequestClass],
) -> float:
    """Share of all demand, 0 to 1, that nothing can serve: `unserved_demand` weighed by class shares."""
    found = unserved_demand(network, routes=routes, can_serve=can_serve, weights=weights, classes=classes)
    fractions = [kind.fraction for kind in classes]
    return sum(part.fraction * fraction for part, fraction in zip(found, fractions, strict=True)) / sum(
        fractions
    )


def _scaled(graph: Graph, topology: Topology) -> Graph:
    """Lengths and positions times the scale, and no link shorter than the least length."""
    scale = topology.length_scale
    order = np.lexsort((graph.link_ends.max(axis=1), graph.link_ends.min(axis=1)))
    length_km = np.maximum(graph.length_km[order] * scale, topology.min_length_km)
    return replace(
        graph,
        x_km=graph.x_km * scale,
        y_km=graph.y_km * scale,
        link_ends=np.sort(graph.link_ends[order], axis=1),
        length_km=length_km,
    )


def _memories(nodes: Nodes, graph: Graph) -> NDArray[np.int64]:
    """Qubits of each node, int64 [N]: shared by its links, or the sum of what each link has there."""
    count = len(graph.node_names)
    if nodes.memories_per_link is None:
        return np.full(count, nodes.memories, dtype=np.int64)
    links = np.bincount(graph.link_ends.ravel(), minlength=count)
    return np.asarray(nodes.memories_per_link * links, dtype=np.int64)


def _per_node(value: PerNode, names: Sequence[str], *, seed: int, key: str) -> NDArray[np.float64]:
    """One number per node, float64 [N], each from its own stream: a node more changes no other."""
    if not isinstance(value, Uniform):
        return np.full(len(names), float(value))
    return np.array(
        [stream(seed, f"node/{name}/{key}").uniform(value.low, value.high) for name in names],
        dtype=np.float64,
    )


def _compile(
    length_km: NDArray[np.float64], scenario: Scenario, physics: PhysicsModel
) -> tuple[CompiledLink, ...]:
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
        of = f"attempt_period_s of a {hardware.kind} link of {length_km:g} km"
        raise ValueError(
            f"{of} is {link.attempt_period_s!r}; it must be above 0, or it never stops making pairs"
        )
    except ValueError as error:
        word, path = str(error).partition(" ")[0], "links.hardware"
        path += f".{word}" if hasattr(hardware, word) else ""
        fault = Fault(path, own_words(str(error)))
        raise ScenarioError([fault], origin=f"the scenario {scenario.name!r}") from error


def _listed(shown: Sequence[str], count: int) -> str:
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return ", ".join(shown) + more

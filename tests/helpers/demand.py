"""A small network, scenarios of its demand, and the list of all peers that a scenario can have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from physics.hardware import DepolarisingMemory, NodeHardware
from physics.interface import CompiledLink
from qdpem.demand.arrivals import Arrivals
from qdpem.demand.peers import Peers
from qdpem.demand.requests import Requests, joined
from qdpem.network.graph import Graph, Network
from qdpem.scenario.schema import (
    Bursts,
    Demand,
    Forecasting,
    Nodes,
    RequestClass,
    Scenario,
    Session,
    Timetable,
    Topology,
    Window,
)

HARDWARE = NodeHardware(memory=DepolarisingMemory(depolarising_s=1.0))
TELEPORTATION = RequestClass(application="teleportation", fraction=3.0, target_fidelity=0.7, patience_s=1.0)
QKD = RequestClass(application="qkd", fraction=1.0, target_fidelity=0.88, patience_s=2.5, pairs=4)
JOB = RequestClass(application="computing", fraction=1.0, target_fidelity=0.8, patience_s=2.0, pairs=2)


def asked_network(nodes: int = 8, *, weights: np.ndarray | None = None) -> Network:
    """A ring whose nodes stand in two clusters 100 km apart, odd nodes in the east."""
    ends = np.array(sorted(tuple(sorted((node, (node + 1) % nodes))) for node in range(nodes)))
    graph = Graph(
        name="ring",
        node_names=tuple(f"n{node}" for node in range(nodes)),
        x_km=100.0 * (np.arange(nodes) % 2) + np.arange(nodes),
        y_km=np.arange(nodes, dtype=float),
        link_ends=ends,
        length_km=np.ones(nodes),
        demand_weights=weights,
    )
    link = CompiledLink(success_probability=0.5, attempt_period_s=0.0, fresh=None, source_limited=True)
    return Network(
        graph=graph,
        source_rate_hz=np.ones(nodes),
        repeater_rate_hz=np.ones(nodes),
        repeater_burst=1.0,
        swap_time_s=0.0,
        distillation_time_s=0.0,
        memories=np.ones(nodes, dtype=np.int64),
        remote_storage_quota=0.25,
        delay_s=np.ones(nodes),
        links=(link,) * nodes,
        hardware=(HARDWARE,) * nodes,
    )


def asking(
    *,
    rate_hz: float = 40.0,
    bursts: Bursts | None = None,
    classes: tuple[RequestClass, ...] = (TELEPORTATION, QKD),
    processes: Mapping[str, Timetable | Session] | None = None,
    measured_s: float = 300.0,
    history_s: float = 200.0,
    weights: str = "uniform",
    topology_seed: int | None = None,
) -> Scenario:
    return Scenario(
        name="asking",
        topology=Topology(kind="ring"),
        nodes=Nodes(source_rate_hz=1.0, repeater_rate_hz=1.0, hardware=HARDWARE),
        demand=Demand(
            rate_hz=rate_hz, classes=classes, processes=dict(processes or {}), bursts=bursts, weights=weights
        ),
        forecasting=Forecasting(history_s=history_s),
        window=Window(warm_up_s=0.0, measured_s=measured_s),
        topology_seed=topology_seed,
    )


def all_requests(arrivals: Arrivals) -> Requests:
    return joined(arrivals.history, arrivals.requests)


def all_peers(scenario: Scenario, nodes: int) -> Peers:
    """Every other node with every kind of request, for each node."""
    kinds = sorted({(each.target_fidelity, each.pairs) for each in scenario.demand.all_classes})
    others = np.array([[other for other in range(nodes) if other != node] for node in range(nodes)])
    ones = np.ones_like(others)
    return Peers(
        destination=np.concatenate([others for _ in kinds], axis=1),
        target_fidelity=np.concatenate([target * ones for target, _ in kinds], axis=1),
        pairs=np.concatenate([pairs * ones for _, pairs in kinds], axis=1),
    )


def requests_equal(one: Requests, other: Requests) -> bool:
    return all(
        np.array_equal(getattr(one, item.name), getattr(other, item.name)) for item in fields(Requests)
    )

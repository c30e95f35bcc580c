"""Topology tables: nodes, links, demand processes and offered load, written once at the start of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physics.interface import PhysicsModel
from qdpem.demand.offered_load import OfferedLoad
from qdpem.demand.processes.process import DemandProcess
from qdpem.events.recorder import Recorder
from qdpem.events.tables import DEMAND, DEMAND_MATRIX, LINKS, NODES, PROCESSES
from qdpem.network.graph import Network
from qdpem.scenario.schema import Demand


def record_topology(network: Network, physics: PhysicsModel, recorder: Recorder) -> None:
    """Write one row for each node and each link."""
    graph = network.graph
    write = recorder.appender(NODES)
    for node in range(network.node_count):
        write(
            (
                node,
                float(graph.x_km[node]),
                float(graph.y_km[node]),
                float(network.source_rate_hz[node]),
                float(network.repeater_rate_hz[node]),
                int(network.memories[node]),
                graph.node_names[node],
            )
        )
    write = recorder.appender(LINKS)
    for link, (first, second) in enumerate(graph.link_ends.tolist()):
        compiled = network.links[link]
        write(
            (
                link,
                first,
                second,
                float(graph.length_km[link]),
                compiled.success_probability,
                physics.fidelity(compiled.fresh),
                float(network.delay_s[link]),
            )
        )


def record_processes(processes: Sequence[DemandProcess], recorder: Recorder) -> None:
    """Write one row for each process of the demand."""
    write = recorder.appender(PROCESSES)
    for index, process in enumerate(processes):
        write((index, process.rate_hz, process.name))


def record_offered_load(load: OfferedLoad, recorder: Recorder) -> None:
    """Write the one row of the table `demand`."""
    recorder.appender(DEMAND)((load.rate_hz, load.peak_rate_hz, load.capacity_hz))


def record_demand_matrix(network: Network, demand: Demand, recorder: Recorder) -> None:
    """Write one row for each entry of the map's demand matrix, if the demand follows it."""
    weights = network.graph.demand_weights
    if demand.weights != "matrix" or weights is None:
        return
    write = recorder.appender(DEMAND_MATRIX)
    for source, destination in np.argwhere(weights).tolist():
        write((source, destination, float(weights[source, destination])))

"""Topology tables: nodes, links, demand processes and offered load, written once at the start of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physics.interface import PhysicsModel
from qdpem.demand.offered_load import OfferedLoad
from qdpem.demand.processes.process import DemandProcess
from qdpem.events.recorder import Recorder, named_row
from qdpem.events.tables import DEMAND, DEMAND_MATRIX, LINKS, NODES, PROCESSES
from qdpem.network.graph import Network
from qdpem.scenario.schema import Demand

_node_row = named_row(NODES)
_link_row = named_row(LINKS)
_process_row = named_row(PROCESSES)
_demand_row = named_row(DEMAND)
_matrix_row = named_row(DEMAND_MATRIX)


def record_topology(network: Network, physics: PhysicsModel, recorder: Recorder) -> None:
    """Write one row for each node and each link."""
    graph = network.graph
    write = recorder.appender(NODES)
    for node in range(network.node_count):
        write(
            _node_row(
                node=node,
                x_km=float(graph.x_km[node]),
                y_km=float(graph.y_km[node]),
                source_rate_hz=float(network.source_rate_hz[node]),
                repeater_rate_hz=float(network.repeater_rate_hz[node]),
                memories=int(network.memories[node]),
                name=graph.node_names[node],
            )
        )
    write = recorder.appender(LINKS)
    for link, (first, second) in enumerate(graph.link_ends.tolist()):
        compiled = network.links[link]
        write(
            _link_row(
                link=link,
                first=first,
                second=second,
                length_km=float(graph.length_km[link]),
                success_probability=compiled.success_probability,
                fresh_fidelity=physics.fidelity(compiled.fresh),
                delay_s=float(network.delay_s[link]),
            )
        )


def record_processes(processes: Sequence[DemandProcess], recorder: Recorder) -> None:
    """Write one row for each process of the demand."""
    write = recorder.appender(PROCESSES)
    for index, process in enumerate(processes):
        write(_process_row(process=index, rate_hz=process.rate_hz, name=process.name))


def record_offered_load(load: OfferedLoad, recorder: Recorder) -> None:
    """Write the one row of the table `demand`."""
    recorder.appender(DEMAND)(
        _demand_row(rate_hz=load.rate_hz, peak_rate_hz=load.peak_rate_hz, capacity_hz=load.capacity_hz)
    )


def record_demand_matrix(network: Network, demand: Demand, recorder: Recorder) -> None:
    """Write one row for each entry of the map's demand matrix, if the demand follows it."""
    weights = network.graph.demand_weights
    if demand.weights != "matrix" or weights is None:
        return
    write = recorder.appender(DEMAND_MATRIX)
    for source, destination in np.argwhere(weights).tolist():
        write(_matrix_row(source=source, destination=destination, weight=float(weights[source, destination])))

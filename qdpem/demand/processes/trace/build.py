"""The trace process of a scenario, from what its file holds."""

from __future__ import annotations

from qdpem.demand.processes.process import DemandProcess, Span
from qdpem.demand.processes.trace.list_demand import build_list_demand, list_requests
from qdpem.demand.processes.trace.matrix_demand import build_matrix_demand
from qdpem.demand.processes.trace.trace_file import MatrixTrace, load_trace
from qdpem.network.graph import Network
from qdpem.scenario.schema import Trace


def build_trace(
    name: str, settings: Trace, network: Network, *, rate_hz: float, span: Span, seed: int
) -> DemandProcess:
    """The trace process `name` under one seed.

    Raises ScenarioError for a file that is missing, wrong or too short, and for nodes that cannot be mapped.

    Args:
        name: of the process.
        settings: its table in the scenario.
        network: gives names and degrees of nodes.
        rate_hz: mean requests per second of the process.
        span: the time for which it is drawn.
        seed: the traffic seed.
    """
    trace = load_trace(name, settings, network)
    if isinstance(trace, MatrixTrace):
        return build_matrix_demand(name, settings, trace, network, rate_hz=rate_hz, span=span, seed=seed)
    listed = list_requests(name, settings, trace, network, seed=seed)
    return build_list_demand(name, settings, listed, rate_hz=rate_hz, span=span, seed=seed)

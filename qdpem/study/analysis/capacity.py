"""What the network could carry at most on average: the flow bound of a scenario's mean demand."""

from __future__ import annotations

from physics.interface import PhysicsModel
from qdpem.demand.offered_load import flow_plans
from qdpem.demand.streams import pair_weights
from qdpem.flow.capacity import FlowBound, flow_bound
from qdpem.flow.commodities import mean_commodities
from qdpem.network.graph import Network
from qdpem.network.path_estimates import Estimates
from qdpem.scenario.schema import Scenario


def mean_capacity(
    scenario: Scenario, *, rate_hz: float, network: Network, physics: PhysicsModel, seed: int
) -> FlowBound:
    """The multicommodity flow bound for `rate_hz` requests per second in the mix of `scenario` on `network`.

    It knows no deadlines, no bursts and no decay, and only plans alike on all links, so it guides. A run may
    pass it by luck, and the mean over long runs only where some links of a path are distilled and others not.
    """
    classes = mean_commodities(
        scenario.demand.classes,
        network,
        pair_weights(scenario, network, seed=seed),
        rate_hz=rate_hz,
        plans=flow_plans(network, Estimates(network, physics)),
    )
    return flow_bound(network, classes)

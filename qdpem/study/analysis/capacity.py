"""The flow bound of a scenario's mean demand: the most that its network can carry on average."""

from __future__ import annotations

from physics.interface import PhysicsModel
from qdpem.demand.mean_demand import demand_commodities, mean_demand
from qdpem.demand.offered_load import flow_plans
from qdpem.flow.capacity import FlowBound, flow_bound
from qdpem.network.graph import Network
from qdpem.network.path_estimates import Estimates
from qdpem.scenario.schema import Scenario


def mean_capacity(
    scenario: Scenario, *, rate_hz: float, network: Network, physics: PhysicsModel, seed: int
) -> FlowBound:
    """The multicommodity flow bound for `rate_hz` requests per second in the mix of `scenario` on `network`.

    The bound is a guide: it ignores deadlines, bursts and decay, and its distillation plans are the same on
    all links of a path. A short run may exceed it by chance. The mean of long runs exceeds it only where some
    links of a path are distilled and others are not.

    Args:
        scenario: gives the classes of demand and the weights of node pairs.
        rate_hz: requests per second of the whole network.
        network: the network of `seed`.
        physics: the scenario's physics model.
        seed: the seed that drew the weights of node pairs, and what a list of requests does not say.
    """
    commodities = demand_commodities(
        mean_demand(scenario, network, seed=seed),
        network,
        rate_hz=rate_hz,
        plans=flow_plans(network, Estimates(network, physics)),
    )
    return flow_bound(network, commodities)

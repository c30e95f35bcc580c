"""What the network could carry at most on average: the flow bound of a scenario's mean demand."""

from __future__ import annotations

from physics.interface import PhysicsModel
from qdpem.demand.streams import pair_weights
from qdpem.flow.capacity import FlowBound, flow_bound
from qdpem.flow.classes import LinkPlan, mean_classes
from qdpem.network.graph import Network
from qdpem.network.routing import Path
from qdpem.policy.estimates import MAX_ROUNDS, Estimates
from qdpem.scenario.schema import Scenario


def mean_capacity(scenario: Scenario, *, network: Network, physics: PhysicsModel) -> FlowBound:
    """The multicommodity flow bound for the mean rates of `scenario` on `network`.

    It knows no deadlines, no bursts and no decay, so it guides; a run may by luck pass it, and the mean over
    long runs may not.
    """
    plans = _plans(network, Estimates(network, physics))
    classes = mean_classes(
        scenario.demand.classes,
        network,
        pair_weights(scenario, network),
        rate_hz=scenario.demand.rate_hz,
        plans=plans,
    )
    return flow_bound(network, classes)


def _plans(network: Network, estimates: Estimates) -> list[LinkPlan]:
    """Every number of distillation rounds, at the best link's fidelity and the least cost."""
    links = [
        Path((first, second), (link,), 0.0, 0.0)
        for link, (first, second) in enumerate(network.graph.link_ends.tolist())
    ]
    return [
        LinkPlan(
            fidelity=max(estimates.fidelity(path, rounds=rounds) for path in links),
            pairs_per_link=min(estimates.pairs_per_link(path.links[0], rounds=rounds) for path in links),
            werner=rounds == 0,
        )
        for rounds in range(MAX_ROUNDS + 1)
    ]

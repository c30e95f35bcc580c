"""The offered load of a scenario under one seed: a fraction of the supportable load, turned into a rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from physics.interface import PhysicsModel
from qdpem.demand.mean_demand import demand_commodities, mean_demand
from qdpem.errors import Fault, QdpemError, ScenarioError
from qdpem.flow.commodities import LinkPlan
from qdpem.flow.supportable_load import find_supportable_load
from qdpem.network.graph import Network
from qdpem.network.path_estimates import MAX_ROUNDS, Estimates
from qdpem.scenario.schema import Demand, Scenario

TOLERANCE = 1e-3
"""Relative tolerance of a capacity: a smaller one would take more time and change nothing."""


@dataclass(frozen=True, kw_only=True)
class OfferedLoad:
    """Requests per second of the whole network under one seed.

    `rate_hz`: the mean; `peak_rate_hz`: while all regions burst; `capacity_hz`: the largest rate of which the
    network can serve `demand.served_fraction`, NaN where the scenario sets its rate itself.
    """

    rate_hz: float
    peak_rate_hz: float
    capacity_hz: float = math.nan

    def __str__(self) -> str:
        if self.peak_rate_hz == 0.0:
            return "all requests at t = 0"
        mean = f"{self.rate_hz:.3g} requests/s on average"
        if math.isnan(self.capacity_hz):
            return mean
        fraction = self.peak_rate_hz / self.capacity_hz
        return (
            f"{mean}, {self.peak_rate_hz:.3g} at the peak: {fraction:.3g} of the {self.capacity_hz:.3g}/s"
            " that the network could carry"
        )


def find_offered_load(
    scenario: Scenario, network: Network, physics: PhysicsModel, *, seed: int
) -> OfferedLoad:
    """The load of `scenario` on `network`, built for `seed`: the same for every arm.

    peak_rate_hz = load_factor x capacity_hz. A burst multiplies the rates of its region's nodes by `peak`.
    While all regions burst, the Poisson stream has its mean mix at `peak` times the rate, and all other
    processes have their means, a trace that of its whole file. The capacity is that of this mix, and does not
    depend on phases, jitter or the borders of regions. Capacities are mean rates of sources and repeaters and
    not one run's draws, so the load scales demand and bounds no run. Raises ScenarioError for a trace that
    cannot be read, and when less than `served_fraction` of the demand can be served at any rate.
    """
    demand = scenario.demand
    peak = _peak_over_mean(demand)
    if demand.arrivals == "batch":
        return OfferedLoad(rate_hz=0.0, peak_rate_hz=0.0)
    if demand.rate_hz is not None:
        return OfferedLoad(rate_hz=demand.rate_hz, peak_rate_hz=peak * demand.rate_hz)
    assert demand.load_factor is not None
    commodities = demand_commodities(
        mean_demand(scenario, network, seed=seed),
        network,
        # The rate cancels: only the ratios between commodities matter to the supportable load.
        rate_hz=1.0,
        plans=flow_plans(network, Estimates(network, physics)),
        # Without other processes every class has the same factor, which cancels too.
        peak=demand.bursts.peak if demand.bursts and demand.processes else 1.0,
    )
    try:
        supportable = find_supportable_load(
            network, commodities, served_fraction=demand.served_fraction, tolerance=TOLERANCE
        )
    except QdpemError as error:
        fault = Fault("demand.load_factor", f"it cannot be turned into a rate: {error}")
        raise ScenarioError([fault], origin=f"the scenario {scenario.name!r} under seed {seed}") from error
    peak_rate_hz = demand.load_factor * supportable.rate_hz
    return OfferedLoad(
        rate_hz=peak_rate_hz / peak, peak_rate_hz=peak_rate_hz, capacity_hz=supportable.rate_hz
    )


def _peak_over_mean(demand: Demand) -> float:
    """Requests while all regions burst over their mean: only the Poisson stream bursts."""
    peak = demand.bursts.peak if demand.bursts else 1.0
    if not demand.processes:
        return peak
    return demand.poisson_fraction * peak + sum(process.fraction for process in demand.processes.values())


def with_rate(scenario: Scenario, load: OfferedLoad) -> Scenario:
    """The scenario with the rate of the load in place of a load factor."""
    if scenario.demand.arrivals == "batch":
        return scenario
    return replace(scenario, demand=replace(scenario.demand, rate_hz=load.rate_hz, load_factor=None))


def flow_plans(network: Network, estimates: Estimates) -> list[LinkPlan]:
    """A plan for every number of distillation rounds, with the best link's fidelity and the lowest cost."""
    links = range(network.link_count)
    return [
        LinkPlan(
            fidelity=max(estimates.link_fidelity(link, rounds=rounds) for link in links),
            pairs_per_link=min(estimates.pairs_per_link(link, rounds=rounds) for link in links),
            werner=rounds == 0,
        )
        for rounds in range(MAX_ROUNDS + 1)
    ]

"""The demand that a forecaster is checked and evaluated on: a scenario's own, or a small default one."""

from __future__ import annotations

from physics.hardware import DepolarisingMemory, NodeHardware
from qdpem.demand.arrivals import Arrivals
from qdpem.demand.offered_load import find_offered_load, with_rate
from qdpem.demand.requests import Requests
from qdpem.demand.streams import generate_arrivals
from qdpem.network.build import build_network, build_physics
from qdpem.network.graph import Network
from qdpem.policy.forecaster import ForecastContext
from qdpem.scenario.schema import (
    Bursts,
    Demand,
    Forecasting,
    Nodes,
    RequestClass,
    Scenario,
    Topology,
    Window,
)
from qdpem.scenario.words import Application


def small_scenario() -> Scenario:
    """Nine nodes with about one request per second each; two regions burst for 8 s about every 32 s."""
    return Scenario(
        name="nine nodes, two bursting regions",
        topology=Topology(kind="grid", parameters={"rows": 3, "columns": 3, "hop_km": 10.0}),
        nodes=Nodes(
            source_rate_hz=50.0,
            repeater_rate_hz=5.0,
            hardware=NodeHardware(memory=DepolarisingMemory(depolarising_s=60.0)),
        ),
        demand=Demand(
            rate_hz=9.0,
            bursts=Bursts(regions=2),
            classes=(
                RequestClass(
                    application=Application.TELEPORTATION, fraction=1.0, target_fidelity=0.7, patience_s=1.0
                ),
            ),
        ),
        forecasting=Forecasting(history_s=300.0),
        window=Window(warm_up_s=0.0, measured_s=200.0),
    )


def scenario_arrivals(scenario: Scenario, *, seed: int) -> tuple[Arrivals, Network]:
    """The requests of `scenario` under `seed`, as a run of it would see them, and its network.

    Raises ScenarioError or UnknownNameError for a scenario whose network or load cannot be built.
    """
    physics = build_physics(scenario)
    network = build_network(scenario, physics, seed=seed)
    load = find_offered_load(scenario, network, physics, seed=seed)
    return generate_arrivals(with_rate(scenario, load), network, seed=seed), network


def forecast_context(
    arrivals: Arrivals, forecasting: Forecasting, *, nodes: int, seed: int, truth: bool
) -> ForecastContext:
    """The context that a run with these requests gives its forecaster; the truth only to an oracle."""
    return ForecastContext(
        node_count=nodes,
        max_peers=forecasting.max_peers,
        step_s=forecasting.step_s,
        horizon_steps=forecasting.horizon_steps,
        history_s=arrivals.history_s,
        seed=seed,
        truth=arrivals if truth else None,
    )


def by_step(requests: Requests, *, step_s: float, steps: int) -> list[Requests]:
    """The requests of each of the first `steps` steps from t = 0."""
    return [requests.between(step * step_s, (step + 1) * step_s) for step in range(steps)]

"""The demand that a forecaster is checked and evaluated on: a scenario's own, or a small default."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics.hardware import DepolarisingMemory, NodeHardware
from qdpem.demand.offered_load import find_offered_load, with_rate
from qdpem.demand.requests import Arrivals
from qdpem.demand.streams import generate_arrivals
from qdpem.network.build import build_network, build_physics
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


@dataclass(frozen=True, eq=False, kw_only=True)
class StepCounts:
    """Requests per step and node: `history` int64 [T', N] ends at t = 0, `run` int64 [T, N] begins there."""

    history: NDArray[np.int64]
    run: NDArray[np.int64]


def scenario_arrivals(scenario: Scenario, *, seed: int) -> Arrivals:
    """The requests of `scenario` under `seed`, as a run of it would see them.

    Raises ScenarioError or UnknownNameError for a scenario whose network or load cannot be built.
    """
    physics = build_physics(scenario)
    network = build_network(scenario, physics, seed=seed)
    load = find_offered_load(scenario, network, physics, seed=seed)
    return generate_arrivals(with_rate(scenario, load), network, seed=seed)


def step_counts(arrivals: Arrivals, *, forecasting: Forecasting, end_s: float) -> StepCounts:
    """Count the requests of each whole step in [-history_s, 0) and in [0, end_s)."""
    step_s, nodes = forecasting.step_s, len(arrivals.base_rate_hz)
    past, steps = int(arrivals.history_s / step_s), int(end_s / step_s)
    return StepCounts(
        history=arrivals.history.counts(nodes=nodes, start_s=-past * step_s, step_s=step_s, steps=past),
        run=arrivals.requests.counts(nodes=nodes, start_s=0.0, step_s=step_s, steps=steps),
    )

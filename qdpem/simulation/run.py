"""A run: one scenario, one arm, one seed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from qdpem.demand.arrivals import Arrivals
from qdpem.demand.offered_load import OfferedLoad
from qdpem.events.recorder import MemoryRecorder, Recorder
from qdpem.events.tables import Tables
from qdpem.network.graph import Network
from qdpem.policy.interface import Policy
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.arms import ResolvedArm
from qdpem.simulation.frozen_gc import frozen_gc
from qdpem.simulation.simulation import Simulation


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """The result of a run: its resolved arm, its events if kept in memory, and its cost.

    `load`: the offered load. `tables`: the events, None if a recorder took them. `events`: scheduler events.
    `asked`: sites asked, each counted once for every time. `decide_s`: wall seconds that the policy took.
    """

    arm: Arm
    seed: int
    network: Network
    arrivals: Arrivals
    load: OfferedLoad
    tables: Tables | None
    events: int
    asked: int
    decide_s: float


def simulate(
    scenario: Scenario,
    arm: Arm | ResolvedArm,
    *,
    seed: int,
    recorder: Recorder | None = None,
    policy: Policy | None = None,
    network: Network | None = None,
    load: OfferedLoad | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Run:
    """Run one arm on one seed from t = 0 to the end of the scenario's window.

    Args:
        scenario: network, demand, physics and window.
        arm: policy with its parameters, control, pregeneration and forecaster.
        seed: root seed of all random streams.
        recorder: takes the events; without it they stay in memory and come back as `Run.tables`.
        policy: used in place of one built from the arm.
        network: one already built for this scenario and seed.
        load: one already found for this scenario and seed.
        on_progress: called with the simulated second, once for each.

    Raises ScenarioError, UnknownNameError, PolicyError or ForecastError.
    """
    memory = MemoryRecorder()
    simulation = Simulation(
        scenario,
        arm,
        seed=seed,
        recorder=memory if recorder is None else recorder,
        policy=policy,
        network=network,
        load=load,
        on_progress=on_progress,
    )
    asked, decide_s = 0, 0.0
    with frozen_gc():
        while (observations := simulation.advance()) is not None:
            began = time.perf_counter()
            decisions = simulation.policy.act(observations)
            decide_s += time.perf_counter() - began
            asked += len(observations)
            simulation.apply(decisions)
    return Run(
        arm=simulation.arm,
        seed=seed,
        network=simulation.network,
        arrivals=simulation.arrivals,
        load=simulation.load,
        tables=memory.tables() if recorder is None else None,
        events=simulation.events,
        asked=asked,
        decide_s=decide_s,
    )

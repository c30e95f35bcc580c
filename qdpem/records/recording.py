"""Runs a simulation into a record and measures it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qdpem.demand.offered_load import OfferedLoad
from qdpem.metrics.metrics import measure
from qdpem.network.graph import Network
from qdpem.records.writer import RecordWriter
from qdpem.scenario.schema import Scenario
from qdpem.simulation.arms import ResolvedArm
from qdpem.simulation.run import Run, simulate


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """A run that is in its record: the run, its metrics and the wall-clock figures of `/provenance`."""

    run: Run
    metrics: Mapping[str, float]
    wall: Mapping[str, float]


def record_simulation(
    writer: RecordWriter,
    scenario: Scenario,
    arm: ResolvedArm,
    *,
    seed: int,
    files: Mapping[str, bytes],
    network: Network | None = None,
    load: OfferedLoad | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> RecordedRun:
    """Simulate one arm on one seed into `writer`, measure it and close the record.

    If it fails, the record stays, marked incomplete. Raises the errors of the simulation and of the record.

    Args:
        writer: of a record of the same scenario, arm and seed.
        scenario: network, demand, physics and window.
        arm: the arm to run.
        seed: root seed of all random streams.
        files: what the policy and the forecaster act with; the record embeds them.
        network: one already built for this scenario and seed.
        load: one already found for this scenario and seed.
        on_progress: called with the simulated second, once for each.
    """
    began_s = time.perf_counter()
    for name, data in files.items():
        writer.embed(name, data)
    run = simulate(
        scenario, arm, seed=seed, recorder=writer, network=network, load=load, on_progress=on_progress
    )
    window = scenario.window
    metrics = measure(writer.tables(), start_s=window.warm_up_s, end_s=window.end_s)
    wall = {
        "wall_s": time.perf_counter() - began_s,
        "decide_s": run.decide_s,
        "sites_asked": run.asked,
        "events": run.events,
    }
    # The last step: an error before it leaves the record marked incomplete.
    writer.close_complete(metrics, wall)
    return RecordedRun(run=run, metrics=metrics, wall=wall)

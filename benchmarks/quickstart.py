"""The cost of a simulated second of a scenario, as JSON lines: wall time, record size, cost per event.

    python benchmarks/quickstart.py [SCENARIO] [--arms A B ...] [--seconds 30] [--rounds 3]

Arms and a bare SimPy event are measured in turn, round after round; figures are medians over the rounds
and ratios are of medians within this one run. Set-up (paths, tables, forecaster fits) is told apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import simpy

# The benchmark of physics, next to this one, has the package's name and must not be found in its place.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

# ruff: noqa: E402
from qdpem import load_scenario
from qdpem.records.writer import RecordWriter
from qdpem.scenario.schema import Scenario
from qdpem.simulation.arms import find_arm
from qdpem.simulation.simulation import Simulation

_BARE_EVENTS = 100_000


def bare_event_us() -> float:
    """Wall microseconds of one SimPy timeout with a callback that does nothing."""
    environment = simpy.Environment()

    def again(_event: object) -> None:
        timeout = simpy.events.Timeout(environment, 1.0)
        timeout.callbacks.append(again)

    again(None)
    began = time.perf_counter()
    for _ in range(_BARE_EVENTS):
        environment.step()
    return (time.perf_counter() - began) / _BARE_EVENTS * 1e6


def one_run(scenario: Scenario, name: str, path: Path) -> dict[str, float]:
    """Wall seconds of set-up and of the run itself, events, sites asked, and the record's bytes."""
    arm = find_arm(scenario, name).arm
    began = time.perf_counter()
    with RecordWriter(path, scenario=scenario, arm=arm, seed=1) as recorder:
        simulation = Simulation(scenario, arm, seed=1, recorder=recorder)
        ready = time.perf_counter()
        deciding, asked = 0.0, 0
        while (observations := simulation.advance()) is not None:
            start = time.perf_counter()
            decisions = simulation.policy.act(observations)
            deciding += time.perf_counter() - start
            asked += len(observations)
            simulation.apply(decisions)
        recorder.close_complete({}, {})
    wall = time.perf_counter() - ready
    return {
        "set_up_s": ready - began,
        "wall_s": wall,
        "decide_s": deciding,
        "events": simulation.events,
        "sites_asked": asked,
        "bytes": path.stat().st_size,
    }


def summary(runs: list[dict[str, float]], *, seconds: float, bare_us: float) -> dict[str, Any]:
    """Medians of the rounds, per simulated second and per event."""
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    event_us = (middle["wall_s"] - middle["decide_s"]) / middle["events"] * 1e6
    return {
        "wall_s_per_simulated_s": round(middle["wall_s"] / seconds, 5),
        "simulated_s_per_wall_s": round(seconds / middle["wall_s"], 1),
        "decide_share": round(middle["decide_s"] / middle["wall_s"], 3),
        "megabytes_per_simulated_s": round(middle["bytes"] / 1e6 / seconds, 4),
        "set_up_s": round(middle["set_up_s"], 2),
        "events_per_simulated_s": round(middle["events"] / seconds, 1),
        "event_us_without_deciding": round(event_us, 2),
        "bare_simpy_event_us": round(bare_us, 3),
        "event_ratio": round(event_us / bare_us, 1),
    }


def main() -> None:
    """MetricFormat and print one JSON line an arm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", nargs="?", default="scenarios/quickstart.toml")
    parser.add_argument(
        "--arms", nargs="+", default=["local-minhop", "central-fcfs", "central-expected-delay", "dpem"]
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    scenario = load_scenario(asked.scenario)
    scenario = replace(scenario, window=replace(scenario.window, warm_up_s=0.0, measured_s=asked.seconds))
    runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in asked.arms}
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(asked.rounds):
            bare.append(bare_event_us())
            for arm in asked.arms:
                runs[arm].append(one_run(scenario, arm, Path(folder) / f"{arm}-{turn}.h5"))
    for arm in asked.arms:
        found = summary(runs[arm], seconds=asked.seconds, bare_us=statistics.median(bare))
        print(json.dumps({"arm": arm, "rounds": asked.rounds, **found}))


if __name__ == "__main__":
    main()

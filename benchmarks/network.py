"""The cost of the network, as JSON lines: pairs on a chain, simulated seconds of a mesh, epochs, records.

    python benchmarks/network.py chain [--nodes 3 5 9 17] [--memories 1 4] [--seconds 2] [--rounds 5]
    python benchmarks/network.py mesh [--seconds 20] [--rounds 5] [--large 1000] [--arms local-minhop ...]

chain: `scenarios/chain.toml`, one standing request, `memories` pairs at a time, requests, ledger and record
on. mesh: `scenarios/paper.toml` on seed 1, with and without a record, and with --large nodes at the same load
per node. Cases and a bare SimPy event are measured in turn, round after round; figures are medians over the
rounds and ratios are of medians within this one run. Set-up (map, paths, tables, forecasters) is reported
separately.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from quickstart import bare_event_us, one_run

from qdpem import load_scenario
from qdpem.demand.offered_load import find_offered_load
from qdpem.events.recorder import Recorder
from qdpem.events.words import PairOutcome
from qdpem.records.reader import open_record
from qdpem.records.writer import RecordWriter
from qdpem.scenario.schema import Scenario
from qdpem.simulation import run as simulation_run
from qdpem.simulation.arms import find_arm
from qdpem.simulation.frozen_gc import frozen_gc
from qdpem.simulation.simulation import Simulation

ANCHORS = {3: 0.9582, 5: 0.9172, 9: 0.8418, 17: 0.7139}
"""Mean fidelity by nodes of chains whose links never rest, from two simulators that agree on it."""


class Nothing:
    """A recorder that keeps nothing."""

    def appender(self, _table: object) -> Callable[[object], None]:
        return self.info

    def policy_outputs(self, _outputs: object) -> None:
        pass

    def tick(self, _time_s: float) -> None:
        pass


def chain(nodes: int, memories: int, *, seconds: float) -> Scenario:
    """The chain of the scenario file with another length and other memories."""
    changes = {
        "topology.parameters.nodes": nodes,
        "nodes.memories": 2 * memories,
        "links.hardware.modes": memories,
        "demand.classes.0.pairs": memories,
        "window.warm_up_s": 0.0,
        "window.measured_s": seconds,
    }
    return load_scenario("scenarios/chain.toml", [f"{key}={value}" for key, value in changes.items()])


def delivered_fidelity(path: Path) -> np.ndarray[Any, Any]:
    """True fidelity of every delivered pair of a record."""
    pairs = open_record(path).tables["pairs"]
    return np.asarray(pairs["fidelity"][pairs["outcome"] == PairOutcome.DELIVERED.code])


def chains(asked: argparse.Namespace) -> None:
    """One JSON line a chain."""
    cases = list(product(asked.nodes, asked.memories))
    runs: dict[tuple[int, int], list[dict[str, float]]] = {case: [] for case in cases}
    fidelity, bare = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(asked.rounds):
            bare.append(bare_event_us())
            for case in cases:
                path = Path(folder) / f"{case[0]}-{case[1]}-{turn}.h5"
                runs[case].append(one_run(chain(*case, seconds=asked.seconds), "local-minhop", path))
                fidelity[case] = delivered_fidelity(path)
    for case in cases:
        found = chain_line(runs[case], fidelity[case], seconds=asked.seconds, bare=bare)
        about = {"nodes": case[0], "memories": case[1], "rounds": asked.rounds}
        print(json.dumps({**about, **found, "anchor_fidelity": ANCHORS.get(case[0])}))


def chain_line(
    runs: list[dict[str, float]],
    fidelity: np.ndarray[Any, Any],
    *,
    seconds: float,
    bare: list[float],
) -> dict[str, Any]:
    """Medians of the rounds, per delivered pair; all rounds are of one seed and deliver the same."""
    wall_s, bare_us = statistics.median(run["wall_s"] for run in runs), statistics.median(bare)
    events, count = runs[0]["events"], len(fidelity)
    return {
        "delivered_per_simulated_s": round(count / seconds, 1),
        "ms_per_delivered": round(1e3 * wall_s / count, 4),
        "events_per_delivered": round(events / count, 1),
        "event_us": round(1e6 * wall_s / events, 2),
        "event_ratio": round(1e6 * wall_s / events / bare_us, 1),
        "mean_fidelity": round(float(fidelity.mean()), 5),
        "standard_error": round(float(fidelity.std()) / math.sqrt(count), 5),
    }


@contextmanager
def timed_views() -> Iterator[list[tuple[int, float]]]:
    """Wall seconds of each call that builds views, with the sites asked."""
    seen: list[tuple[int, float]] = []
    build = simulation_run.build_observation

    def timed(**about: Any) -> Any:
        began = time.perf_counter()
        observations = build(**about)
        seen.append((len(observations), time.perf_counter() - began))
        return observations

    # The simulation looks the function up in its module at every call.
    simulation_run.build_observation = timed
    try:
        yield seen
    finally:
        simulation_run.build_observation = build


def steps(scenario: Scenario, name: str, recorder: Recorder) -> dict[str, float]:
    """Wall seconds of set-up, of finding paths and of the run; milliseconds of views, decide, apply an epoch.

    Paths are found on first use and kept. Here they are found before the clock starts, and the heap is
    collected, which a run does once. A short run therefore has the cost of a long one.
    """
    arm, seed = find_arm(scenario, name), 1
    began = time.perf_counter()
    simulation = Simulation(scenario, arm, seed=seed, recorder=recorder)
    built = time.perf_counter()
    asked = simulation.arrivals.requests
    for ends in set(zip(asked.source.tolist(), asked.destination.tolist(), strict=True)):
        simulation.context.routes.paths(*ends)
    found, sites = time.perf_counter(), simulation.network.node_count
    act: list[tuple[int, float]] = []
    apply: list[tuple[int, float]] = []
    with timed_views() as views_s, frozen_gc():
        ready = time.perf_counter()
        while (observations := simulation.advance()) is not None:
            first = time.perf_counter()
            decisions = simulation.policy.act(observations)
            second = time.perf_counter()
            simulation.apply(decisions)
            act.append((len(observations), second - first))
            apply.append((len(observations), time.perf_counter() - second))
    wall_s = time.perf_counter() - ready
    return {
        "set_up_s": built - began,
        "paths_s": found - built,
        "wall_s": wall_s,
        "events": simulation.events,
        "views_ms": _per_epoch_ms(views_s, sites),
        "decide_ms": _per_epoch_ms(act, sites),
        "apply_ms": _per_epoch_ms(apply, sites),
    }


def _per_epoch_ms(calls: list[tuple[int, float]], sites: int) -> float:
    """Median of the calls at which all sites were asked; NaN for arms that are not asked at epochs."""
    whole = [seconds for asked, seconds in calls if asked == sites > 1]
    return 1e3 * statistics.median(whole) if whole else math.nan


def mesh(asked: argparse.Namespace) -> None:
    """One JSON line a case: the paper's mesh with and without a record, and a large one."""
    scenario = _windowed(load_scenario("scenarios/paper.toml"), asked.seconds)
    large = _larger(scenario, asked.large, seconds=asked.seconds / 4)
    cases = [(name, scenario, True) for name in asked.arms] + [(asked.arms[0], scenario, False)]
    cases += [(asked.arms[0], large, True)] if asked.large else []
    runs: list[list[dict[str, float]]] = [[] for _ in cases]
    bare = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(asked.rounds):
            bare.append(bare_event_us())
            for place, (name, question, recorded) in enumerate(cases):
                if not recorded:
                    runs[place].append(steps(question, name, Nothing()))
                    continue
                path = Path(folder) / f"{place}-{turn}.h5"
                arm = find_arm(question, name).arm
                with RecordWriter(path, scenario=question, arm=arm, seed=1) as recorder:
                    runs[place].append(steps(question, name, recorder))
                    recorder.close_complete({}, {})
    for (name, question, recorded), found in zip(cases, runs, strict=True):
        about = {"arm": name, "nodes": question.topology.parameters["nodes"], "record": recorded}
        print(json.dumps({**about, **mesh_line(found, seconds=question.window.end_s, bare=bare)}))


def mesh_line(runs: list[dict[str, float]], *, seconds: float, bare: list[float]) -> dict[str, Any]:
    """Medians of the rounds."""
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    event_us, bare_us = 1e6 * middle["wall_s"] / middle["events"], statistics.median(bare)
    per_epoch = {name: round(middle[name], 3) for name in ("views_ms", "decide_ms", "apply_ms")}
    return {
        "simulated_s_per_wall_s": round(seconds / middle["wall_s"], 1),
        "set_up_s": round(middle["set_up_s"], 2),
        "paths_s": round(middle["paths_s"], 2),
        "events_per_simulated_s": round(middle["events"] / seconds, 1),
        "event_us": round(event_us, 2),
        "bare_simpy_event_us": round(bare_us, 3),
        "event_ratio": round(event_us / bare_us, 1),
        **{name: None if math.isnan(value) else value for name, value in per_epoch.items()},
    }


def _windowed(scenario: Scenario, seconds: float) -> Scenario:
    return replace(scenario, window=replace(scenario.window, warm_up_s=0.0, measured_s=seconds))


def _larger(scenario: Scenario, nodes: int, *, seconds: float) -> Scenario:
    """As many requests per node and as dense, on more nodes."""
    if not nodes:
        return scenario
    small = scenario.topology.parameters
    physics = simulation_run.build_physics(scenario)
    network = simulation_run.build_network(scenario, physics, seed=1)
    rate_hz = find_offered_load(scenario, network, physics, seed=1).rate_hz
    grown = nodes / small["nodes"]
    # The area grows with the nodes, so their density stays.
    parameters = {**small, "nodes": nodes, "side_km": small["side_km"] * math.sqrt(grown)}
    demand = replace(scenario.demand, rate_hz=rate_hz * grown, load_factor=None)
    topology = replace(scenario.topology, parameters=parameters)
    return _windowed(replace(scenario, topology=topology, demand=demand), seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(required=True)
    line = kinds.add_parser("chain")
    line.add_argument("--nodes", nargs="+", type=int, default=list(ANCHORS))
    line.add_argument("--memories", nargs="+", type=int, default=[1, 4])
    line.add_argument("--seconds", type=float, default=2.0)
    line.set_defaults(measure=chains)
    web = kinds.add_parser("mesh")
    web.add_argument("--arms", nargs="+", default=["local-minhop", "local-stock", "dpem"])
    web.add_argument("--large", type=int, default=1000, help="nodes of the large mesh, 0 for none")
    web.add_argument("--seconds", type=float, default=20.0)
    web.set_defaults(measure=mesh)
    for one in (line, web):
        one.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    asked.measure(asked)


if __name__ == "__main__":
    main()

"""What a delivered pair costs on a repeater chain, as JSON lines: wall time, events, fidelity.

    python benchmarks/network.py [--nodes 3 5 9 17] [--memories 1 4] [--rate 1000] [--seconds 2] [--rounds 3]

Chains of `scenarios/chain.toml` with `memories` qubits and modes per link, requests, ledger and record on,
and a bare SimPy event are measured in turn, round after round; figures are medians over the rounds, ratios
of medians within this one run. Requests ask at `rate` per second, more than one memory per link can serve:
what it refuses is part of what a delivered pair costs here.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from quickstart import bare_event_us, one_run

from qdpem import load_scenario
from qdpem.events.tables import PAIR_ENDS
from qdpem.records.reader import open_record
from qdpem.scenario.schema import Scenario

ANCHORS = {3: 0.9582, 5: 0.9172, 9: 0.8418, 17: 0.7139}
"""Mean fidelity by nodes of chains whose links never rest, from two simulators that agree on it."""


def chain(nodes: int, memories: int, *, rate_hz: float, seconds: float) -> Scenario:
    """The chain of the scenario file with other lengths, memories and demand."""
    changes = {
        "topology.parameters.nodes": nodes,
        "nodes.memories": 2 * memories,
        "links.hardware.modes": memories,
        "demand.rate_hz": rate_hz,
        "window.warm_up_s": 0.0,
        "window.measured_s": seconds,
    }
    return load_scenario("scenarios/chain.toml", [f"{key}={value}" for key, value in changes.items()])


def delivered_fidelity(path: Path) -> np.ndarray[Any, Any]:
    """True fidelity of every delivered pair of a record."""
    pairs = open_record(path).tables["pairs"]
    return np.asarray(pairs["fidelity"][pairs["end"] == PAIR_ENDS.index("delivered")])


def summary(
    runs: list[dict[str, float]],
    fidelity: np.ndarray[Any, Any],
    *,
    nodes: int,
    seconds: float,
    bare_us: float,
) -> dict[str, Any]:
    """Medians of the rounds, per delivered pair; all rounds are of one seed and deliver the same."""
    wall_s = statistics.median(run["wall_s"] for run in runs)
    events, count = runs[0]["events"], len(fidelity)
    return {
        "delivered": count,
        "delivered_per_simulated_s": round(count / seconds, 1),
        "ms_per_delivered": round(1e3 * wall_s / count, 4),
        "events_per_delivered": round(events / count, 1),
        "event_us": round(1e6 * wall_s / events, 2),
        "bare_simpy_event_us": round(bare_us, 3),
        "event_ratio": round(1e6 * wall_s / events / bare_us, 1),
        "mean_fidelity": round(float(fidelity.mean()), 5),
        "standard_error": round(float(fidelity.std()) / math.sqrt(count), 5),
        "anchor_fidelity": ANCHORS.get(nodes),
    }


def main() -> None:
    """Measure and print one JSON line a chain."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", nargs="+", type=int, default=list(ANCHORS))
    parser.add_argument("--memories", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    cases = list(product(asked.nodes, asked.memories))
    runs: dict[tuple[int, int], list[dict[str, float]]] = {case: [] for case in cases}
    fidelity, bare = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(asked.rounds):
            bare.append(bare_event_us())
            for case in cases:
                path = Path(folder) / f"{case[0]}-{case[1]}-{turn}.h5"
                scenario = chain(*case, rate_hz=asked.rate, seconds=asked.seconds)
                runs[case].append(one_run(scenario, "local-minhop", path))
                fidelity[case] = delivered_fidelity(path)
    bare_us = statistics.median(bare)
    for nodes, memories in cases:
        case = (nodes, memories)
        found = summary(runs[case], fidelity[case], nodes=nodes, seconds=asked.seconds, bare_us=bare_us)
        print(json.dumps({"nodes": nodes, "memories": memories, "rounds": asked.rounds, **found}))


if __name__ == "__main__":
    main()

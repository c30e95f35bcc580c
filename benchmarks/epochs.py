"""Whether an arm's rank hangs on the decision epoch, as JSON lines: delivery and contention by arm and epoch.

    python benchmarks/epochs.py [SCENARIO] [--arms A B ...] [--epochs 0.02 0.1] [--seeds 1 2] [--seconds 30]

One line for each arm and epoch, means over the seeds; then a line for each epoch with the arms in order of
delivery (best first) and of contention (least first), and how much the paired seeds tell of each step.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

# The benchmark of physics, next to this one, has the package's name and must not be found in its place.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

# ruff: noqa: E402
from qdpem import load_scenario
from qdpem.metrics.metrics import measure
from qdpem.scenario.schema import Scenario
from qdpem.simulation.arms import find_arm
from qdpem.simulation.run import simulate
from qdpem.study.analysis.statistics import paired_difference

METRICS = ("delivery_ratio", "contended_claims_per_request", "contended_s_per_request")
Scores = dict[str, np.ndarray[Any, Any]]


def with_epoch(scenario: Scenario, epoch_s: float, *, seconds: float) -> Scenario:
    """The scenario deciding every `epoch_s`, measured for `seconds` after a fifth of them to warm up."""
    return replace(
        scenario,
        control=replace(scenario.control, decision_epoch_s=epoch_s),
        window=replace(scenario.window, warm_up_s=0.2 * seconds, measured_s=seconds),
    )


def scores_of(scenario: Scenario, name: str, seeds: list[int]) -> Scores:
    """Metric -> float64 [seeds] of one arm."""
    window = scenario.window
    rows = []
    for seed in seeds:
        tables = simulate(scenario, find_arm(scenario, name), seed=seed).tables
        assert tables is not None
        rows.append(measure(tables, start_s=window.warm_up_s, end_s=window.end_s))
    return {metric: np.array([row[metric] for row in rows]) for metric in METRICS}


def ranking(scores: Mapping[str, Scores], metric: str, *, best_first: int) -> dict[str, Any]:
    """Arms in order of their means, and each step between neighbours with its paired standard error."""
    order = sorted(scores, key=lambda arm: -best_first * float(scores[arm][metric].mean()))
    steps = []
    for upper, lower in pairwise(order):
        found = paired_difference(scores[upper][metric], reference=scores[lower][metric], key="rank")
        steps.append([round(found.difference.estimate, 4), round(found.paired_spread, 4)])
    return {"order": order, "steps_with_standard_error": steps}


def main() -> None:
    """Run, and print the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", nargs="?", default="scenarios/quickstart.toml")
    parser.add_argument(
        "--arms", nargs="+", default=["local-minhop", "central-expected-delay", "local-stock"]
    )
    parser.add_argument("--epochs", nargs="+", type=float, default=[0.02, 0.1, 0.5])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=30.0)
    asked = parser.parse_args()
    scenario = load_scenario(asked.scenario)
    for epoch_s in asked.epochs:
        scores: dict[str, Scores] = {}
        for arm in asked.arms:
            scores[arm] = scores_of(
                with_epoch(scenario, epoch_s, seconds=asked.seconds), arm, list(asked.seeds)
            )
            means = {metric: round(float(values.mean()), 4) for metric, values in scores[arm].items()}
            print(json.dumps({"epoch_s": epoch_s, "arm": arm, "seeds": len(asked.seeds), **means}))
        ranks = {
            "delivery": ranking(scores, METRICS[0], best_first=1),
            "contention": ranking(scores, METRICS[1], best_first=-1),
        }
        print(json.dumps({"epoch_s": epoch_s, "rank": ranks}), flush=True)


if __name__ == "__main__":
    main()

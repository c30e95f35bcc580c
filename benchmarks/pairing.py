"""The gain of common random numbers: the spread of two arms' difference, paired and not, as a JSON line.

    python benchmarks/pairing.py [SCENARIO] [--arms A B] [--seeds 8] [--seconds 30] [--metric delivery_ratio]

Both arms meet the same requests, emissions and coins on each seed. `paired_spread` is the standard error of
the mean difference, seed by seed; `unpaired_spread` the one that independent seeds for either arm would have;
`variance_ratio` the square of unpaired over paired: so many times the seeds would be needed without pairing.
Above 1 the pairing helps, below 1 it harms; it is measured here, not assumed.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
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

Floats = np.ndarray[Any, Any]


def spreads(values: Floats, reference: Floats) -> dict[str, float | None]:
    """Difference of two arms over the same seeds, float64 [n] each, and its spread with and without pairs."""
    found = paired_difference(values, reference=reference, key="pairing")
    paired, unpaired = found.paired_spread, found.unpaired_spread
    return {
        "difference": found.difference.estimate,
        "paired_spread": paired,
        "unpaired_spread": unpaired,
        "variance_ratio": (unpaired / paired) ** 2 if paired > 0.0 else None,
    }


def scores(scenario: Scenario, name: str, *, seeds: int, metric: str) -> Floats:
    """The metric of one arm on seeds 0, 1, ... float64 [seeds]."""
    window, found = scenario.window, []
    for seed in range(seeds):
        tables = simulate(scenario, find_arm(scenario, name), seed=seed).tables
        assert tables is not None
        found.append(measure(tables, start_s=window.warm_up_s, end_s=window.end_s)[metric])
    return np.array(found)


def main() -> None:
    """Run both arms on all seeds and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", nargs="?", default="scenarios/quickstart.toml")
    parser.add_argument("--arms", nargs=2, default=["local-stock", "local-minhop"])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--metric", default="delivery_ratio")
    asked = parser.parse_args()
    scenario = load_scenario(asked.scenario)
    window = replace(scenario.window, warm_up_s=0.2 * asked.seconds, measured_s=asked.seconds)
    scenario = replace(scenario, window=window)
    values, reference = (
        scores(scenario, name, seeds=asked.seeds, metric=asked.metric) for name in asked.arms
    )
    found = {
        name: None if value is None else float(f"{value:.4g}")
        for name, value in spreads(values, reference).items()
    }
    print(json.dumps({"arms": asked.arms, "metric": asked.metric, "seeds": asked.seeds, **found}))


if __name__ == "__main__":
    main()

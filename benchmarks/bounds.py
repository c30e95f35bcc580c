"""Wall time and value of the bounds of one seed, as JSON lines: the flow bound, and the time bounds.

    python benchmarks/bounds.py [--seeds 1 2 3] [--load 4] [--seconds 360] [--time-seconds 60 --bin 0.5]

The scenario is `scenarios/paper.toml` with 100 nodes, 300 links and one class of requests between about 300
pairs of nodes, at `--load` times its rate. `sample_s` is the time to draw the sample (emissions and
outcomes). With --time-seconds there are also lines with the time bounds of a run of that length.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

# The benchmark of physics, next to this one, has the package's name and must not be found in its place.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

# ruff: noqa: E402
from qdpem import load_scenario
from qdpem.bounds.fidelity_reach import FidelityReach
from qdpem.bounds.flow_bound import flow_bound_of_seed
from qdpem.bounds.seed_bounds import bounds_of_sample
from qdpem.bounds.seed_sample import draw_seed_sample, group_requests
from qdpem.demand.offered_load import find_offered_load, with_rate
from qdpem.demand.streams import generate_arrivals
from qdpem.network.build import build_network, build_physics
from qdpem.scenario.schema import Scenario


def benchmark_scenario(seconds: float) -> Scenario:
    """The scenario with 300 links and only its first class, `seconds` long."""
    scenario = load_scenario("scenarios/paper.toml")
    parameters = {**scenario.topology.parameters, "mean_degree": 6.0}
    return replace(
        scenario,
        topology=replace(scenario.topology, parameters=parameters),
        demand=replace(scenario.demand, classes=scenario.demand.classes[:1]),
        window=replace(scenario.window, warm_up_s=0.0, measured_s=seconds),
    )


def measure_seed(
    scenario: Scenario, *, seed: int, load: float, bin_s: float | None, timed: bool
) -> dict[str, object]:
    """The line of one seed.

    Args:
        scenario: the scenario without its load.
        seed: the seed of the network and its requests.
        load: the factor of the scenario's rate.
        bin_s: the resolution of the time bounds; None for the default.
        timed: whether the time bounds are computed too.
    """
    physics, end_s = build_physics(scenario), scenario.window.end_s
    network = build_network(scenario, physics, seed=seed)
    offered = find_offered_load(scenario, network, physics, seed=seed)
    loaded = with_rate(scenario, replace(offered, rate_hz=offered.rate_hz * load))
    requests = generate_arrivals(loaded, network, seed=seed).requests
    began_s = time.perf_counter()
    sample = draw_seed_sample(network, physics, seed=seed, end_s=end_s)
    reach = FidelityReach(network, physics)
    drawn_s = time.perf_counter()
    groups = group_requests(requests, reach)
    flow = flow_bound_of_seed(network, sample, groups)
    line: dict[str, object] = {
        "seed": seed,
        "links": network.link_count,
        "groups": len(groups),
        "requests": len(requests),
        "flow": flow.max_deliveries,
        "rounds": flow.rounds,
        "sample_s": round(drawn_s - began_s, 3),
        "flow_s": round(time.perf_counter() - drawn_s, 3),
    }
    if timed:
        with_time = bounds_of_sample(network, reach, requests, sample, bin_s=bin_s)
        line |= {
            "time": with_time.time,
            "time_without_stock": with_time.time_without_stock,
            "bin_s": with_time.bin_s,
            "time_s": round(with_time.time_wall_s, 1),
        }
    return line


def main() -> None:
    """Measure, and print the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--load", type=float, default=4.0)
    parser.add_argument("--seconds", type=float, default=360.0)
    parser.add_argument("--time-seconds", type=float, default=0.0)
    parser.add_argument("--bin", type=float, default=None)
    arguments = parser.parse_args()
    for timed, seconds in ((False, arguments.seconds), (True, arguments.time_seconds)):
        if seconds > 0.0:
            for seed in arguments.seeds:
                line = measure_seed(
                    benchmark_scenario(seconds),
                    seed=seed,
                    load=arguments.load,
                    bin_s=arguments.bin,
                    timed=timed,
                )
                print(json.dumps({"benchmark": "bounds", "seconds": seconds, **line}), flush=True)


if __name__ == "__main__":
    main()

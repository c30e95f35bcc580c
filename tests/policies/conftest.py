"""Small networks with a known optimum."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qdpem.network.build import build_network, build_physics
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Arm
from qdpem.simulation.run import Run, simulate

_SMALL = """
name = "small"
[topology]
kind = "file"
parameters = {{ path = "{path}" }}
[nodes]
source_rate_hz = 400.0
repeater_rate_hz = 5.0
memories = 64
[nodes.hardware]
memory = {{ kind = "depolarising", depolarising_s = 60.0 }}
[links.hardware]
fresh_fidelity = 0.98
[demand]
rate_hz = {rate_hz}
weights = "matrix"
[[demand.classes]]
application = "teleportation"
fraction = 1.0
target_fidelity = 0.7
patience_s = 1.0
[window]
warm_up_s = 10
measured_s = 60
[forecasting]
history_s = 20
"""


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Run]:
    """Run an arm on links of 1 km with given demand and repeaters, 10 s of warm-up and 60 s."""

    def build(
        arm: str,
        links: str,
        demand: dict[str, dict[str, float]],
        *,
        rate_hz: float,
        repeaters: Sequence[float],
        parameters: dict[str, float] | None = None,
        seed: int = 1,
        overrides: Sequence[str] = (),
    ) -> Run:
        ends = [(int(pair[0]), int(pair[1])) for pair in links.split()]
        path = tmp_path / "small.json"
        named = [{"id": node, "name": f"n{node}"} for node in range(len(repeaters))]
        joined = [{"source": first, "target": second, "length_km": 1.0} for first, second in ends]
        path.write_text(json.dumps({"nodes": named, "edges": joined, "graph": {"demands": demand}}))
        scenario = parse_scenario(_SMALL.format(path=path, rate_hz=rate_hz), overrides=overrides)
        network = build_network(scenario, build_physics(scenario), seed=seed)
        network = replace(network, repeater_rate_hz=np.array(repeaters, dtype=float))
        return simulate(scenario, Arm(name=arm, parameters=parameters or {}), seed=seed, network=network)

    return build

"""Real traffic, where it lies beside the checkout: what is known of it, and that reading it is quick."""

from __future__ import annotations

import json
import resource
from typing import NamedTuple

import numpy as np
import pytest

from qdpem.demand.traces.matrices.gravity import gravity_matrices
from qdpem.demand.traces.matrices.node_activity import read_node_activity
from qdpem.demand.traces.matrices.nodes import map_nodes
from qdpem.demand.traces.matrices.operations import clip_pairs, relative_rates, symmetrise
from qdpem.demand.traces.matrices.read import read_traffic_matrices
from qdpem.forecasting.checks.reference_demand import scenario_arrivals
from qdpem.scenario.load import load_scenario
from qdpem.study.analysis.demand.predictability import error_floors
from tests.helpers.trace_files import SHARED

pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="real traffic is not part of the project")


class Known(NamedTuple):
    """What the notes that lie beside the files say of one."""

    path: str
    shape: tuple[int, int]
    step_s: float
    mean_gbit_s: float
    peak_to_mean: float


KNOWN = (
    Known("abilene_tm/abilene_5min", (4032, 12), 300.0, 3.0, 2.07),
    Known("geant_tm/geant_15min", (1342, 22), 900.0, 47.0, 1.54),
    Known("germany_tm/germany50_5min", (288, 50), 300.0, 4.9, 1.56),
    Known("germany_tm/nobel_germany_5min", (288, 17), 300.0, 4.6, 1.57),
    Known("germany_tm/germany50_1day", (28, 47), 86400.0, 5.2, 1.63),
)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.path)
def test_totals_are_the_known_ones_and_reading_is_quick(known: Known) -> None:
    before_s = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    matrices = read_traffic_matrices(SHARED / f"{known.path}.csv.gz", unit="Mbit/s")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before_s < 2.0
    assert matrices.volume.shape == (known.shape[0], known.shape[1], known.shape[1])
    assert matrices.step_s == known.step_s
    total = matrices.volume.sum(axis=(1, 2))
    assert total.mean() / 1000.0 == pytest.approx(
        known.mean_gbit_s, abs=0.5 if known.mean_gbit_s > 9 else 0.05
    )
    assert total.max() / total.mean() == pytest.approx(known.peak_to_mean, abs=0.005)


def test_the_flash_of_abilene_is_clipped() -> None:
    matrices = read_traffic_matrices(SHARED / "abilene_tm/abilene_5min.csv.gz")
    assert matrices.volume.max() == pytest.approx(2514, abs=1)
    both = symmetrise(matrices)
    clipped = clip_pairs(both)
    # A flash takes a few of 4032 intervals: nearly all traffic stays.
    assert clipped.volume.max() < 0.65 * both.volume.max()
    assert clipped.volume.sum() > 0.999 * both.volume.sum()
    assert relative_rates(clipped).sum(axis=(1, 2)).mean() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("path", "topology"),
    [
        ("abilene_tm/abilene_5min", "abilene"),
        ("geant_tm/geant_15min", "geant"),
        ("germany_tm/germany50_1day", "germany50"),
        ("germany_tm/nobel_germany_5min", "nobel_germany"),
    ],
)
def test_nodes_are_those_of_the_topology_of_this_name(path: str, topology: str) -> None:
    network = json.loads((SHARED / f"topologies/{topology}.json").read_text(encoding="utf-8"))
    traffic = read_traffic_matrices(SHARED / f"{path}.csv.gz")
    mapped = map_nodes(traffic, [node["id"] for node in network["nodes"]])
    assert mapped.volume.sum() == pytest.approx(traffic.volume.sum(), rel=1e-12)


def test_milan_as_twelve_nodes_keeps_its_day() -> None:
    folder = SHARED / "milan_demand"
    activity = read_node_activity(folder / "milan_hourly.csv.gz", folder / "cells.csv")
    assert activity.activity.shape == (1488, 211)
    made = gravity_matrices(activity, nodes=12, generator=np.random.default_rng(0))
    by_hour = made.volume.sum(axis=(1, 2)).reshape(-1, 24).mean(axis=0)
    assert (int(by_hour.argmax()), int(by_hour.argmin())) == (12, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "rate_hz", "measured_s", "floor"),
    [
        ("abilene-trace", "abilene_tm/abilene_5min", 24.0, 5700.0, 0.233),
        ("geant-trace", "geant_tm/geant_15min", 14.67, 5970.0, 0.217),
        ("germany50-trace", "germany_tm/germany50_5min", 100.0, 600.0, None),
    ],
)
def test_shipped_scenarios_on_their_files(
    name: str, file: str, rate_hz: float, measured_s: float, floor: float | None
) -> None:
    """At 10 requests per node and step one who knows the rates errs as the notes beside the files say."""
    keys = [
        "demand.load_factor=",
        f"demand.rate_hz={rate_hz}",
        f"window.measured_s={measured_s}",
        f"demand.processes.traffic.path={SHARED / file}.csv.gz",
    ]
    scenario = load_scenario(name, keys)
    arrivals, network = scenario_arrivals(scenario, seed=1)
    step_s = scenario.forecasting.step_s
    assert arrivals.processes[0].rate_hz == pytest.approx(10.0 * network.node_count / step_s, rel=1e-3)
    floors = {(each.level, each.window_s): each.wape for each in error_floors(scenario, arrivals, network)}
    if floor is not None:
        assert floors["node", step_s] == pytest.approx(floor, abs=0.005)

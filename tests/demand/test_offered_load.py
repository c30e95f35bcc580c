"""load_factor: the rate that each seed's flow programme makes of it, the same for every arm, and recorded."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path

import networkx
import numpy as np
import pytest
from scipy.optimize import linprog

from qdpem.demand.offered_load import TOLERANCE, OfferedLoad, find_offered_load
from qdpem.demand.streams import generate_arrivals
from qdpem.errors import QdpemError, ScenarioError
from qdpem.events.tables import Tables
from qdpem.network.build import build_network, build_physics
from qdpem.records.audit.audit import audit
from qdpem.records.reader import open_record
from qdpem.records.writer import RecordWriter
from qdpem.scenario.load import load_scenario, parse_scenario
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.arms import resolve_arm
from qdpem.simulation.run import simulate

MESH = """
name = "mesh"
[topology]
kind = "geometric"
parameters = { nodes = 7, side_km = 20.0, mean_degree = 3.2 }
[nodes]
source_rate_hz = { low = 0.0, high = 20.0 }
repeater_rate_hz = { low = 0.0, high = 8.0 }
hardware = { memory = { kind = "depolarising", depolarising_s = 60.0 } }
[demand]
load_factor = 0.9
bursts = { regions = 2, period_s = 8.0, duration_s = 2.0, jitter_s = 0.2, peak = 2.0 }
[[demand.classes]]
application = "teleportation"
fraction = 0.75
target_fidelity = 0.6
patience_s = 1.0
[[demand.classes]]
application = "computing"
fraction = 0.25
target_fidelity = 0.7
patience_s = 1.0
pairs = 2
[forecasting]
history_s = 20
[window]
warm_up_s = 1
measured_s = 6
"""
ARMS = ("local-minhop", "central-expected-delay", "local-stock")


def mesh(*overrides: str) -> Scenario:
    return parse_scenario(MESH, overrides=overrides)


def load_of(scenario: Scenario, *, seed: int) -> OfferedLoad:
    physics = build_physics(scenario)
    return find_offered_load(scenario, build_network(scenario, physics, seed=seed), physics, seed=seed)


def carried(tables: Tables, *, served_fraction: float) -> float:
    """The largest rate served to that fraction, from the run's network and every simple path written out.

    max r over x, y, r: sum_p x_kp <= r share_k, sum x >= served_fraction r, resources as they are. Pairs
    weigh alike. No path needs distillation: w = (4 x 0.98 - 1)/3 gives w^6 = 0.85 > (4 x 0.7 - 1)/3.
    """
    nodes, links = tables["nodes"], tables["links"]
    count, lines = len(nodes["node"]), len(links["link"])
    ends = list(zip(links["first"].tolist(), links["second"].tolist(), strict=True))
    place = {pair: link for link, (a, b) in enumerate(ends) for pair in ((a, b), (b, a))}
    graph = networkx.Graph(ends)
    kinds = [(pair, pairs) for pair in combinations(range(count), 2) for pairs in (1, 2)]
    fraction = np.array([0.75 if pairs == 1 else 0.25 for _, pairs in kinds]) / (count * (count - 1) / 2)
    rows = len(kinds) + lines + 2 * count + 1
    columns = []
    for kind, ((source, destination), pairs) in enumerate(kinds):
        for path in networkx.all_simple_paths(graph, source, destination):
            column = np.zeros(rows)
            column[kind], column[-1] = 1.0, -1.0
            column[[len(kinds) + place[step] for step in pairwise(path)]] = pairs
            column[[len(kinds) + lines + count + node for node in path[1:-1]]] = pairs
            columns.append(column)
    for link, both in enumerate(ends):
        for node in both:
            column = np.zeros(rows)
            column[len(kinds) + link] = -links["success_probability"][link]
            column[len(kinds) + lines + node] = 1.0
            columns.append(column)
    columns.append(np.concatenate([-fraction, np.zeros(lines + 2 * count), [served_fraction]]))
    limits = np.zeros(rows)
    limits[len(kinds) + lines : -1] = np.concatenate([nodes["source_rate_hz"], nodes["repeater_rate_hz"]])
    aim = np.append(np.zeros(len(columns) - 1), -1.0)
    return -float(linprog(aim, A_ub=np.array(columns).T, b_ub=limits, method="highs").fun)


@pytest.mark.mostly_slow(3)
@pytest.mark.parametrize("served_fraction", [0.9, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_recorded_rate_is_the_share_of_a_programme_with_every_path(seed, served_fraction) -> None:
    scenario = mesh("demand.load_factor=0.6", f"demand.served_fraction={served_fraction}")
    tables = simulate(scenario, Arm(name="local-minhop"), seed=seed).tables
    expected_hz = 0.6 * carried(tables, served_fraction=served_fraction)
    ((peak_rate_hz,), (rate_hz,)) = tables["demand"]["peak_rate_hz"], tables["demand"]["rate_hz"]
    assert expected_hz * (1.0 - TOLERANCE) <= peak_rate_hz <= expected_hz * (1.0 + 1e-6)
    assert rate_hz == peak_rate_hz / 2.0  # in bursts every region asks twice its mean


JOBS = (
    "demand.processes.jobs={kind='timetable',fraction=0.4,jitter_s=1.0,classes=["
    "{application='computing',fraction=1.0,target_fidelity=0.6,patience_s=1.0,pairs=3}]}"
)


def test_while_all_regions_burst_only_the_poisson_stream_has_its_peak() -> None:
    """The mix of the peak, written as a Poisson stream without bursts, has the same capacity."""
    load = load_of(mesh(JOBS), seed=1)
    peak = 0.6 * 2.0 + 0.4
    assert load.peak_rate_hz == pytest.approx(0.9 * load.capacity_hz)
    assert load.rate_hz == pytest.approx(load.peak_rate_hz / peak)
    one, two = (each * 0.6 * 2.0 / peak for each in (0.75, 0.25))
    classes = ",".join(
        f"{{application='computing',fraction={fraction},target_fidelity={target},patience_s=1.0,pairs={pairs}}}"
        for fraction, target, pairs in ((one, 0.6, 1), (two, 0.7, 2), (0.4 / peak, 0.6, 3))
    )
    same = parse_scenario(MESH, overrides=["demand.bursts=", f"demand.classes=[{classes}]"])
    assert load_of(same, seed=1).capacity_hz == pytest.approx(load.capacity_hz, rel=2 * TOLERANCE)


def test_without_bursts_the_mixture_offers_its_mean() -> None:
    load = load_of(mesh(JOBS, "demand.bursts="), seed=1)
    assert load.rate_hz == load.peak_rate_hz == pytest.approx(0.9 * load.capacity_hz)


@pytest.mark.parametrize(
    "override", ["jitter_s=40.0", "jitter_accumulates=true", "skipped_fraction=0.5", "period_spread=0.9"]
)
def test_the_load_does_not_depend_on_when_requests_come(override: str) -> None:
    assert load_of(mesh(JOBS, f"demand.processes.jobs.{override}"), seed=1) == load_of(mesh(JOBS), seed=1)


@pytest.mark.parametrize("seed", range(5))
def test_half_the_share_is_half_the_rate(seed) -> None:
    full, half = (load_of(mesh(f"demand.load_factor={fraction}"), seed=seed) for fraction in (0.9, 0.45))
    assert full.capacity_hz == half.capacity_hz
    assert full.rate_hz == 2.0 * half.rate_hz
    assert full.peak_rate_hz == pytest.approx(0.9 * full.capacity_hz)


def test_every_arm_of_a_seed_is_asked_for_the_same() -> None:
    runs = [simulate(mesh(), Arm(name=name), seed=5) for name in ARMS]
    for run in runs[1:]:
        assert run.load == runs[0].load
        assert np.array_equal(run.arrivals.requests.time_s, runs[0].arrivals.requests.time_s)
    assert load_of(mesh(), seed=6) != runs[0].load


def test_a_load_is_the_rate_it_says() -> None:
    """The same requests come where the rate is given as a number."""
    shared = simulate(mesh(), Arm(name="local-minhop"), seed=2)
    text = MESH.replace("load_factor = 0.9", f"rate_hz = {shared.load.rate_hz!r}")
    given = simulate(parse_scenario(text), Arm(name="local-minhop"), seed=2)
    assert np.array_equal(shared.arrivals.requests.time_s, given.arrivals.requests.time_s)
    assert given.load.peak_rate_hz == shared.load.peak_rate_hz
    assert np.isnan(given.load.capacity_hz)


def test_mean_arrivals_are_those_of_the_recorded_rate() -> None:
    """Poisson counts over 4,000 s: 4.4 standard deviations, a false alarm in 10^5."""
    scenario = mesh("window.measured_s=3999", "demand.bursts.jitter_s=0.0")
    physics = build_physics(scenario)
    network = build_network(scenario, physics, seed=3)
    load = find_offered_load(scenario, network, physics, seed=3)
    text = MESH.replace("load_factor = 0.9", f"rate_hz = {load.rate_hz!r}")
    given = parse_scenario(text, overrides=["window.measured_s=3999", "demand.bursts.jitter_s=0.0"])
    count = len(generate_arrivals(given, network, seed=3).requests)
    expected = 4000.0 * load.rate_hz
    assert abs(count - expected) < 4.42 * expected**0.5
    with pytest.raises(QdpemError, match="is not yet a rate"):
        generate_arrivals(scenario, network, seed=3)


def test_a_record_says_its_rate_which_scenario_and_seed_give_again(tmp_path: Path) -> None:
    scenario, arm = mesh(), resolve_arm(Arm(name="local-minhop")).arm
    path = tmp_path / "one.h5"
    with RecordWriter(path, scenario=scenario, arm=arm, seed=4) as writer:
        simulate(scenario, arm, seed=4, recorder=writer)
        writer.close_complete({}, {})
    record = open_record(path)
    assert record.scenario.demand.load_factor == 0.9
    again = load_of(record.scenario, seed=record.seed)
    assert record.tables["demand"]["rate_hz"].tolist() == [again.rate_hz]
    assert record.tables["demand"]["capacity_hz"].tolist() == [again.capacity_hz]
    replayed = simulate(record.scenario, record.arm, seed=record.seed).tables
    assert np.array_equal(replayed["requests"]["time_s"], record.tables["requests"]["time_s"])
    found = audit(record)
    assert found.passed
    assert found.compared > 0


def test_what_cannot_be_served_at_any_rate_is_a_fault() -> None:
    scenario = mesh("nodes.repeater_rate_hz=0.0")
    with pytest.raises(ScenarioError, match=r"demand.load_factor.*only \d+\.\d% of the demand has a path"):
        load_of(scenario, seed=0)


@pytest.mark.mostly_slow
@pytest.mark.parametrize("name", ["paper", "paper-uniform"])
def test_the_papers_scenarios_run(name: str) -> None:
    path = Path(__file__).parents[2] / "scenarios" / f"{name}.toml"
    scenario = load_scenario(path, ["window.warm_up_s=1", "window.measured_s=3"])
    run = simulate(scenario, Arm(name="local-minhop"), seed=2)
    assert (run.network.node_count, run.network.link_count) == (100, 400)
    assert run.load.peak_rate_hz == pytest.approx(0.9 * run.load.capacity_hz)
    requests = run.arrivals.requests
    hops = run.network.hop_distance[requests.source, requests.destination]
    assert len(requests) > 0
    assert set(hops.tolist()) <= {2, 3, 4}
    assert len(run.tables["pairs"]["pair"]) > 0

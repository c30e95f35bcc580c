"""The trace process: requests follow traffic matrices exactly, or are those of a list.

Statistical tests use fixed seeds and two-sided bounds; 5 standard errors fail a sound generator for fewer
than 1 seed in a million.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qdpem.demand.arrivals import Arrivals
from qdpem.demand.mean_demand import demand_commodities, mean_demand
from qdpem.demand.processes.trace.linear_rates import LinearRates
from qdpem.demand.requests import Requests
from qdpem.demand.streams import generate_arrivals
from qdpem.demand.traces.matrices.matrix_csv import write_traffic_matrices
from qdpem.errors import ScenarioError
from qdpem.flow.commodities import LinkPlan
from qdpem.scenario.schema import Session, Trace
from tests.helpers.demand import (
    JOB,
    QKD,
    TELEPORTATION,
    all_peers,
    all_requests,
    asked_network,
    asking,
    requests_equal,
)
from tests.helpers.trace_files import made_matrices, sndlib_xml

NETWORK = asked_network()
NODES = 8
STEP_S = 50.0
# Intervals of 50 s: the history of 200 s takes the first four, the run of 300 s the other six.
DAY = np.array([1.0, 3.0, 2.0, 0.0, 0.0, 4.0, 8.0, 2.0, 1.0, 3.0])


def volumes() -> np.ndarray:
    """Three pairs with traffic: n0 to n1 with the shape of the day, n2 to n0 steady, n3 to n4 at the end."""
    volume = np.zeros((len(DAY), 5, 5))
    volume[:, 0, 1] = DAY
    volume[:, 2, 0] = 1.5
    volume[-2:, 3, 4] = 5.0
    return volume


@pytest.fixture(scope="module")
def matrices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traces") / "made.csv"
    write_traffic_matrices(made_matrices(volumes(), step_s=STEP_S), path)
    return path


def traced(path: Path, **keys: Any) -> Trace:
    given = {"fraction": 1.0, "classes": (replace(JOB, fraction=1.0),), "clip_quantile": 1.0}
    if path.suffix == ".csv" and "start_s" not in keys:
        given["start_s"] = 200.0
    return Trace(path=str(path), **(given | keys))


def drawn(process: Trace, *, seed: int = 3, others: dict[str, Any] | None = None, **keys: Any) -> Arrivals:
    scenario = asking(classes=(), processes={"traffic": process, **(others or {})}, **keys)
    return generate_arrivals(scenario, NETWORK, seed=seed)


def of_pair(requests: Requests, source: int, destination: int) -> np.ndarray:
    return requests.time_s[(requests.source == source) & (requests.destination == destination)]


def test_counts_have_the_integrals_of_the_rates(matrices: Path) -> None:
    """Per pair and interval: Poisson, with the mean of the trapezoids between the middles of intervals."""
    rate_hz = 400.0
    asked = all_requests(drawn(traced(matrices, symmetrised=False), rate_hz=rate_hz))
    scale = rate_hz / volumes().sum(axis=(1, 2)).mean()
    for source, destination in ((0, 1), (2, 0), (3, 4)):
        values = volumes()[:, source, destination]
        middles = STEP_S * (np.arange(10) + 0.5) - 200.0
        edges = STEP_S * np.arange(11) - 200.0
        fine = np.linspace(edges[:-1], edges[1:], 2001, axis=1)
        mean = scale * np.trapezoid(np.interp(fine, middles, values), fine, axis=1)
        count = np.histogram(of_pair(asked, source, destination), bins=edges)[0]
        assert (np.abs(count - mean) <= 5.0 * np.sqrt(mean) + 1e-9).all()
    assert {*zip(asked.source.tolist(), asked.destination.tolist(), strict=True)} == {(0, 1), (2, 0), (3, 4)}


def test_times_inside_an_interval_follow_its_slope(matrices: Path) -> None:
    """Between the middles of the intervals with 4 and 8: a density that doubles. One test at 1e-5."""
    asked = drawn(traced(matrices, symmetrised=False), rate_hz=400.0).requests
    time_s = of_pair(asked, 0, 1)
    x = (time_s[(time_s >= 75.0) & (time_s < 125.0)] - 75.0) / 50.0
    assert len(x) > 1000
    assert stats.kstest(x, lambda part: (part + 0.5 * part**2) / 1.5).pvalue > 1e-5


def test_both_directions_of_a_pair_get_half_of_its_traffic(matrices: Path) -> None:
    arrivals = drawn(traced(matrices), rate_hz=100.0)
    asked = all_requests(arrivals)
    forth, back = len(of_pair(asked, 0, 1)), len(of_pair(asked, 1, 0))
    assert abs(forth - back) < 5.0 * np.sqrt(forth + back)
    # The mean over the whole file is the rate of the demand.
    assert arrivals.processes[0].rate_hz == 100.0
    assert abs(len(asked) - 100.0 * 500.0) < 5.0 * np.sqrt(100.0 * 500.0)


def test_an_oracle_expects_the_integrals(matrices: Path) -> None:
    process = traced(matrices, classes=(JOB, replace(QKD, fraction=3.0)))
    scenario = asking(classes=(), rate_hz=20.0, processes={"traffic": process})
    arrivals = generate_arrivals(scenario, NETWORK, seed=1)
    peers = all_peers(scenario, NODES)
    edges_s = np.array([-200.0, -60.0, 0.0, 17.0, 300.0])
    expected = arrivals.expected(peers, now_s=-200.0, edges_s=edges_s)
    assert expected.scheduled.sum() == 0.0
    assert expected.mean.sum() == pytest.approx(20.0 * 500.0)
    # Steps add up, and a kind has the part of its class.
    whole = arrivals.expected(peers, now_s=-200.0, edges_s=edges_s[[0, -1]])
    np.testing.assert_allclose(expected.mean.sum(axis=2), whole.mean[..., 0])
    first = (peers.destination[0] == 1) & (peers.pairs[0] == JOB.pairs)
    other = (peers.destination[0] == 1) & (peers.pairs[0] == QKD.pairs)
    assert whole.mean[0][other].sum() == pytest.approx(3.0 * whole.mean[0][first].sum())
    # Past the end of the file its last rates stay.
    beyond = arrivals.expected(peers, now_s=0.0, edges_s=np.array([275.0, 300.0, 325.0])).mean
    np.testing.assert_allclose(beyond[..., 0], beyond[..., 1])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 89), compression=st.floats(0.5, 2.0), measured_s=st.floats(10.0, 100.0))
def test_a_longer_run_and_another_process_change_no_request(
    matrices: Path, seed: int, compression: float, measured_s: float
) -> None:
    keys = {"seed": seed, "history_s": 40.0}
    process = traced(matrices, time_compression=compression, fraction=0.5)
    talks = Session(fraction=0.5, classes=(QKD,))
    shorter = drawn(process, others={"talks": talks}, measured_s=measured_s, **keys)
    longer = drawn(process, others={"talks": talks}, measured_s=120.0, **{**keys, "history_s": 60.0})
    alone = drawn(replace(process, fraction=1.0), measured_s=measured_s, rate_hz=20.0, **keys)

    def own(asked: Requests, arrivals: Arrivals) -> Requests:
        (index,) = [n for n, each in enumerate(arrivals.processes) if each.name == "traffic"]
        rows = np.flatnonzero((asked.process == index) & (np.abs(asked.time_s) < min(measured_s, 40.0)))
        picked = asked.at(rows)
        return replace(picked, id=0 * picked.id, process=0 * picked.process)

    for side in ("requests", "history"):
        one = own(getattr(shorter, side), shorter)
        assert requests_equal(one, own(getattr(longer, side), longer))
        assert requests_equal(one, own(getattr(alone, side), alone))


@settings(max_examples=50, deadline=None)
@given(
    rates=st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=2, max_size=8),
    part=st.floats(-0.3, 1.3),
)
def test_the_time_of_an_integral_inverts_it(rates: list[float], part: float) -> None:
    value = LinearRates(time_s=np.arange(len(rates)) * 2.0, rate_hz=np.array(rates)[:, None])
    whole = float(value.integral(np.array([2.0 * (len(rates) - 1)]))[0, 0])
    target = np.array([part * max(whole, 1.0)])
    time_s = value.time_of(0, target)
    if np.isfinite(time_s).all():
        np.testing.assert_allclose(value.integral(time_s)[:, 0], target, atol=1e-9)


def test_traffic_is_put_on_other_nodes(matrices: Path) -> None:
    names = {"n0": "n5", "n1": "n6", "n2": ""}
    asked = all_requests(drawn(traced(matrices, nodes=names)))
    assert {*np.unique([asked.source, asked.destination]).tolist()} == {3, 4, 5, 6}
    # All nodes of a ring have two links: ties go by name, busiest first.
    ranked = all_requests(drawn(traced(matrices, node_map="rank"), rate_hz=200.0))
    counts = np.bincount(ranked.source, minlength=NODES)
    assert counts[0] == counts.max()
    assert counts[5:].sum() == 0


def test_sndlib_and_csv_of_the_same_traffic_give_the_same_requests(tmp_path: Path) -> None:
    values = {("n0", "n1"): 3.0, ("n1", "n2"): 1.0}
    folder = tmp_path / "xml"
    folder.mkdir()
    for index in range(3):
        text = sndlib_xml(values, time=f"20040301-00{5 * index:02d}", nodes=("n0", "n1", "n2"))
        (folder / f"m{index}.xml").write_text(text)
    table = tmp_path / "same.csv"
    table.write_text("time_s,n0>n1,n1>n2\n0,3,1\n300,3,1\n600,3,1\n")
    one, other = (drawn(traced(path, start_s=200.0)) for path in (folder, table))
    assert requests_equal(one.requests, other.requests)
    assert requests_equal(one.history, other.history)


def listed(
    folder: Path, *, rows: int = 200, head: str = "time_s,source,destination,pairs,patience_s,application"
) -> Path:
    lines = [head]
    for row in range(rows):
        ends = ("n0", "n1") if row % 4 else ("n5", "n2")
        lines.append(f"{row},{ends[0]},{ends[1]},{1 + row % 2},{1 + row % 3},{'qkd' if row % 2 else ''}")
    path = folder / "asked.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_list_that_is_not_thinned_comes_as_it_is(tmp_path: Path) -> None:
    process = traced(listed(tmp_path), start_s=50.0, thinned=False, classes=(replace(QKD, fraction=1.0),))
    arrivals = drawn(process, rate_hz=1.0, history_s=20.0, measured_s=30.0)
    assert arrivals.history.time_s.tolist() == [float(time) for time in range(-20, 0)]
    asked = arrivals.requests
    assert asked.time_s.tolist() == [float(time) for time in range(30)]
    assert asked.pairs.tolist() == [1 + (50 + row) % 2 for row in range(30)]
    np.testing.assert_array_equal(asked.deadline_s - asked.time_s, [1 + (50 + row) % 3 for row in range(30)])
    assert (asked.target_fidelity == QKD.target_fidelity).all()
    # One who knows the list expects exactly its requests.
    kinds = tuple(sorted({each.pairs for each in arrivals.processes[0].classes}))
    assert kinds == (1, 2)
    scenario = asking(classes=arrivals.processes[0].classes, rate_hz=1.0)
    peers = all_peers(scenario, NODES)
    expected = arrivals.expected(peers, now_s=0.0, edges_s=np.array([0.0, 10.0, 30.0]))
    assert expected.unscheduled.sum() == 0.0
    assert expected.scheduled.sum(axis=(0, 1)).tolist() == [10.0, 20.0]


def test_a_list_is_thinned_to_the_rate_of_its_process(tmp_path: Path) -> None:
    process = traced(listed(tmp_path, rows=4000), start_s=0.0, classes=(replace(QKD, fraction=1.0),))
    keys = {"rate_hz": 0.4, "history_s": 1.0}
    arrivals = drawn(process, measured_s=4000.0, **keys)
    count = len(arrivals.requests)
    assert abs(count - 1600.0) < 5.0 * np.sqrt(4000.0 * 0.4 * 0.6)
    again = drawn(process, measured_s=100.0, **keys).requests
    assert requests_equal(again, arrivals.requests.between(0.0, 100.0))
    peers = all_peers(asking(classes=arrivals.processes[0].classes, rate_hz=1.0), NODES)
    expected = arrivals.expected(peers, now_s=0.0, edges_s=np.array([0.0, 1000.0]))
    assert expected.mean.sum() == pytest.approx(0.4 * 1000.0, rel=1e-3)


def test_mean_demand_has_the_pairs_of_each_process(matrices: Path) -> None:
    """A trace has its own weights, a stream of the scenario those of the scenario, and both their parts."""
    processes = {
        "traffic": traced(matrices, fraction=0.25),
        "talks": Session(fraction=0.25, classes=(QKD,)),
    }
    scenario = asking(rate_hz=10.0, classes=(replace(TELEPORTATION, fraction=1.0),), processes=processes)
    parts = mean_demand(scenario, NETWORK, seed=1)
    assert [part.fraction() for part in parts] == pytest.approx([0.75, 0.25])
    symmetric = volumes().mean(axis=0) + volumes().mean(axis=0).T
    np.testing.assert_allclose(parts[1].weights[:5, :5], symmetric / symmetric.sum())
    assert parts[1].keys == ("demand.processes.traffic.classes.0",)
    plans = [LinkPlan(fidelity=0.98), LinkPlan(fidelity=0.99, pairs_per_link=2.0)]
    commodities = demand_commodities(parts, NETWORK, rate_hz=10.0, plans=plans)
    assert sum(each.rate_hz for each in commodities) == pytest.approx(10.0)
    jobs = {(each.source, each.destination): each.rate_hz for each in commodities if each.pairs == JOB.pairs}
    assert set(jobs) == {(0, 1), (0, 2), (3, 4)}
    assert sum(jobs.values()) == pytest.approx(2.5)
    # Their long-run counts are those of the requests that are drawn.
    assert jobs[0, 1] == pytest.approx(2.5 * symmetric[0, 1] / np.triu(symmetric).sum())


def test_mean_demand_of_a_list_keeps_classes_with_their_pairs(tmp_path: Path) -> None:
    process = traced(listed(tmp_path), start_s=0.0, thinned=False, classes=(replace(QKD, fraction=1.0),))
    scenario = asking(classes=(), rate_hz=1.0, processes={"traffic": process})
    parts = mean_demand(scenario, NETWORK, seed=1)
    assert sum(part.fraction() for part in parts) == pytest.approx(1.0)
    by_pairs = {part.classes[0].pairs: part for part in parts}
    # Even rows ask for one pair, and every other of them is from n5 to n2; odd ones are all from n0 to n1.
    assert by_pairs[1].weights[5, 2] == pytest.approx(0.5)
    assert by_pairs[2].weights[0, 1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "keys", "sentences"),
    [
        (None, {}, ("traffic.path", "there is nothing at", "traffic matrices")),
        ("time_s,n0>n1\n0,1\n50,x\n", {}, ("traffic.path", "row 3, column 2 (n0>n1)", "'x'")),
        ("time_s,n0>n1\n0,1\n50,-1\n", {}, ("row 3, column 2 (n0>n1)", "'-1'")),
        ("time_s,n0>n1\n0,1\n50,\n100,2\n", {}, ("row 3", "no value", "gaps")),
        ("time_s,n0>n1\n0,1\n100,2\n50,2\n", {}, ("row 4, column 1", "should rise")),
        ("# unit: kbit/s\ntime_s,n0>n1\n0,1\n50,2\n", {"unit": "Mbit/s"}, ("'kbit/s'", "'Mbit/s'")),
        ("time_s,n0>mars\n0,1\n50,2\n", {}, ("traffic.nodes", "'mars'", "leave a node")),
        ("time_s,n0>n1\n0,1\n50,2\n", {"nodes": {"n9": "n1"}}, ("traffic.nodes", "'n9'")),
        ("time_s,n0>n1\n0,0\n50,0\n", {}, ("traffic.path", "no traffic at all")),
        ("time_s,n0>n1\n0,1\n50,2\n", {"start_s": 10.0}, ("traffic.start_s", "100 s")),
        ("time_s,n0>n1\n0,1\n50,2\n", {"start_s": 80.0, "time_compression": 0.1}, ("start_s", "20 to 70")),
        ("time_s,source,destination\n0,n0,n1\n9,n0,n1\n", {"start_s": 20.0}, ("start_s", "no request")),
        ("time_s,source,destination\n0,n0,n1\n2,n0,n1\n1,n0,n1\n", {}, ("row 4", "order of time")),
        ("time_s,source,destination\n0,n0,n1\n0.01,n0,n1\n1,n0,n1\n", {}, ("traffic.fraction", "2/s")),
        ("time_s,source,destination,target_fidelity\n0,n0,n1,0.4\n1,n0,n1,\n", {}, ("0.4", "above 0.5")),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str | None, keys: dict, sentences: tuple) -> None:
    path = tmp_path / "wrong.csv"
    if text is not None:
        path.write_text(text)
    rate_hz = 40.0 if "fraction" in sentences[0] else 0.1
    with pytest.raises(ScenarioError) as caught:
        drawn(traced(path, **keys), rate_hz=rate_hz)
    assert all(part in str(caught.value) for part in sentences), str(caught.value)
    assert len(caught.value.faults) == 1


def test_a_file_cut_short_is_named(tmp_path: Path, matrices: Path) -> None:
    path = tmp_path / "cut.csv.gz"
    packed = gzip.compress(matrices.read_bytes())
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ScenarioError, match="cut short"):
        drawn(traced(path, start_s=200.0))


def test_every_form_of_a_list_gives_the_same_requests(tmp_path: Path) -> None:
    rows = [(0.5 * row, f"n{row % 3}", "n4", 1 + row % 2, 0.75) for row in range(100)]
    head = ("time_s", "source", "destination", "pairs", "target_fidelity")
    table, lines = tmp_path / "a.csv", tmp_path / "b.jsonl"
    table.write_text("\n".join(",".join(map(str, row)) for row in (head, *rows)) + "\n")
    events = [
        {
            "kind": "ent_requested",
            "t": time_s,
            "src": source,
            "dst": destination,
            "n": pairs,
            "demand": {"min_fidelity": target},
        }
        for time_s, source, destination, pairs, target in rows
    ]
    lines.write_text("\n".join(map(json.dumps, events)) + "\n")
    paths = [table, lines]
    if importlib.util.find_spec("pyarrow") is not None:
        import pandas

        paths.append(tmp_path / "c.parquet")
        pandas.DataFrame(rows, columns=head).to_parquet(paths[-1])
    packed = tmp_path / "d.csv.gz"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    found = [
        drawn(traced(path, start_s=10.0, thinned=False), rate_hz=2.0, history_s=5.0)
        for path in (*paths, packed)
    ]
    assert len(found[0].requests) == 80
    assert len(found[0].history) == 10
    for other in found[1:]:
        assert requests_equal(found[0].requests, other.requests)
        assert requests_equal(found[0].history, other.history)

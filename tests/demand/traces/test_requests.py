"""Lists of requests: tables, traces of QNetBench, and columns of a record."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdpem.demand.traces.requests.columns import requests_from_columns
from qdpem.demand.traces.requests.read import read_requests
from qdpem.demand.traces.requests.request_list import RequestList, map_request_nodes
from qdpem.demand.traces.requests.tables import write_requests
from qdpem.errors import MissingPackagesError, QdpemError, UnknownNameError
from tests.helpers.trace_files import saved

TABLE = """time_s,source,destination,target_fidelity,pairs,patience_s,application,colour
0.5,Ost,Süd,0.9,1,2.5,teleportation,red
0.5,Süd,West,,,,,blue
7,West,Ost,0.81,100,60,qkd,red
"""
HEADER = {"t": 0.0, "kind": "run_header", "schema_version": "0.2.0", "app": "qkd", "seed": 0}
DEMAND = {
    "min_fidelity": 0.9,
    "latency_budget": None,
    "deadline": None,
    "staleness_tolerance": None,
    "priority": 1.0,
    "purpose": "keep",
}


def asked(t: Any = 0.25, *, demand: Any = None, **changes: Any) -> dict[str, Any]:
    request = {"t": t, "kind": "ent_requested", "req_id": 0, "src": "alice", "dst": "bob", "n": 1}
    return {**request, "demand": {**DEMAND, **(demand or {})}, **changes}


def lines(*events: dict[str, Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def test_a_table_with_every_column(tmp_path: Path) -> None:
    requests = read_requests(saved(tmp_path, TABLE))
    assert len(requests) == 3
    assert requests.time_s.tolist() == [0.5, 0.5, 7.0]
    assert requests.source == ("Ost", "Süd", "West")
    assert requests.destination == ("Süd", "West", "Ost")
    assert requests.application == ("teleportation", None, "qkd")
    for column, values in (
        (requests.target_fidelity, [0.9, np.nan, 0.81]),
        (requests.pairs, [1, np.nan, 100]),
        (requests.patience_s, [2.5, np.nan, 60]),
    ):
        assert np.array_equal(column, values, equal_nan=True)
    assert requests.notes == (f"not used of {requests.origin}: colour",)


def test_dates_deadlines_and_bare_tables(tmp_path: Path) -> None:
    dated = "time,source,destination\n2026-01-01T00:00:10,a,b\n2026-01-01T00:01:10,b,a\n"
    bare = read_requests(saved(tmp_path, dated))
    assert bare.time_s.tolist() == [0.0, 60.0]
    assert np.isnan([*bare.target_fidelity, *bare.pairs, *bare.patience_s]).all()
    assert bare.application == (None, None)
    due = "time_s,source,destination,deadline_s\n10,a,b,12.5\n11,a,b,\n"
    path = tmp_path / "due.csv.gz"
    path.write_bytes(gzip.compress(due.encode()))
    patience_s = read_requests(path).patience_s
    assert patience_s[0] == 2.5
    assert np.isnan(patience_s[1])


def edited(old: str, new: str) -> str:
    assert old in TABLE
    return TABLE.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("empty",)),
        ("time_s,source,destination\n", ("no row",)),
        (edited("7,West", "0.4,West"), ("row 4, column 1 (time_s)", "'0.4'", "'0.5'", "order")),
        (edited("7,West", "soon,West"), ("row 4, column 1", "'soon'", "seconds")),
        (edited("7,West", ",West"), ("row 4, column 1", "''", "seconds")),
        (edited("West,Ost", "West,West"), ("row 4, column 3 (destination)", "'West'", "another")),
        (edited("West,Ost", ",Ost"), ("row 4, column 2 (source)", "empty")),
        (edited("0.81", "81"), ("row 4, column 4 (target_fidelity)", "'81'", "at most 1")),
        (edited("0.81", "0"), ("row 4, column 4", "'0'")),
        (edited(",100,", ",1.5,"), ("row 4, column 5 (pairs)", "'1.5'", "whole")),
        (edited(",100,", ",0,"), ("row 4, column 5", "'0'")),
        (edited(",60,", ",-60,"), ("row 4, column 6 (patience_s)", "'-60'")),
        (edited(",60,", ",inf,"), ("row 4, column 6", "'inf'")),
        (edited(",60,", ",1_0,"), ("row 4, column 6", "'1_0'")),
        (edited("time_s", "time_ms"), ("column 1", "'time_ms'", "time_s")),
        (edited("patience_s", "patience"), ("column 6", "'patience'", "patience_s")),
        (edited("target_fidelity", "fidelity"), ("column 4", "'fidelity'", "target_fidelity")),
        (edited("source", "from"), ("source",)),
        (edited("colour", "deadline_s"), ("patience_s and deadline_s",)),
        (edited("colour", "source"), ("column 8", "'source'", "column 2")),
        (edited(",red", ""), ("row 2", "7 columns", "8")),
        ("time,source,destination,deadline_s\n2026-01-01,a,b,5\n", ("time as dates and deadline_s",)),
        ("time_s,source,destination,deadline_s\n10,a,b,9\n", ("patience_s", "-1.0")),
    ],
)
def test_a_fault_gets_one_sentence_with_its_place(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(QdpemError) as caught:
        read_requests(saved(tmp_path, text))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


NAMES = st.sampled_from(["a", "ü, ö", '"q"', "x>y"])
SAID = st.one_of(st.none(), st.floats(1e-9, 1e9))


@given(
    st.lists(
        st.tuples(
            st.floats(-1e9, 1e9),
            st.permutations(["a", "ü, ö", '"q"', "x>y"]),
            st.one_of(st.none(), st.floats(0.0, 1.0, exclude_min=True)),
            st.one_of(st.none(), st.integers(1, 10**6)),
            SAID,
            st.one_of(st.none(), NAMES),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_reads_back_to_the_last_bit(tmp_path: Path, rows: list[Any]) -> None:
    time_s, ends, fidelity, pairs, patience_s, application = zip(*rows, strict=True)
    made = requests_from_columns(
        {
            "time_s": time_s,
            "source": [each[0] for each in ends],
            "destination": [each[1] for each in ends],
            "target_fidelity": fidelity,
            "pairs": pairs,
            "patience_s": patience_s,
            "application": application,
        },
        origin="a test",
    )
    assert (np.diff(made.time_s) >= 0.0).all()
    write_requests(made, tmp_path / "made.csv")
    assert_same(read_requests(tmp_path / "made.csv"), made)


def assert_same(first: RequestList, second: RequestList) -> None:
    for column in ("time_s", "target_fidelity", "pairs", "patience_s"):
        assert np.array_equal(getattr(first, column), getattr(second, column), equal_nan=True), column
    assert (first.source, first.destination) == (second.source, second.destination)
    assert first.application == second.application


def test_parquet_is_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import csv, parquet

    source = saved(tmp_path, TABLE)
    table = csv.read_csv(source, convert_options=csv.ConvertOptions(strings_can_be_null=True))
    parquet.write_table(table, tmp_path / "made.parquet")
    assert_same(read_requests(tmp_path / "made.parquet"), read_requests(source))
    dates = pyarrow.array([60, 120, 240], pyarrow.timestamp("s"))
    dated = table.drop(["time_s"]).add_column(0, "time", dates)
    parquet.write_table(dated, tmp_path / "dated.parquet")
    assert read_requests(tmp_path / "dated.parquet").time_s.tolist() == [0.0, 60.0, 180.0]
    parquet.write_table(table.drop(["source"]), tmp_path / "less.parquet")
    with pytest.raises(QdpemError, match="should have time_s"):
        read_requests(tmp_path / "less.parquet")
    content = (tmp_path / "made.parquet").read_bytes()
    (tmp_path / "short.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(QdpemError, match=r"short\.parquet cannot be read"):
        read_requests(tmp_path / "short.parquet")
    monkeypatch.setattr("qdpem.extras.find_spec", lambda name: None)
    with pytest.raises(MissingPackagesError, match=r"pip install \"qdpem\[report\]\""):
        read_requests(tmp_path / "made.parquet")


def test_a_qnetbench_trace_keeps_what_has_a_place_and_names_the_rest(tmp_path: Path) -> None:
    text = lines(
        HEADER,
        asked(0.0),
        {"t": 0.1, "kind": "ent_delivered", "req_id": 0, "actual_fidelity": 0.94, "latency": 0.1},
        asked(0.25, n=2, demand={"latency_budget": 0.05, "min_fidelity": 0.0}),
        asked(0.5, demand={"deadline": 0.75, "latency_budget": 9.0, "staleness_tolerance": 0.1}),
    )
    requests = read_requests(saved(tmp_path, text, "trace.jsonl"))
    assert requests.time_s.tolist() == [0.0, 0.25, 0.5]
    assert set(requests.source) == {"alice"}
    assert set(requests.destination) == {"bob"}
    assert requests.pairs.tolist() == [1, 2, 1]
    assert requests.application == ("qkd",) * 3
    assert np.array_equal(requests.target_fidelity, [0.9, np.nan, 0.9], equal_nan=True)
    assert np.array_equal(requests.patience_s, [np.nan, 0.05, 0.25], equal_nan=True)
    (note,) = requests.notes
    for words in (
        "events ent_delivered (1)",
        "req_id (3)",
        "demand.priority (3)",
        "demand.purpose (3)",
        "demand.staleness_tolerance (1)",
        "demand.latency_budget (1)",
    ):
        assert words in note


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (asked("soon"), ("t is 'soon'",)),
        (asked(None), ("t is None",)),
        (asked(-1.0), ("t is -1.0", "order")),
        (asked(src=""), ("src", "''")),
        (asked(dst="alice"), ("dst is 'alice'", "another")),
        (asked(n=0), ("n is 0", "1 or more")),
        (asked(n=1.5), ("n is 1.5",)),
        (asked(n=True), ("n is True",)),
        (asked(n=10**400), ("n is 1000",)),
        (asked(float("nan")), ("t is nan",)),
        (asked(demand={"min_fidelity": 90}), ("min_fidelity is 90", "0 to 1")),
        (asked(demand={"deadline": 0.1}), ("deadline is 0.1", "0.25 or more")),
        (asked(demand={"deadline": 0.25}), ("should be later",)),
        (asked(demand={"latency_budget": -1}), ("latency_budget is -1",)),
        ({**asked(), "demand": 5}, ("demand is 5",)),
        ({"t": 1.0}, ("kind",)),
    ],
)
def test_a_wrong_event_names_its_row(tmp_path: Path, event: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(QdpemError) as caught:
        read_requests(saved(tmp_path, lines(HEADER, asked(0.0), event), "trace.jsonl"))
    assert all(word in str(caught.value) for word in ("row 3", *words)), str(caught.value)


def test_a_trace_that_is_cut_or_asks_for_no_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QdpemError, match="row 2 is no JSON"):
        read_requests(saved(tmp_path, lines(HEADER, asked())[:-20], "trace.jsonl"))
    sent = {"t": 0.0, "kind": "qubit_sent", "src": "a", "dst": "b", "fidelity": 1.0}
    with pytest.raises(QdpemError, match="no event ent_requested"):
        read_requests(saved(tmp_path, lines(HEADER, sent), "trace.jsonl"))


COLUMNS: dict[str, Any] = {
    "time_s": np.array([3.0, 1.0]),
    "source": np.array([0, 2]),
    "destination": np.array([1, 0]),
    "target_fidelity": np.array([0.9, 0.8]),
    "pairs": np.array([1, 2]),
    "deadline_s": np.array([4.0, 3.5]),
    "application": ["qkd", "computing"],
    "outcome": np.array([1, 1]),
}


def test_columns_of_a_record_come_in_order_of_time_with_names_of_nodes() -> None:
    requests = requests_from_columns(COLUMNS, node_names=np.array(["x", "y", "z"]), origin="a record")
    assert type(requests.source[0]) is str
    assert requests.time_s.tolist() == [1.0, 3.0]
    assert requests.source == ("z", "x")
    assert requests.destination == ("x", "y")
    assert requests.pairs.tolist() == [2.0, 1.0]
    assert requests.patience_s.tolist() == [2.5, 1.0]
    assert requests.application == ("computing", "qkd")
    assert requests.notes == ("not used of a record: outcome",)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"source": [0, 3]}, "source of request 2"),
        ({"source": [0, -1]}, "source of request 2"),
        ({"source": [0, 0.5]}, "source of request 2"),
        ({"pairs": [1]}, "one length"),
        ({"pairs": ["one", 2]}, "column pairs"),
        ({"deadline_s": [4.0, 1.0]}, "patience_s is 0.0"),
        ({"time_s": [3.0, np.nan]}, "time_s is nan"),
        ({"destination": [0, 0]}, "destination is 'x'"),
    ],
)
def test_columns_that_break_a_rule_are_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(QdpemError, match=word):
        requests_from_columns({**COLUMNS, **change}, node_names=("x", "y", "z"), origin="a record")


def test_requests_move_to_the_nodes_of_a_network(tmp_path: Path) -> None:
    requests = read_requests(saved(tmp_path, TABLE))
    mapped = map_request_nodes(requests, ["p", "q"], {"Ost": "p", "Süd": "q", "West": None, "Nord": "p"})
    assert (mapped.source, mapped.destination) == (("p",), ("q",))
    assert mapped.target_fidelity.tolist() == [0.9]
    assert "2 of 3 requests left out" in mapped.notes[-1]
    assert_same(map_request_nodes(requests, ["West", "Süd", "Ost"]), requests)
    with pytest.raises(UnknownNameError, match="Westen"):
        map_request_nodes(requests, ["Westen", "Süd", "Ost"])

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qdpem.events.recorder import MemoryRecorder
from qdpem.events.tables import TABLES, Column, Tables
from qdpem.metrics.breakdowns import repeater_use, series
from qdpem.metrics.definitions import METRICS
from qdpem.metrics.metrics import measure
from tests.helpers.delivery_by import delivery_by

WINDOW = {"start_s": 10.0, "end_s": 20.0}


def code_of(column: Column, value: Any) -> Any:
    return column.words.index(value) if isinstance(value, str) else value


def tables_from(rows: dict[str, list[dict[str, Any]]]) -> Tables:
    """Tables from rows that name only what matters; the rest is 0."""
    recorder = MemoryRecorder()
    for table in TABLES:
        append = recorder.appender(table)
        for row in rows.get(table.name, []):
            assert set(row) <= set(table.names)
            append(tuple(code_of(column, row.get(column.name, 0)) for column in table.columns))
    return recorder.tables()


def request(number: int, time_s: float, **values: Any) -> dict[str, Any]:
    row = {"request": number, "time_s": time_s, "deadline_s": time_s + 1.0, "end_s": time_s + 1.0, "pairs": 1}
    return row | {"fidelity": math.nan, "outcome": "expired", "hops": -1, "destination": 3} | values


def delivered(number: int, time_s: float, latency_s: float, fidelity: float, **values: Any) -> dict[str, Any]:
    row = {"outcome": "delivered", "end_s": time_s + latency_s, "fidelity": fidelity, "pairs_delivered": 1}
    return request(number, time_s, **row | {"hops": 2} | values)


def claim(number: int, time_s: float, end_s: float, **values: Any) -> dict[str, Any]:
    row = {"claim": number, "time_s": time_s, "end_s": end_s, "outcome": "granted", "rival": -1}
    return row | {"kind": "emission", "purpose": "serve"} | values


def by_hand() -> Tables:
    """Five requests in the window [10, 20), one of them open; one before it."""
    return tables_from(
        {
            "links": [
                {"link": 0, "first": 0, "second": 1},
                {"link": 1, "first": 1, "second": 2},
                {"link": 2, "first": 2, "second": 3},
                {"link": 3, "first": 0, "second": 3},
            ],
            "requests": [
                delivered(0, 5.0, 0.2, 0.9),
                delivered(1, 11.0, 0.2, 0.9, source=0, destination=1),
                delivered(2, 12.0, 0.4, 0.8, source=0, destination=2, application="qkd"),
                request(3, 13.0, source=1, destination=3, pairs=2, pairs_delivered=1),
                request(4, 14.0, source=2, destination=3, outcome="low_fidelity", fidelity=0.5),
                request(5, 19.5, source=2, destination=3, outcome="open", end_s=20.0),
            ],
            "claims": [
                claim(0, 9.0, 11.0, contended=1, contended_s=2.0),
                claim(1, 11.0, 12.0, contended=1, contended_s=0.5),
                claim(2, 12.0, 12.5, kind="token", contended=1, contended_s=0.25, node=2),
                claim(3, 12.0, 12.1, kind="token", purpose="stock", node=2),
                claim(
                    4,
                    13.0,
                    14.0,
                    kind="memory",
                    purpose="stock",
                    contended=1,
                    contended_s=1.0,
                    outcome="refused",
                ),
                claim(5, 13.0, 13.5, kind="token", node=1, outcome="withdrawn"),
            ],
            "allocations": [
                {"allocation": 0, "end_s": 12.0, "outcome": "refused", "cause": "stale"},
                {"allocation": 1, "end_s": 12.0, "outcome": "refused", "cause": "pre-emption"},
                {"allocation": 2, "end_s": 13.0, "outcome": "failed_swap"},
                {"allocation": 3, "time_s": 11.1, "request": 1, "end_s": 13.0, "outcome": "done"},
                {"allocation": 4, "end_s": 5.0, "outcome": "refused", "cause": "memory"},
            ],
            "pairs": [
                {"pair": 0, "born_s": 11.0, "first_parent": -1, "outcome": "expired"},
                {"pair": 1, "born_s": 11.0, "first_parent": -1, "outcome": "lost"},
                {"pair": 2, "born_s": 11.0, "first_parent": -1, "outcome": "swapped"},
                {
                    "pair": 3,
                    "born_s": 11.0,
                    "first_parent": -1,
                    "outcome": "delivered",
                    "end_s": 11.2,
                    "fidelity": 0.9,
                    "allocation": 3,
                },
                {"pair": 4, "born_s": 11.5, "first_parent": 0, "outcome": "expired"},
                {"pair": 5, "born_s": 11.5, "link": -1, "first_parent": 2, "outcome": "expired"},
                {"pair": 6, "born_s": 2.0, "first_parent": -1, "outcome": "expired"},
            ],
            "messages": [
                {"time_s": 10.0, "count": 100, "bytes": 1000},
                {"time_s": 11.0, "count": 7, "bytes": 70},
                {"time_s": 20.0, "count": 3, "bytes": 40},
            ],
        }
    )


def test_every_metric_equals_what_was_computed_by_hand() -> None:
    # Arrived 5; measured 4 (the open one's deadline is 20.5). Sources 0, 1, 2 delivered 1, 0, 0 of theirs:
    # Jain (1 + 0 + 0)^2 / (3 * 1) = 1/3. Percentiles of (0.2, 0.4) by linear interpolation.
    expected = {
        "requests_arrived": 5, "requests_measured": 4, "delivery_ratio": 2 / 4, "pairs_ratio": 3 / 5,
        "contended_claims_per_request": 3 / 5, "contended_emission_claims_per_request": 1 / 5,
        "contended_token_claims_per_request": 1 / 5, "contended_memory_claims_per_request": 1 / 5,
        "contended_serve_claims_per_request": 2 / 5, "contended_stock_claims_per_request": 1 / 5,
        "contended_s_per_request": 1.75 / 5, "contended_emission_s_per_request": 0.5 / 5,
        "contended_token_s_per_request": 0.25 / 5, "contended_memory_s_per_request": 1.0 / 5,
        "contended_serve_s_per_request": 0.75 / 5, "contended_stock_s_per_request": 1.0 / 5,
        "refusals_per_request": 3 / 5, "refusals_stale_per_request": 1 / 5,
        "refusals_preemption_per_request": 1 / 5, "refusals_capacity_per_request": 0,
        "refusals_memory_per_request": 0, "refusals_outage_per_request": 0,
        "refusals_other_per_request": 0, "refusals_failed_swap_per_request": 1 / 5,
        "pairs_per_s": 3 / 10, "latency_p50_s": 0.3, "latency_p95_s": 0.39, "delivered_fidelity": 0.85,
        "key_fraction": 0.0, "key_bits_per_s": 0.0, "teleportation_fidelity": 2.8 / 3,
        "computing_delivery_ratio": math.nan, "jain_index": 1 / 3, "pairs_wasted_fraction": 2 / 4,
        "messages_per_request": 10 / 5, "bytes_per_request": 110 / 5,
        # Request 1 waits 0.1 s for its first allocation; the others get none: 0.4, 1.0, 1.0 and 0.5 s.
        "admission_delay_s_per_request": 3.0 / 5, "pair_waiting_s": 0.2, "pair_fidelity": 0.9,
        # Less than 40 pairs say nothing of their own scatter.
        "pair_waiting_error_s": math.nan, "pair_fidelity_error": math.nan,
    }  # fmt: skip
    found = measure(by_hand(), **WINDOW)
    assert list(found) == [metric.name for metric in METRICS]
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_repeating_requests_wait_from_one_pair_to_the_next() -> None:
    """Two lanes side by side that deliver at 10.5, 11.0 and 12.5 s: each makes a pair in twice the gap."""
    tables = tables_from(
        {
            "requests": [request(0, 0.0, repeat_until_deadline="link", pairs=2, deadline_s=1e3)],
            "allocations": [{"allocation": 4, "request": 0, "pairs": 2}],
            "pairs": [
                {
                    "pair": number,
                    "outcome": "delivered",
                    "end_s": end_s,
                    "fidelity": fidelity,
                    "allocation": 4,
                }
                for number, (end_s, fidelity) in enumerate(
                    [(9.5, 0.1), (10.5, 0.8), (11.0, 0.9), (12.5, 0.7)]
                )
            ],
        }
    )
    found = measure(tables, **WINDOW)
    assert found["pair_waiting_s"] == pytest.approx(2 * (1.0 + 0.5 + 1.5) / 3)
    assert found["pair_fidelity"] == pytest.approx(0.8)
    assert found["pairs_per_s"] == pytest.approx(0.3)


def test_a_repeating_request_waits_on_when_its_allocation_ends() -> None:
    """Delivered at 10, 11, 14 and 15 s, the last two by a second allocation: waits of 1, 3 and 1 s."""
    times_s = (10.0, 11.0, 14.0, 15.0)
    tables = tables_from(
        {
            "requests": [request(0, 9.0, repeat_until_deadline="pair", deadline_s=1e3)],
            "allocations": [{"allocation": number, "request": 0, "pairs": 1} for number in (4, 5)],
            "pairs": [
                {
                    "pair": number,
                    "outcome": "delivered",
                    "end_s": end_s,
                    "fidelity": 0.9,
                    "allocation": 4 + number // 2,
                }
                for number, end_s in enumerate(times_s)
            ],
        }
    )
    assert measure(tables, start_s=10.5, end_s=20.0)["pair_waiting_s"] == pytest.approx(5.0 / 3.0)


def test_a_repeating_request_that_was_served_anew_waits_from_its_last_pair() -> None:
    """Allocation 4 ends in an outage; 7 is made at 12 s and delivers at 13: a gap of 2, not of 13 s."""
    made = [(4, 10.5), (4, 11.0), (7, 13.0), (7, 13.5)]
    tables = tables_from(
        {
            "requests": [request(0, 0.0, repeat_until_deadline="pair", deadline_s=1e3)],
            "allocations": [
                {"allocation": 4, "request": 0, "pairs": 1, "time_s": 10.0},
                {"allocation": 7, "request": 0, "pairs": 1, "time_s": 12.0},
            ],
            "pairs": [
                {
                    "pair": number,
                    "outcome": "delivered",
                    "end_s": end_s,
                    "fidelity": 0.8,
                    "allocation": allocation,
                }
                for number, (allocation, end_s) in enumerate(made)
            ],
        }
    )
    assert measure(tables, **WINDOW)["pair_waiting_s"] == pytest.approx((10.5 + 0.5 + 2.0 + 0.5) / 4)


def test_a_repeating_request_has_no_share_of_pairs_and_no_latency() -> None:
    """It asks for no number of pairs, and always ends at its deadline."""
    repeating = delivered(
        0, 11.0, 8.0, 0.9, repeat_until_deadline="pair", pairs_delivered=700, deadline_s=19.0
    )
    alone = measure(tables_from({"requests": [repeating]}), **WINDOW)
    assert alone["delivery_ratio"] == 1.0
    assert math.isnan(alone["pairs_ratio"])
    assert math.isnan(alone["latency_p50_s"])
    beside = measure(tables_from({"requests": [repeating, delivered(1, 11.0, 0.1, 0.9)]}), **WINDOW)
    assert beside["pairs_ratio"] == 1.0
    assert beside["latency_p95_s"] == pytest.approx(0.1)


def test_key_fraction_of_a_werner_state_is_the_bbm92_formula() -> None:
    # A Werner state of fidelity F has error rate q = 2 (1 - F) / 3 in both bases: key 1 - 2 h(q).
    error = 2 * (1 - 0.95) / 3
    entropy = -error * math.log2(error) - (1 - error) * math.log2(1 - error)
    rows = [delivered(0, 11.0, 0.1, 0.95, application="qkd"), delivered(1, 11.0, 0.1, 0.8)]
    found = measure(tables_from({"requests": rows}), **WINDOW)
    assert found["key_fraction"] == pytest.approx(1 - 2 * entropy, abs=1e-12)


def test_each_application_has_its_figure_of_merit() -> None:
    """By hand: h(0.02) = 0.14144, h(1/30) = 0.21084; the window is 10 s long."""
    rows = [
        delivered(0, 11.0, 0.1, 0.97, application="qkd", pairs=4, pairs_delivered=4),
        delivered(1, 12.0, 0.1, 0.95, application="qkd"),
        # Delivered before the window, and not delivered: no bits.
        delivered(2, 5.0, 0.1, 0.99, application="qkd"),
        request(3, 11.0, application="qkd", outcome="expired", end_s=12.0, fidelity=0.99, pairs_delivered=1),
        delivered(4, 11.0, 0.1, 0.7, application="teleportation"),
        delivered(5, 11.0, 0.1, 0.85, application="teleportation"),
        request(6, 11.0, application="teleportation", outcome="expired", end_s=12.0),
        delivered(7, 11.0, 0.1, 0.8, application="computing", pairs=2, pairs_delivered=2),
        request(8, 11.0, application="computing", outcome="expired", pairs=2, pairs_delivered=1, end_s=12.0),
        request(9, 11.0, application="computing", outcome="expired", pairs=2, pairs_delivered=0, end_s=12.0),
    ]
    found = measure(tables_from({"requests": rows}), **WINDOW)
    assert found["key_bits_per_s"] == pytest.approx((4 * (1 - 2 * 0.1414405) + 1 - 2 * 0.2108423) / 10.0)
    assert found["teleportation_fidelity"] == pytest.approx((2.4 / 3 + 2.7 / 3) / 2)
    assert found["computing_delivery_ratio"] == pytest.approx(1 / 3)
    # Nobody asked for keys: that is no number, and not 0.
    alone = measure(tables_from({"requests": rows[4:]}), **WINDOW)
    assert math.isnan(alone["key_bits_per_s"])
    assert measure(tables_from({"requests": rows[3:]}), **WINDOW)["key_bits_per_s"] == 0.0


def test_padding_with_idle_claims_or_allocations_changes_no_contention() -> None:
    tables = by_hand()
    claims, extra = tables["claims"], 1000
    padded = {
        name: np.concatenate([column, np.zeros(extra, column.dtype)]) for name, column in claims.items()
    }
    padded["time_s"][-extra:] = 15.0
    before, after = measure(tables, **WINDOW), measure(tables | {"claims": padded}, **WINDOW)
    assert before == after


def test_a_request_open_at_the_end_is_neither_success_nor_failure() -> None:
    tables = by_hand()
    kept = tables["requests"]["outcome"] != 0
    without = {name: column[kept] for name, column in tables["requests"].items()}
    found, other = measure(tables, **WINDOW), measure(tables | {"requests": without}, **WINDOW)
    assert found["delivery_ratio"] == other["delivery_ratio"]
    assert found["requests_arrived"] == other["requests_arrived"] + 1


def test_missing_tables_and_empty_ones_are_nan_not_errors() -> None:
    kept = {"requests": by_hand()["requests"]}
    found = measure(kept, **WINDOW)
    assert found["delivery_ratio"] == 0.5
    assert math.isnan(found["contended_claims_per_request"])
    assert math.isnan(found["messages_per_request"])
    empty = measure(tables_from({}), **WINDOW)
    assert empty["requests_arrived"] == 0
    assert empty["pairs_per_s"] == 0
    assert math.isnan(empty["delivery_ratio"])
    with pytest.raises(ValueError, match="is empty"):
        measure(kept, start_s=3.0, end_s=3.0)


@settings(max_examples=60, deadline=None)
@example(seed=650)
@given(seed=st.integers(0, 2**32 - 1))
def test_row_order_changes_nothing_and_parts_add_up(seed: int) -> None:
    draw = np.random.default_rng(seed)
    tables = random_tables(draw)
    shuffled = {}
    for name, columns in tables.items():
        order = draw.permutation(len(next(iter(columns.values()))))
        shuffled[name] = {column: values[order] for column, values in columns.items()}
    found, again = measure(tables, **WINDOW), measure(shuffled, **WINDOW)
    assert np.array_equal(list(found.values()), list(again.values()), equal_nan=True)
    for stem in ("claims", "s"):
        total = found[f"contended_{stem}_per_request"]
        kinds = sum(found[f"contended_{word}_{stem}_per_request"] for word in ("emission", "token", "memory"))
        purposes = sum(found[f"contended_{word}_{stem}_per_request"] for word in ("serve", "stock"))
        assert total == pytest.approx(kinds) == pytest.approx(purposes)
    causes = ("other", "stale", "capacity", "memory", "outage", "preemption", "failed_swap")
    refusals = sum(found[f"refusals_{cause}_per_request"] for cause in causes)
    assert found["refusals_per_request"] == pytest.approx(refusals)
    assert 0 <= found["delivery_ratio"] <= 1
    pairs = tables["pairs"]
    born = (pairs["born_s"] >= WINDOW["start_s"]) & (pairs["born_s"] < WINDOW["end_s"])
    # A fraction of no pairs is NaN.
    fresh = bool((born & (pairs["link"] >= 0) & (pairs["first_parent"] < 0)).any())
    assert 0 <= found["pairs_wasted_fraction"] <= 1 if fresh else math.isnan(found["pairs_wasted_fraction"])
    sources = len(np.unique(tables["requests"]["source"]))
    assert math.isnan(found["jain_index"]) or 1 / sources - 1e-12 <= found["jain_index"] <= 1 + 1e-12


def random_tables(draw: np.random.Generator, rows: int = 200) -> Tables:
    """Tables of plausible times and any codes."""
    tables: Tables = {}
    for table in TABLES:
        columns = {}
        for column in table.columns:
            if column.words:
                values = draw.integers(0, len(column.words), rows)
            elif column.dtype == "float64":
                values = draw.uniform(0.0, 30.0, rows)
            else:
                values = draw.integers(-1, 6, rows)
            columns[column.name] = values.astype(column.dtype)
        tables[table.name] = columns
    for table, number in (("requests", "request"), ("allocations", "allocation"), ("pairs", "pair")):
        tables[table][number] = np.arange(rows)
    tables["pairs"]["allocation"] = draw.integers(0, rows, rows)
    tables["allocations"]["request"] = draw.integers(0, rows, rows)
    requests = tables["requests"]
    requests["deadline_s"] = requests["time_s"] + 1.0
    requests["fidelity"] = draw.uniform(0.25, 1.0, rows)
    return tables


def test_delivery_by_application_source_and_distance() -> None:
    tables = by_hand()
    by_application = delivery_by(tables, "application", **WINDOW)
    assert {key: (part.requests, part.delivered) for key, part in by_application.items()} == {
        "teleportation": (3, 1),
        "qkd": (1, 1),
    }
    by_source = delivery_by(tables, "source", **WINDOW)
    assert {key: part.ratio for key, part in by_source.items()} == {"0": 1.0, "1": 0.0, "2": 0.0}
    # Around the ring 0-1-2-3-0: 0-1 one hop, 0-2 two, 1-3 two, 2-3 one.
    by_distance = delivery_by(tables, "distance", **WINDOW)
    assert {key: (part.requests, part.delivered) for key, part in by_distance.items()} == {
        "1": (2, 1),
        "2": (2, 1),
    }
    with pytest.raises(ValueError, match="'colour'"):
        delivery_by(tables, "colour", **WINDOW)  # type: ignore[arg-type]


def test_series_counts_every_arrival_once_and_keeps_a_short_last_bin() -> None:
    curves = series(by_hand(), start_s=10.0, end_s=20.0, bin_s=4.0)
    assert curves["time_s"].tolist() == [10.0, 14.0, 18.0]
    assert curves["arrivals"].tolist() == [3, 1, 1]
    assert curves["delivered"].tolist() == [2, 0, 0]
    assert curves["contended"].tolist() == [3, 0, 0]
    with pytest.raises(ValueError, match="bin_s"):
        series(by_hand(), start_s=10.0, end_s=20.0, bin_s=0.0)


def test_bins_of_a_tenth_of_a_second_lose_nothing_to_rounding() -> None:
    rows = [request(number, 0.1 * number) for number in range(600)]
    curves = series(tables_from({"requests": rows}), start_s=0.0, end_s=60.0, bin_s=0.1)
    assert len(curves["time_s"]) == 600
    assert curves["arrivals"].sum() == 600


def test_repeater_use_counts_granted_tokens_and_all_waiting() -> None:
    use = repeater_use(by_hand(), 4)
    assert use["tokens"].tolist() == [0, 0, 2, 0]
    assert use["claims"].tolist() == [0, 1, 2, 0]
    assert use["wait_s"] == pytest.approx([0.0, 0.5, 0.6, 0.0])
    assert repeater_use(by_hand(), 4, start_s=13.0)["claims"].tolist() == [0, 1, 0, 0]

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qdpem.events.recorder import MemoryRecorder
from qdpem.events.tables import TABLES, Tables
from qdpem.metrics.metrics import measure
from qdpem.metrics.reward import Rewards, rewards
from qdpem.scenario.schema import Reward

WEIGHTS = Reward(delivered=1.0, contended=0.1, expired=0.01)


def reward_tables(**rows: list[dict[str, Any]]) -> Tables:
    recorder = MemoryRecorder()
    for table in TABLES:
        append = recorder.appender(table)
        for row in rows.get(table.name, []):
            values = ((column, row.get(column.name, 0)) for column in table.columns)
            append(tuple(c.words.index(value) if isinstance(value, str) else value for c, value in values))
    return recorder.tables()


def path_rows(allocation: int, *nodes: int) -> list[dict[str, Any]]:
    return [
        {"allocation": allocation, "position": position, "node": node} for position, node in enumerate(nodes)
    ]


def per_site(found: Rewards, nodes: int) -> list[float]:
    return np.bincount(found.site, weights=found.amount, minlength=nodes).tolist()


def delivery() -> Tables:
    return reward_tables(
        requests=[
            {"request": 7, "source": 0, "destination": 3, "end_s": 5.0, "outcome": "delivered"},
            {"request": 8, "source": 1, "destination": 2, "end_s": 4.0, "outcome": "expired"},
        ],
        allocations=[
            {"allocation": 1, "request": 7, "end_s": 3.0, "outcome": "failed_swap"},
            {"allocation": 2, "request": 7, "end_s": 5.0, "outcome": "done"},
            {"allocation": 3, "request": -1, "end_s": 6.0, "outcome": "done", "purpose": "stock"},
        ],
        path_steps=[*path_rows(1, 0, 4, 3), *path_rows(2, 0, 1, 2, 3), *path_rows(3, 4, 5)],
    )


def test_half_goes_to_the_source_and_half_to_the_path_that_delivered() -> None:
    found = rewards(delivery(), weights=WEIGHTS)
    assert per_site(found, 6) == pytest.approx([0.5 + 0.125, 0.125, 0.125, 0.125, 0.0, 0.0])
    assert set(found.time_s.tolist()) == {5.0}


def test_service_from_remote_stock_pays_its_two_ends() -> None:
    tables = delivery()
    for rows in (reward_tables()["path_steps"], reward_tables(path_steps=path_rows(2, 0, 3))["path_steps"]):
        assert per_site(rewards(tables | {"path_steps": rows}, weights=WEIGHTS), 4) == [0.75, 0.0, 0.0, 0.25]


def test_contended_claims_cost_their_site_and_the_rival_once_each() -> None:
    tables = reward_tables(
        claims=[
            {"source": 1, "rival": 2, "contended": 1, "end_s": 3.0},
            {"source": 1, "rival": 1, "contended": 1, "end_s": 2.0},
            {"source": 0, "rival": -1, "contended": 1, "end_s": 1.0},
            {"source": 0, "rival": 2, "contended": 0, "end_s": 1.0},
        ]
    )
    found = rewards(tables, weights=WEIGHTS)
    assert per_site(found, 3) == pytest.approx([-0.1, -0.2, -0.1])
    assert found.time_s.tolist() == [1.0, 2.0, 3.0, 3.0]


def test_only_stock_that_expired_costs_its_owner() -> None:
    tables = reward_tables(
        pairs=[
            {"owner": 2, "outcome": "expired", "end_s": 9.0},
            {"owner": -1, "outcome": "expired", "end_s": 9.0},
            {"owner": 2, "outcome": "swapped", "end_s": 9.0},
            {"owner": 0, "outcome": "lost", "end_s": 9.0},
        ]
    )
    found = rewards(tables, weights=WEIGHTS)
    assert found.site.tolist() == [2]
    assert found.amount.tolist() == [-0.01]
    assert found.time_s.tolist() == [9.0]


def test_no_rows_no_rewards_with_the_right_types() -> None:
    found = rewards(reward_tables(), weights=WEIGHTS)
    assert len(found) == 0
    assert (found.time_s.dtype, found.site.dtype, found.amount.dtype) == (np.float64, np.int64, np.float64)


def test_all_nodes_together_earn_what_the_metrics_count_in_any_row_order() -> None:
    draw = np.random.default_rng(20240611)
    count = 300
    requests = [
        {"request": n, "time_s": 1.0, "deadline_s": 2.0, "end_s": float(draw.integers(1, 4)), "source": n % 7,
         "destination": 7, "outcome": "delivered" if draw.random() < 0.4 else "expired"}
        for n in range(count)
    ]  # fmt: skip
    allocations = [
        {"allocation": n, "request": n, "end_s": 1.5, "outcome": "done"} for n in range(count) if n % 3
    ]
    steps = [row for n in range(count) if n % 3 for row in path_rows(n, n % 7, *range(8, 8 + n % 4), 7)]
    claims = [
        {"time_s": 1.0, "source": n % 5, "rival": n % 4 - 1, "contended": n % 2, "end_s": 2.0}
        for n in range(count)
    ]
    tables = reward_tables(requests=requests, allocations=allocations, path_steps=steps, claims=claims)
    found = rewards(tables, weights=WEIGHTS)
    values = measure(tables, start_s=0.0, end_s=10.0)
    contended = round(values["contended_claims_per_request"] * count)
    rivals = sum(1 for n in range(count) if n % 2 and n % 4 - 1 >= 0 and n % 4 - 1 != n % 5)
    expected = values["delivery_ratio"] * count - 0.1 * (contended + rivals)
    assert found.amount.sum() == pytest.approx(expected)
    assert np.all(np.diff(found.time_s) >= 0)
    shuffled = {}
    for name, columns in tables.items():
        order = draw.permutation(len(next(iter(columns.values()))))
        shuffled[name] = {column: array[order] for column, array in columns.items()}
    again = rewards(shuffled, weights=WEIGHTS)
    assert per_site(again, 12) == pytest.approx(per_site(found, 12), abs=1e-12)
    assert (again.site == found.site).all()

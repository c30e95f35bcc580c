"""Activity of cells, and the gravity model between groups of them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdpem.demand.traces.matrices.gravity import gravity_matrices
from qdpem.demand.traces.matrices.node_activity import NodeActivity, read_node_activity
from qdpem.errors import QdpemError
from tests.helpers.trace_files import saved

ACTIVITY = "time,c1,c2,c3\n2013-11-01T00:00,1,2,3\n2013-11-01T01:00,4,0,6\n"
CELLS = "id,cell,lat,lon\nc1,1,45.30,9.00\nc2,2,45.31,9.00\nc3,3,45.60,9.40\nc9,9,45.9,9.9\n"


def read(folder: Path, activity: str = ACTIVITY, cells: str = CELLS, **options: Any) -> NodeActivity:
    return read_node_activity(
        saved(folder, activity, "hours.csv"), saved(folder, cells, "cells.csv"), **options
    )


def test_cells_are_grouped_by_position(tmp_path: Path) -> None:
    activity = read(tmp_path, unit="calls")
    assert activity.step_s == 3600.0
    assert activity.latitude.tolist() == [45.30, 45.31, 45.60]
    assert activity.longitude.tolist() == [9.00, 9.00, 9.40]
    made = gravity_matrices(activity, nodes=2, generator=np.random.default_rng(0))
    # The far cell has 3 and 6, the other two together 3 and 4: x = a b / (a + b).
    assert made.node_names == ("metro-1", "metro-2")
    assert made.volume[:, 0, 1].tolist() == [9 / 6, 24 / 10]
    assert np.array_equal(made.volume, made.volume.transpose(0, 2, 1))
    assert made.unit == "calls"
    assert "synthetic" in made.notes[-1]


@given(st.integers(0, 89), st.integers(2, 9))
@settings(max_examples=10, deadline=None)
def test_the_total_follows_the_activity_and_seeds_repeat(seed: int, nodes: int) -> None:
    stream = np.random.default_rng(seed)
    activity = NodeActivity(
        node_names=tuple(f"c{cell}" for cell in range(40)),
        time_s=3600.0 * np.arange(5),
        step_s=3600.0,
        activity=np.outer([1, 2, 4, 0, 3], stream.random(40)),
        longitude=9.0 + stream.random(40),
        latitude=45.0 + stream.random(40),
        unit="calls",
        origin="a test",
    )
    made, again = (
        gravity_matrices(activity, nodes=nodes, generator=np.random.default_rng(seed)) for _ in range(2)
    )
    assert np.array_equal(made.volume, again.volume)
    total = made.volume.sum(axis=(1, 2))
    assert np.allclose(total, total[0] * np.array([1, 2, 4, 0, 3]), rtol=1e-12)
    assert total[0] < activity.activity[0].sum()
    # In proportion to a_i a_j: products over crossed pairs are equal.
    x = made.volume[0]
    for i, j, k, m in itertools.permutations(range(min(nodes, 5)), 4):
        assert x[i, j] * x[k, m] == pytest.approx(x[i, m] * x[k, j], rel=1e-9)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_activity_that_breaks_the_rule_is_refused(tmp_path: Path, value: float) -> None:
    made = read(tmp_path)
    wrong = made.activity.copy()
    wrong[1, 2] = value
    with pytest.raises(QdpemError, match="activity of c3"):
        replace(made, activity=wrong)


@pytest.mark.parametrize(
    ("activity", "cells", "words"),
    [
        (ACTIVITY.replace(",c3", ",c4"), CELLS, ("column 4", "'c4'", "cells.csv")),
        (ACTIVITY.replace("4,0,6", "4,-1,6"), CELLS, ("row 3, column 3 (c2)", "'-1'")),
        (ACTIVITY, CELLS.replace("45.31", "95.31"), ("row 3, column 3 (lat)", "'95.31'", "90 degrees")),
        (ACTIVITY, CELLS.replace("9.40", "east"), ("row 4, column 4 (lon)", "'east'")),
        (ACTIVITY, CELLS.replace("c2,2", "c1,2"), ("row 3, column 1 (id)", "'c1'")),
        (ACTIVITY, CELLS.replace("lat", "y"), ("'lat'",)),
    ],
)
def test_a_fault_gets_one_sentence(tmp_path: Path, activity: str, cells: str, words: tuple[str, ...]) -> None:
    with pytest.raises(QdpemError) as caught:
        read(tmp_path, activity, cells)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("nodes", [1, 4])
def test_more_groups_than_places_are_refused(tmp_path: Path, nodes: int) -> None:
    with pytest.raises(QdpemError, match="should be 2 to 3"):
        gravity_matrices(read(tmp_path), nodes=nodes, generator=np.random.default_rng(0))

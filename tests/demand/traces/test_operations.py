"""Operations on traffic matrices: laws that hold for all of them, and the maps to nodes of a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qdpem.demand.traces.matrices.nodes import map_nodes, rank_mapping
from qdpem.demand.traces.matrices.operations import (
    apply_exponent,
    clip_pairs,
    compress_time,
    relative_rates,
    symmetrise,
    window,
)
from qdpem.demand.traces.matrices.traffic_matrices import TrafficMatrices
from qdpem.errors import QdpemError, UnknownNameError
from tests.helpers.trace_files import made_matrices

OFF = 1.0 - np.eye(4)
MATRICES = arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.just(4), st.just(4)),
    # 0 or of ordinary size, as traffic is: no sum of them rounds a term away.
    elements=st.one_of(st.just(0.0), st.floats(1e-6, 1e6)),
).map(lambda volume: made_matrices(volume * OFF, names="abcd"))
FAST = settings(max_examples=50, deadline=None)


@given(MATRICES)
@FAST
def test_symmetric_matrices_keep_the_total_over_unordered_pairs(matrices: TrafficMatrices) -> None:
    both = symmetrise(matrices).volume
    assert np.array_equal(both, both.transpose(0, 2, 1))
    over_pairs = both[:, *np.triu_indices(4, 1)].sum(axis=1)
    assert np.allclose(over_pairs, matrices.volume.sum(axis=(1, 2)), rtol=1e-12)


@given(MATRICES, st.floats(0.01, 1.0))
@FAST
def test_clipping_never_raises_and_keeps_what_is_below(matrices: TrafficMatrices, quantile: float) -> None:
    clipped = clip_pairs(matrices, quantile=quantile)
    assert (clipped.volume <= matrices.volume).all()
    limit = clipped.volume.max(axis=0)
    assert np.array_equal(clipped.volume, np.minimum(matrices.volume, limit))
    assert np.array_equal(clip_pairs(matrices, quantile=1.0).volume, matrices.volume)


@given(MATRICES, st.floats(1e-3, 1e3))
@FAST
def test_a_factor_on_all_cells_changes_no_relative_rate(matrices: TrafficMatrices, factor: float) -> None:
    if not matrices.volume.any():
        with pytest.raises(QdpemError, match="no traffic at all"):
            relative_rates(matrices)
        return
    rates = relative_rates(matrices)
    scaled = relative_rates(made_matrices(matrices.volume * factor, names="abcd"))
    assert np.allclose(rates, scaled, rtol=1e-12, atol=0.0)
    assert rates.sum(axis=(1, 2)).mean() == pytest.approx(1.0)
    assert np.array_equal(relative_rates(compress_time(matrices, 60.0)), rates)


@given(MATRICES, st.permutations(range(4)))
@FAST
def test_mapping_to_other_names_moves_rows_and_columns(matrices: TrafficMatrices, order: list[int]) -> None:
    names = [f"town {number}" for number in range(6)]
    target = dict(zip(matrices.node_names, order, strict=True))
    mapped = map_nodes(matrices, names, {name: names[place] for name, place in target.items()})
    assert mapped.node_names == tuple(names)
    assert np.array_equal(mapped.volume[:, *np.ix_(order, order)], matrices.volume)
    assert mapped.volume.sum() == pytest.approx(matrices.volume.sum(), rel=1e-12)
    assert "4 nodes of traffic mapped to 4 of 6 nodes" in mapped.notes[-1]


def test_the_exponent_flattens() -> None:
    matrices = made_matrices([[[0, 100], [4, 0]]])
    flat = apply_exponent(matrices, 0.5)
    assert flat.volume[0].tolist() == [[0, 10], [2, 0]]
    assert flat.unit == "(Mbit/s)^0.5"
    assert apply_exponent(matrices, 1.0) is matrices


def test_a_window_begins_at_zero_and_time_is_compressed() -> None:
    matrices = made_matrices(np.arange(1.0, 13.0)[:, None, None] * (1 - np.eye(2)))
    part = window(matrices, 600.0, 1501.0)
    assert part.volume[:, 0, 1].tolist() == [3, 4, 5, 6]
    assert part.time_s.tolist() == [0, 300, 600, 900]
    assert "4 intervals from 600 s" in part.notes[-1]
    hour = compress_time(matrices, 60.0)
    assert hour.step_s == 5.0
    assert hour.time_s[-1] == 55.0
    # 3599.9 s compressed by 7 has no exact float: the times still count as regular.
    assert compress_time(compress_time(matrices, 7.0), 1.1).step_s == pytest.approx(300 / 7.7)


@pytest.mark.parametrize(
    "call",
    [
        lambda matrices: clip_pairs(matrices, quantile=0.0),
        lambda matrices: clip_pairs(matrices, quantile=99.9),
        lambda matrices: apply_exponent(matrices, 0.0),
        lambda matrices: apply_exponent(matrices, float("nan")),
        lambda matrices: window(matrices, 600.0, 600.0),
        lambda matrices: window(matrices, 3000.0, 4000.0),
        lambda matrices: compress_time(matrices, -60.0),
        lambda matrices: rank_mapping(matrices, ["x"], [1]),
        lambda matrices: rank_mapping(matrices, ["x", "y", "z"], [1, 2]),
        lambda matrices: map_nodes(matrices, ["n0", "n1"], {"n0": "n0"}),
    ],
)
def test_arguments_without_a_meaning_are_refused(call: Any) -> None:
    with pytest.raises(QdpemError, match="should"):
        call(made_matrices(np.ones((2, 2, 2)) - np.eye(2)))


def test_nodes_of_the_same_name_and_nodes_left_out() -> None:
    matrices = made_matrices([[[0, 1, 2], [3, 0, 4], [5, 6, 0]]], names=("a", "b", "c"))
    same = map_nodes(matrices, ["c", "b", "a"])
    assert same.volume[0].tolist() == [[0, 6, 5], [4, 0, 3], [2, 1, 0]]
    with pytest.raises(UnknownNameError, match="Wiem"):
        map_nodes(matrices, ["Wiem", "b", "c"], {"a": "Wien", "b": "b", "c": "c"})
    part = map_nodes(matrices, ["x", "y"], {"a": "x", "b": "y", "c": None})
    assert part.volume[0].tolist() == [[0, 1], [3, 0]]
    assert "81 % of the total" in part.notes[-1]
    merged = map_nodes(matrices, ["x", "y"], {"a": "x", "b": "y", "c": "y"})
    assert merged.volume[0].tolist() == [[0, 3], [8, 0]]
    assert "47.6 % of the total" in merged.notes[-1]


def test_ranks_pair_the_busiest_with_the_best_connected_and_ties_by_name() -> None:
    matrices = made_matrices([[[0, 1, 0], [1, 0, 9], [0, 9, 0]]], names=("c", "b", "a"))
    mapping = rank_mapping(matrices, ["r", "q", "s", "p"], [2, 2, 5, 1])
    assert mapping == {"b": "s", "a": "q", "c": "r"}
    tied = made_matrices([[[0, 1], [1, 0]]], names=("z", "y"))
    assert rank_mapping(tied, ["v", "u"], [1, 1]) == {"y": "u", "z": "v"}


@pytest.mark.parametrize(
    ("volume", "word"),
    [
        ([[[0, -1], [1, 0]]], "n0>n1"),
        ([[[0, np.nan], [1, 0]]], "n0>n1"),
        ([[[0, np.inf], [1, 0]]], "n0>n1"),
        ([[[0, 1], [1, 2]]], "n1>n1"),
        ([[[0]]], "1 nodes"),
        (np.zeros((0, 2, 2)), "0 intervals"),
        ([[[0, 1, 2], [1, 0, 2]]], "shape"),
    ],
)
def test_matrices_that_break_a_rule_are_refused(volume: Any, word: str) -> None:
    with pytest.raises(QdpemError, match=word):
        made_matrices(volume)

"""The networks: what they compute, what a fresh one chooses, and how options are drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdpem.policies.dpem.networks import (
    ACTOR,
    ACTOR_SIZE,
    FEATURES,
    HEAD,
    Kind,
    flatten,
    initial,
    names,
    orthogonal,
    probabilities,
    sample,
    scores,
    shape_of,
    stacked,
    torch_scores,
    unflatten,
)
from qdpem.rng import stream
from tests.helpers.dpem import random_weights


@pytest.mark.parametrize("kind", Kind)
def test_scores_are_skip_plus_tanh_layer_with_each_nodes_own_weights(kind: Kind) -> None:
    weights, node = random_weights(3), np.array([2, 0, 0, 1])
    features = stream(0, "test/features").normal(size=(4, 5, len(FEATURES[kind])))
    found = scores(weights, "actor", kind, node, features)
    parts = [weights[f"actor_{kind}_{part}"] for part in ("hidden", "bias", "output", "skip")]
    for row, site in enumerate(node.tolist()):
        hidden, bias, output, skip = (part[site] for part in parts)
        for option in range(5):
            x = features[row, option]
            assert found[row, option] == pytest.approx(
                skip @ x + output @ np.tanh(x @ hidden + bias), rel=1e-12
            )


@pytest.mark.parametrize("kind", Kind)
def test_training_and_acting_score_alike(kind: Kind) -> None:
    import torch

    weights = random_weights(3)
    features = stream(0, "test/alike").normal(size=(3, 4, 5, len(FEATURES[kind])))
    tensors = {name: torch.tensor(value) for name, value in weights.items()}
    trained = torch_scores(tensors, "critic", kind, torch.tensor(features)).numpy()
    node = np.repeat(np.arange(3), 4)
    acted = scores(weights, "critic", kind, node, features.reshape(12, 5, -1)).reshape(3, 4, 5)
    assert trained == pytest.approx(acted, rel=1e-12)


@pytest.mark.parametrize("kind", Kind)
def test_scores_of_a_row_do_not_depend_on_its_company(kind: Kind) -> None:
    features = stream(0, "test/company").normal(size=(97, 7, len(FEATURES[kind])))
    weights, every = random_weights(97), np.ones((97, 7), dtype=bool)
    together = probabilities(scores(weights, "actor", kind, np.arange(97), features), every)
    for size in (1, 2, 3, 5, 8, 17):
        for start in range(0, 97 - size, 7):
            rows = np.arange(start, start + size)
            alone = probabilities(scores(weights, "actor", kind, rows, features[rows]), every[rows])
            assert np.array_equal(alone, together[rows])


def test_a_fresh_policy_is_uniform_over_what_the_mask_leaves() -> None:
    weights = stacked(initial("actor", 0, "shared"), nodes=50)
    for kind in Kind:
        generator = stream(0, f"test/fresh/{kind}")
        mask = generator.random((50, 6)) < 0.5
        score = scores(
            weights, "actor", kind, np.arange(50), generator.normal(size=(50, 6, len(FEATURES[kind])))
        )
        count = np.maximum(mask.sum(axis=1, keepdims=True), 1)
        assert probabilities(score, mask) == pytest.approx(mask / count)


@given(st.lists(st.floats(-700.0, 700.0), min_size=1, max_size=6), st.data())
def test_probabilities_are_the_masked_softmax(score: list[float], data: st.DataObject) -> None:
    mask = data.draw(st.lists(st.booleans(), min_size=len(score), max_size=len(score)))
    found = probabilities(np.array([score]), np.array([mask]))[0]
    top = max((value for value, kept in zip(score, mask, strict=True) if kept), default=0.0)
    weight = [math.exp(value - top) if kept else 0.0 for value, kept in zip(score, mask, strict=True)]
    assert found == pytest.approx([value / (sum(weight) or 1.0) for value in weight], rel=1e-12)


def test_sampling_follows_its_probabilities() -> None:
    """20,000 draws, each share within 4.5 standard errors: false alarms below 1e-4 in all."""
    probability = np.array([0.1, 0.0, 0.6, 0.3])
    drawn = sample(np.tile(probability, (20_000, 1)), stream(0, "test/sample").random(20_000))
    fractions = np.bincount(drawn, minlength=4) / 20_000
    assert fractions[1] == 0.0
    assert np.all(np.abs(fractions - probability) <= 4.5 * np.sqrt(probability * (1 - probability) / 20_000))


def test_a_sum_that_rounds_below_the_draw_takes_the_last_possible_option() -> None:
    probability = np.array([[0.5, 0.5 - 1e-16, 0.0]])
    assert sample(probability, np.array([1.0])).tolist() == [1]


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (5, 5)])
def test_first_weights_are_orthonormal(shape: tuple[int, int]) -> None:
    matrix = orthogonal(shape, generator=stream(0, "test/orthogonal"))
    gram = matrix.T @ matrix if shape[0] >= shape[1] else matrix @ matrix.T
    assert matrix.shape == shape
    assert gram == pytest.approx(np.eye(min(shape)), abs=1e-12)


@pytest.mark.parametrize("parts", [ACTOR, names("actor", Kind, HEAD)])
def test_flat_weights_come_back_as_they_were(parts: tuple[str, ...]) -> None:
    weights = random_weights(3)
    rows = flatten(weights, parts)
    assert rows.shape == (3, sum(math.prod(shape_of(name)) for name in parts))
    assert rows.shape[1] <= ACTOR_SIZE
    for node in range(3):
        for name, value in unflatten(rows[node], parts).items():
            assert np.array_equal(value, weights[name][node])

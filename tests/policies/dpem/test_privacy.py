"""Privacy against other accountants and published forms; the clip and the noise against their laws."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qdpem.errors import StudyError
from qdpem.policies.dpem.training.federation.aggregate import PrivateAggregate, aggregate_privately, clip
from qdpem.policies.dpem.training.federation.participation import attendance
from qdpem.policies.dpem.training.federation.privacy import (
    PrivacyBudget,
    delta_of,
    epsilon_of,
    noise_multiplier,
)
from qdpem.policies.dpem.training.federation.statement import statement_of
from qdpem.scenario.schema import Training


def aggregated(
    updates: np.ndarray, *, clip_norm: float, budget: PrivacyBudget, seed: int = 0, **settings: Any
) -> PrivateAggregate:
    """One round of `updates` in which every node takes part."""
    training = Training(clip_norm=clip_norm, epsilon=budget.epsilon, **settings)
    present = attendance(training.participation, nodes=len(updates), seed=seed, round_number=budget.spent)
    return aggregate_privately(
        updates, settings=training, attendance=present, budget=budget, seed=seed, round_number=budget.spent
    )


@pytest.mark.parametrize(("z", "rounds"), [(2.1, 20), (7.3, 50), (3.4, 50), (10.0, 100)])
def test_epsilon_equals_numerical_composition_of_dp_accounting(z: float, rounds: int) -> None:
    from dp_accounting.pld import privacy_loss_distribution

    once = privacy_loss_distribution.from_gaussian_mechanism(z, value_discretization_interval=1e-3)
    other = once.self_compose(rounds).get_epsilon_for_delta(1e-3)
    ours = epsilon_of(z, rounds=rounds, delta=1e-3)
    # Theirs is a pessimistic estimate: never below the exact value.
    assert other * (1 - 0.01) <= ours <= other + 1e-9


def test_delta_equals_the_closed_form_in_high_precision_points() -> None:
    """Balle and Wang 2018, theorem 8, by the error function of the standard library."""
    for epsilon in (0.1, 1.0, 3.0):
        for mu in (0.3, 1.0, 2.5):
            low, high = -epsilon / mu - mu / 2, -epsilon / mu + mu / 2
            normal = [0.5 * math.erfc(-x / math.sqrt(2)) for x in (high, low)]
            assert delta_of(epsilon, mu=mu) == pytest.approx(
                normal[0] - math.exp(epsilon) * normal[1], rel=1e-9
            )


@given(st.floats(0.3, 20.0), st.integers(1, 200), st.sampled_from([1e-3, 1e-5]))
def test_the_noise_found_spends_the_budget_and_no_more(epsilon: float, rounds: int, delta: float) -> None:
    z = noise_multiplier(epsilon=epsilon, delta=delta, rounds=rounds)
    assert epsilon_of(z, rounds=rounds, delta=delta) <= epsilon * (1 + 1e-9)
    assert epsilon_of(z * 0.999, rounds=rounds, delta=delta) > epsilon


def test_more_rounds_cost_more_and_none_cost_nothing() -> None:
    spent = [epsilon_of(4.0, rounds=rounds, delta=1e-3) for rounds in range(30)]
    assert spent[0] == 0.0
    assert all(later >= earlier for earlier, later in itertools.pairwise(spent))
    assert noise_multiplier(epsilon=math.inf, delta=1e-3, rounds=5) == 0.0
    assert epsilon_of(0.0, rounds=3, delta=1e-3) == math.inf


def test_a_budget_refuses_a_round_too_many() -> None:
    everyone = np.ones(3, dtype=bool)
    budget = PrivacyBudget(epsilon=8.0, delta=1e-3, rounds=2).spend(everyone).spend(everyone)
    assert budget.epsilon_spent == pytest.approx(8.0, rel=1e-9)
    with pytest.raises(StudyError, match="all 2 rounds"):
        budget.spend(everyone)


def test_the_statement_says_all_it_must() -> None:
    budget = PrivacyBudget(epsilon=8.0, delta=1e-3, rounds=20, reports=(20,) * 50)
    said = statement_of(budget, Training(clip_norm=0.5), nodes=50, rounds=20)
    for words in (
        "(8, 0.001)",
        "client level",
        "zero-out",
        "central Gaussian noise",
        "trusted",
        "every one of 20 rounds",
        "does not",
        "who knows the seed",
    ):
        assert words in said
    half = PrivacyBudget(epsilon=8.0, delta=1e-3, rounds=20, reports=(5, 10))
    said = statement_of(half, Training(noise="client", noise_source="system"), nodes=2, rounds=40)
    spent = epsilon_of(half.noise_multiplier, rounds=10, delta=1e-3)
    for words in (
        f"({spent:.4g}, 0.001)",
        "at most 10 of 40 rounds",
        "need not be trusted",
        "operating system",
    ):
        assert words in said
    assert "central" not in said
    none = Training(epsilon=math.inf, aggregation="coordinate-median")
    said = statement_of(PrivacyBudget(epsilon=math.inf, delta=1e-3, rounds=2), none, nodes=50, rounds=2)
    assert "No differential privacy" in said
    assert "coordinate median" in said


@given(arrays(np.float64, (5, 7), elements=st.floats(-1e6, 1e6)), st.floats(1e-3, 1e3))
def test_clipping_bounds_lengths_and_keeps_directions(updates: np.ndarray, norm: float) -> None:
    clipped = clip(updates, norm=norm)
    before, after = np.linalg.norm(updates, axis=1), np.linalg.norm(clipped, axis=1)
    assert np.all(after <= norm * (1 + 1e-12))
    assert np.allclose(after, np.minimum(before, norm))
    assert np.allclose(clipped * before[:, None], updates * after[:, None], rtol=1e-9, atol=1e-9)


def test_a_zero_update_stays_zero() -> None:
    assert not clip(np.zeros((2, 3)), norm=1.0).any()


def test_without_noise_sharing_is_the_mean_of_clipped_updates() -> None:
    updates = np.array([[3.0, 4.0], [0.0, 0.1]])
    shared = aggregated(
        updates, clip_norm=1.0, budget=PrivacyBudget(epsilon=math.inf, delta=1e-3, rounds=1), seed=0
    )
    assert np.allclose(shared.average, [0.3, 0.45])
    assert shared.clipped_fraction == 0.5
    assert (shared.bytes_up, shared.bytes_down) == (2 * 2 * 4, 2 * 2 * 4)
    assert shared.budget.spent == 1


def test_the_noise_has_the_deviation_the_budget_asks_for() -> None:
    """Chi-squared on 40,000 coordinates, two-sided at 4.5 standard errors: false alarms about 1e-5."""
    size, nodes, clip_norm = 40_000, 50, 0.5
    budget = PrivacyBudget(epsilon=8.0, delta=1e-3, rounds=20)
    shared = aggregated(np.zeros((nodes, size)), clip_norm=clip_norm, budget=budget, seed=4)
    expected = budget.noise_multiplier * clip_norm / nodes
    ratio = float(np.mean(shared.average**2)) / expected**2
    assert abs(ratio - 1.0) < 4.5 * math.sqrt(2.0 / size)
    assert abs(float(shared.average.mean())) < 4.5 * expected / math.sqrt(size)


def test_noise_differs_between_rounds_and_repeats_for_one() -> None:
    first = PrivacyBudget(epsilon=8.0, delta=1e-3, rounds=4)
    updates = np.zeros((3, 5))
    one = aggregated(updates, clip_norm=1.0, budget=first, seed=0)
    again = aggregated(updates, clip_norm=1.0, budget=first, seed=0)
    other = aggregated(updates, clip_norm=1.0, budget=one.budget, seed=0)
    assert np.array_equal(one.average, again.average)
    assert not np.allclose(one.average, other.average)


def test_an_update_that_is_not_finite_is_named() -> None:
    updates = np.zeros((3, 2))
    updates[1, 0] = np.nan
    with pytest.raises(StudyError, match="node 1"):
        aggregated(updates, clip_norm=1.0, budget=PrivacyBudget(epsilon=8.0, delta=1e-3, rounds=4), seed=0)

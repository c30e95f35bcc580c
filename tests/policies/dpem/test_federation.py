"""Who reports, what hostile nodes report, and what each rule of aggregation makes of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

from qdpem.errors import ScenarioError
from qdpem.policies.dpem.networks import Kind
from qdpem.policies.dpem.training.federation.aggregate import aggregate_privately
from qdpem.policies.dpem.training.federation.hostile import hostile_nodes, poisoned
from qdpem.policies.dpem.training.federation.noise import noise_of
from qdpem.policies.dpem.training.federation.participation import attendance, most_rounds
from qdpem.policies.dpem.training.federation.privacy import PrivacyBudget
from qdpem.policies.dpem.training.federation.rules import combine
from qdpem.rng import stream
from qdpem.scenario.schema import Training
from qdpem.scenario.tables.federation import Hostile, Participation, Turnover
from qdpem.scenario.words import Aggregation, NoiseSource
from tests.helpers.dpem import random_experience, tiny_scenario

RULES = list(Aggregation)


def aggregated(updates: np.ndarray, *, epsilon: float = math.inf, rounds: int = 1, **settings: Any) -> Any:
    training = Training(epsilon=epsilon, **{"clip_norm": 1.0, **settings})
    present = attendance(training.participation, nodes=len(updates), seed=0, round_number=0)
    budget = PrivacyBudget(epsilon=epsilon, delta=1e-3, rounds=rounds)
    return aggregate_privately(
        updates, settings=training, attendance=present, budget=budget, seed=0, round_number=0
    )


@pytest.mark.parametrize("count", [1, 4, 11])
def test_rules_equal_those_of_scipy_and_do_not_depend_on_the_order_of_nodes(count: int) -> None:
    reports = 10.0 * stream(count, "test/rules").standard_cauchy(size=(count, 7))
    others = {
        Aggregation.MEAN: reports.mean(axis=0),
        Aggregation.TRIMMED_MEAN: scipy.stats.trim_mean(reports, 0.2, axis=0),
        Aggregation.COORDINATE_MEDIAN: np.median(reports, axis=0),
    }
    for rule, other in others.items():
        settings = {"trimmed_share": 0.2, "expected": float(count)}
        assert combine(reports, rule, **settings) == pytest.approx(other, abs=1e-9)
        assert combine(reports[::-1], rule, **settings) == pytest.approx(other, abs=1e-9)


@pytest.mark.parametrize("scale", [1e3, 1e9])
def test_a_robust_rule_keeps_the_direction_that_the_mean_loses(scale: float) -> None:
    """Twenty nodes that agree up to small noise; four of them point back, as far as the clip lets them."""
    generator, direction = stream(0, "test/robust"), np.ones(5) / math.sqrt(5.0)
    updates = 0.05 * direction + 0.01 * generator.normal(size=(20, 5))
    hostile = {"share": 0.2, "attack": "sign-flip", "scale": scale}
    plain = {rule: aggregated(updates, aggregation=rule).average for rule in RULES}
    for rule in RULES:
        cost = np.linalg.norm(plain[rule] - updates.mean(axis=0))
        assert cost < 1e-2
        attacked = aggregated(updates, aggregation=rule, hostile=hostile).average
        assert (attacked @ direction > 0.5 * plain[rule] @ direction) == (rule != Aggregation.MEAN)


def test_the_clip_bounds_what_one_hostile_node_can_do_to_the_mean() -> None:
    updates = 0.1 * stream(0, "test/bound").normal(size=(10, 4))
    plain = aggregated(updates).average
    attacked = aggregated(updates, hostile={"share": 0.1, "attack": "scaled", "scale": 1e12}).average
    assert 0.0 < np.linalg.norm(attacked - plain) <= 2.0 / 10 + 1e-12


def test_hostile_nodes_are_as_many_as_asked_and_a_poisoned_reward_is_theirs_alone() -> None:
    for share, count in ((0.0, 0), (0.05, 1), (0.1, 2), (0.2, 4)):
        assert hostile_nodes(Hostile(share=share), nodes=20, seed=3).sum() == count
    hostile = Hostile(share=0.25, attack="poisoned-reward", scale=3.0)
    chosen = hostile_nodes(hostile, nodes=4, seed=0)
    before = {kind: random_experience(kind, sites=np.tile(np.arange(4), 3)) for kind in Kind}
    after = poisoned(before, hostile, nodes=4, seed=0)
    for kind in Kind:
        factor = np.where(chosen[before[kind].site], -3.0, 1.0)
        assert np.array_equal(after[kind].gain, factor * before[kind].gain)
        assert np.array_equal(after[kind].features, before[kind].features)
    same = poisoned(before, Hostile(share=0.25, attack="scaled"), nodes=4, seed=0)
    assert all(np.array_equal(same[kind].gain, before[kind].gain) for kind in Kind)


@pytest.mark.parametrize("rule", ["trimmed-mean", "coordinate-median"])
def test_noise_on_a_sum_is_refused_for_a_rule_that_is_no_mean(rule: str) -> None:
    with pytest.raises(ScenarioError, match="no guarantee of epsilon = 8"):
        tiny_scenario(f"training.aggregation='{rule}'")
    for allowed in ("training.epsilon=inf", "training.noise='client'"):
        assert tiny_scenario(f"training.aggregation='{rule}'", allowed).training.aggregation == rule


def test_client_noise_has_the_deviation_the_budget_asks_for_at_every_node() -> None:
    """The mean of N reports has z C / sqrt(N). Chi-squared, two-sided at 4.5 standard errors: about 1e-5.

    The bound on reports shortens about half of them, by a part in sqrt(2 size) or less.
    """
    nodes, size = 10, 20_000
    shared = aggregated(np.zeros((nodes, size)), epsilon=8.0, rounds=20, noise="client")
    z = PrivacyBudget(epsilon=8.0, delta=1e-3, rounds=20).noise_multiplier
    ratio = float(np.mean(shared.average**2)) * nodes / z**2
    assert abs(ratio - 1.0) < 4.5 * math.sqrt(2.0 / size) + 2.0 / math.sqrt(2.0 * size)


def test_noise_of_the_system_is_normal_and_never_the_same() -> None:
    """Kolmogorov-Smirnov at a false-alarm rate of 1e-6."""
    one, two = (noise_of(NoiseSource.SYSTEM, (50, 40), seed=0, round_number=0) for _ in range(2))
    assert one.shape == (50, 40)
    assert not np.array_equal(one, two)
    assert np.isfinite(one).all()
    assert scipy.stats.kstest(one.ravel(), "norm").pvalue > 1e-6


def presences(participation: Participation, *, nodes: int = 40, rounds: int = 200) -> list[Any]:
    return [attendance(participation, nodes=nodes, seed=1, round_number=number) for number in range(rounds)]


def test_a_fixed_size_is_met_in_every_round_and_poisson_sampling_is_binomial() -> None:
    """Counts of 200 rounds of 40 nodes against the binomial law, two-sided at 4.5 standard errors."""
    fixed = presences(Participation(share=0.25))
    assert {int(item.asked.sum()) for item in fixed} == {10}
    assert {item.expected for item in fixed} == {10.0}
    poisson = presences(Participation(share=0.25, sampling="poisson"))
    counts = np.array([item.asked.sum() for item in poisson])
    assert abs(counts.mean() - 10.0) < 4.5 * math.sqrt(40 * 0.25 * 0.75 / 200)
    assert abs(counts.var() / 7.5 - 1.0) < 4.5 * math.sqrt(2.0 / 200)
    for item in poisson:
        assert item.expected == 10.0
    everyone = presences(Participation(), rounds=3)
    assert all(item.arrived.all() for item in everyone)


def test_stragglers_and_failures_are_left_out_and_only_stragglers_send() -> None:
    items = presences(Participation(straggler_probability=0.3, failure_probability=0.1))
    for item in items:
        assert not (item.sent & ~item.asked).any()
        assert not (item.arrived & ~item.sent).any()
    sent = np.mean([item.sent.mean() for item in items])
    arrived = np.mean([item.arrived.mean() for item in items])
    # 8,000 draws at 4.5 standard errors.
    assert abs(sent - 0.9) < 4.5 * math.sqrt(0.9 * 0.1 / 8000)
    assert abs(arrived - 0.63) < 4.5 * math.sqrt(0.63 * 0.37 / 8000)


def test_nodes_join_and_leave_at_their_round_and_no_node_does_both() -> None:
    settings = Participation(joiners=Turnover(share=0.25, round=3), leavers=Turnover(share=0.5, round=5))
    learns = np.array([item.learns for item in presences(settings, nodes=8, rounds=8)])
    assert learns.sum(axis=1).tolist() == [6, 6, 6, 8, 8, 4, 4, 4]
    late, early = ~learns[0], ~learns[7]
    assert not (late & early).any()
    for item in presences(settings, nodes=8, rounds=8):
        assert not (item.asked & ~item.learns).any()
    with pytest.raises(ValueError, match="sum to more than 1"):
        Participation(joiners=Turnover(share=0.6), leavers=Turnover(share=0.6))


def test_nothing_is_published_or_spent_in_a_round_without_an_aggregator_or_reports() -> None:
    for participation in ({"outage_rounds": [0]}, {"failure_probability": 1.0}):
        silent = aggregated(np.ones((4, 3)), epsilon=8.0, rounds=2, participation=participation)
        assert silent.average is None
        assert silent.budget.spent == 0
        assert silent.bytes_up == 0
        assert silent.bytes_down == (0 if "outage_rounds" in participation else 4 * 3 * 4)
    late = aggregated(np.ones((4, 3)), participation={"straggler_probability": 1.0})
    assert (late.average, late.bytes_up) == (None, 4 * 3 * 4)


def test_what_is_absent_counts_zero_in_the_mean() -> None:
    updates = np.ones((40, 1)) * 0.5
    shared = aggregated(updates, participation={"share": 0.5, "straggler_probability": 0.5})
    assert shared.average == pytest.approx([0.5 * len(shared.norms) / 20.0])
    assert 0 < len(shared.norms) < 20


@pytest.mark.parametrize("sampling", ["fixed-size", "poisson"])
def test_the_noise_is_set_for_the_node_that_reports_most_often(sampling: str) -> None:
    participation = Participation(share=0.2, sampling=sampling)
    asked = np.sum([item.asked for item in presences(participation, rounds=30)], axis=0)
    most = most_rounds(participation, nodes=40, seed=1, rounds=30)
    assert most == asked.max() < 30
    budget = PrivacyBudget(epsilon=8.0, delta=1e-3, rounds=most)
    for item in presences(participation, rounds=30):
        budget = budget.spend(item.arrived)
    assert budget.reports == tuple(asked.tolist())
    assert budget.epsilon_spent == pytest.approx(8.0, rel=1e-9)
    assert most_rounds(participation, nodes=40, seed=1, rounds=0) == 1

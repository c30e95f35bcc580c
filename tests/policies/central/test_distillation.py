"""Rounds for each link, against all plans for a path of four links."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from physics.plans import compact_rounds
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.distillation import LoadedPath, add_rounds, remove_surplus
from qdpem.policies.routing.path_evaluation import PathEvaluator
from qdpem.policies.routing.path_features import path_features
from qdpem.policy.interface import Context

Build = Callable[..., Any]
CHAIN = [(0, 1), (1, 2), (2, 3), (3, 4)]
PLANS = list(product(range(3), repeat=4))


def chain(made_context: Build, seed: int, depolarising_s: float = 1e6) -> tuple[Context, LoadedPath]:
    """Four links of different fidelity between sources of different rate."""
    draw = np.random.default_rng(seed)
    context = made_context(
        CHAIN,
        repeater_hz=[5.0] * 5,
        fidelity=draw.uniform(0.85, 0.99, 4),
        source_hz=draw.uniform(20.0, 500.0, 5),
        depolarising_s=depolarising_s,
    )
    features = path_features(context.routes.paths(0, 4), context)
    return context, LoadedPath(features, 0, features.waits(Backlog.idle(context.network)))


def fewer(plan: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All plans with one round fewer."""
    return [(*plan[:hop], plan[hop] - 1, *plan[hop + 1 :]) for hop in range(4) if plan[hop]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), target=st.floats(0.5, 0.95), age_s=st.sampled_from([0.0, 0.5]))
def test_no_remaining_round_is_surplus(seed: int, target: float, age_s: float, made_context: Build) -> None:
    context, loaded = chain(made_context, seed)
    estimates = context.estimates
    believed = {
        plan: estimates.fidelity(loaded.path, rounds=compact_rounds(plan), age_s=age_s) for plan in PLANS
    }
    rounds = next((number for number in range(3) if believed[(number,) * 4] >= target), None)
    if rounds is None:
        return
    remaining = remove_surplus(loaded, (rounds,) * 4, lambda plan: believed[plan] >= target)
    assert believed[remaining] >= target
    assert all(believed[plan] < target for plan in fewer(remaining))
    best_s = min(loaded.expected_delay_s(plan) for plan in PLANS if believed[plan] >= target)
    assert best_s <= loaded.expected_delay_s(remaining) <= loaded.expected_delay_s((rounds,) * 4)


def test_surplus_is_removed_from_the_slowest_link_first(made_context: Build) -> None:
    """Links of equal fidelity: the surplus round is removed where it takes longest."""
    context = made_context(
        CHAIN, repeater_hz=[5.0] * 5, fidelity=0.95, source_hz=(500.0, 500.0, 5.0, 5.0, 500.0)
    )
    features = path_features(context.routes.paths(0, 4), context)
    loaded = LoadedPath(features, 0, features.waits(Backlog.idle(context.network)))
    estimates = context.estimates
    target = estimates.fidelity(loaded.path, rounds=(1, 1, 0, 1)) - 1e-6
    remaining = remove_surplus(
        loaded, (1, 1, 1, 1), lambda plan: estimates.fidelity(loaded.path, rounds=plan) >= target
    )
    assert remaining == (1, 1, 0, 1)
    assert loaded.expected_delay_s(remaining) < 0.8 * loaded.expected_delay_s((1, 1, 1, 1))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_each_added_round_gains_most_for_its_pairs(seed: int, made_context: Build) -> None:
    context, loaded = chain(made_context, seed)
    estimates = context.estimates

    def fidelity(rounds: Any) -> float:
        return estimates.fidelity(loaded.path, rounds=rounds)

    plans = list(add_rounds(loaded, fidelity))
    assert plans[0] == (0, 0, 0, 0)
    assert [sum(plan) for plan in plans] == list(range(9))
    for before, after in pairwise(plans):
        assert before in fewer(after)
        gains = {
            plan: (fidelity(plan) - fidelity(compact_rounds(before)))
            / (loaded.fresh_pairs(plan).sum() - loaded.fresh_pairs(before).sum())
            for plan in PLANS
            if before in fewer(plan)
        }
        assert gains[after] == pytest.approx(max(gains.values()), abs=2e-9)


def test_equal_links_are_distilled_in_turn(made_context: Build) -> None:
    """A second round on Werner pairs gains more than the first, but takes twice its pairs."""
    context = made_context(CHAIN, repeater_hz=[5.0] * 5, fidelity=0.93)
    features = path_features(context.routes.paths(0, 4), context)
    loaded = LoadedPath(features, 0, features.waits(Backlog.idle(context.network)))
    estimates = context.estimates
    for plan in add_rounds(loaded, lambda rounds: estimates.fidelity(loaded.path, rounds=rounds)):
        assert max(plan) - min(plan) <= 1


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_uniform_rounds_agree_with_the_path_features(rounds: int, made_context: Build) -> None:
    context, loaded = chain(made_context, 3)
    features = path_features(context.routes.paths(0, 4), context)
    backlog = Backlog.idle(context.network)
    assert loaded.expected_delay_s((rounds,) * 4) == pytest.approx(
        float(features.expected_delay_s(backlog)[rounds, 0]), rel=1e-12
    )
    assert (loaded.fresh_pairs((rounds,) * 4) == features.fresh_pairs[rounds, 0]).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), target=st.floats(0.6, 0.95), storage_fraction=st.sampled_from([0.0, 0.3]))
@example(
    seed=44, target=0.8, storage_fraction=0.3
)  # Rounds (2, 2, 1, 0) are added, and (2, 2, 0, 0) suffice.
def test_a_path_is_distilled_for_the_assumed_storage_and_no_more(
    seed: int, target: float, storage_fraction: float, made_context: Build
) -> None:
    """Memories of 1e6 s are too good for ages to matter, so these have 2 s."""
    context, loaded = chain(made_context, seed, depolarising_s=2.0)
    estimates, backlog = context.estimates, Backlog.idle(context.network)

    def meets(plan: tuple[int, ...]) -> bool:
        age_s = storage_fraction * loaded.expected_delay_s(plan)
        return estimates.fidelity(loaded.path, rounds=compact_rounds(plan), age_s=age_s) >= target

    route = PathEvaluator(context, storage_fraction=storage_fraction).with_distillation(
        loaded.path.nodes, backlog, target_fidelity=target
    )
    if route is None:
        assert not meets((2, 2, 2, 2))
        return
    plan = tuple(route.plan.rounds_on(hop) for hop in range(4))
    assert route.expected_delay_s == pytest.approx(loaded.expected_delay_s(plan), rel=1e-12)
    assert route.fresh_pairs.tolist() == loaded.fresh_pairs(plan).tolist()
    if meets(plan):
        assert storage_fraction == 0.0 or not any(map(meets, fewer(plan)))
    else:
        # No plan in the sequence survives the storage, so this one is for fresh pairs.
        assert estimates.fidelity(loaded.path, rounds=compact_rounds(plan)) >= target
        assert not meets((2, 2, 2, 2))

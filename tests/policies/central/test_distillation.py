"""Rounds for each link, against every plan there is for a path of four links."""

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
    """Four links of unlike purity between sources of unlike rate."""
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


def fewer(each: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All plans with one round less."""
    return [(*each[:hop], each[hop] - 1, *each[hop + 1 :]) for hop in range(4) if each[hop]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), target=st.floats(0.5, 0.95), age_s=st.sampled_from([0.0, 0.5]))
def test_no_round_of_what_is_left_can_be_spared(
    seed: int, target: float, age_s: float, made_context: Build
) -> None:
    context, loaded = chain(made_context, seed)
    estimates = context.estimates
    believed = {
        each: estimates.fidelity(loaded.path, rounds=compact_rounds(each), age_s=age_s) for each in PLANS
    }
    rounds = next((one for one in range(3) if believed[(one,) * 4] >= target), None)
    if rounds is None:
        return
    found = remove_surplus(loaded, (rounds,) * 4, lambda each: believed[each] >= target)
    assert believed[found] >= target
    assert all(believed[one] < target for one in fewer(found))
    best_s = min(loaded.expected_delay_s(each) for each in PLANS if believed[each] >= target)
    assert best_s <= loaded.expected_delay_s(found) <= loaded.expected_delay_s((rounds,) * 4)


def test_the_slow_link_is_spared_first(made_context: Build) -> None:
    """Equally pure links: the round that the target can do without is left out where it takes longest."""
    context = made_context(
        CHAIN, repeater_hz=[5.0] * 5, fidelity=0.95, source_hz=(500.0, 500.0, 5.0, 5.0, 500.0)
    )
    features = path_features(context.routes.paths(0, 4), context)
    loaded = LoadedPath(features, 0, features.waits(Backlog.idle(context.network)))
    estimates = context.estimates
    target = estimates.fidelity(loaded.path, rounds=(1, 1, 0, 1)) - 1e-6
    found = remove_surplus(
        loaded, (1, 1, 1, 1), lambda each: estimates.fidelity(loaded.path, rounds=each) >= target
    )
    assert found == (1, 1, 0, 1)
    assert loaded.expected_delay_s(found) < 0.8 * loaded.expected_delay_s((1, 1, 1, 1))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_each_round_added_gains_most_for_its_pairs(seed: int, made_context: Build) -> None:
    context, loaded = chain(made_context, seed)
    estimates = context.estimates

    def fidelity(rounds: Any) -> float:
        return estimates.fidelity(loaded.path, rounds=rounds)

    plans = list(add_rounds(loaded, fidelity))
    assert plans[0] == (0, 0, 0, 0)
    assert [sum(each) for each in plans] == list(range(9))
    for before, after in pairwise(plans):
        assert before in fewer(after)
        gains = {
            each: (fidelity(each) - fidelity(compact_rounds(before)))
            / (loaded.fresh_pairs(each).sum() - loaded.fresh_pairs(before).sum())
            for each in PLANS
            if before in fewer(each)
        }
        assert gains[after] == pytest.approx(max(gains.values()), abs=2e-9)


def test_links_alike_are_distilled_in_turn(made_context: Build) -> None:
    """A second round on Werner pairs gains more than the first, but takes twice its pairs."""
    context = made_context(CHAIN, repeater_hz=[5.0] * 5, fidelity=0.93)
    features = path_features(context.routes.paths(0, 4), context)
    loaded = LoadedPath(features, 0, features.waits(Backlog.idle(context.network)))
    estimates = context.estimates
    for each in add_rounds(loaded, lambda rounds: estimates.fidelity(loaded.path, rounds=rounds)):
        assert max(each) - min(each) <= 1


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_alike_on_all_links_a_way_is_the_option(rounds: int, made_context: Build) -> None:
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
)  # Rounds (2, 2, 1, 0) are added, and (2, 2, 0, 0) will do.
def test_a_way_is_purified_for_the_wait_that_is_believed_and_no_more(
    seed: int, target: float, storage_fraction: float, made_context: Build
) -> None:
    """Memories of 1e6 s are too good to tell ages apart, so they are given 2 s here."""
    context, loaded = chain(made_context, seed, depolarising_s=2.0)
    estimates, backlog = context.estimates, Backlog.idle(context.network)

    def meets(each: tuple[int, ...]) -> bool:
        age_s = storage_fraction * loaded.expected_delay_s(each)
        return estimates.fidelity(loaded.path, rounds=compact_rounds(each), age_s=age_s) >= target

    found = PathEvaluator(context, storage_fraction=storage_fraction).with_distillation(
        loaded.path.nodes, backlog, target_fidelity=target
    )
    if found is None:
        assert not meets((2, 2, 2, 2))
        return
    each = tuple(found.plan.rounds_on(hop) for hop in range(4))
    assert found.expected_delay_s == pytest.approx(loaded.expected_delay_s(each), rel=1e-12)
    assert found.fresh_pairs.tolist() == loaded.fresh_pairs(each).tolist()
    if meets(each):
        assert storage_fraction == 0.0 or not any(map(meets, fewer(each)))
    else:
        # No plan on the loaded there bears the wait: this one is for pairs that do not wait.
        assert estimates.fidelity(loaded.path, rounds=compact_rounds(each)) >= target
        assert not meets((2, 2, 2, 2))

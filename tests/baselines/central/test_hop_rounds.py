"""Rounds for each link, against every plan there is for a path of four links."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physics.plans import one_number
from qdpem.baselines.chance import Offers
from qdpem.baselines.expected_finish import Load, options_over
from qdpem.baselines.hop_rounds import Way, added, spared
from qdpem.baselines.planner import Planner
from qdpem.baselines.waiting import Waiting
from qdpem.network.outages import NOTHING_AWAY
from qdpem.policy.interface import Context

Build = Callable[..., Any]
CHAIN = [(0, 1), (1, 2), (2, 3), (3, 4)]
PLANS = list(product(range(3), repeat=4))


def chain(made_context: Build, seed: int) -> tuple[Context, Way]:
    """Four links of unlike purity between sources of unlike rate."""
    draw = np.random.default_rng(seed)
    context = made_context(
        CHAIN,
        repeater_hz=[5.0] * 5,
        fidelity=draw.uniform(0.85, 0.99, 4),
        source_hz=draw.uniform(20.0, 500.0, 5),
    )
    options = options_over(context.routes.paths(0, 4), context)
    return context, Way(options, 0, options.waits(Load.idle(context.network)))


def fewer(each: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All plans with one round less."""
    return [(*each[:hop], each[hop] - 1, *each[hop + 1 :]) for hop in range(4) if each[hop]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), target=st.floats(0.5, 0.95), age_s=st.sampled_from([0.0, 0.5]))
def test_no_round_of_what_is_left_can_be_spared(
    seed: int, target: float, age_s: float, made_context: Build
) -> None:
    context, way = chain(made_context, seed)
    estimates = context.estimates
    believed = {each: estimates.fidelity(way.path, rounds=one_number(each), age_s=age_s) for each in PLANS}
    rounds = next((one for one in range(3) if believed[(one,) * 4] >= target), None)
    if rounds is None:
        return
    found = spared(way, rounds, target_fidelity=target, age_s=age_s, estimates=estimates)
    assert believed[found] >= target
    assert all(believed[one] < target for one in fewer(found))
    best_s = min(way.finish_s(each) for each in PLANS if believed[each] >= target)
    assert best_s <= way.finish_s(found) <= way.finish_s((rounds,) * 4)


def test_the_slow_link_is_spared_first(made_context: Build) -> None:
    """Equally pure links: the round that the target can do without is left out where it takes longest."""
    context = made_context(
        CHAIN, repeater_hz=[5.0] * 5, fidelity=0.95, source_hz=(500.0, 500.0, 5.0, 5.0, 500.0)
    )
    options = options_over(context.routes.paths(0, 4), context)
    way = Way(options, 0, options.waits(Load.idle(context.network)))
    estimates = context.estimates
    target = estimates.fidelity(way.path, rounds=(1, 1, 0, 1)) - 1e-6
    found = spared(way, 1, target_fidelity=target, age_s=0.0, estimates=estimates)
    assert found == (1, 1, 0, 1)
    assert way.finish_s(found) < 0.8 * way.finish_s((1, 1, 1, 1))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_each_round_added_gains_most_for_its_pairs(seed: int, made_context: Build) -> None:
    context, way = chain(made_context, seed)
    estimates = context.estimates

    def fidelity(rounds: Any) -> float:
        return estimates.fidelity(way.path, rounds=rounds)

    plans = list(added(way, fidelity))
    assert plans[0] == (0, 0, 0, 0)
    assert [sum(each) for each in plans] == list(range(9))
    for before, after in pairwise(plans):
        assert before in fewer(after)
        gains = {
            each: (fidelity(each) - fidelity(one_number(before)))
            / (way.need(each).sum() - way.need(before).sum())
            for each in PLANS
            if before in fewer(each)
        }
        assert gains[after] == pytest.approx(max(gains.values()), abs=2e-9)


def test_links_alike_are_distilled_in_turn(made_context: Build) -> None:
    """A second round on Werner pairs gains more than the first, but takes twice its pairs."""
    context = made_context(CHAIN, repeater_hz=[5.0] * 5, fidelity=0.93)
    options = options_over(context.routes.paths(0, 4), context)
    way = Way(options, 0, options.waits(Load.idle(context.network)))
    estimates = context.estimates
    for each in added(way, lambda rounds: estimates.fidelity(way.path, rounds=rounds)):
        assert max(each) - min(each) <= 1


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_alike_on_all_links_a_way_is_the_option(rounds: int, made_context: Build) -> None:
    context, way = chain(made_context, 3)
    options = options_over(context.routes.paths(0, 4), context)
    load = Load.idle(context.network)
    assert way.finish_s((rounds,) * 4) == pytest.approx(float(options.finish_s(load)[rounds, 0]), rel=1e-12)
    assert (way.need((rounds,) * 4) == options.need[rounds, 0]).all()


def test_every_rule_that_distils_spares_what_it_can(made_context: Build) -> None:
    """Queue-aware and by chance: one impure link of three is distilled, the others are not."""
    context = made_context(
        CHAIN[:3], repeater_hz=(0.0, 5.0, 5.0, 0.0), fidelity=(0.98, 0.85, 0.98), source_hz=400.0
    )
    path = context.routes.paths(0, 3)[0]
    target = context.estimates.fidelity(path, rounds=(0, 1, 0)) - 1e-3
    load = Load.idle(context.network)
    planned = Planner(context, wait_share=0.0).choose(0, 3, load, target_fidelity=target, within_s=10.0)
    offers = Offers(context)
    options = offers.between(0, 3, NOTHING_AWAY)
    request = Waiting(id=1, source=0, destination=3, target_fidelity=target, pairs=1, deadline_s=9.0)
    assert options is not None
    offered = offers.first_good(
        request, options, np.ones((3, 1)), load, least_gain=0.0, thrift_per_s=0.1, wait_share=0.0
    )
    assert planned is not None
    assert offered is not None
    for choice in (planned, offered[0]):
        assert choice.plan.rounds_per_link == (0, 1, 0)
        assert choice.need[[0, 2]].tolist() == [1.0, 1.0]
        assert choice.need[1] > 2.0

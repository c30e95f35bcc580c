"""What rights are used for: link stock, stock in paths, virtual links, end rounds, levels of demand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from physics.plans import Plan, estimate
from qdpem import registry
from qdpem.policies.expected_delay import (
    CentralExpectedDelay,
    ExpectedDelayParameters,
    LocalExpectedDelay,
    LocalStock,
)
from qdpem.policies.inventory.link_stock import link_stock_levels
from qdpem.policies.inventory.stock_levels import DemandFactor, stocking_means
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.planner import Planner, RouteQuery
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policies.routing.stocked_pairs import StockByEnds, remove_pairs
from qdpem.policy.conformance import check_policy
from qdpem.policy.interface import EMISSION_BACKLOG, FREE_MEMORIES, Context, Observation
from qdpem.policy.synthetic import small_context
from qdpem.scenario.words import Pregeneration
from tests.helpers.observations import act, ask_for, quiet_views, shelve


def plan_for(context: Context, stock: StockByEnds, *, target: float = 0.7, slack_s: float = 1.0) -> RoutePlan:
    query = RouteQuery(
        source=0, destination=8, target_fidelity=target, max_unloaded_delay_s=10.0, slack_s=slack_s
    )
    planner = Planner(context, storage_fraction=0.15)
    route = planner.choose(query, Backlog.idle(context.network), stock=stock)
    assert route is not None
    return route


def test_a_link_with_a_good_stocked_pair_is_ready_now_and_the_pair_is_spoken_for() -> None:
    context = small_context(pregeneration="link")
    without = plan_for(context, {})
    steps = list(pairwise(without.path.nodes))
    # Owned by either end of the link, in the direction of the path or against it.
    stock = {steps[0]: [0.97], steps[1][::-1]: [0.96]}
    route = plan_for(context, stock)
    assert (route.path, route.stocked_pairs) == (without.path, ((steps[0], 0.97), (steps[1][::-1], 0.96)))
    assert route.fresh_pairs.tolist() == [0.0, 0.0, *without.fresh_pairs[2:].tolist()]
    # Equal links and repeaters would make it sqrt(2/4) of the time; these differ.
    assert route.expected_delay_s < 0.8 * without.expected_delay_s
    remove_pairs(stock, route.stocked_pairs)
    assert plan_for(context, stock).stocked_pairs == ()


def test_a_pair_is_counted_on_only_while_the_path_still_meets_its_target() -> None:
    """By the budget of Werner weights: w_path(0.3 left) x w_aged / w_fresh against w_target."""
    context = small_context(pregeneration="link")
    path = plan_for(context, {}).path
    weight = (4.0 * context.estimates.fidelity(path, age_s=0.3) - 1.0) / 3.0
    link = next(p for p in context.routes.paths(*path.nodes[:2]) if p.hops == 1)
    fresh = (4.0 * context.estimates.fidelity(link) - 1.0) / 3.0
    minimum = (3.0 * fresh * ((4.0 * 0.7 - 1.0) / 3.0) / weight + 1.0) / 4.0
    ends = path.nodes[:2]
    assert plan_for(context, {ends: [minimum + 1e-6]}).stocked_pairs == ((ends, minimum + 1e-6),)
    assert plan_for(context, {ends: [minimum - 1e-6]}).stocked_pairs == ()


def test_every_link_has_at_most_one_keeper_and_no_quota_is_passed() -> None:
    network = small_context().network
    quota = np.floor(network.remote_storage_quota * network.memories)
    for maximum in (0, 1, 2, 9):
        kept = link_stock_levels(network, max_level=maximum)
        assert np.all(kept.sum(axis=0) <= quota)
        assert np.all((kept == 0) | (kept.T == 0))
        assert np.all((kept == 0) | network.adjacent)
        assert kept.max() <= maximum
    assert (link_stock_levels(network, max_level=1) > 0).sum() == network.link_count
    tight = replace(network, remote_storage_quota=1.0 / 16.0)
    assert link_stock_levels(tight, max_level=1).sum() == 9


@pytest.mark.parametrize("fraction", [1.0 / 16.0, 0.125, 0.25])
def test_no_link_has_a_second_pair_where_another_could_have_its_first(fraction: float) -> None:
    network = replace(small_context().network, remote_storage_quota=fraction)
    first = link_stock_levels(network, max_level=1)
    assert np.array_equal(link_stock_levels(network, max_level=4) > 0, first > 0)
    assert link_stock_levels(network, max_level=4).max() == (
        1 if fraction < 0.125 else 2 if fraction < 0.25 else 4
    )
    # All that a quota has left is given in the end.
    spare = np.floor(fraction * network.memories) - link_stock_levels(network, max_level=99).sum(axis=0)
    assert np.all((spare == 0) | (first.sum(axis=0) == 0))


@pytest.mark.parametrize("policy", [LocalExpectedDelay, CentralExpectedDelay])
def test_link_stock_is_ordered_where_both_ends_are_quiet(policy: Any) -> None:
    context = small_context(control=policy.control, pregeneration="link")
    observations = quiet_views(context)
    made = act(policy(ExpectedDelayParameters()), observations, context)
    assert {one.purpose for one in made} == {"stock"}
    assert all(len(one.path) == 2 for one in made)
    links = [context.network.link_between[one.path[0], one.path[1]] for one in made]
    assert len(set(links)) == len(links)
    life_s = context.estimates.useful_life_s(context.routes.paths(0, 1)[0], 0.85)
    for one, link in zip(made, links, strict=True):
        assert one.expires_s - observations.time_s == pytest.approx(
            life_s + 1.0 / context.network.link_rate_hz[link], rel=1e-6
        )
    busy = {one.path for one in made}
    for column, value in ((EMISSION_BACKLOG, 1.0), (FREE_MEMORIES, 3.0)):
        disturbed = quiet_views(context)
        disturbed.status[disturbed.observed_node == 4, column] = value
        left = {one.path for one in act(policy(ExpectedDelayParameters()), disturbed, context)}
        assert not any(4 in path for path in left)
    assert any(4 in path for path in busy)
    assert act(policy(ExpectedDelayParameters(link_base_stock_level=0)), observations, context) == ()


def test_a_stocked_remote_pair_stands_in_for_a_stretch_only_with_the_right_to_it() -> None:
    """Believed weight: stretch x swap at the joint x aged pair; a worse pair is left where it is."""
    rule = ExpectedDelayParameters(base_stock_level=0, link_base_stock_level=0)
    for pregeneration, fidelity, path in (
        ("end-to-end", 0.93, None),
        ("virtual-link", 0.93, (0, 5, 8)),
        ("virtual-link", 0.72, None),
    ):
        context = small_context(pregeneration=pregeneration)  # type: ignore[arg-type]
        observations = quiet_views(context, (0, 8, 0.7, 1.0))
        shelve(observations, (0, 5, fidelity))
        (made,) = act(LocalExpectedDelay(rule), observations, context)
        assert ((0, 5) in pairwise(made.path)) is (path is not None)
        assert path is None or made.path == path


def test_the_controller_crosses_a_pair_in_its_owners_direction_alone() -> None:
    context = small_context(control="central", pregeneration="virtual-link")
    rule = ExpectedDelayParameters(base_stock_level=0, link_base_stock_level=0)
    for ends, crossed in (((1, 7), True), ((7, 1), False)):
        observations = quiet_views(context, (0, 8, 0.6, 1.0), stock=4)
        shelve(observations, (*ends, 0.95))
        (made,) = act(CentralExpectedDelay(rule), observations, context)
        assert (ends in pairwise(made.path)) is crossed


def test_what_links_cannot_reach_is_distilled_end_to_end() -> None:
    context = small_context()
    path = context.routes.paths(0, 8)[0]
    fidelity, takes = context.estimates.end_to_end(path, rounds=2, age_s=0.0)
    network = context.network
    ideal = estimate(
        Plan(rounds_per_link=2, end_rounds=1),
        model=registry.load("physics", "pauli")(),
        links=[network.links[link] for link in path.links],
        nodes=[network.hardware[node] for node in path.nodes],
        ages_s=[0.0] * path.hops,
    )
    per_link = context.estimates.pairs_per_link(path.links[0], rounds=2)
    assert fidelity == pytest.approx(ideal.fidelity, rel=1e-12)
    assert takes * per_link == pytest.approx(ideal.pairs_per_link[0], rel=1e-12)
    linked = max(context.estimates.fidelity(path, rounds=rounds) for rounds in range(3))
    observations = quiet_views(context, (0, 8, 0.5 * (linked + fidelity), 5.0))
    assert fidelity > linked
    assert act(LocalExpectedDelay(ExpectedDelayParameters()), observations, context) == ()
    (made,) = act(
        LocalExpectedDelay(ExpectedDelayParameters(end_rounds=True, storage_fraction=0.0)),
        observations,
        context,
    )
    assert made.plan.end_rounds == 1


@settings(deadline=None, max_examples=40)
@given(use=st.floats(0.05, 2.0), maximum=st.integers(1, 6))
def test_the_nth_pair_is_kept_where_as_many_come_as_likely_as_one_comes_for_the_first(
    use: float, maximum: int
) -> None:
    means = stocking_means(use, maximum)
    assert means[0] == use
    for n, mean in enumerate(means.tolist(), start=1):
        assert poisson.sf(n - 1, mean) == pytest.approx(-math.expm1(-use), rel=1e-9)


def forecast_views(context: Context, *, step: int, near: float, far: float) -> Observation:
    observations = replace(quiet_views(context), time_s=10.0 + step)
    observations.forecast[:] = np.nan
    known = observations.observed_node >= 0
    observations.forecast[known] = near
    observations.forecast[:, :, 4:][known] = far
    return observations


def test_the_surge_is_the_forecast_within_a_life_over_its_mean_so_far() -> None:
    context = small_context(pregeneration="end-to-end")
    demand, nodes = DemandFactor(context), np.array([0, 4])
    assert demand.factor(nodes, np.array([2.0, np.inf])).tolist() == [1.0, 1.0]
    for step in range(4):
        for _ in range(3):
            demand.update(forecast_views(context, step=step, near=0.2, far=0.2))
    assert demand.factor(nodes, np.array([2.0, np.inf])) == pytest.approx([1.0, 1.0])
    demand.update(forecast_views(context, step=4, near=0.2, far=1.0))
    # Eight steps ahead, the last four at 1.0; the mean so far stays 0.2.
    assert demand.factor(nodes, np.array([3.5, 5.5])) == pytest.approx([1.0, 14.0 / 6.0])
    copy = DemandFactor(context)
    copy.load_state(demand.state())
    assert (
        copy.factor(nodes, np.array([3.5, 5.5])).tolist()
        == demand.factor(nodes, np.array([3.5, 5.5])).tolist()
    )


def test_more_is_kept_for_a_peer_while_more_is_expected() -> None:
    context = small_context(pregeneration="end-to-end")
    path = context.routes.paths(0, 8)[0]
    life_s = context.estimates.useful_life_s(path, 0.7)
    counts = []
    for far in (0.2, 2.0):
        policy = LocalStock(ExpectedDelayParameters(base_stock_level=3, link_base_stock_level=0))
        policy.reset(context)
        for step in range(3):
            policy.act(forecast_views(context, step=step, near=0.2, far=0.2))
        observations = forecast_views(context, step=3, near=0.2, far=far)
        # One pair lies there; of demand 0.5 in a life a second is not worth it, of several times that it is.
        ask_for(observations, (0, 8, 0.5 / life_s))
        shelve(observations, (0, 8, 0.9))
        counts.append(len(policy.act(observations).allocations))
    assert counts == [0, 1]


@pytest.mark.mostly_slow
@pytest.mark.parametrize("policy", [LocalExpectedDelay, LocalStock, CentralExpectedDelay])
@pytest.mark.parametrize("pregeneration", Pregeneration)
def test_conformance_with_every_right_and_all_that_may_be_kept(
    policy: Any, pregeneration: Pregeneration
) -> None:
    context = small_context(control=policy.control, pregeneration=pregeneration)
    parameters = ExpectedDelayParameters(base_stock_level=3, link_base_stock_level=2, end_rounds=True)
    checks = check_policy(lambda: policy(parameters), context, calls=8)
    assert [check for check in checks if not check.passed] == []

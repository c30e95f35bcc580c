"""Uses of pregeneration: link stock, stock in paths, virtual links, end rounds, stock levels."""

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
from tests.helpers.observations import act, ask_for, idle_observation, put_in_stock


def plan_for(context: Context, stock: StockByEnds, *, target: float = 0.7, slack_s: float = 1.0) -> RoutePlan:
    query = RouteQuery(
        source=0, destination=8, target_fidelity=target, max_unloaded_delay_s=10.0, slack_s=slack_s
    )
    planner = Planner(context, storage_fraction=0.15)
    route = planner.choose(query, Backlog.idle(context.network), stock=stock)
    assert route is not None
    return route


def test_a_stocked_pair_makes_its_link_ready_and_is_used_once() -> None:
    context = small_context(pregeneration="link")
    without = plan_for(context, {})
    steps = list(pairwise(without.path.nodes))
    # Either end of a link may own the pair.
    stock = {steps[0]: [0.97], steps[1][::-1]: [0.96]}
    route = plan_for(context, stock)
    assert (route.path, route.stocked_pairs) == (without.path, ((steps[0], 0.97), (steps[1][::-1], 0.96)))
    assert route.fresh_pairs.tolist() == [0.0, 0.0, *without.fresh_pairs[2:].tolist()]
    # With equal links and repeaters the ratio would be sqrt(2/4); these differ.
    assert route.expected_delay_s < 0.8 * without.expected_delay_s
    remove_pairs(stock, route.stocked_pairs)
    assert plan_for(context, stock).stocked_pairs == ()


def test_a_stocked_pair_is_used_only_while_the_path_meets_its_target() -> None:
    """Budget of Werner weights: w_path(0.3 slack) x w_aged / w_fresh against w_target."""
    context = small_context(pregeneration="link")
    path = plan_for(context, {}).path
    weight = (4.0 * context.estimates.fidelity(path, age_s=0.3) - 1.0) / 3.0
    link = next(p for p in context.routes.paths(*path.nodes[:2]) if p.hops == 1)
    fresh = (4.0 * context.estimates.fidelity(link) - 1.0) / 3.0
    minimum = (3.0 * fresh * ((4.0 * 0.7 - 1.0) / 3.0) / weight + 1.0) / 4.0
    ends = path.nodes[:2]
    assert plan_for(context, {ends: [minimum + 1e-6]}).stocked_pairs == ((ends, minimum + 1e-6),)
    assert plan_for(context, {ends: [minimum - 1e-6]}).stocked_pairs == ()


def test_every_link_has_at_most_one_owner_and_quotas_hold() -> None:
    network = small_context().network
    quota = np.floor(network.remote_storage_quota * network.memories)
    for max_level in (0, 1, 2, 9):
        level = link_stock_levels(network, max_level=max_level)
        assert np.all(level.sum(axis=0) <= quota)
        assert np.all((level == 0) | (level.T == 0))
        assert np.all((level == 0) | network.adjacent)
        assert level.max() <= max_level
    assert (link_stock_levels(network, max_level=1) > 0).sum() == network.link_count
    tight = replace(network, remote_storage_quota=1.0 / 16.0)
    assert link_stock_levels(tight, max_level=1).sum() == 9


@pytest.mark.parametrize("fraction", [1.0 / 16.0, 0.125, 0.25])
def test_every_link_gets_its_first_pair_before_any_gets_a_second(fraction: float) -> None:
    network = replace(small_context().network, remote_storage_quota=fraction)
    first = link_stock_levels(network, max_level=1)
    assert np.array_equal(link_stock_levels(network, max_level=4) > 0, first > 0)
    assert link_stock_levels(network, max_level=4).max() == (
        1 if fraction < 0.125 else 2 if fraction < 0.25 else 4
    )
    # Quotas are used up in the end.
    spare = np.floor(fraction * network.memories) - link_stock_levels(network, max_level=99).sum(axis=0)
    assert np.all((spare == 0) | (first.sum(axis=0) == 0))


@pytest.mark.parametrize("policy", [LocalExpectedDelay, CentralExpectedDelay])
def test_link_stock_is_ordered_where_both_ends_are_idle(policy: Any) -> None:
    context = small_context(control=policy.control, pregeneration="link")
    observations = idle_observation(context)
    orders = act(policy(ExpectedDelayParameters()), observations, context)
    assert {order.purpose for order in orders} == {"stock"}
    assert all(len(order.path) == 2 for order in orders)
    links = [context.network.link_between[order.path[0], order.path[1]] for order in orders]
    assert len(set(links)) == len(links)
    life_s = context.estimates.useful_life_s(context.routes.paths(0, 1)[0], 0.85)
    for order, link in zip(orders, links, strict=True):
        assert order.expires_s - observations.time_s == pytest.approx(
            life_s + 1.0 / context.network.link_rate_hz[link], rel=1e-6
        )
    busy = {order.path for order in orders}
    for column, value in ((EMISSION_BACKLOG, 1.0), (FREE_MEMORIES, 3.0)):
        disturbed = idle_observation(context)
        disturbed.status[disturbed.observed_node == 4, column] = value
        left = {order.path for order in act(policy(ExpectedDelayParameters()), disturbed, context)}
        assert not any(4 in path for path in left)
    assert any(4 in path for path in busy)
    assert act(policy(ExpectedDelayParameters(link_base_stock_level=0)), observations, context) == ()


def test_a_stocked_pair_replaces_a_segment_only_with_virtual_links() -> None:
    """Believed weight: segment x swap x aged pair; a pair that is too bad stays in stock."""
    parameters = ExpectedDelayParameters(base_stock_level=0, link_base_stock_level=0)
    for pregeneration, fidelity, path in (
        ("end-to-end", 0.93, None),
        ("virtual-link", 0.93, (0, 5, 8)),
        ("virtual-link", 0.72, None),
    ):
        context = small_context(pregeneration=pregeneration)  # type: ignore[arg-type]
        observations = idle_observation(context, (0, 8, 0.7, 1.0))
        put_in_stock(observations, (0, 5, fidelity))
        (allocation,) = act(LocalExpectedDelay(parameters), observations, context)
        assert ((0, 5) in pairwise(allocation.path)) is (path is not None)
        assert path is None or allocation.path == path


def test_the_controller_crosses_a_pair_only_from_its_owner() -> None:
    context = small_context(control="central", pregeneration="virtual-link")
    parameters = ExpectedDelayParameters(base_stock_level=0, link_base_stock_level=0)
    for ends, crossed in (((1, 7), True), ((7, 1), False)):
        observations = idle_observation(context, (0, 8, 0.6, 1.0), stock=4)
        put_in_stock(observations, (*ends, 0.95))
        (allocation,) = act(CentralExpectedDelay(parameters), observations, context)
        assert (ends in pairwise(allocation.path)) is crossed


def test_a_target_beyond_link_distillation_is_distilled_end_to_end() -> None:
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
    observations = idle_observation(context, (0, 8, 0.5 * (linked + fidelity), 5.0))
    assert fidelity > linked
    assert act(LocalExpectedDelay(ExpectedDelayParameters()), observations, context) == ()
    (allocation,) = act(
        LocalExpectedDelay(ExpectedDelayParameters(end_rounds=True, storage_fraction=0.0)),
        observations,
        context,
    )
    assert allocation.plan.end_rounds == 1


@settings(deadline=None, max_examples=40)
@given(use=st.floats(0.05, 2.0), max_level=st.integers(1, 6))
def test_the_nth_pair_has_the_critical_ratio_of_the_first(use: float, max_level: int) -> None:
    means = stocking_means(use, max_level)
    assert means[0] == use
    for n, mean in enumerate(means.tolist(), start=1):
        assert poisson.sf(n - 1, mean) == pytest.approx(-math.expm1(-use), rel=1e-9)


def forecast_views(context: Context, *, step: int, near: float, far: float) -> Observation:
    observations = replace(idle_observation(context), time_s=10.0 + step)
    observations.forecast[:] = np.nan
    known = observations.observed_node >= 0
    observations.forecast[known] = near
    observations.forecast[:, :, 4:][known] = far
    return observations


def test_the_demand_factor_is_the_forecast_within_a_life_over_the_mean_so_far() -> None:
    context = small_context(pregeneration="end-to-end")
    demand, nodes = DemandFactor(context), np.array([0, 4])
    assert demand.factor(nodes, np.array([2.0, np.inf])).tolist() == [1.0, 1.0]
    for step in range(4):
        for _ in range(3):
            demand.update(forecast_views(context, step=step, near=0.2, far=0.2))
    assert demand.factor(nodes, np.array([2.0, np.inf])) == pytest.approx([1.0, 1.0])
    demand.update(forecast_views(context, step=4, near=0.2, far=1.0))
    # Of eight steps ahead the last four are 1.0; the mean so far stays 0.2.
    assert demand.factor(nodes, np.array([3.5, 5.5])) == pytest.approx([1.0, 14.0 / 6.0])
    copy = DemandFactor(context)
    copy.load_state(demand.state())
    assert (
        copy.factor(nodes, np.array([3.5, 5.5])).tolist()
        == demand.factor(nodes, np.array([3.5, 5.5])).tolist()
    )


def test_more_pairs_are_kept_while_more_demand_is_forecast() -> None:
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
        # With one pair in stock, demand 0.5 in its life justifies no second pair; several times that does.
        ask_for(observations, (0, 8, 0.5 / life_s))
        put_in_stock(observations, (0, 8, 0.9))
        counts.append(len(policy.act(observations).allocations))
    assert counts == [0, 1]


@pytest.mark.mostly_repeated(5)
@pytest.mark.mostly_slow
@pytest.mark.parametrize("policy", [LocalExpectedDelay, LocalStock, CentralExpectedDelay])
@pytest.mark.parametrize("pregeneration", Pregeneration)
def test_conformance_with_every_pregeneration_and_high_levels(
    policy: Any, pregeneration: Pregeneration
) -> None:
    context = small_context(control=policy.control, pregeneration=pregeneration)
    parameters = ExpectedDelayParameters(base_stock_level=3, link_base_stock_level=2, end_rounds=True)
    checks = check_policy(lambda: policy(parameters), context, calls=8)
    assert [check for check in checks if not check.passed] == []

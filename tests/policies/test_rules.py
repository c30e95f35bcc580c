"""The minimum-hop and expected-delay policies on observations made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qdpem.policies.expected_delay import CentralExpectedDelay, ExpectedDelayParameters, LocalStock
from qdpem.policies.inventory.base_stock import BaseStock
from qdpem.policies.minimum_hop import CentralFirstComeFirstServed, LocalMinimumHop, MinimumHopParameters
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.pending_requests import pending_requests
from qdpem.policies.routing.planner import Planner
from qdpem.policies.routing.stocked_pairs import ready_stock, serve_from_stock
from qdpem.policy.conformance import check_policy
from qdpem.policy.interface import EMISSION_BACKLOG, TOKENS, Allocation, Context, Decisions, Observation
from qdpem.policy.synthetic import small_context
from qdpem.scenario.words import Control, Pregeneration
from tests.helpers.observations import act, ask_for, idle_observation, put_in_stock


@pytest.mark.parametrize("policy", [CentralFirstComeFirstServed, LocalMinimumHop])
def test_minimum_hop_takes_the_shortest_feasible_path_for_each_in_turn(policy: Any) -> None:
    context = small_context(control=policy.control)
    observations = idle_observation(context, (0, 2, 0.6, 1.0), (0, 8, 0.7, 0.5))
    first, second = act(policy(MinimumHopParameters()), observations, context)
    assert (first.request, second.request) == (40, 41)
    assert first.path == context.routes.paths(0, 2)[0].nodes == (0, 1, 2)
    assert len(second.path) == 5
    assert (first.expires_s, second.expires_s) == (11.0, 10.5)
    assert first.plan.rounds_per_link == 0


def test_minimum_hop_distils_only_where_needed_and_leaves_unreachable_targets() -> None:
    context = small_context()
    path = context.routes.paths(0, 8)[0]
    fresh, distilled = (context.estimates.fidelity(path, rounds=rounds) for rounds in (0, 1))
    target = 0.5 * (fresh + distilled)
    observations = idle_observation(context, (0, 8, target, 0.1), (0, 8, 0.9999, 1.0))
    (allocation,) = act(LocalMinimumHop(MinimumHopParameters()), observations, context)
    assert (allocation.request, allocation.plan.rounds_per_link) == (40, 1)
    # No plan meets the target after 15 s of storage, so the request is served as if without storage.
    patient = idle_observation(context, (0, 8, target, 30.0))
    assert context.estimates.rounds_for(path, target, age_s=15.0) is None
    (allocation,) = act(LocalMinimumHop(MinimumHopParameters(storage_fraction=0.5)), patient, context)
    assert (allocation.request, allocation.plan.rounds_per_link) == (40, 1)


def test_minimum_hop_ignores_queues() -> None:
    context = small_context()
    observations = idle_observation(context, (0, 2, 0.6, 1.0))
    before = act(LocalMinimumHop(MinimumHopParameters()), observations, context)
    observations.status[0, :, EMISSION_BACKLOG] = 50.0
    observations.status[0, :, TOKENS] = 0.0
    assert act(LocalMinimumHop(MinimumHopParameters()), observations, context) == before


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"storage_fraction is 1\.5"):
        MinimumHopParameters(storage_fraction=1.5)
    with pytest.raises(ValueError, match="max_unloaded_delay is 0"):
        ExpectedDelayParameters(max_unloaded_delay=0.0)


def test_a_request_past_its_deadline_is_not_pending() -> None:
    context = small_context()
    observations = idle_observation(context, (0, 2, 0.6, 0.0))
    assert list(pending_requests(observations[0])) == []


def test_expected_delay_serves_in_deadline_order_and_spreads_the_work() -> None:
    context = small_context(control="central")
    observations = idle_observation(context, (0, 4, 0.6, 2.0), (0, 4, 0.6, 1.0))
    first, second = act(CentralExpectedDelay(ExpectedDelayParameters()), observations, context)
    assert (first.request, second.request) == (41, 40)
    assert first.path[1] != second.path[1]


def test_expected_delay_avoids_an_empty_token_bucket() -> None:
    context = small_context(control="central")
    observations = idle_observation(context, (0, 4, 0.6, 2.0))
    (before,) = act(CentralExpectedDelay(ExpectedDelayParameters()), observations, context)
    observations.status[0, before.path[1], TOKENS] = 0.0
    (after,) = act(CentralExpectedDelay(ExpectedDelayParameters()), observations, context)
    assert {before.path[1], after.path[1]} == {1, 3}


def test_expected_delay_leaves_a_request_that_cannot_be_in_time() -> None:
    context = small_context(control="central")
    assert (
        act(
            CentralExpectedDelay(ExpectedDelayParameters()),
            idle_observation(context, (0, 8, 0.6, 0.02)),
            context,
        )
        == ()
    )


def test_the_policy_acts_every_epoch_only_with_pregeneration() -> None:
    policy = CentralExpectedDelay(ExpectedDelayParameters())
    for pregeneration, wanted in (("none", False), ("link", True), ("end-to-end", True)):
        policy.reset(small_context(control="central", pregeneration=pregeneration))  # type: ignore[arg-type]
        assert policy.acts_every_epoch is wanted


def test_stock_serves_first_and_with_the_worst_sufficient_pair() -> None:
    context = small_context(pregeneration="end-to-end")
    observations = idle_observation(context, (0, 8, 0.7, 1.0), (0, 8, 0.8, 1.0), stock=3)
    put_in_stock(observations, (0, 8, 0.75), (0, 8, 0.9), (0, 5, 0.95))
    allocations = act(LocalStock(ExpectedDelayParameters()), observations, context)
    assert [allocation.path for allocation in allocations if allocation.purpose == "serve"] == [
        (0, 8),
        (0, 8),
    ]
    stock = ready_stock(observations[0])
    low, high = pending_requests(observations[0])
    assert serve_from_stock(high, stock, fidelity_margin=0.01) is not None
    assert stock[0, 8] == [0.75]
    assert serve_from_stock(high, stock, fidelity_margin=0.01) is None
    assert serve_from_stock(replace(low, pairs=2), stock, fidelity_margin=0.01) is None
    assert serve_from_stock(low, stock, fidelity_margin=0.06) is None
    assert serve_from_stock(low, stock, fidelity_margin=0.01) is not None


def orders(context: Context, observations: Observation, **changes: Any) -> list[Allocation]:
    parameters = ExpectedDelayParameters(**changes)
    stock = BaseStock(
        context,
        Planner(context, storage_fraction=0.3),
        parameters=parameters,
    )
    backlog = Backlog.of_observation(observations[0], context.network)
    return list(stock.replenish(stock.lacks(observations)[0], backlog, now_s=observations.time_s))


def test_base_stock_orders_missing_pairs_for_their_useful_life() -> None:
    context = small_context(pregeneration="end-to-end")
    observations = idle_observation(context)
    ask_for(observations, (0, 8, 1.0), (0, 1, 0.5), (0, 4, 0.001))
    placed = orders(context, observations, max_source_backlog=9.0)
    assert [(order.source, order.destination) for order in placed] == [(0, 8), (0, 1)]
    # An order is work itself: with no admissible backlog a node orders one pair at a time.
    assert [order.destination for order in orders(context, observations, max_source_backlog=0.0)] == [8]
    for order in placed:
        path = next(p for p in context.routes.paths(0, order.destination) if p.nodes == order.path)
        life_s = context.estimates.useful_life_s(path, 0.7)
        assert life_s < order.expires_s - observations.time_s < life_s + 2.0
        assert (order.purpose, order.request) == ("stock", -1)
    put_in_stock(observations, (0, 8, 0.9))
    assert [order.destination for order in orders(context, observations)] == [1]
    assert orders(context, observations, stocking_threshold=1e9) == []
    assert [
        order.destination
        for order in orders(context, observations, base_stock_level=2, max_source_backlog=9.0)
    ] == [8, 1]
    assert orders(small_context(pregeneration="link"), observations) == []


def test_base_stock_yields_to_requests() -> None:
    context = small_context(pregeneration="end-to-end")
    observations = idle_observation(context)
    ask_for(observations, (0, 4, 1.0))
    assert len(orders(context, observations)) == 1
    assert orders(context, observations, min_free_memories=17) == []
    observations.status[0, :, TOKENS] = 0.5
    assert orders(context, observations) == []
    observations.status[0, :, TOKENS] = 1.0
    observations.status[0, 0, EMISSION_BACKLOG] = 2.0
    assert orders(context, observations) == []
    assert len(orders(context, observations, max_source_backlog=2.0)) == 1


def test_a_refused_order_is_not_repeated_at_once() -> None:
    context = small_context(pregeneration="end-to-end")
    policy = LocalStock(ExpectedDelayParameters(min_reorder_interval_s=1.0))
    policy.reset(context)
    counts = []
    for time_s in (10.0, 10.5, 11.0):
        observations = replace(idle_observation(context), time_s=time_s)
        ask_for(observations, (0, 4, 1.0))
        counts.append(len(policy.act(observations[0]).allocations))
    assert counts == [1, 0, 1]
    copy = LocalStock(ExpectedDelayParameters(min_reorder_interval_s=1.0))
    copy.reset(context)
    copy.load_state(policy.state())
    assert copy.act(observations[0]) == Decisions()


def test_base_stock_respects_the_remote_storage_quota() -> None:
    context = small_context(control="central", pregeneration="end-to-end")
    observations = idle_observation(context, stock=4)
    ask_for(observations, (0, 4, 1.0))
    put_in_stock(observations, (1, 4, 0.9), (2, 4, 0.9), (3, 4, 0.9), (5, 4, 0.9))
    assert np.floor(context.network.remote_storage_quota * context.network.memories[4]) == 4
    assert orders(context, observations) == []


@pytest.mark.mostly_slow
@pytest.mark.parametrize(
    ("policy", "control", "pregeneration"),
    [
        (CentralExpectedDelay, "central", "link"),
        (CentralExpectedDelay, "central", "virtual-link"),
        (LocalStock, "local", "none"),
        (LocalStock, "local", "link"),
        (LocalStock, "local", "end-to-end"),
    ],
)
def test_conformance_with_every_pregeneration(
    policy: Any, control: Control, pregeneration: Pregeneration
) -> None:
    context = small_context(control=control, pregeneration=pregeneration)
    checks = check_policy(lambda: policy(ExpectedDelayParameters()), context, calls=8)
    assert [check for check in checks if not check.passed] == []

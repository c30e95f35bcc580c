"""The minimum-hop and queue-aware rules on views made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qdpem.policies.expected_delay import CentralLive, LiveParameters, LocalStock
from qdpem.policies.inventory.base_stock import BaseStock
from qdpem.policies.inventory.stock_levels import Surge
from qdpem.policies.minimum_hop import CentralFirstCome, LocalMinimumHop, MinimumHopParameters
from qdpem.policies.routing.delay_model import Load
from qdpem.policies.routing.pending_requests import waiting_requests
from qdpem.policies.routing.planner import Planner
from qdpem.policies.routing.stocked_pairs import ready_stock, serve_from_stock
from qdpem.policy.conformance import check_policy
from qdpem.policy.interface import EMISSION_BACKLOG, TOKENS, Allocation, Context, Decisions, Views
from qdpem.policy.synthetic import small_context
from qdpem.scenario.schema import Control, Rights
from tests.helpers.views import ask_for, decide, quiet_views, shelve


@pytest.mark.parametrize("policy", [CentralFirstCome, LocalMinimumHop])
def test_minimum_hop_takes_the_shortest_feasible_path_for_each_in_turn(policy: Any) -> None:
    context = small_context(control=policy.control)
    views = quiet_views(context, (0, 2, 0.6, 1.0), (0, 8, 0.7, 0.5))
    first, second = decide(policy(MinimumHopParameters()), views, context)
    assert (first.request, second.request) == (40, 41)
    assert first.path == context.routes.paths(0, 2)[0].nodes == (0, 1, 2)
    assert len(second.path) == 5
    assert (first.expires_s, second.expires_s) == (11.0, 10.5)
    assert first.plan.rounds_per_link == 0


def test_minimum_hop_distils_where_it_must_and_leaves_what_nothing_reaches() -> None:
    context = small_context()
    path = context.routes.paths(0, 8)[0]
    fresh, distilled = (context.estimates.fidelity(path, rounds=rounds) for rounds in (0, 1))
    target = 0.5 * (fresh + distilled)
    views = quiet_views(context, (0, 8, target, 0.1), (0, 8, 0.9999, 1.0))
    (made,) = decide(LocalMinimumHop(MinimumHopParameters()), views, context)
    assert (made.request, made.plan.rounds_per_link) == (40, 1)
    # Nothing meets the target after 15 s; who need not wait so long is served as if it waited not at all.
    patient = quiet_views(context, (0, 8, target, 30.0))
    assert context.estimates.rounds_for(path, target, age_s=15.0) is None
    (made,) = decide(LocalMinimumHop(MinimumHopParameters(wait_share=0.5)), patient, context)
    assert (made.request, made.plan.rounds_per_link) == (40, 1)


def test_minimum_hop_sees_no_queue() -> None:
    context = small_context()
    views = quiet_views(context, (0, 2, 0.6, 1.0))
    before = decide(LocalMinimumHop(MinimumHopParameters()), views, context)
    views.status[0, :, EMISSION_BACKLOG] = 50.0
    views.status[0, :, TOKENS] = 0.0
    assert decide(LocalMinimumHop(MinimumHopParameters()), views, context) == before


def test_parameters_out_of_range_are_answered() -> None:
    with pytest.raises(ValueError, match=r"wait_share is 1\.5"):
        MinimumHopParameters(wait_share=1.5)
    with pytest.raises(ValueError, match="hope is 0"):
        LiveParameters(hope=0.0)


def test_what_is_past_its_deadline_is_not_served() -> None:
    context = small_context()
    views = quiet_views(context, (0, 2, 0.6, 0.0))
    assert list(waiting_requests(views[0])) == []


def test_central_live_serves_in_deadline_order_and_spreads_the_work() -> None:
    context = small_context(control="central")
    views = quiet_views(context, (0, 4, 0.6, 2.0), (0, 4, 0.6, 1.0))
    first, second = decide(CentralLive(LiveParameters()), views, context)
    assert (first.request, second.request) == (41, 40)
    assert first.path[1] != second.path[1]


def test_central_live_goes_round_an_empty_bucket() -> None:
    context = small_context(control="central")
    views = quiet_views(context, (0, 4, 0.6, 2.0))
    (before,) = decide(CentralLive(LiveParameters()), views, context)
    views.status[0, before.path[1], TOKENS] = 0.0
    (after,) = decide(CentralLive(LiveParameters()), views, context)
    assert {before.path[1], after.path[1]} == {1, 3}


def test_central_live_refuses_what_cannot_be_in_time() -> None:
    context = small_context(control="central")
    assert decide(CentralLive(LiveParameters()), quiet_views(context, (0, 8, 0.6, 0.02)), context) == ()


def test_epochs_are_asked_for_only_with_a_right_to_stock() -> None:
    policy = CentralLive(LiveParameters())
    for rights, wanted in (("serve", False), ("elementary", True), ("remote", True)):
        policy.reset(small_context(control="central", rights=rights))  # type: ignore[arg-type]
        assert policy.asks_at_epochs is wanted


def test_stock_serves_first_and_the_worst_good_pair_goes() -> None:
    context = small_context(rights="remote")
    views = quiet_views(context, (0, 8, 0.7, 1.0), (0, 8, 0.8, 1.0), stock=3)
    shelve(views, (0, 8, 0.75), (0, 8, 0.9), (0, 5, 0.95))
    made = decide(LocalStock(LiveParameters()), views, context)
    assert [allocation.path for allocation in made if allocation.purpose == "serve"] == [(0, 8), (0, 8)]
    shelf = ready_stock(views[0])
    low, high = waiting_requests(views[0])
    assert serve_from_stock(high, shelf, margin=0.01) is not None
    assert shelf[0, 8] == [0.75]
    assert serve_from_stock(high, shelf, margin=0.01) is None
    assert serve_from_stock(replace(low, pairs=2), shelf, margin=0.01) is None
    assert serve_from_stock(low, shelf, margin=0.06) is None
    assert serve_from_stock(low, shelf, margin=0.01) is not None


def orders(context: Context, views: Views, **changes: Any) -> list[Allocation]:
    rule = LiveParameters(**changes)
    stock = BaseStock(context, Planner(context, wait_share=0.3), rule=rule, surge=Surge(context))
    load = Load.of_view(views[0], context.network)
    return list(stock.replenish(stock.missing(views)[0], load, now_s=views.time_s))


def test_base_stock_orders_what_is_missing_for_its_useful_life() -> None:
    context = small_context(rights="remote")
    views = quiet_views(context)
    ask_for(views, (0, 8, 1.0), (0, 1, 0.5), (0, 4, 0.001))
    made = orders(context, views, backlog=9.0)
    assert [(order.source, order.destination) for order in made] == [(0, 8), (0, 1)]
    # An order is itself work ahead: without leave to queue, a node orders one pair at a time.
    assert [order.destination for order in orders(context, views, backlog=0.0)] == [8]
    for order in made:
        path = next(p for p in context.routes.paths(0, order.destination) if p.nodes == order.path)
        life_s = context.estimates.useful_life_s(path, 0.7)
        assert life_s < order.expires_s - views.time_s < life_s + 2.0
        assert (order.purpose, order.request) == ("stock", -1)
    shelve(views, (0, 8, 0.9))
    assert [order.destination for order in orders(context, views)] == [1]
    assert orders(context, views, least_use=1e9) == []
    assert [order.destination for order in orders(context, views, base=2, backlog=9.0)] == [8, 1]
    assert orders(small_context(rights="elementary"), views) == []


def test_base_stock_yields() -> None:
    context = small_context(rights="remote")
    views = quiet_views(context)
    ask_for(views, (0, 4, 1.0))
    assert len(orders(context, views)) == 1
    assert orders(context, views, free_memories=17) == []
    views.status[0, :, TOKENS] = 0.5
    assert orders(context, views) == []
    views.status[0, :, TOKENS] = 1.0
    views.status[0, 0, EMISSION_BACKLOG] = 2.0
    assert orders(context, views) == []
    assert len(orders(context, views, backlog=2.0)) == 1


def test_a_refused_order_is_not_repeated_at_once() -> None:
    context = small_context(rights="remote")
    policy = LocalStock(LiveParameters(reorder_s=1.0))
    policy.reset(context)
    counts = []
    for time_s in (10.0, 10.5, 11.0):
        views = replace(quiet_views(context), time_s=time_s)
        ask_for(views, (0, 4, 1.0))
        counts.append(len(policy.decide(views[0]).allocations))
    assert counts == [1, 0, 1]
    copy = LocalStock(LiveParameters(reorder_s=1.0))
    copy.reset(context)
    copy.load_state(policy.state())
    assert copy.decide(views[0]) == Decisions()


def test_foreign_quota_is_kept_in_mind() -> None:
    context = small_context(control="central", rights="remote")
    views = quiet_views(context, stock=4)
    ask_for(views, (0, 4, 1.0))
    shelve(views, (1, 4, 0.9), (2, 4, 0.9), (3, 4, 0.9), (5, 4, 0.9))
    assert np.floor(context.network.foreign_stock_share * context.network.memories[4]) == 4
    assert orders(context, views) == []


@pytest.mark.mostly_slow
@pytest.mark.parametrize(
    ("policy", "control", "rights"),
    [
        (CentralLive, "central", "elementary"),
        (CentralLive, "central", "virtual"),
        (LocalStock, "local", "serve"),
        (LocalStock, "local", "elementary"),
        (LocalStock, "local", "remote"),
    ],
)
def test_conformance_with_every_right(policy: Any, control: Control, rights: Rights) -> None:
    context = small_context(control=control, rights=rights)
    checks = check_policy(lambda: policy(LiveParameters()), context, calls=8)
    assert [check for check in checks if not check.passed] == []

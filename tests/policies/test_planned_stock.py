"""Planned stock: which pairs expected requests need, when they are ordered, and who may use them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qdpem.policies.expected_delay import CentralPlannedStock, LocalPlannedStock, PlannedDelayParameters
from qdpem.policies.inventory.planned_stock import PlannedStock
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.planner import Planner
from qdpem.policy.conformance import check_policy
from qdpem.policy.interface import EMISSION_BACKLOG, FREE_MEMORIES, Allocation, Context, Observation
from qdpem.policy.synthetic import small_context
from tests.policies.test_rules import idle_observation, put_in_stock

CONTEXT = small_context(pregeneration="end-to-end")
Peer = tuple[int, int, float, int, dict[int, float]]


def expecting(observations: Observation, *peers: Peer, age_s: float = 0.0) -> Observation:
    """The observation with these peers in its first row, each with its mean in some steps."""
    rows, steps = len(observations), CONTEXT.forecasting.horizon_steps
    shape = (rows, len(peers))
    columns: dict[str, Any] = {
        "peer_source": np.full(shape, -1),
        "peer_destination": np.full(shape, -1),
        "peer_target_fidelity": np.full(shape, np.nan),
        "peer_pairs": np.zeros(shape, dtype=np.int64),
        "peer_scheduled": np.zeros((*shape, steps)),
        "peer_unscheduled": np.zeros((*shape, steps)),
        "forecast_age_s": np.full(shape, np.nan),
    }
    for column, (source, destination, target_fidelity, pairs, means) in enumerate(peers):
        columns["peer_source"][0, column] = source
        columns["peer_destination"][0, column] = destination
        columns["peer_target_fidelity"][0, column] = target_fidelity
        columns["peer_pairs"][0, column] = pairs
        columns["forecast_age_s"][0, column] = age_s
        for step, mean in means.items():
            columns["peer_scheduled"][0, column, step] = mean
    return replace(observations, **columns)


def rule(context: Context = CONTEXT, **changes: Any) -> PlannedStock:
    settings = {
        "lookahead_s": 4.0,
        "lead_factor": 0.0,
        "max_source_backlog": 99.0,
        "max_orders": 99,
        "max_path_backlog": 99.0,
    } | changes
    return PlannedStock(
        context, Planner(context, storage_fraction=0.0), parameters=PlannedDelayParameters(**settings)
    )


def orders(planned: PlannedStock, observations: Observation) -> list[Allocation]:
    backlog = Backlog.of_observation(observations[0], CONTEXT.network)
    return list(planned.replenish(planned.lacks(observations)[0], backlog, now_s=observations.time_s))


def test_whole_requests_are_prepared_within_the_look_ahead_and_no_others() -> None:
    idle = idle_observation(CONTEXT)
    expected = expecting(idle, (0, 1, 0.7, 2, {3: 0.5}), (0, 4, 0.7, 2, {4: 0.9}), (0, 8, 0.6, 3, {0: 0.2}))
    assert [(order.destination, order.pairs) for order in orders(rule(), expected)] == [(1, 1), (1, 1)]
    # A longer look-ahead sees the second peer, a lower probability the third, which is due first.
    lacking = rule(lookahead_s=5.0).lacks(expected)[0]
    assert [(need.peer.destination, need.pairs) for need in lacking] == [(1, 2), (4, 2)]
    lacking = rule(lookahead_s=5.0, stocking_probability=0.1).lacks(expected)[0]
    assert [(need.peer.destination, need.pairs) for need in lacking] == [(8, 3), (1, 2), (4, 2)]


def test_the_look_ahead_counts_from_now_and_not_from_the_forecast() -> None:
    # Step 4 begins 4 s after the forecast, 3.1 s from now: of its mean 0.4, 0.9 are seen.
    peer = (0, 1, 0.7, 1, {4: 0.4})
    assert orders(rule(), expecting(idle_observation(CONTEXT), peer)) == []
    later = expecting(idle_observation(CONTEXT), peer, age_s=0.9)
    assert len(orders(rule(stocking_probability=0.35), later)) == 1
    assert orders(rule(stocking_probability=0.37), later) == []


def test_pairs_take_longer_to_make_where_sources_are_slow() -> None:
    peer = (0, 8, 0.6, 2, {5: 1.0})
    made_s = Planner(CONTEXT, storage_fraction=0.0).idle_delay_s(0, 8, pairs=2)
    assert 0.0 < made_s < 1.0
    enough = 1.6 / made_s
    observations = expecting(idle_observation(CONTEXT), peer)
    assert len(orders(rule(lead_factor=enough), observations)) == 2
    assert orders(rule(lead_factor=0.5 * enough), observations) == []


def test_no_pair_is_made_longer_before_its_request_than_it_lives() -> None:
    strict = 0.93
    peer = (0, 1, strict, 1, {7: 1.0})
    path = CONTEXT.routes.paths(0, 1)[0]
    life_s = CONTEXT.estimates.useful_life_s(path, strict + 0.01)
    assert 1.0 < life_s < 7.0
    assert orders(rule(lookahead_s=16.0), expecting(idle_observation(CONTEXT), peer)) == []
    soon = (0, 1, strict, 1, {int(life_s) - 1: 1.0})
    assert len(orders(rule(lookahead_s=16.0), expecting(idle_observation(CONTEXT), soon))) == 1


def test_stock_and_orders_count_and_only_what_is_missing_is_ordered() -> None:
    idle = idle_observation(CONTEXT, stock=2)
    put_in_stock(idle, (0, 1, 0.9))
    expected = expecting(idle, (0, 1, 0.7, 2, {1: 1.0}), (0, 1, 0.7, 1, {2: 1.0}))
    planned = rule()
    assert [order.destination for order in orders(planned, expected)] == [1, 1]
    # Refused or not, the next order comes after the interval.
    assert orders(planned, expected) == []
    later = replace(expected, time_s=expected.time_s + 1.0)
    assert len(orders(planned, later)) == 2
    put_in_stock(idle, (0, 1, 0.9), (0, 1, 0.9))
    assert len(orders(rule(), expecting(idle, (0, 1, 0.7, 2, {1: 1.0})))) == 0


def test_a_request_that_has_come_is_expected_no_more_until_the_next_forecast() -> None:
    asked = idle_observation(CONTEXT, (0, 1, 0.7, 1.0))
    peers = ((0, 1, 0.7, 1, {1: 1.0}), (0, 4, 0.7, 1, {1: 1.0}))
    planned = rule()
    assert [order.destination for order in orders(planned, expecting(asked, *peers, age_s=0.5))] == [4]
    # The next forecast knows of it: what it expects now is another request.
    fresh = replace(expecting(asked, *peers), time_s=asked.time_s + 0.6)
    assert 1 in [order.destination for order in orders(planned, fresh)]


def test_larger_requests_have_their_pairs_reserved() -> None:
    idle = idle_observation(CONTEXT, (0, 1, 0.7, 1.0), stock=3)
    put_in_stock(idle, (0, 1, 0.9), (0, 1, 0.9))
    for pairs, served in ((2, 0), (1, 1)):
        policy = LocalPlannedStock(PlannedDelayParameters(max_unloaded_delay=1e-9, lead_factor=0.0))
        policy.reset(CONTEXT)
        expected = expecting(idle, (0, 1, 0.7, pairs, {1: 1.0}))
        serving = [order for order in policy.act(expected[0]).allocations if order.purpose == "serve"]
        assert len(serving) == served


def test_without_a_forecast_nothing_is_planned() -> None:
    observations = expecting(idle_observation(CONTEXT), (0, 1, 0.7, 1, {0: np.nan}))
    assert orders(rule(), observations) == []


def test_the_quota_of_the_partner_bounds_what_is_ordered() -> None:
    idle = idle_observation(CONTEXT, stock=3)
    quota = int(CONTEXT.network.remote_storage_quota * CONTEXT.network.memories[1])
    put_in_stock(idle, (0, 1, 0.9), (0, 1, 0.9))
    expected = expecting(idle, (0, 1, 0.7, 50, {1: 1.0}))
    assert len(orders(rule(), expected)) == quota - 2


def test_what_a_node_has_on_order_bounds_its_further_orders() -> None:
    idle = idle_observation(CONTEXT, stock=3)
    expected = expecting(idle, (0, 1, 0.7, 4, {1: 1.0}), (0, 4, 0.7, 2, {2: 1.0}))
    assert [order.destination for order in orders(rule(max_orders=3), expected)] == [1, 1, 1]
    assert [order.destination for order in orders(rule(max_orders=5), expected)] == [1, 1, 1, 1, 4]
    # Two pairs for another peer are on order; pairs that are ready do not count.
    put_in_stock(idle, (0, 5, 0.9), (0, 5, 0.9), (0, 7, 0.9))
    idle.stock_ready[0, :2] = 0
    expected = expecting(idle, (0, 1, 0.7, 4, {1: 1.0}))
    assert len(orders(rule(max_orders=3), expected)) == 1


def test_orders_pass_by_sources_with_work_and_full_memories() -> None:
    peer = (0, 4, 0.7, 1, {2: 1.0})
    (order,) = orders(rule(), expecting(idle_observation(CONTEXT), peer))
    (inner,) = order.path[1:-1]
    # Every path from a corner of the grid passes one of its two neighbours.
    busy = expecting(idle_observation(CONTEXT), peer)
    busy.status[0, np.isin(busy.observed_node[0], (1, 3)), EMISSION_BACKLOG] = 2.5
    assert len(orders(rule(max_path_backlog=3.0), busy)) == 1
    assert orders(rule(max_path_backlog=2.0), busy) == []
    full = expecting(idle_observation(CONTEXT), peer)
    full.status[0, full.observed_node[0] == inner, FREE_MEMORIES] = 2.0
    for least, passes in ((2, True), (3, False)):
        policy = LocalPlannedStock(PlannedDelayParameters(lead_factor=0.0, min_path_memories=least))
        policy.reset(CONTEXT)
        (made,) = policy.act(full[0]).allocations
        assert (inner in made.path) == passes


@pytest.mark.mostly_slow
@pytest.mark.parametrize(
    ("policy", "control"), [(LocalPlannedStock, "local"), (CentralPlannedStock, "central")]
)
@pytest.mark.parametrize("pregeneration", ["none", "link", "end-to-end", "virtual-link"])
def test_conformance_with_every_pregeneration(policy: Any, control: str, pregeneration: str) -> None:
    context = small_context(control=control, pregeneration=pregeneration)
    checks = check_policy(lambda: policy(PlannedDelayParameters()), context, calls=8)
    assert [check for check in checks if not check.passed] == []

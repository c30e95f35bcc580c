"""Alternative routes of a request, and requests served from stock and links together."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from qdpem.policies.expected_delay import LocalPlannedStock, PlannedDelayParameters
from qdpem.policies.inventory.planned_stock import PlannedStock
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.planner import Planner, RouteQuery
from qdpem.policy.interface import TOKENS, Allocation, Observation
from qdpem.policy.synthetic import small_context, synthetic_observation
from qdpem.rng import stream
from tests.helpers.observations import act, idle_observation, put_in_stock
from tests.policies.test_planned_stock import expecting

CONTEXT = small_context(pregeneration="end-to-end")
ALL = 100


def planner(**changes: Any) -> Planner:
    return Planner(
        CONTEXT, **{"storage_fraction": 0.1, "resource_weight": 0.1, "end_rounds": True, **changes}
    )


def busy(key: int) -> Backlog:
    observations = synthetic_observation(CONTEXT, stream(key, "test/alternatives"))
    return Backlog.of_observation(observations[0], CONTEXT.network)


@pytest.mark.parametrize(("target", "slack_s"), [(0.7, 2.0), (0.9, 2.0), (0.97, 1.0), (0.8, 0.2)])
def test_alternatives_are_all_routes_that_reach_the_target_in_order_of_cost(
    target: float, slack_s: float
) -> None:
    """Against every path with every number of rounds, whose fidelity the estimates give."""
    chosen = planner(end_rounds=False)
    for key, (source, destination) in enumerate(product((0, 4), (2, 8))):
        query = RouteQuery(
            source=source,
            destination=destination,
            target_fidelity=target,
            slack_s=slack_s,
            max_unloaded_delay_s=slack_s,
            max_loaded_delay_s=2.0 * slack_s,
        )
        backlog = busy(key)
        routes = chosen.alternatives(query, backlog, count=ALL)
        first = chosen.choose(query, backlog)
        assert first == (routes[0].route if routes else None) or (
            first is not None and (first.path, first.rounds) == (routes[0].route.path, routes[0].route.rounds)
        )
        costs = [route.cost_s for route in routes]
        assert costs == sorted(costs)
        for costed in routes:
            route = costed.route
            assert costed.cost_s == pytest.approx(route.expected_delay_s + 0.1 * costed.work_s)
            assert costed.fidelity >= target
            assert costed.unloaded_delay_s <= min(slack_s, route.expected_delay_s)
            assert route.expected_delay_s <= 2.0 * slack_s
        # No admissible route is left out: those that age as assumed, or if there is none, fresh ones.
        loose = RouteQuery(source=source, destination=destination, target_fidelity=0.0)
        every = chosen.alternatives(loose, backlog, count=ALL)
        assert {(item.route.path.nodes, item.route.rounds) for item in every} == {
            (path.nodes, rounds)
            for path, rounds in product(CONTEXT.routes.paths(source, destination), (0, 1, 2))
            if np.isfinite(CONTEXT.estimates.fidelity(path, rounds=rounds))
        }
        for fraction in (0.1, 0.0):
            good = [
                item
                for item in every
                if CONTEXT.estimates.fidelity(
                    item.route.path, rounds=item.route.rounds, age_s=fraction * item.route.expected_delay_s
                )
                >= target
                and item.unloaded_delay_s <= slack_s
                and item.route.expected_delay_s <= 2.0 * slack_s
            ]
            if good:
                break
        assert [(item.route.path, item.route.rounds) for item in routes] == [
            (item.route.path, item.route.rounds) for item in good
        ]


def test_a_count_cuts_the_list_and_changes_nothing_else() -> None:
    query, backlog = RouteQuery(source=0, destination=8, target_fidelity=0.7), busy(0)
    whole = planner().alternatives(query, backlog, count=ALL)
    assert len(whole) > 4
    for count in (1, 2, 4):
        part = planner().alternatives(query, backlog, count=count)
        assert [item.cost_s for item in part] == [item.cost_s for item in whole[:count]]


@pytest.mark.parametrize("tokens", [1.0, 0.5, -2.0])
def test_a_virtual_link_stands_in_the_order_of_cost_too(tokens: float) -> None:
    """Over the pair of 0 with 4: the first where node 4 can swap at once, and later where it cannot."""
    context = small_context(control="central", pregeneration="virtual-link")
    observations = idle_observation(context)
    observations.status[0, 4, TOKENS] = tokens
    chosen = Planner(context, storage_fraction=0.1, resource_weight=0.1)
    query = RouteQuery(source=0, destination=8, target_fidelity=0.6, slack_s=2.0)
    backlog = Backlog.of_observation(observations[0], context.network)
    routes = chosen.alternatives(query, backlog, stock={(0, 4): [0.95]}, count=ALL)
    costs = [route.cost_s for route in routes]
    assert costs == sorted(costs)
    (place,) = [place for place, item in enumerate(routes) if (0, 4) in pairwise(item.route.path.nodes)]
    assert (place == 0) == (tokens == 1.0)
    assert place < len(routes) - 1


def job(destination: int, *fidelities: float, pairs: int) -> Observation:
    observations = idle_observation(CONTEXT, (0, destination, 0.7, 2.0), stock=max(len(fidelities), 1))
    observations.request_pairs[0, 0] = pairs
    put_in_stock(observations, *((0, destination, fidelity) for fidelity in fidelities))
    return observations


def served(observations: Observation, **changes: Any) -> list[Allocation]:
    policy = LocalPlannedStock(
        PlannedDelayParameters(**{"lead_factor": 0.0, "separate_paths": False} | changes)
    )
    return [item for item in act(policy, observations, CONTEXT) if item.purpose == "serve"]


def test_a_job_takes_what_stock_holds_and_links_make_the_rest() -> None:
    stocked, rest = served(job(8, 0.9, pairs=2))
    assert (stocked.path, stocked.pairs, stocked.request) == ((0, 8), 1, 40)
    assert (len(rest.path), rest.pairs, rest.request) == (5, 1, 40)
    stocked, rest = served(job(8, 0.9, 0.9, 0.6, pairs=4))
    assert (stocked.pairs, rest.pairs) == (2, 2)
    (whole,) = served(job(8, 0.9, 0.9, pairs=2))
    assert (whole.path, whole.pairs) == ((0, 8), 2)
    (alone,) = served(job(8, 0.9, pairs=2), combine_stock=False)
    assert (len(alone.path), alone.pairs) == (5, 2)
    # Where no link can make the rest in time, the stocked pair is not spent on a part.
    assert served(job(8, 0.9, pairs=2), max_unloaded_delay=1e-9) == []


def test_pairs_reserved_for_larger_requests_are_left_alone() -> None:
    larger = (0, 8, 0.7, 3, {1: 1.0})
    (alone,) = served(expecting(job(8, 0.9, 0.9, pairs=2), larger))
    assert (len(alone.path), alone.pairs) == (5, 2)
    stocked, rest = served(expecting(job(8, 0.9, 0.9, 0.9, 0.9, pairs=2), larger))
    assert (stocked.pairs, rest.pairs) == (1, 1)


@pytest.mark.parametrize("held", [1, 2])
def test_between_neighbours_a_job_does_not_count_the_same_pair_twice(held: int) -> None:
    stocked, rest = served(job(1, *[0.9] * held, pairs=held + 1))
    assert (stocked.path, stocked.pairs) == ((0, 1), held)
    assert (rest.path, rest.pairs) == ((0, 1), 1)


def test_a_rule_takes_its_needs_from_elsewhere_if_given() -> None:
    class Nothing:
        def note_requests(self, observations: Observation) -> None: ...
        def of(self, observations: Observation) -> list[Any]:
            return []

    expected = expecting(idle_observation(CONTEXT), (0, 1, 0.7, 2, {1: 1.0}))
    parameters = PlannedDelayParameters()
    own = PlannedStock(CONTEXT, planner(), parameters=parameters)
    other = PlannedStock(CONTEXT, planner(), parameters=parameters, needs=Nothing())  # type: ignore[arg-type]
    assert [need.pairs for need in own.lacks(expected)[0]] == [2]
    assert other.lacks(expected)[0] == []

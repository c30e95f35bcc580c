"""Fidelity-aware routing on maps made by hand, and against enumerated paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdpem.network.outages import Unavailable
from qdpem.network.path import path_along
from qdpem.policies.fidelity_routing import CentralFidelityRouting, FidelityRoutingParameters
from qdpem.policy.conformance import check_policy
from qdpem.policy.interface import EMISSION_BACKLOG, ORDERED_SWAPS, TOKENS, Allocation, Context, Observation
from qdpem.policy.synthetic import small_context
from qdpem.policy.validation import validate

# From 0 to 3: a short path of low fidelity over 1, or a longer one of high fidelity over 2 and 4.
ENDS = ((0, 1), (0, 2), (1, 3), (2, 4), (3, 4))
FIDELITY = (0.93, 0.99, 0.93, 0.99, 0.99)
SHORT, LONG = (0, 1, 3), (0, 2, 4, 3)


Build = Callable[..., Any]


@pytest.fixture(scope="session")
def forked(made_context: Build) -> Callable[..., Context]:
    return partial(made_context, ENDS, repeater_hz=(0, 5, 5, 0, 5), fidelity=FIDELITY)


def act(context: Context, observations: Observation, **parameters: object) -> tuple[Allocation, ...]:
    policy = CentralFidelityRouting(FidelityRoutingParameters(storage_fraction=0.0, **parameters))  # type: ignore[arg-type]
    policy.reset(context)
    decisions = policy.act(observations)
    validate(decisions, observations, context, policy_name=policy.name)
    return decisions.allocations


def weight(fidelity: float) -> float:
    return (4.0 * fidelity - 1.0) / 3.0


def path_fidelity(*links: float) -> float:
    """Swaps without noise multiply Werner weights (Briegel et al. 1998)."""
    return 0.25 + 0.75 * float(np.prod([weight(fidelity) for fidelity in links]))


SHORT_F, LONG_F = path_fidelity(0.93, 0.93), path_fidelity(0.99, 0.99, 0.99)


@pytest.mark.parametrize(
    ("target", "path"),
    [(0.7, SHORT), (SHORT_F - 1e-6, SHORT), (SHORT_F + 1e-6, LONG), (LONG_F - 1e-6, LONG)],
)
def test_the_longer_path_of_higher_fidelity_is_taken_exactly_where_needed(
    target: float, path: tuple[int, ...], forked: Build, observed: Build
) -> None:
    context = forked()
    (allocation,) = act(context, observed(context, (0, 3, target)))
    assert (allocation.path, allocation.plan.rounds_per_link) == (path, 0)


def test_links_are_distilled_only_where_no_path_meets_the_target(forked: Build, observed: Build) -> None:
    context = forked()
    (allocation,) = act(context, observed(context, (0, 3, LONG_F + 1e-6)))
    assert allocation.path == LONG
    assert sum(allocation.plan.rounds_on(hop) for hop in range(3)) == 1
    assert act(context, observed(context, (0, 3, 0.9999))) == ()


def test_a_single_path_is_distilled_no_more_than_needed(made_context: Build, observed: Build) -> None:
    context = made_context([(0, 1), (1, 2)], repeater_hz=(0, 5, 0), fidelity=0.93)
    path = context.routes.paths(0, 2)[0]
    reached = [context.estimates.fidelity(path, rounds=rounds) for rounds in range(3)]
    assert reached == sorted(reached)
    for rounds, fidelity in enumerate(reached):
        (allocation,) = act(context, observed(context, (0, 2, fidelity - 1e-6)))
        assert allocation.plan.rounds_per_link == rounds
        if rounds:
            half = context.estimates.fidelity(path, rounds=(rounds, rounds - 1))
            (allocation,) = act(context, observed(context, (0, 2, half - 1e-6)))
            assert {allocation.plan.rounds_on(0), allocation.plan.rounds_on(1)} == {rounds, rounds - 1}


def test_the_link_that_gains_most_is_distilled_first(made_context: Build, observed: Build) -> None:
    """Of three links the second has low fidelity: both its rounds gain more than any on the others."""
    context = made_context([(0, 1), (1, 2), (2, 3)], repeater_hz=(0, 5, 5, 0), fidelity=(0.97, 0.85, 0.97))
    path, estimates = context.routes.paths(0, 3)[0], context.estimates
    for rounds in ((0, 1, 0), (0, 2, 0)):
        assert estimates.fidelity(path, rounds=rounds) > estimates.fidelity(path, rounds=(1, 0, 1))
        (allocation,) = act(
            context, observed(context, (0, 3, estimates.fidelity(path, rounds=rounds) - 1e-6))
        )
        assert allocation.plan.rounds_per_link == rounds


def test_the_search_continues_without_links_that_lack_pairs_to_distil(
    made_context: Build, observed: Build
) -> None:
    """The path of higher fidelity makes one pair in time, but not the four that two rounds take."""
    context = made_context(
        [(0, 1), (0, 2), (1, 3), (2, 3)],
        repeater_hz=(0, 5, 5, 0),
        source_hz=(0.1, 4.0, 60.0, 0.1),
        fidelity=(0.952, 0.95, 0.952, 0.95),
    )
    (easy,) = act(context, observed(context, (0, 3, 0.9)), capacity_horizon_s=1.0)
    assert (easy.path, easy.plan.rounds_per_link) == ((0, 1, 3), 0)
    (allocation,) = act(context, observed(context, (0, 3, 0.93)), capacity_horizon_s=1.0)
    assert allocation.path == (0, 2, 3)
    assert allocation.plan.rounds_per_link != 0


def test_used_capacity_diverts_later_requests(forked: Build, observed: Build) -> None:
    """A repeater of 5/s with one token makes five swaps in 0.9 s; the sixth request takes the long path."""
    context = forked(source_hz=1e4)
    observations = observed(context, *[(0, 3, 0.7)] * 8)
    allocations = act(context, observations, capacity_horizon_s=0.9)
    assert [allocation.path for allocation in allocations] == [SHORT] * 5 + [LONG] * 3


def test_the_controllers_book_and_reports_count_as_used(forked: Build, observed: Build) -> None:
    context = forked(source_hz=1e4)
    for column, value in ((ORDERED_SWAPS, 7.0), (TOKENS, -9.0)):
        observations = observed(context, (0, 3, 0.7))
        observations.status[0, 1, column] = value
        (allocation,) = act(context, observations)
        assert allocation.path == LONG
    observations = observed(context, (0, 3, 0.7))
    observations.status[0, :, EMISSION_BACKLOG] = 1e6
    assert act(context, observations) == ()


def test_a_request_without_capacity_waits_or_queues(forked: Build, observed: Build) -> None:
    context = forked(source_hz=1e4)
    observations = observed(context, (0, 3, 0.7))
    observations.status[0, :, ORDERED_SWAPS] = 100.0
    assert act(context, observations) == ()
    (allocation,) = act(context, observations, overflow="queue")
    assert allocation.path == SHORT


def test_a_deferred_request_is_served_after_an_epoch(forked: Build, observed: Build) -> None:
    context = forked(source_hz=1e4)
    policy = CentralFidelityRouting(FidelityRoutingParameters())
    policy.reset(context)
    counts = []
    for time_s, ordered in ((10.0, 100.0), (10.05, 0.0), (10.2, 0.0)):
        observations = observed(context, (0, 3, 0.7), time_s=time_s)
        observations.request_deadline_s[0, 0] = 11.0
        observations.status[0, :, ORDERED_SWAPS] = ordered
        counts.append(len(policy.act(observations).allocations))
    assert counts == [0, 0, 1]


def test_paths_avoid_unavailable_parts(forked: Build, observed: Build) -> None:
    context = forked()
    for unavailable in (Unavailable(nodes=frozenset({1})), Unavailable(links=frozenset({0}))):
        observations = observed(context, (0, 3, 0.7))
        nodes = np.array([sorted(unavailable.nodes)], dtype=np.int64).reshape(1, -1)
        links = np.array([sorted(unavailable.links)], dtype=np.int64).reshape(1, -1)
        (allocation,) = act(context, replace(observations, unavailable_node=nodes, unavailable_link=links))
        assert allocation.path == LONG


def test_paths_avoid_a_link_too_slow_for_the_horizon(forked: Build, observed: Build) -> None:
    """The sources at 0 and 1 take ten seconds for a pair; those at 2 and 4 feed the long path."""
    context = forked(source_hz=(0.01, 0.01, 500.0, 500.0, 500.0))
    (allocation,) = act(context, observed(context, (0, 3, 0.7)), capacity_horizon_s=1.0)
    assert allocation.path == LONG


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), target=st.floats(0.6, 0.97))
def test_no_cheaper_path_or_plan_meets_the_target(
    seed: int, target: float, made_context: Build, observed: Build
) -> None:
    draw = np.random.default_rng(seed)
    graph = networkx.gnm_random_graph(7, 11, seed=seed)
    if not networkx.is_connected(graph):
        return
    ends = sorted(tuple(sorted(link)) for link in graph.edges)
    context = made_context(ends, repeater_hz=[5.0] * 7, fidelity=draw.uniform(0.88, 0.995, len(ends)))
    estimates = context.estimates
    shortest = networkx.shortest_path_length(graph, 0, 6)
    reached = {}
    for nodes in networkx.all_simple_paths(graph, 0, 6, cutoff=shortest + 4):
        path = path_along(context.network, tuple(nodes))
        for rounds in range(3):
            if estimates.fidelity(path, rounds=rounds) >= target:
                key = (rounds, len(nodes) - 1)
                reached[key] = max(reached.get(key, 0.0), estimates.fidelity(path, rounds=rounds))
    allocations = act(context, observed(context, (0, 6, target)), capacity_horizon_s=5.0)
    assert bool(allocations) == bool(reached)
    for allocation in allocations:
        best = min(reached)
        path = path_along(context.network, allocation.path)
        rounds = allocation.plan.rounds_per_link
        assert estimates.fidelity(path, rounds=rounds) >= target
        if best[0] == 0:
            # Fresh pairs are Werner states, whose weights multiply, so the search is exact.
            assert (rounds, len(allocation.path) - 1) == best
            assert estimates.fidelity(path) == pytest.approx(reached[best], abs=1e-6)
        else:
            rounds_by_hop = [allocation.plan.rounds_on(hop) for hop in range(path.hops)]
            last = [
                (*rounds_by_hop[:hop], rounds_by_hop[hop] - 1, *rounds_by_hop[hop + 1 :])
                for hop in range(path.hops)
                if rounds_by_hop[hop]
            ]
            # Without the round that was added last the target is not met.
            assert min(estimates.fidelity(path, rounds=fewer) for fewer in last) < target


@pytest.mark.parametrize("pregeneration", ["none", "link", "end-to-end", "virtual-link"])
def test_conformance_with_every_pregeneration(pregeneration) -> None:
    context = small_context(control="central", pregeneration=pregeneration)
    factory = lambda: CentralFidelityRouting(FidelityRoutingParameters())  # noqa: E731
    assert [check for check in check_policy(factory, context, calls=8) if not check.passed] == []


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="capacity_horizon_s is 0"):
        FidelityRoutingParameters(capacity_horizon_s=0.0)
    with pytest.raises(ValueError, match="overflow is 'drop'"):
        FidelityRoutingParameters(overflow="drop")

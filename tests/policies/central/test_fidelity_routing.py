"""Fidelity-aware routing on maps made by hand, and against every path written out."""

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

# From 0 to 3: over 1, short and impure, or over 2 and 4, longer and pure.
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
    return 0.25 + 0.75 * float(np.prod([weight(one) for one in links]))


SHORT_F, LONG_F = path_fidelity(0.93, 0.93), path_fidelity(0.99, 0.99, 0.99)


@pytest.mark.parametrize(
    ("target", "path"),
    [(0.7, SHORT), (SHORT_F - 1e-6, SHORT), (SHORT_F + 1e-6, LONG), (LONG_F - 1e-6, LONG)],
)
def test_the_longer_purer_way_is_taken_exactly_where_fidelity_needs_it(
    target: float, path: tuple[int, ...], forked: Build, seen: Build
) -> None:
    context = forked()
    (made,) = act(context, seen(context, (0, 3, target)))
    assert (made.path, made.plan.rounds_per_link) == (path, 0)


def test_links_are_distilled_only_where_no_way_is_pure_enough(forked: Build, seen: Build) -> None:
    context = forked()
    (made,) = act(context, seen(context, (0, 3, LONG_F + 1e-6)))
    assert made.path == LONG
    assert sum(made.plan.rounds_on(hop) for hop in range(3)) == 1
    assert act(context, seen(context, (0, 3, 0.9999))) == ()


def test_one_way_alone_is_distilled_no_more_than_needed(made_context: Build, seen: Build) -> None:
    context = made_context([(0, 1), (1, 2)], repeater_hz=(0, 5, 0), fidelity=0.93)
    path = context.routes.paths(0, 2)[0]
    reached = [context.estimates.fidelity(path, rounds=rounds) for rounds in range(3)]
    assert reached == sorted(reached)
    for rounds, fidelity in enumerate(reached):
        (made,) = act(context, seen(context, (0, 2, fidelity - 1e-6)))
        assert made.plan.rounds_per_link == rounds
        if rounds:
            half = context.estimates.fidelity(path, rounds=(rounds, rounds - 1))
            (made,) = act(context, seen(context, (0, 2, half - 1e-6)))
            assert {made.plan.rounds_on(0), made.plan.rounds_on(1)} == {rounds, rounds - 1}


def test_the_link_that_gains_most_is_distilled_first(made_context: Build, seen: Build) -> None:
    """Of three links the second is impure: its one round brings more than any other, its second too."""
    context = made_context([(0, 1), (1, 2), (2, 3)], repeater_hz=(0, 5, 5, 0), fidelity=(0.97, 0.85, 0.97))
    path, estimates = context.routes.paths(0, 3)[0], context.estimates
    for rounds in ((0, 1, 0), (0, 2, 0)):
        assert estimates.fidelity(path, rounds=rounds) > estimates.fidelity(path, rounds=(1, 0, 1))
        (made,) = act(context, seen(context, (0, 3, estimates.fidelity(path, rounds=rounds) - 1e-6)))
        assert made.plan.rounds_per_link == rounds


def test_where_a_link_lacks_the_pairs_to_distil_the_search_goes_on_without_it(
    made_context: Build, seen: Build
) -> None:
    """The purer of two ways makes a pair in time but not the four that two rounds of distillation take."""
    context = made_context(
        [(0, 1), (0, 2), (1, 3), (2, 3)],
        repeater_hz=(0, 5, 5, 0),
        source_hz=(0.1, 4.0, 60.0, 0.1),
        fidelity=(0.952, 0.95, 0.952, 0.95),
    )
    (easy,) = act(context, seen(context, (0, 3, 0.9)), horizon_s=1.0)
    assert (easy.path, easy.plan.rounds_per_link) == ((0, 1, 3), 0)
    (made,) = act(context, seen(context, (0, 3, 0.93)), horizon_s=1.0)
    assert made.path == (0, 2, 3)
    assert made.plan.rounds_per_link != 0


def test_what_is_used_up_sends_others_another_way(forked: Build, seen: Build) -> None:
    """A repeater of 5/s with a token in hand makes five swaps in 0.9 s; the sixth goes the long way."""
    context = forked(source_hz=1e4)
    observations = seen(context, *[(0, 3, 0.7)] * 8)
    made = act(context, observations, horizon_s=0.9)
    assert [one.path for one in made] == [SHORT] * 5 + [LONG] * 3


def test_the_controllers_book_and_reports_count_as_used(forked: Build, seen: Build) -> None:
    context = forked(source_hz=1e4)
    for column, value in ((ORDERED_SWAPS, 7.0), (TOKENS, -9.0)):
        observations = seen(context, (0, 3, 0.7))
        observations.status[0, 1, column] = value
        (made,) = act(context, observations)
        assert made.path == LONG
    observations = seen(context, (0, 3, 0.7))
    observations.status[0, :, EMISSION_BACKLOG] = 1e6
    assert act(context, observations) == ()


def test_who_finds_nothing_left_waits_or_queues(forked: Build, seen: Build) -> None:
    context = forked(source_hz=1e4)
    observations = seen(context, (0, 3, 0.7))
    observations.status[0, :, ORDERED_SWAPS] = 100.0
    assert act(context, observations) == ()
    (made,) = act(context, observations, overflow="queue")
    assert made.path == SHORT


def test_who_waits_is_looked_at_again_after_an_epoch_and_then_served(forked: Build, seen: Build) -> None:
    context = forked(source_hz=1e4)
    policy = CentralFidelityRouting(FidelityRoutingParameters())
    policy.reset(context)
    counts = []
    for time_s, ordered in ((10.0, 100.0), (10.05, 0.0), (10.2, 0.0)):
        observations = seen(context, (0, 3, 0.7), time_s=time_s)
        observations.request_deadline_s[0, 0] = 11.0
        observations.status[0, :, ORDERED_SWAPS] = ordered
        counts.append(len(policy.act(observations).allocations))
    assert counts == [0, 0, 1]


def test_ways_go_round_what_is_away(forked: Build, seen: Build) -> None:
    context = forked()
    for unavailable in (Unavailable(nodes=frozenset({1})), Unavailable(links=frozenset({0}))):
        observations = seen(context, (0, 3, 0.7))
        nodes = np.array([sorted(unavailable.nodes)], dtype=np.int64).reshape(1, -1)
        links = np.array([sorted(unavailable.links)], dtype=np.int64).reshape(1, -1)
        (made,) = act(context, replace(observations, unavailable_node=nodes, unavailable_link=links))
        assert made.path == LONG


def test_a_link_too_slow_for_the_horizon_is_gone_round(forked: Build, seen: Build) -> None:
    """Sources at 0 and 1 that make a pair in ten seconds on link 0-1; those at 2 and 4 feed the long way."""
    context = forked(source_hz=(0.01, 0.01, 500.0, 500.0, 500.0))
    (made,) = act(context, seen(context, (0, 3, 0.7)), horizon_s=1.0)
    assert made.path == LONG


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), target=st.floats(0.6, 0.97))
def test_no_path_without_rounds_or_with_fewer_hops_would_do_and_no_round_is_too_many(
    seed: int, target: float, made_context: Build, seen: Build
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
    made = act(context, seen(context, (0, 6, target)), horizon_s=5.0)
    assert bool(made) == bool(reached)
    for one in made:
        best = min(reached)
        taken = path_along(context.network, one.path)
        rounds = one.plan.rounds_per_link
        assert estimates.fidelity(taken, rounds=rounds) >= target
        if best[0] == 0:
            # Fresh pairs are Werner states, whose weights multiply: the purest of so few hops is found.
            assert (rounds, len(one.path) - 1) == best
            assert estimates.fidelity(taken) == pytest.approx(reached[best], abs=1e-6)
        else:
            each = [one.plan.rounds_on(hop) for hop in range(taken.hops)]
            last = [(*each[:hop], each[hop] - 1, *each[hop + 1 :]) for hop in range(taken.hops) if each[hop]]
            # Some round came last, and without it the target was not met.
            assert min(estimates.fidelity(taken, rounds=fewer) for fewer in last) < target


@pytest.mark.parametrize("pregeneration", ["none", "link", "end-to-end", "virtual-link"])
def test_conformance_with_every_right(pregeneration) -> None:
    context = small_context(control="central", pregeneration=pregeneration)
    factory = lambda: CentralFidelityRouting(FidelityRoutingParameters())  # noqa: E731
    assert [check for check in check_policy(factory, context, calls=8) if not check.passed] == []


def test_senseless_parameters_are_a_sentence() -> None:
    with pytest.raises(ValueError, match="horizon_s is 0"):
        FidelityRoutingParameters(horizon_s=0.0)
    with pytest.raises(ValueError, match="overflow is 'drop'"):
        FidelityRoutingParameters(overflow="drop")

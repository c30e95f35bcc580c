"""Expected delay against numerical roots, known waiting times, and laws."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.path_features import PathFeatures, path_features
from qdpem.policies.routing.planner import Planner, RouteQuery
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policy.interface import Context, Observation
from qdpem.policy.synthetic import small_context, synthetic_observation
from qdpem.rng import stream

CONTEXT = small_context()
NETWORK = CONTEXT.network


def backlog_of(*, context: Context = CONTEXT, **changes: Any) -> Backlog:
    nodes = context.network.node_count
    values: dict[str, Any] = {"pairs": np.zeros(nodes), "swaps": np.zeros(nodes), "tokens": np.ones(nodes)}
    return Backlog(context.network, **(values | changes))


def query(source: int, destination: int, **criteria: Any) -> RouteQuery:
    return RouteQuery(source=source, destination=destination, **criteria)


def one_link(first: int = 0, second: int = 1) -> PathFeatures:
    return path_features(CONTEXT.routes.paths(first, second)[:1], CONTEXT)


def fixed_delay_s(features: PathFeatures) -> float:
    return float(features.fixed_delay_s[0, 0])


def test_waits_follow_the_work_that_is_added() -> None:
    """Read before and after: those of a belief that held the same work from the start."""
    features = path_features(CONTEXT.routes.paths(0, NETWORK.node_count - 1), CONTEXT)
    backlog, nodes = Backlog.idle(NETWORK), features.paths[0].nodes
    idle = features.waits(backlog, pairs=2)
    route = RoutePlan(
        path=features.paths[0], expected_delay_s=0.0, fresh_pairs=np.full(features.paths[0].hops, 3.0)
    )
    backlog.add(route, pairs=2)
    emitted, swaps = np.zeros(NETWORK.node_count), np.zeros(NETWORK.node_count)
    np.add.at(emitted, [*nodes[:-1], *nodes[1:]], 6.0)
    np.add.at(swaps, list(nodes[1:-1]), 2.0)
    loaded = features.waits(
        backlog_of(pairs=emitted, swaps=swaps, tokens=np.full(NETWORK.node_count, NETWORK.repeater_burst)),
        pairs=2,
    )
    for added, whole, unloaded in zip(features.waits(backlog, pairs=2), loaded, idle, strict=True):
        assert np.array_equal(added, whole)
        assert not np.array_equal(added, unloaded)


@settings(deadline=None)
@given(first=st.floats(0.0, 20.0), second=st.floats(0.0, 20.0), pairs=st.integers(1, 3))
def test_the_wait_behind_a_backlog_solves_the_fluid_law(first: float, second: float, pairs: int) -> None:
    ahead = np.zeros(NETWORK.node_count)
    ahead[0], ahead[1] = first, second
    backlog = backlog_of(pairs=ahead)
    features = one_link()
    ready = backlog.source_wait_s[:2]
    rates = NETWORK.source_rate_hz[:2] * NETWORK.success_probability[NETWORK.link_between[0, 1]]

    def surplus_pairs(time_s: float) -> float:
        return float((rates * np.maximum(time_s - ready, 0.0)).sum()) - pairs

    expected = brentq(surplus_pairs, 0.0, 1e4, xtol=1e-12)
    delay_s = features.expected_delay_s(backlog, pairs=pairs)[0, 0] - fixed_delay_s(features)
    assert delay_s == pytest.approx(expected, rel=1e-9)


def test_an_idle_link_takes_the_mean_of_two_poisson_streams() -> None:
    features = one_link()
    rate_hz = NETWORK.link_rate_hz[NETWORK.link_between[0, 1]]
    delay_s = features.expected_delay_s(Backlog.idle(NETWORK))[0, 0] - fixed_delay_s(features)
    assert delay_s == pytest.approx(1.0 / rate_hz, rel=1e-12)


def attempting(context: Context, *, modes: int, period_s: float) -> Context:
    """The same grid with attempting links."""
    links = tuple(
        replace(link, source_limited=False, modes=modes, attempt_period_s=period_s)
        for link in context.network.links
    )
    return replace(context, network=replace(context.network, links=links))


def test_an_attempting_link_first_works_off_the_smaller_backlog_of_its_ends() -> None:
    """min(T_u, T_v) + n/r: T is the pairs ahead over all rates of a node, and r = modes x p / period."""
    context = attempting(CONTEXT, modes=3, period_s=0.2)
    features = path_features(context.routes.paths(0, 1)[:1], context)
    rate_hz = 3 * float(NETWORK.success_probability[0]) / 0.2
    ahead = np.zeros(9)
    ahead[0], ahead[1] = 8.0, 9.0
    idle, busy = backlog_of(context=context), backlog_of(context=context, pairs=ahead)
    assert busy.source_wait_s[:2] == pytest.approx([8.0 / (2 * rate_hz), 9.0 / (3 * rate_hz)])
    for pairs in (1, 2):
        delay_s = [
            features.expected_delay_s(backlog, pairs=pairs)[0, 0] - fixed_delay_s(features)
            for backlog in (idle, busy)
        ]
        assert delay_s == pytest.approx([pairs / rate_hz, 3.0 / rate_hz + pairs / rate_hz])
    assert features.work_s[0, 0] == pytest.approx(1.0 / rate_hz)


@pytest.mark.parametrize("count", [2, 4, 8])
def test_the_root_of_summed_squares_is_within_a_tenth_of_the_expected_maximum(count: int) -> None:
    # The maximum of n exponentials of mean m has mean m H_n (Feller 1971, I.6).
    harmonic = sum(1.0 / k for k in range(1, count + 1))
    assert math.sqrt(count) == pytest.approx(harmonic, rel=0.1)


def test_equal_links_of_a_path_combine_as_the_root_of_summed_squares() -> None:
    network = replace(NETWORK, source_rate_hz=np.full(9, 10.0))
    features = path_features(CONTEXT.routes.paths(0, 8)[:1], replace(CONTEXT, network=network))
    delay_s = features.expected_delay_s(Backlog.idle(network))[0, 0] - fixed_delay_s(features)
    assert features.paths[0].hops == 4
    assert delay_s == pytest.approx(math.sqrt(4) / float(network.link_rate_hz[0]), rel=1e-9)


def test_a_swap_waits_for_missing_tokens() -> None:
    tokens, swaps = np.ones(9), np.zeros(9)
    tokens[1], swaps[1] = 0.25, 2.0
    backlog = backlog_of(tokens=tokens, swaps=swaps)
    # Two swaps ahead and the own one need 3 tokens. The bucket has 0.25; the rest refills at c.
    assert backlog.token_wait_s()[1] == pytest.approx(2.75 / NETWORK.repeater_rate_hz[1])
    assert backlog.token_wait_s(2)[1] == pytest.approx(3.75 / NETWORK.repeater_rate_hz[1])
    assert backlog.token_wait_s()[0] == 0.0


def test_the_backlog_of_an_observation_follows_its_reports() -> None:
    observations = idle_views(CONTEXT)
    observation = observations[4]
    observation.status[0, 0] = (3.0, 0.5, 7.0, 1.0, 2.0, 4.0)
    observation.status_age_s[0, 0] = 0.1
    backlog = Backlog.of_observation(observation, NETWORK, unobserved_backlog=5.0, unobserved_tokens=0.0)
    rate_hz = NETWORK.repeater_rate_hz[4]
    assert backlog.token_wait_s()[4] == pytest.approx((4.0 + 1.0 - 0.5 - 0.1 * rate_hz) / rate_hz)
    # Node 0 is no neighbour of node 4, so it has the backlog assumed for unobserved nodes.
    assert backlog.token_wait_s()[0] == pytest.approx(1.0 / NETWORK.repeater_rate_hz[0])
    assert backlog.source_wait_s[4] / backlog.source_wait_s[0] == pytest.approx(
        7.0 / 5.0 * mean_rate(0) / mean_rate(4), rel=1e-12
    )
    assert not backlog.repeaters_idle[4]
    assert backlog.repeaters_idle[0]


def mean_rate(node: int) -> float:
    return float(np.mean([NETWORK.link_rate_hz[link] for _, link in NETWORK.neighbours[node]]))


def idle_views(context: Context) -> Observation:
    observations = synthetic_observation(context, stream(3, "idle"))
    known = observations.observed_node >= 0
    observations.status[known] = (16.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    return observations


@settings(deadline=None)
@given(node=st.integers(0, 8), pairs=st.floats(0.0, 50.0), swaps=st.floats(0.0, 10.0))
def test_more_backlog_never_shortens_the_delay(node: int, pairs: float, swaps: float) -> None:
    features = path_features(CONTEXT.routes.paths(0, 8), CONTEXT)
    ahead, waiting = np.zeros(9), np.zeros(9)
    ahead[node], waiting[node] = pairs, swaps
    busy = features.expected_delay_s(backlog_of(pairs=ahead, swaps=waiting))
    assert np.all(busy >= features.expected_delay_s(Backlog.idle(NETWORK)) - 1e-12)


def test_the_route_avoids_a_busy_repeater_and_its_work_is_counted() -> None:
    planner = Planner(CONTEXT, storage_fraction=0.3)
    backlog = Backlog.idle(NETWORK)
    to_centre = query(0, 4, target_fidelity=0.7, max_unloaded_delay_s=10.0)
    first = planner.choose(to_centre, backlog)
    assert first is not None
    assert first.path.hops == 2
    for _ in range(3):
        backlog.add(first)
    second = planner.choose(to_centre, backlog)
    assert second is not None
    assert first.path.nodes[1] not in second.path.nodes


def test_a_high_target_is_met_by_distillation_or_not_at_all() -> None:
    planner = Planner(CONTEXT, storage_fraction=0.0)
    backlog = Backlog.idle(NETWORK)
    easy = planner.choose(query(0, 1, target_fidelity=0.9, max_unloaded_delay_s=10.0), backlog)
    hard = planner.choose(query(0, 1, target_fidelity=0.983, max_unloaded_delay_s=10.0), backlog)
    assert easy is not None
    assert hard is not None
    assert (easy.rounds, hard.rounds > 0) == (0, True)
    assert hard.expected_delay_s > easy.expected_delay_s
    assert planner.choose(query(0, 1, target_fidelity=0.9999, max_unloaded_delay_s=10.0), backlog) is None


def test_a_request_too_late_even_on_an_idle_network_gets_no_route() -> None:
    planner = Planner(CONTEXT, storage_fraction=0.3)
    backlog = Backlog.idle(NETWORK)
    quick = planner.choose(query(0, 8, target_fidelity=0.6, max_unloaded_delay_s=10.0), backlog)
    assert quick is not None
    assert (
        planner.choose(
            query(0, 8, target_fidelity=0.6, max_unloaded_delay_s=0.5 * quick.expected_delay_s), backlog
        )
        is None
    )


def test_idle_repeaters_only_excludes_busy_ones() -> None:
    planner = Planner(CONTEXT, storage_fraction=0.3)
    tokens = np.ones(9)
    tokens[[1, 3]] = 0.5
    backlog = backlog_of(tokens=tokens)
    for destination in (4, 8):
        assert (
            planner.choose(
                query(
                    0, destination, target_fidelity=0.6, max_unloaded_delay_s=9.0, idle_repeaters_only=True
                ),
                backlog,
            )
            is None
        )
        assert (
            planner.choose(query(0, destination, target_fidelity=0.6, max_unloaded_delay_s=9.0), backlog)
            is not None
        )
    assert (
        planner.choose(
            query(0, 1, target_fidelity=0.6, max_unloaded_delay_s=9.0, idle_repeaters_only=True), backlog
        )
        is not None
    )


def test_no_route_without_a_path_or_over_links_without_a_rate() -> None:
    silent = replace(NETWORK, source_rate_hz=np.zeros(9))
    planner = Planner(replace(CONTEXT, network=silent), storage_fraction=0.3)
    assert (
        planner.choose(query(0, 1, target_fidelity=0.6, max_unloaded_delay_s=10.0), Backlog.idle(silent))
        is None
    )
    assert (
        planner.choose(query(0, 0, target_fidelity=0.6, max_unloaded_delay_s=10.0), Backlog.idle(silent))
        is None
    )


def test_servers_work_in_parallel_and_queue_like_tokens() -> None:
    """Without a backlog the slowest server of the path counts; waits are those of token buckets."""
    serving = replace(CONTEXT, network=replace(NETWORK, repeater_kind="server"))
    paths = CONTEXT.routes.paths(0, 8)
    bucket, server = path_features(paths, CONTEXT), path_features(paths, serving)
    for row, path in enumerate(paths):
        slowest_s = 1.0 / NETWORK.repeater_rate_hz[list(path.nodes[1:-1])].min()
        gates_s = 1e-3 * math.ceil(math.log2(path.hops))
        assert server.fixed_delay_s[:, row] - bucket.fixed_delay_s[:, row] == pytest.approx(
            slowest_s - gates_s
        )
    one_link = CONTEXT.routes.paths(0, 1)[:1]
    assert path_features(one_link, serving).fixed_delay_s == pytest.approx(
        path_features(one_link, CONTEXT).fixed_delay_s
    )
    # Half-way through a swap with two waiting, a new swap starts after 2.5 services and takes 1 more.
    tokens, swaps = np.ones(9), np.zeros(9)
    tokens[1], swaps[1] = 0.5, 2.0
    busy = backlog_of(context=serving, tokens=tokens, swaps=swaps)
    assert busy.token_wait_s()[1] == pytest.approx(2.5 / NETWORK.repeater_rate_hz[1])
    for waits, same in zip(server.waits(busy), bucket.waits(busy), strict=True):
        assert waits == pytest.approx(same)

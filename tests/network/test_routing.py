from __future__ import annotations

import time
from collections.abc import Sequence

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physics.interface import CompiledLink
from qdpem.network.generators import (
    GridParameters,
    LineParameters,
    MeshParameters,
    geometric,
    grid,
    line,
)
from qdpem.network.graph import Graph, Network
from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.network.path import VIRTUAL_LINK, Path, Paths, path_along
from qdpem.network.routing import _CACHED_DETOURS, Routes


def bare_network(
    graph: Graph,
    *,
    repeater_rate_hz: list[float] | None = None,
    success_probability: Sequence[float] | None = None,
) -> Network:
    """With sources of one attempt per second, so that a link makes twice its success probability."""
    nodes = len(graph.node_names)
    probabilities = [0.5] * len(graph.length_km) if success_probability is None else success_probability
    return Network(
        graph=graph,
        source_rate_hz=np.ones(nodes),
        repeater_rate_hz=np.ones(nodes) if repeater_rate_hz is None else np.array(repeater_rate_hz),
        repeater_burst=1.0,
        swap_time_s=0.0,
        distillation_time_s=0.0,
        memories=np.ones(nodes, dtype=np.int64),
        remote_storage_quota=0.25,
        delay_s=graph.length_km / 2e5 + 1e-5,
        links=tuple(
            CompiledLink(
                success_probability=probability, attempt_period_s=1.0, fresh=None, source_limited=True
            )
            for probability in probabilities
        ),
        hardware=(),
    )


def graph_of(nodes: int, ends: list[tuple[int, int]], length_km: list[float]) -> Graph:
    return Graph(
        name="drawn",
        node_names=tuple(str(node) for node in range(nodes)),
        x_km=np.zeros(nodes),
        y_km=np.zeros(nodes),
        link_ends=np.array(ends, dtype=np.int64).reshape(-1, 2),
        length_km=np.array(length_km),
    )


def by_brute_force(
    network: Network,
    source: int,
    destination: int,
    *,
    count: int,
    extra_hops: int,
    unavailable: Unavailable = ALL_AVAILABLE,
) -> list[tuple[int, ...]]:
    """The same by networkx (Yen 1971): nodes of the paths by hops, then of the rest by work, as promised."""
    whole = nx.Graph()
    whole.add_nodes_from(range(network.node_count))
    rates = network.repeater_rate_hz
    for link, (ends, length) in enumerate(
        zip(network.graph.link_ends.tolist(), network.graph.length_km.tolist(), strict=True)
    ):
        if not unavailable.affects(ends, (link,)):
            whole.add_edge(*ends, length=length, pair_s=per_second(network.link_rate_hz[link]))
    kept = [node for node in whole if rates[node] > 0 or node in (source, destination)]
    usable = whole.subgraph(kept)
    if not nx.has_path(usable, source, destination):
        return []
    minimum = nx.shortest_path_length(usable, source, destination)

    def by_hops(nodes: list[int]) -> tuple[int, float, tuple[int, ...]]:
        return len(nodes), round(nx.path_weight(usable, nodes, "length"), 9), tuple(nodes)

    def by_work(nodes: list[int]) -> tuple[float, tuple[int, ...]]:
        swaps_s = sum(1.0 / rates[node] for node in nodes[1:-1])
        return round(nx.path_weight(usable, nodes, "pair_s") + swaps_s, 9), tuple(nodes)

    wanted = count - count // 2
    few: list[list[int]] = []
    for nodes in nx.shortest_simple_paths(usable, source, destination):
        if len(nodes) > minimum + 1 + extra_hops or (len(few) >= wanted and len(nodes) > len(few[-1])):
            break
        few.append(nodes)
    few = sorted(few, key=by_hops)[:wanted]

    def work_s(one: int, other: int, data: dict[str, float]) -> float | None:
        inner = [node for node in (one, other) if node not in (source, destination)]
        work = data["pair_s"] + sum(0.5 / rates[node] for node in inner)
        return work if work < np.inf else None

    light: list[list[int]] = []
    working = nx.subgraph_view(usable, filter_edge=lambda *ends: usable.edges[ends]["pair_s"] < np.inf)
    if nx.has_path(working, source, destination):
        for nodes in nx.shortest_simple_paths(working, source, destination, weight=work_s):
            if light and len(light) >= count // 2 and by_work(nodes)[0] > by_work(light[-1])[0]:
                break
            if len(nodes) <= minimum + 1 + extra_hops and nodes not in few:
                light.append(nodes)
    light = sorted(light, key=by_work)[: count // 2]
    return [tuple(nodes) for nodes in sorted(few + light, key=by_hops)]


def per_second(rate_hz: float) -> float:
    return 1.0 / rate_hz if rate_hz > 0.0 else np.inf


@st.composite
def networks(draw: st.DrawFn) -> Network:
    nodes = draw(st.integers(2, 9))
    pairs = [(first, second) for first in range(nodes) for second in range(first + 1, nodes)]
    ends = sorted(draw(st.lists(st.sampled_from(pairs), unique=True, max_size=18)))
    # A few equal lengths, so that ties are tried; 0.1 does not add up exactly in binary.
    lengths = draw(st.lists(st.sampled_from([0.1, 0.2, 0.3, 7.0]), min_size=len(ends), max_size=len(ends)))
    rates = draw(st.lists(st.sampled_from([0.0, 1.0, 1.0, 4.0]), min_size=nodes, max_size=nodes))
    probabilities = draw(
        st.lists(st.sampled_from([0.0, 0.125, 0.5, 0.5]), min_size=len(ends), max_size=len(ends))
    )
    graph = graph_of(nodes, ends, lengths)
    return bare_network(graph, repeater_rate_hz=rates, success_probability=probabilities)


@settings(max_examples=150, deadline=None)
@given(network=networks(), count=st.integers(1, 9), extra_hops=st.integers(0, 4))
def test_exactly_the_paths_of_networkx(network: Network, count: int, extra_hops: int) -> None:
    routes = Routes(network, count=count, extra_hops=extra_hops)
    for source in range(network.node_count):
        for destination in range(source + 1, network.node_count):
            found = [path.nodes for path in routes.paths(source, destination)]
            wanted = by_brute_force(network, source, destination, count=count, extra_hops=extra_hops)
            assert found == wanted


@settings(max_examples=150, deadline=None)
@given(network=networks(), count=st.integers(1, 9), data=st.data())
def test_round_what_is_away_as_if_it_were_not_there(
    network: Network, count: int, data: st.DataObject
) -> None:
    routes = Routes(network, count=count)
    links = range(network.link_count)
    unavailable = Unavailable(
        data.draw(st.frozensets(st.integers(0, network.node_count - 1), max_size=2)),
        data.draw(st.frozensets(st.sampled_from(links), max_size=3) if links else st.just(frozenset())),
    )
    for source in range(network.node_count):
        for destination in range(source + 1, network.node_count):
            there, back = (
                routes.paths(source, destination, unavailable),
                routes.paths(destination, source, unavailable),
            )
            wanted = by_brute_force(
                network, source, destination, count=count, extra_hops=3, unavailable=unavailable
            )
            assert [path.nodes for path in there] == wanted
            assert [path.reversed() for path in back] == list(there)
            assert not any(unavailable.affects(path.nodes, path.links) for path in there)
            assert routes.paths(source, destination, ALL_AVAILABLE) is routes.paths(source, destination)


def test_paths_that_outages_do_not_hit_are_the_same_objects_and_few_detours_are_kept() -> None:
    network = small_mesh()
    routes = Routes(network)
    pairs = [(source, destination) for source in range(10) for destination in range(40, 50)]
    for link in range(network.link_count):
        unavailable = Unavailable(links=frozenset({link}))
        for source, destination in pairs:
            plain = routes.paths(source, destination)
            hit = any(link in path.links for path in plain)
            found = routes.paths(source, destination, unavailable)
            assert hit or found is plain
            assert routes.paths(source, destination, unavailable) is found
    assert 0 < len(routes._detours) <= _CACHED_DETOURS


def mesh(*, nodes: int, mean_degree: float, seed: int) -> Network:
    """A geometric mesh whose repeaters and links differ as those of a scenario do."""
    stream = np.random.default_rng(seed)
    parameters = MeshParameters(nodes=nodes, side_km=100.0, mean_degree=mean_degree)
    graph = geometric(parameters, stream=stream)
    return bare_network(
        graph,
        repeater_rate_hz=stream.uniform(0.1, 5.0, nodes).tolist(),
        success_probability=stream.uniform(0.05, 1.0, len(graph.length_km)).tolist(),
    )


def small_mesh() -> Network:
    return mesh(nodes=50, mean_degree=4.8, seed=5)


def test_a_mesh_agrees_with_networkx() -> None:
    network = small_mesh()
    routes = Routes(network)
    for source, destination in np.random.default_rng(2).integers(0, 50, size=(20, 2)).tolist():
        if source == destination:
            continue
        low, high = min(source, destination), max(source, destination)
        found = [path.nodes for path in routes.paths(low, high)]
        assert found == by_brute_force(network, low, high, count=8, extra_hops=3)


def test_a_path_knows_its_links_length_and_delay() -> None:
    network = bare_network(graph_of(4, [(0, 1), (1, 2), (2, 3)], [1.0, 2.0, 4.0]))
    (path,) = Routes(network).paths(0, 3)
    assert path == Path((0, 1, 2, 3), (0, 1, 2), tuple(network.delay_s.tolist()), path.delay_s)
    assert path.delay_s == pytest.approx(7.0 / 2e5 + 3e-5, rel=1e-12)
    assert path.hops == 3


def test_half_of_the_paths_are_those_with_least_work() -> None:
    # From 0 to 5: over the weak repeater 1 in two hops, or in three with 2 before it; round it over 3 and 4.
    around = graph_of(6, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 5), (3, 4), (4, 5)], [1, 1, 9, 1, 1, 9, 9])
    network = bare_network(around, repeater_rate_hz=[1.0, 0.1, 5.0, 5.0, 5.0, 1.0])
    assert [path.nodes for path in Routes(network, count=1).paths(0, 5)] == [(0, 1, 5)]
    assert [path.nodes for path in Routes(network, count=2).paths(0, 5)] == [(0, 1, 5), (0, 3, 4, 5)]
    assert [path.nodes for path in Routes(network).paths(0, 5)] == [(0, 1, 5), (0, 2, 1, 5), (0, 3, 4, 5)]


def test_however_slow_a_link_or_repeater_it_is_a_way_while_it_works_at_all() -> None:
    square = graph_of(4, [(0, 1), (0, 3), (1, 2), (2, 3)], [1.0, 5.0, 1.0, 5.0])
    slow = bare_network(
        square,
        repeater_rate_hz=[1e-12, 1.0, 1.0, 1e-12],
        success_probability=[0.5, 1e-15, 0.0, 0.5],
    )
    assert [path.nodes for path in Routes(slow, count=2).paths(0, 2)] == [(0, 1, 2), (0, 3, 2)]
    # The silent link is on the path with fewest hops alone.
    assert [path.nodes for path in Routes(slow, count=1).paths(0, 2)] == [(0, 1, 2)]


def test_the_way_back_is_the_way_there_reversed_and_found_once() -> None:
    routes = Routes(small_mesh())
    there, back = routes.paths(40, 3), routes.paths(3, 40)
    assert there == tuple(path.reversed() for path in back)
    assert routes.paths(40, 3) is there


def test_inner_nodes_need_a_repeater_and_ends_do_not() -> None:
    square = graph_of(4, [(0, 1), (0, 3), (1, 2), (2, 3)], [1.0, 5.0, 1.0, 5.0])
    routes = Routes(bare_network(square, repeater_rate_hz=[0.0, 0.0, 0.0, 1.0]))
    assert [path.nodes for path in routes.paths(0, 2)] == [(0, 3, 2)]
    assert [path.nodes for path in routes.paths(1, 3)] == []
    assert [path.nodes for path in routes.paths(0, 1)] == [(0, 1)]


@settings(max_examples=60, deadline=None)
@given(network=networks(), count=st.integers(1, 6), extra_hops=st.integers(0, 3))
def test_each_path_is_a_path_and_the_first_has_the_fewest_hops(
    network: Network, count: int, extra_hops: int
) -> None:
    routes, turned = (Routes(network, count=count, extra_hops=extra_hops) for _ in range(2))
    for source in range(network.node_count):
        for destination in range(network.node_count):
            one_by_one = list(routes.each_path(source, destination))
            paths = turned.paths(source, destination)
            assert one_by_one[:1] == list(paths[:1])
            assert sorted(path.nodes for path in one_by_one) == sorted(path.nodes for path in paths)


def test_no_path_to_itself_and_no_strange_nodes() -> None:
    routes = Routes(small_mesh())
    assert routes.paths(3, 3) == ()
    with pytest.raises(ValueError, match="nodes are 0 to 49"):
        routes.paths(-1, 3)
    with pytest.raises(ValueError, match="count = 0"):
        Routes(routes.network, count=0)


def test_a_large_lattice_has_very_many_shortest_paths_and_gives_eight() -> None:
    # Corner to corner of 30 x 30 there are 58! / 29!^2, about 3e16, paths of 58 hops.
    network = bare_network(grid(GridParameters(rows=30, columns=30, hop_km=10 / 3), stream=stream_of_none()))
    found = Routes(network).paths(0, 899)
    assert [path.hops for path in found] == [58] * 8
    assert len({path.nodes for path in found}) == 8
    assert found[0].nodes == (*range(30), *range(59, 900, 30))


def test_the_ends_of_a_long_line() -> None:
    network = bare_network(line(LineParameters(nodes=1000, hop_km=1.0), stream=stream_of_none()))
    (path,) = Routes(network).paths(0, 999)
    assert path.hops == 999


def test_a_mesh_of_a_thousand_nodes_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    network = mesh(nodes=1000, mean_degree=8.5, seed=1)
    routes = Routes(network)
    near = network.graph.link_ends[::60].tolist()
    far = np.random.default_rng(3).integers(0, 1000, size=(40, 2)).tolist()
    started = time.process_time()
    wide = [routes.paths(source, destination) for source, destination in near + far]
    assert (time.process_time() - started) / len(near + far) < 0.05
    # With a tenth of the bound the answers are the same: the bound is not what stops the search.
    monkeypatch.setattr("qdpem.network.routing._MAX_EXPANSIONS", 2000)
    assert [Routes(network).paths(source, destination) for source, destination in near[:10]] == wide[:10]
    for source, destination in near[:3]:
        brute = by_brute_force(network, source, destination, count=8, extra_hops=3)
        assert [path.nodes for path in routes.paths(source, destination)] == brute


def stream_of_none() -> np.random.Generator:
    return np.random.default_rng(0)


def test_search_is_fast_enough_to_be_found_on_first_use() -> None:
    network = small_mesh()
    pairs = [(source, destination) for source in range(50) for destination in range(source + 1, 50)]
    routes = Routes(network)
    network.neighbours, network.link_between  # noqa: B018
    started = time.process_time()
    for source, destination in pairs:
        routes.paths(source, destination)
    # 0.2 ms is usual; five times that is the promise.
    assert (time.process_time() - started) / len(pairs) < 1e-3


def test_delays_along_a_path_add_up_from_every_position() -> None:
    network = bare_network(graph_of(4, [(0, 1), (1, 2), (2, 3)], [1.0, 2.0, 4.0]))
    path = path_along(network, (0, 1, 2, 3))
    assert path == Routes(network).paths(0, 3)[0]
    assert Paths(network).along(path.nodes) == path
    for start, delays_s in enumerate(path.delays_s):
        for end, delay_s in enumerate(delays_s):
            between_s = sum(path.hop_delay_s[min(start, end) : max(start, end)])
            assert delay_s == pytest.approx(between_s, rel=1e-12)


def test_two_nodes_without_a_link_are_a_virtual_link_as_far_as_the_shortest_way() -> None:
    network = bare_network(graph_of(4, [(0, 1), (1, 2), (2, 3)], [1.0, 2.0, 4.0]))
    path = path_along(network, (0, 2, 3))
    assert path.links == (VIRTUAL_LINK, 2)
    assert path.hop_delay_s == pytest.approx((3.0 / 2e5 + 2e-5, 4.0 / 2e5 + 1e-5), rel=1e-12)
    assert path_along(network, (3,)) == Path((3,), (), (), 0.0)

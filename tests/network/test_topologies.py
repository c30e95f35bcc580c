from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdpem.errors import QdpemError, ScenarioError, UnknownNameError
from qdpem.network.catalogue import (
    FileParameters,
    TopohubParameters,
    file_network,
    topohub_network,
)
from qdpem.network.distances import great_circle_km, projected_km
from qdpem.network.generators import (
    GridParameters,
    LineParameters,
    MeshParameters,
    geometric,
    grid,
    line,
    uniform,
)
from qdpem.network.graph import Graph
from qdpem.network.graph_checks import components, graph_faults


def topohub(key: str) -> Graph:
    return topohub_network(TopohubParameters(key=key), stream=np.random.default_rng(0))


def from_file(path: Path) -> Graph:
    return file_network(FileParameters(path=str(path)), stream=np.random.default_rng(0))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), nodes=st.integers(2, 60), degree=st.floats(8.0, 20.0))
def test_geometric_meshes_join_the_nearest_pairs_at_the_wanted_degree(
    seed: int, nodes: int, degree: float
) -> None:
    degree = min(degree, nodes - 1.0)
    parameters = MeshParameters(nodes=nodes, side_km=50.0, mean_degree=degree)
    graph = geometric(parameters, stream=np.random.default_rng(seed))
    assert graph_faults(graph) == []
    assert len(graph.link_ends) == round(nodes * degree / 2)
    assert graph.x_km.min() >= 0.0
    assert max(graph.x_km.max(), graph.y_km.max()) <= 50.0
    # networkx draws the same graph at the radius of the longest link.
    positions = {node: (x, y) for node, (x, y) in enumerate(zip(graph.x_km, graph.y_km, strict=True))}
    radius = float(graph.length_km.max()) * (1 + 1e-12)
    same = nx.random_geometric_graph(nodes, radius, pos=positions)
    assert {tuple(sorted(pair)) for pair in same.edges} == set(map(tuple, graph.link_ends.tolist()))
    assert graph.link_ends.tolist() == sorted(graph.link_ends.tolist())


def test_a_hopeless_mesh_says_what_would_connect_it() -> None:
    parameters = MeshParameters(nodes=200, side_km=1.0, mean_degree=2.5)
    with pytest.raises(QdpemError, match=r"none of 200 .*\.mean_degree of \d+\.\d"):
        geometric(parameters, stream=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"mean_degree is 1; it must be 1.8 to 9"):
        MeshParameters(nodes=10, side_km=1.0, mean_degree=1.0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), nodes=st.integers(2, 60), degree=st.floats(8.0, 20.0))
def test_uniform_graphs_have_the_wanted_degree_and_the_lengths_of_their_places(
    seed: int, nodes: int, degree: float
) -> None:
    degree = min(degree, nodes - 1.0)
    parameters = MeshParameters(nodes=nodes, side_km=50.0, mean_degree=degree)
    graph = uniform(parameters, stream=np.random.default_rng(seed))
    assert graph_faults(graph) == []
    assert len(graph.link_ends) == round(nodes * degree / 2)
    assert graph.link_ends.tolist() == sorted(graph.link_ends.tolist())
    for (first, second), length_km in zip(graph.link_ends.tolist(), graph.length_km.tolist(), strict=True):
        apart = (graph.x_km[first] - graph.x_km[second], graph.y_km[first] - graph.y_km[second])
        assert length_km == pytest.approx(math.hypot(*apart), rel=1e-12)


@pytest.mark.slow
def test_uniform_graphs_join_every_pair_equally_often() -> None:
    """The count of each of 45 pairs over 2,000 draws, 5.1 standard deviations: a false alarm in 10^5."""
    parameters = MeshParameters(nodes=10, side_km=1.0, mean_degree=6.0)
    counts = np.zeros((10, 10))
    for seed in range(2000):
        first, second = uniform(parameters, stream=np.random.default_rng(seed)).link_ends.T
        counts[first, second] += 1
    # Of 45 pairs 30 are joined; nearly every draw is connected, which thus moves hardly any chance.
    fraction = 30 / 45
    seen = counts[np.triu_indices(10, k=1)]
    assert np.abs(seen - 2000 * fraction).max() < 5.1 * math.sqrt(2000 * fraction * (1 - fraction))


def test_a_hopeless_uniform_graph_says_what_would_connect_it() -> None:
    parameters = MeshParameters(nodes=300, side_km=1.0, mean_degree=2.0)
    with pytest.raises(QdpemError, match=r"none of 200 uniform .*\.mean_degree of 6\.1"):
        uniform(parameters, stream=np.random.default_rng(0))


def test_line_and_grid_are_those_of_networkx() -> None:
    chain = line(LineParameters(nodes=7, hop_km=3.0), stream=np.random.default_rng(0))
    assert set(map(tuple, chain.link_ends.tolist())) == set(nx.path_graph(7).edges)
    assert chain.length_km.tolist() == [3.0] * 6
    lattice = grid(GridParameters(rows=3, columns=4, hop_km=2.0), stream=np.random.default_rng(0))
    wanted = nx.convert_node_labels_to_integers(nx.grid_2d_graph(3, 4), ordering="sorted")
    assert set(map(tuple, lattice.link_ends.tolist())) == {tuple(sorted(pair)) for pair in wanted.edges}
    apart = np.hypot(*(np.diff(axis[lattice.link_ends], axis=1) for axis in (lattice.x_km, lattice.y_km)))
    assert np.allclose(apart, 2.0)


def test_germany50_has_its_published_size_and_lengths() -> None:
    # SNDlib (Orlowski et al. 2010): 50 nodes, 88 links, 662 demands.
    graph = topohub("sndlib/germany50")
    assert (len(graph.node_names), len(graph.link_ends)) == (50, 88)
    assert "Aachen" in graph.node_names
    assert graph_faults(graph) == []
    assert graph.demand_weights is not None
    assert np.count_nonzero(np.triu(graph.demand_weights)) == 662
    assert np.array_equal(graph.demand_weights, graph.demand_weights.T)
    assert not graph.demand_weights.diagonal().any()
    # One scale for all parallels: the map errs by what cos(latitude) varies, 47.6 to 54.4 degrees north.
    first, second = graph.link_ends.T
    flat = np.hypot(graph.x_km[first] - graph.x_km[second], graph.y_km[first] - graph.y_km[second])
    bound = math.cos(math.radians(47.6)) / math.cos(math.radians(51.0)) - 1
    assert 0.05 < bound < 0.08
    assert np.abs(flat / graph.length_km - 1).max() < bound


def test_lengths_are_great_circles() -> None:
    # Berlin to Munich, 504 km; the antipode is half the circumference, pi x 6371.0088 km.
    assert great_circle_km(13.405, 52.52, 11.582, 48.135) == pytest.approx(504.4, abs=0.5)
    assert great_circle_km(10.0, 20.0, -170.0, -20.0) == pytest.approx(math.pi * 6371.0088, rel=1e-12)
    assert great_circle_km(5.0, 5.0, 5.0, 5.0) == 0.0
    values = json.loads(germany50_source())
    places = {node["id"]: node["pos"] for node in values["nodes"]}
    for link in values["edges"]:
        found = great_circle_km(*places[link["source"]], *places[link["target"]])
        assert found == pytest.approx(link["dist"], rel=0.03)


def germany50_source() -> str:
    from importlib.resources import files

    return (files("topohub") / "data/sndlib/germany50.json").read_text(encoding="utf-8")


@given(
    longitude=st.floats(-180, 180),
    latitude=st.floats(-60, 60),
    east=st.floats(-0.5, 0.5),
    north=st.floats(-0.5, 0.5),
)
def test_the_plane_keeps_short_distances_across_the_date_line_too(
    longitude: float, latitude: float, east: float, north: float
) -> None:
    points = np.array([[longitude, latitude], [longitude + east, latitude + north]])
    flat = projected_km(points)
    true = great_circle_km(longitude, latitude, longitude + east, latitude + north)
    assert math.dist(*flat.tolist()) == pytest.approx(true, rel=1e-3, abs=1e-3)


def test_topohub_keys() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'sndlib/germany50'"):
        topohub("sndlib/germany5")
    with pytest.raises(UnknownNameError, match="did you mean 'topozoo/Abilene'"):
        topohub("topozo/Abilene")
    assert topohub("topozoo/Abilene").demand_weights is None
    assert len(topohub("gabriel/25/0").node_names) == 25
    assert len(set(topohub("backbone/africa").node_names)) == 403


def test_lengths_computed_from_drawing_units_are_refused() -> None:
    # SNDlib draws france at (200, 175) and the like; taken for degrees these give thousands of km.
    with pytest.raises(ScenarioError, match="drawing units"):
        topohub("sndlib/france")


def test_both_directions_of_a_demand_are_added() -> None:
    values = json.loads(germany50_source().replace("germany50", "g"))
    assert topohub("sndlib/geant").demand_weights is not None
    one_way = sum(weight for row in values["graph"]["demands"].values() for weight in row.values())
    weights = topohub("sndlib/germany50").demand_weights
    assert weights is not None
    assert weights.sum() == pytest.approx(2 * one_way, rel=1e-12)


def triangle(**lengths: float) -> nx.Graph:
    graph = nx.Graph()
    graph.add_node(10, name="A", lon=10.0, lat=50.0)
    graph.add_node(11, name="B", lon=11.0, lat=50.0)
    graph.add_node(12, name="C", lon=10.0, lat=51.0)
    graph.add_edges_from([(11, 10), (11, 12), (10, 12)], **lengths)
    return graph


def test_json_and_graphml_give_one_network(tmp_path: Path) -> None:
    graph = triangle(length_km=7.0)
    graph.graph["demands"] = {10: {11: 2.0}, 11: {10: 1.0, 12: 4.0}}
    (tmp_path / "a.json").write_text(json.dumps(nx.node_link_data(graph, edges="edges")))
    del graph.graph["demands"]
    nx.write_graphml(graph, tmp_path / "b.graphml")
    first, second = from_file(tmp_path / "a.json"), from_file(tmp_path / "b.graphml")
    for found in (first, second):
        assert found.node_names == ("A", "B", "C")
        assert sorted(found.link_ends.tolist()) == [[0, 1], [0, 2], [1, 2]]
        assert found.length_km.tolist() == [7.0] * 3
    assert first.demand_weights is not None
    assert first.demand_weights.tolist() == [[0, 3, 0], [3, 0, 4], [0, 4, 0]]
    assert second.demand_weights is None


def test_a_file_without_lengths_takes_them_from_positions(tmp_path: Path) -> None:
    nx.write_graphml(triangle(), tmp_path / "a.graphml")
    graph = from_file(tmp_path / "a.graphml")
    lengths = dict(zip(map(tuple, graph.link_ends.tolist()), graph.length_km.tolist(), strict=True))
    assert lengths[0, 2] == pytest.approx(math.pi * 6371.0088 / 180, rel=1e-9)


def test_files_that_are_no_network_get_a_sentence(tmp_path: Path) -> None:
    def refused(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        with pytest.raises(QdpemError) as caught:
            from_file(tmp_path / name)
        return str(caught.value)

    assert "is no node-link JSON" in refused("a.json", "{")
    assert "is no node-link JSON" in refused("b.json", '{"nodes": [{"id": 1}]}')
    assert "is no node-link JSON" in refused("c.graphml", "<graph")
    assert "should be .json, .graphml" in refused("d.txt", "")
    bare = nx.node_link_data(nx.path_graph(3), edges="edges")
    assert "the link 0 - 1 of e has no length" in refused("e.json", json.dumps(bare))
    with pytest.raises(QdpemError, match="cannot be read"):
        from_file(tmp_path / "missing.json")


def small_graph(ends: list[list[int]], length_km: list[float], **changes: Any) -> Graph:
    values: dict[str, Any] = {
        "name": "small",
        "node_names": ("a", "b", "c"),
        "x_km": np.zeros(3),
        "y_km": np.zeros(3),
        "link_ends": np.array(ends, dtype=np.int64).reshape(-1, 2),
        "length_km": np.array(length_km),
    }
    return Graph(**(values | changes))


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (small_graph([[0, 1], [1, 2], [1, 0]], [1, 1, 1]), "the link b - a is there more than once"),
        (small_graph([[0, 1], [1, 2], [2, 2]], [1, 1, 1]), "the link c - c joins a node to itself"),
        (small_graph([[0, 1], [1, 2]], [1, -1]), "the link b - c is -1 km long"),
        (small_graph([[0, 1], [1, 2]], [1, math.nan]), "the link b - c is nan km long"),
        (small_graph([[0, 1]], [1]), "falls into 2 parts of 2, 1 nodes (c has no link at all)"),
        (small_graph([[0, 1], [1, 2]], [1, 1], node_names=("a", "b", "b")), "more than one node called 'b'"),
        (
            small_graph([[0, 1], [1, 2]], [1, 1], demand_weights=np.full((3, 3), -1.0)),
            "has weights below 0",
        ),
    ],
)
def test_what_makes_a_graph_unfit(graph: Graph, message: str) -> None:
    (fault,) = graph_faults(graph)
    assert message in str(fault)


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=15))
def test_components_are_those_of_networkx(nodes: int, pairs: list[tuple[int, int]]) -> None:
    inside = [pair for pair in pairs if max(pair) < nodes]
    graph = nx.Graph(inside)
    graph.add_nodes_from(range(nodes))
    labels = components(nodes, np.array(inside, dtype=np.int64).reshape(-1, 2))
    found = {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}
    assert found == {frozenset(part) for part in nx.connected_components(graph)}

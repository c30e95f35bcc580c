"""People's maps: wrong values get a sentence; a declared rule mends what is unfit, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from qdpem.errors import QdpemError, ScenarioError
from qdpem.network.build import build_network, build_physics, network_warnings
from qdpem.network.catalogue import FileParameters, TopohubParameters, file_network, topohub_network
from qdpem.network.graph import Graph
from qdpem.network.graph_checks import graph_faults
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.words import Cleaning, PositionUnit
from qdpem.study.analysis.network_summary import map_notes
from tests.helpers.small_scenario import SMALL

NAMES = ("Ost", "Süd", "West")
ROW: dict[str, Any] = {
    "nodes": [{"id": name} for name in NAMES],
    "links": [
        {"source": "Ost", "target": "Süd", "length_km": 3.0},
        {"source": "Süd", "target": "West", "length_km": 4.0},
    ],
}


def load(path: Path, *, clean: bool = False, unit: PositionUnit | None = None) -> Graph:
    parameters = FileParameters(
        path=str(path), cleaning=Cleaning.STANDARD if clean else Cleaning.NONE, position_unit=unit
    )
    return file_network(parameters, stream=np.random.default_rng(0))


def written(tmp_path: Path, values: Any, *, encoding: str = "utf-8") -> Path:
    path = tmp_path / "row.json"
    path.write_text(json.dumps(values, ensure_ascii=False), encoding=encoding)
    return path


def changed(**changes: Any) -> dict[str, Any]:
    return {**ROW, **changes}


def link(**attributes: Any) -> dict[str, Any]:
    return changed(links=[{"source": "Ost", "target": "Süd", **attributes}, ROW["links"][1]])


def placed(*positions: Any) -> dict[str, Any]:
    return {
        "nodes": [{"id": name, "pos": position} for name, position in zip(NAMES, positions, strict=True)],
        "links": [{"source": "Ost", "target": "Süd"}, {"source": "Süd", "target": "West"}],
    }


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (link(length_km=None), ("length_km", "Ost - Süd", "null")),
        (link(length_km="3 km"), ("length_km", "Ost - Süd", "'3 km'")),
        (link(length_km=float("nan")), ("length_km", "nan")),
        (link(length_km=-1.0), ("length_km", "-1.0")),
        (link(dist=[3]), ("dist", "[3]")),
        (placed([1, 2, 3], [1, 2, 3], [4, 5, 6]), ("pos of Ost", "[1, 2, 3]", "two numbers")),
        (placed({"x": 1, "y": 2}, [1, 2], [3, 4]), ("pos of Ost", "two numbers")),
        (placed([1, 200], [1, 2], [3, 4]), ("pos of Ost", "latitude")),
        (changed(graph={"demands": {"Ost": {"Nord": 1.0}}}), ("graph.demands.Ost.Nord", "no node")),
        (changed(graph={"demands": {"Ost": 3}}), ("graph.demands.Ost", "table")),
        (changed(graph={"demands": {"Ost": {"Süd": "much"}}}), ("graph.demands.Ost.Süd", "'much'")),
        (changed(graph=[["name", "x"]]), ("graph", "table")),
        (changed(nodes=[*ROW["nodes"], {"id": "Ost"}]), ("nodes.3.id", "'Ost'", "unique")),
        (changed(nodes=[{"name": "Ost"}]), ("nodes.0.id", "null")),
        (changed(links=[{"source": "Ost", "target": "Nord"}]), ("links.0.target", "'Nord'")),
        (changed(links={"a": 1}), ("links", "list")),
        ([1, 2], ("should be a table",)),
        (changed(nodes=[{"id": "Ost", "memories": 1.5}, *ROW["nodes"][1:]]), ("memories of Ost", "1.5")),
        (changed(nodes=[{"id": "Ost", "name": "a\0b"}, *ROW["nodes"][1:]]), ("NUL",)),
    ],
)
def test_a_wrong_value_gets_one_sentence(tmp_path: Path, values: Any, words: tuple[str, ...]) -> None:
    path = written(tmp_path, values)
    try:
        message = "\n".join(map(str, graph_faults(load(path, unit=PositionUnit.DEGREES))))
    except QdpemError as error:
        message = str(error)
    assert all(word in message for word in words), message


def test_a_byte_order_mark_changes_nothing(tmp_path: Path) -> None:
    assert load(written(tmp_path, ROW, encoding="utf-8-sig")).node_names == NAMES
    graph = nx.Graph([("Ost", "Süd", {"length_km": 3.0})])
    nx.write_graphml(graph, tmp_path / "plain.graphml")
    path = tmp_path / "marked.graphml"
    path.write_bytes(b"\xef\xbb\xbf" + (tmp_path / "plain.graphml").read_bytes())
    assert load(path).length_km.tolist() == [3.0]


def test_the_unit_of_positions_is_declared_and_never_guessed(tmp_path: Path) -> None:
    path = written(tmp_path, placed([0.0, 5.0], [10.0, 5.0], [20.0, 5.0]))
    with pytest.raises(ScenarioError, match="position_unit"):
        load(path)
    assert load(path, unit=PositionUnit.KM).length_km.tolist() == [10.0, 10.0]
    # Ten degrees along the parallel of 5 degrees north.
    assert load(path, unit=PositionUnit.DEGREES).length_km[0] == pytest.approx(1107.7, abs=0.2)


def unfit(tmp_path: Path, case: str) -> Path:
    """A map with one thing that needs mending."""
    values = json.loads(json.dumps(ROW))
    if case == "parallel":
        values["links"].append({"source": "Süd", "target": "Ost", "length_km": 2.0})
    elif case == "loop":
        values["links"].append({"source": "Süd", "target": "Süd", "length_km": 2.0})
    elif case == "parts":
        values["nodes"] += [{"id": "Insel"}, {"id": "Riff"}]
        values["links"].append({"source": "Insel", "target": "Riff", "length_km": 2.0})
    elif case == "isolated":
        values["nodes"].append({"id": "Insel"})
    return written(tmp_path, values)


@pytest.mark.parametrize(
    ("case", "lengths"),
    [("parallel", [2.0, 4.0]), ("loop", [3.0, 4.0]), ("parts", [3.0, 4.0]), ("isolated", [3.0, 4.0])],
)
def test_an_unfit_map_is_refused_by_the_rule_that_mends_it(
    tmp_path: Path, case: str, lengths: list[float]
) -> None:
    path = unfit(tmp_path, case)
    with pytest.raises(ScenarioError, match='cleaning = "standard"'):
        load(path)
    graph = load(path, clean=True)
    assert sorted(graph.length_km.tolist()) == lengths
    assert graph.node_names == NAMES
    assert graph.cleaning
    assert "\n" not in graph.cleaning
    assert graph_faults(graph) == []


def test_a_fit_map_is_not_touched_by_cleaning(tmp_path: Path) -> None:
    path = written(tmp_path, ROW)
    plain, cleaned = load(path), load(path, clean=True)
    assert cleaned.cleaning == plain.cleaning == ""
    assert cleaned.length_km.tolist() == plain.length_km.tolist()


def zoo(
    *, longitude: dict[int, float | None], edges: list[tuple[int, int]], label: str = "City"
) -> nx.MultiGraph:
    """A map with the attributes of the Topology Zoo: `Longitude` and `Latitude`, where known, and labels."""
    graph = nx.MultiGraph(Network="Made up", GeoLocation="Country")
    for node, place in longitude.items():
        known = {} if place is None else {"Longitude": place, "Latitude": 50.0}
        extra = {"hyperedge": 1} if place is None else {"Country": "Nowhere"}
        graph.add_node(str(node), label=label, Internal=1, **known, **extra)
    for first, second in edges:
        graph.add_edge(str(first), str(second), LinkLabel="STM-16", LinkSpeed="2.5")
    return graph


@pytest.mark.parametrize("suffix", [".graphml", ".gml"])
def test_a_zoo_map_with_gaps_loads_under_the_standard_rules(tmp_path: Path, suffix: str) -> None:
    """0 - 1 - 2 - 3 - 4, 1 and 2 without a place; a doubled link, a loop, equal labels, a lost part."""
    graph = zoo(
        longitude={0: 10.0, 1: None, 2: None, 3: 12.0, 4: 13.0, 5: None, 6: 20.0, 7: 21.0, 8: None},
        edges=[(0, 1), (1, 2), (2, 3), (3, 4), (4, 3), (4, 4), (6, 7), (5, 8)],
    )
    path = tmp_path / f"zoo{suffix}"
    (nx.write_graphml if suffix == ".graphml" else nx.write_gml)(graph, path)
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert len(caught.value.faults) == 4
    found = load(path, clean=True)
    assert graph_faults(found) == []
    # networkx writes the id as the label of GML.
    wanted = "City ({})" if suffix == ".graphml" else "{}"
    assert found.node_names == tuple(wanted.format(node) for node in range(5))
    assert found.link_ends.tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]
    # 1 is placed on 0 and 2 on 3, both in the same round.
    assert found.length_km[0] == found.length_km[2] == 0.0
    assert found.length_km[1] == pytest.approx(143.0, abs=0.5)
    for words in (
        "2 nodes without a position placed",
        "2 nodes without a position left out",
        "1 parallel link",
    ):
        assert words in found.cleaning


def test_a_node_is_placed_at_the_mean_across_the_date_line(tmp_path: Path) -> None:
    path = tmp_path / "date.graphml"
    nx.write_graphml(zoo(longitude={0: 179.0, 1: None, 2: -179.0}, edges=[(0, 1), (1, 2)]), path)
    assert load(path, clean=True).length_km == pytest.approx([71.47, 71.47], abs=0.05)


def test_a_map_without_any_position_or_length_is_refused_under_every_rule(tmp_path: Path) -> None:
    path = tmp_path / "bare.graphml"
    nx.write_graphml(zoo(longitude={0: None, 1: None}, edges=[(0, 1)]), path)
    for clean in (False, True):
        with pytest.raises(ScenarioError, match="has no length"):
            load(path, clean=clean)


def test_both_directions_of_a_directed_map_are_no_silent_merge(tmp_path: Path) -> None:
    graph = nx.DiGraph()
    graph.add_edge("a", "b", length_km=5.0)
    graph.add_edge("b", "a", length_km=4.0)
    nx.write_graphml(graph, tmp_path / "both.graphml")
    with pytest.raises(ScenarioError, match="more than once"):
        load(tmp_path / "both.graphml")
    assert load(tmp_path / "both.graphml", clean=True).length_km.tolist() == [4.0]


def test_every_map_of_the_zoo_in_topohub_loads() -> None:
    for key in ("topozoo/Abilene", "topozoo/Geant2012"):
        graph = topohub_network(
            TopohubParameters(key=key, cleaning=Cleaning.STANDARD), stream=np.random.default_rng(0)
        )
        assert graph_faults(graph) == []


def scenario_of(path: Path, *overrides: str):
    text = SMALL.replace('kind = "line"', 'kind = "file"')
    return parse_scenario(
        text.replace("{ nodes = 3, hop_km = 10.0 }", f'{{ path = "{path}" }}'), overrides=overrides
    )


def test_numbers_of_single_nodes_replace_those_of_the_scenario(tmp_path: Path) -> None:
    nodes = [
        {"id": "Ost", "memories": 2, "repeater_rate_hz": 0.0},
        {"id": "Süd", "source_rate_hz": 7.5},
        {"id": "West"},
    ]
    scenario = scenario_of(
        written(tmp_path, changed(nodes=nodes)), "nodes.memories=9", "nodes.repeater_rate_hz=3.0"
    )
    network = build_network(scenario, build_physics(scenario), seed=0)
    assert network.memories.tolist() == [2, 9, 9]
    assert network.memories.dtype == np.int64
    assert network.repeater_rate_hz.tolist() == [0.0, 3.0, 3.0]
    assert network.source_rate_hz.tolist() == [50.0, 7.5, 50.0]
    assert map_notes(network.graph) == (
        "it sets memories of 1 node, source_rate_hz of 1 node, repeater_rate_hz of 1 node"
    )
    pools = scenario_of(tmp_path / "row.json", "nodes.memories_per_link=4")
    with pytest.raises(ScenarioError, match=r"nodes\.memories_per_link"):
        build_network(pools, build_physics(pools), seed=0)


def test_hardware_of_a_map_that_is_not_used_is_named_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path, link(length_km=3.0, fidelity=0.6, loss_db_per_km=5, colour="red"))
    scenario = scenario_of(path)
    network = build_network(scenario, build_physics(scenario), seed=0)
    (warning,) = [text for text in network_warnings(network) if "not used" in text and "row" in text]
    assert "fidelity (1), loss_db_per_km (1)" in warning
    assert "colour" not in warning


def test_a_length_under_a_key_that_is_not_read_is_named(tmp_path: Path) -> None:
    nodes = [{"id": name, "x_km": float(place), "y_km": 0.0} for place, name in enumerate(NAMES)]
    links = [
        {"source": "Ost", "target": "Süd", "distance": 30.0},
        {"source": "Süd", "target": "West", "length_km": 4.0, "weight": 2.0},
    ]
    scenario = scenario_of(written(tmp_path, changed(nodes=nodes, links=links)))
    network = build_network(scenario, build_physics(scenario), seed=0)
    (warning,) = [text for text in network_warnings(network) if "not used" in text]
    assert "distance (1)" in warning
    assert "weight" not in warning
    assert "length_km or dist" in warning
    assert network.graph.length_km.tolist() == [1.0, 4.0]

from __future__ import annotations

import json
from pathlib import Path as FilePath

import numpy as np
import pytest

from physics.hardware import SourceLink
from physics.interface import CompiledLink
from qdpem.errors import ScenarioError
from qdpem.network.build import (
    build_graph,
    build_network,
    build_physics,
    network_warnings,
    unserved_demand,
)
from qdpem.network.path import Path
from qdpem.network.routing import Routes
from qdpem.scenario.load import load_scenario, parse_scenario
from qdpem.scenario.schema import RequestClass, Scenario

QUICKSTART = FilePath(__file__).parents[2] / "scenarios" / "quickstart.toml"


class LossOnly:
    """Compiles a link to nothing but its success probability."""

    def link(self, hardware: SourceLink, length_km: float) -> CompiledLink:
        loss_db = hardware.fibre.fixed_loss_db + hardware.fibre.loss_db_per_km * length_km
        success = hardware.efficiency * 10 ** (-loss_db / 10)
        return CompiledLink(
            success_probability=success,
            attempt_period_s=0.0,
            fresh=hardware.fresh_fidelity,
            source_limited=True,
        )


def of_line(*overrides: str) -> Scenario:
    return parse_scenario(
        """
        name = "chain"
        topology = { kind = "line", parameters = { nodes = 4, hop_km = 10.0 } }
        nodes.source_rate_hz = 50.0
        nodes.repeater_rate_hz = { low = 2.0, high = 10.0 }
        nodes.hardware.memory = { depolarising_s = 60.0 }
        demand.rate_hz = 5.0
        demand.classes = [
          { application = "teleportation", fraction = 0.75, target_fidelity = 0.7, patience_s = 1.0 },
          { application = "qkd", fraction = 0.25, target_fidelity = 0.88, patience_s = 1.0 },
        ]
        """,
        overrides=overrides,
    )


def test_a_network_has_what_the_scenario_says() -> None:
    network = build_network(of_line("links.hardware.fresh_fidelity=0.9"), LossOnly(), seed=3)  # type: ignore[arg-type]
    assert (network.node_count, network.link_count) == (4, 3)
    # 2.6 dB + 0.24 dB/km x 10 km = 5 dB, and two sources of 50/s.
    assert network.link_rate_hz == pytest.approx([100 * 10**-0.5] * 3, rel=1e-12)
    assert network.delay_s == pytest.approx([10 / 2e5 + 1e-5] * 3, rel=1e-12)
    assert network.links[0].fresh == 0.9
    assert network.hardware[0].memory.depolarising_s == 60.0  # type: ignore[union-attr]
    assert network.memories.dtype == np.int64
    assert ((network.repeater_rate_hz >= 2.0) & (network.repeater_rate_hz < 10.0)).all()


def test_rates_belong_to_seed_and_name_alone() -> None:
    four = build_network(of_line(), LossOnly(), seed=3)  # type: ignore[arg-type]
    same = build_network(of_line(), LossOnly(), seed=3)  # type: ignore[arg-type]
    more = build_network(of_line("topology.parameters.nodes=5"), LossOnly(), seed=3)  # type: ignore[arg-type]
    other = build_network(of_line(), LossOnly(), seed=4)  # type: ignore[arg-type]
    assert np.array_equal(four.repeater_rate_hz, same.repeater_rate_hz)
    assert np.array_equal(four.repeater_rate_hz, more.repeater_rate_hz[:4])
    assert len({*four.repeater_rate_hz.tolist(), *other.repeater_rate_hz.tolist()}) == 8


def test_a_topology_seed_fixes_the_network() -> None:
    fixed = of_line("topology_seed=7")
    first = build_network(fixed, LossOnly(), seed=1)  # type: ignore[arg-type]
    second = build_network(fixed, LossOnly(), seed=2)  # type: ignore[arg-type]
    own = build_network(of_line(), LossOnly(), seed=7)  # type: ignore[arg-type]
    assert np.array_equal(first.repeater_rate_hz, second.repeater_rate_hz)
    assert np.array_equal(first.repeater_rate_hz, own.repeater_rate_hz)


def test_drawn_rates_are_uniform() -> None:
    scenario = of_line("topology.parameters.nodes=1000", "nodes.source_rate_hz={low=0.0,high=10.0}")
    network = build_network(scenario, LossOnly(), seed=11)  # type: ignore[arg-type]
    # Kolmogorov's 0.1 % point for n = 1000 is 1.95 / sqrt(1000) = 0.062; the seed is fixed.
    ranked = np.sort(network.source_rate_hz) / 10.0
    assert np.abs(ranked - (np.arange(1000) + 0.5) / 1000).max() < 0.062
    # Two rates of one node are independent: |r| < 3.3 / sqrt(1000) at 0.1 %.
    joint = np.corrcoef(network.source_rate_hz, network.repeater_rate_hz)[0, 1]
    assert abs(joint) < 0.104


def test_lengths_are_scaled_and_have_a_least() -> None:
    scaled = build_graph(of_line("topology.length_scale=0.5"), seed=0)
    assert scaled.length_km.tolist() == [5.0] * 3
    assert scaled.x_km.tolist() == [0.0, 5.0, 10.0, 15.0]
    minimum = build_graph(of_line("topology.length_scale=0.001", "topology.min_length_km=0.2"), seed=0)
    assert minimum.length_km.tolist() == [0.2] * 3


def test_links_are_sorted_with_their_lengths(tmp_path: FilePath) -> None:
    values = {
        "nodes": [{"id": 0}, {"id": 1}, {"id": 2}],
        "edges": [
            {"source": 2, "target": 1, "length_km": 3.0},
            {"source": 2, "target": 0, "length_km": 2.0},
            {"source": 1, "target": 0, "length_km": 1.0},
        ],
    }
    (tmp_path / "net.json").write_text(json.dumps(values))
    graph = build_graph(of_file(tmp_path / "net.json"), seed=0)
    assert graph.link_ends.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert graph.length_km.tolist() == [1.0, 2.0, 3.0]


def of_file(path: FilePath) -> Scenario:
    return of_line("topology.kind=file", f"topology.parameters={{path='{path}'}}")


def test_a_disconnected_file_names_its_parts(tmp_path: FilePath) -> None:
    values = {
        "nodes": [{"id": number, "name": name} for number, name in enumerate("abcdef")],
        "edges": [{"source": 0, "target": 1, "length_km": 1.0}, {"source": 1, "target": 2, "length_km": 1.0}],
    }
    values["edges"].append({"source": 3, "target": 4, "length_km": 1.0})
    (tmp_path / "net.json").write_text(json.dumps(values))
    with pytest.raises(ScenarioError, match=r"falls into 3 parts of 3, 2, 1 nodes \(f has no link at all\)"):
        build_network(of_file(tmp_path / "net.json"), LossOnly(), seed=0)  # type: ignore[arg-type]


def test_a_wanted_matrix_must_be_there() -> None:
    with pytest.raises(ScenarioError, match=r"demand\.weights: 'matrix' is not possible"):
        build_graph(of_line("demand.weights=matrix"), seed=0)


def test_quickstart_link_rates_are_what_its_comment_says() -> None:
    text = QUICKSTART.read_text(encoding="utf-8")
    quarter = build_network(load_scenario(QUICKSTART), LossOnly(), seed=0)  # type: ignore[arg-type]
    full = build_network(
        load_scenario(QUICKSTART, ["topology.length_scale=1"]),
        LossOnly(),  # type: ignore[arg-type]
        seed=0,
    )
    assert (quarter.node_count, quarter.link_count) == (50, 88)
    figures = [np.median(quarter.link_rate_hz), quarter.link_rate_hz.min(), np.median(full.link_rate_hz)]
    said = [f"{figure:.3g}" if figure > 10 else f"{figure:.2g}" for figure in figures]
    assert said == ["14.8", "1.7", "0.29"]
    assert all(figure in text for figure in said)
    assert f"{full.link_rate_hz.min():.5f}" in text
    assert f"{np.median(full.link_rate_hz) / 10:.2f}" in text


def test_silence_is_legal_and_warned_of() -> None:
    silent = build_network(of_line("nodes.source_rate_hz=0"), LossOnly(), seed=0)  # type: ignore[arg-type]
    nothing, warning = network_warnings(silent)
    assert nothing == "no source emits (every source_rate_hz is 0): nothing can be served at all"
    assert warning == ("3 of 3 links make no pairs (both sources at 0): n0 - n1, n1 - n2, n2 - n3")
    idle = build_network(of_line("nodes.repeater_rate_hz=0"), LossOnly(), seed=0)  # type: ignore[arg-type]
    assert network_warnings(idle) == (
        "no node can swap (all repeater rates are 0): only neighbours can be served",
    )
    assert network_warnings(build_network(of_line(), LossOnly(), seed=0)) == ()  # type: ignore[arg-type]


def test_demand_that_nothing_can_serve_has_a_share() -> None:
    scenario = of_line()
    network = build_network(scenario, LossOnly(), seed=0)  # type: ignore[arg-type]
    weights = np.ones((4, 4)) - np.eye(4)

    def can_serve(path: Path, kind: RequestClass) -> bool:
        return path.hops <= (2 if kind.application == "teleportation" else 1)

    # On 4 nodes in a row: 6 ordered pairs at one hop, 4 at two, 2 at three.
    first, second = unserved_demand(
        network,
        routes=Routes(network),
        can_serve=can_serve,
        weights=weights,
        classes=scenario.demand.classes,
    )
    assert (first.fraction, first.pairs, first.example) == (pytest.approx(2 / 12), 1, ("n0", "n3"))
    assert (second.fraction, second.pairs) == (pytest.approx(6 / 12), 3)
    assert str(first) == (
        "nothing can serve 16.7% of the teleportation demand at fidelity 0.7: 1 node pair (for one, n0 - n3)"
    )


def test_a_silent_link_serves_nothing() -> None:
    scenario = of_line("nodes.source_rate_hz=0")
    network = build_network(scenario, LossOnly(), seed=0)  # type: ignore[arg-type]
    unserved = unserved_demand(
        network,
        routes=Routes(network),
        can_serve=lambda path, kind: True,
        weights=np.ones((4, 4)) - np.eye(4),
        classes=scenario.demand.classes,
    )
    assert [part.fraction for part in unserved] == [1.0] * len(scenario.demand.classes)


DIRECT = "kind='direct',success_probability=0.2"


def test_a_link_that_attempts_has_a_rate_of_its_own_and_needs_no_source() -> None:
    scenario = of_line(f"links.hardware={{{DIRECT},attempt_period_s=4e-3,modes=3}}", "nodes.source_rate_hz=0")
    network = build_network(scenario, build_physics(scenario), seed=0)
    assert not network.source_limited.any()
    assert network.link_rate_hz == pytest.approx([3 * 0.2 / 4e-3] * 3, rel=1e-12)
    assert network_warnings(network) == ()


def test_what_attempts_cost_stored_pairs_is_left_out_and_warned_of() -> None:
    scenario = of_line("nodes.hardware.memory.coherence_attempts=1000")
    (warning,) = network_warnings(build_network(scenario, build_physics(scenario), seed=0))
    assert warning == "attempts do not disturb stored pairs in networks: coherence_attempts is not used"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [
                "links.hardware={kind='double-click'}",
                "topology.min_length_km=1e-320",
                "topology.parameters.hop_km=1e-320",
            ],
            "0.0 is not allowed; should be above 0, or it never stops making pairs",
        ),
        (
            ["links.hardware={kind='midpoint-source',absorption_efficiency=0}"],
            "0.0 is not allowed; should be above 0, or no pair is ever born",
        ),
        (
            ["links.hardware={kind='single-click',bright_population=0.1,emission_efficiency=0.0}"],
            "0.0 is not allowed; should be above 0: with these efficiencies and dark counts",
        ),
    ],
)
def test_a_link_that_makes_none_or_too_many_is_a_fault_of_the_scenario(overrides, message) -> None:
    scenario = of_line(*overrides)
    with pytest.raises(ScenarioError) as caught:
        build_network(scenario, build_physics(scenario), seed=0)
    (fault,) = caught.value.faults
    assert fault.path == "links.hardware"
    assert fault.message.startswith(message)

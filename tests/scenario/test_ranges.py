"""Values out of range, texts that no record holds and paths: faults at their dotted path, or one meaning."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdpem.errors import ScenarioError
from qdpem.network.build import build_network, build_physics
from qdpem.scenario.load import load_scenario, parse_scenario, scenario_text
from qdpem.scenario.schema import Scenario
from qdpem.scenario.sweep import sweep_cells
from qdpem.simulation.run import simulate
from qdpem.study.analysis.network_summary import find_warnings
from tests.helpers.small_scenario import SMALL, faults_of

STUDY = """
[study]
arms = [{ name = "local-minhop" }]
seeds = [1000]
"""


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("topology_seed=18446744073709551616", "topology_seed"),
        ("nodes.memories=3000000000", "nodes.memories"),
        ("nodes.memories_per_link=3000000000", "nodes.memories_per_link"),
        ("window.measured_s=1e12", "window.measured_s"),
        ("window.warm_up_s=1e12", "window.warm_up_s"),
        ("forecasting.history_s=1e12", "forecasting.history_s"),
        ("topology.parameters.nodes=3000000000", "topology.parameters.nodes"),
        ("demand.classes.0.pairs=3000000000", "demand.classes.0.pairs"),
        ('name="a\\u0000b"', "name"),
        ('description="half \udcff"', "description"),
    ],
)
def test_a_value_out_of_range_is_a_fault_at_its_key(override: str, path: str) -> None:
    assert list(faults_of(SMALL, override)) == [path]


def test_more_requests_than_memory_holds_are_a_fault() -> None:
    scenario = parse_scenario(SMALL, overrides=["demand.rate_hz=1e6", "window.measured_s=1e6"])
    with pytest.raises(ScenarioError, match=r"window\.measured_s: .* requests; should be at most"):
        simulate(scenario, one_arm(), seed=0)


def one_arm():
    from qdpem.scenario.schema import Arm

    return Arm(name="local-minhop")


@pytest.mark.parametrize("command", ["run", "bound", "train"])
def test_a_seed_above_63_bits_is_refused(command: str, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from qdpem.cli.app import app

    (tmp_path / "small.toml").write_text(SMALL, encoding="utf-8")
    answer = CliRunner().invoke(app, [command, str(tmp_path / "small.toml"), "--seed", str(2**64)])
    assert answer.exit_code == 2
    assert "--seed" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_limit_of_seeds_is_that_of_the_schema() -> None:
    from qdpem.cli.options import MAX_SEED

    assert parse_scenario(SMALL, overrides=[f"topology_seed={MAX_SEED}"]).topology_seed == MAX_SEED
    assert list(faults_of(SMALL, f"topology_seed={MAX_SEED + 1}")) == ["topology_seed"]


def warnings_of(scenario: Scenario) -> tuple[str, ...]:
    physics = build_physics(scenario)
    return find_warnings(scenario, network=build_network(scenario, physics, seed=0), physics=physics, seed=0)


def test_more_pairs_at_once_than_an_end_has_qubits_are_warned_about_with_their_share() -> None:
    overrides = ["nodes.memories=8", "demand.classes.0.pairs=9"]
    (warning,) = [text for text in warnings_of(parse_scenario(SMALL, overrides=overrides)) if "pairs" in text]
    assert "demand.classes.0.pairs = 9" in warning
    assert "100.0%" in warning
    for fits in (["demand.classes.0.pairs=8"], ["demand.classes.0.repeat_until_deadline=pair"]):
        assert not any(
            "classes.0.pairs" in text
            for text in warnings_of(parse_scenario(SMALL, overrides=[*overrides, *fits]))
        )


def test_values_of_a_sweep_keep_all_their_digits() -> None:
    overrides = ['study.sweep={ "demand.rate_hz" = [0.9999999, 1.0, 1] }']
    with pytest.raises(ScenarioError, match="twice"):
        parse_scenario(SMALL + STUDY, overrides=overrides)
    scenario = parse_scenario(
        SMALL + STUDY, overrides=['study.sweep={ "demand.rate_hz" = [0.9999999, 1.0] }']
    )
    cells = sweep_cells(scenario)
    assert [cell.scenario.demand.rate_hz for cell in cells] == [0.9999999, 1.0]
    assert [cell.name for cell in cells] == ["rate_hz=0.9999999", "rate_hz=1"]


def test_labels_of_a_sweep_are_as_given_and_their_directories_differ() -> None:
    labels = ["dark fibre", "lit / shared", "lit %2F shared", "a,b=c", "x" * 300, "x" * 301]
    values = ", ".join(
        f'{{ label = "{label}", "demand.rate_hz" = {rate} }}' for rate, label in enumerate(labels, start=1)
    )
    cells = sweep_cells(parse_scenario(SMALL + STUDY, overrides=[f"study.sweep={{ fibre = [{values}] }}"]))
    assert [cell.words["fibre"] for cell in cells] == labels
    names = [cell.name for cell in cells]
    assert len(set(names)) == len(labels)
    assert names[0] == "fibre=dark fibre"
    assert not any("/" in name or len(name.encode()) > 255 for name in names)


FILE_MAP = SMALL.replace('kind = "line"', 'kind = "file"').replace(
    "{ nodes = 3, hop_km = 10.0 }", '{ path = "maps/a.json" }'
)


def test_a_path_is_seen_from_the_file_that_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/own.toml").write_text(FILE_MAP, encoding="utf-8")
    (tmp_path / "child.toml").write_text('based_on = "base/own.toml"\n', encoding="utf-8")
    monkeypatch.chdir("/")
    wanted = str(tmp_path / "base/maps/a.json")
    assert load_scenario(tmp_path / "base/own.toml").topology.parameters["path"] == wanted
    assert load_scenario(tmp_path / "child.toml").topology.parameters["path"] == wanted
    monkeypatch.chdir(tmp_path / "base")
    assert scenario_text(load_scenario("own.toml")) == scenario_text(
        load_scenario(tmp_path / "base/own.toml")
    )


def test_a_path_on_the_command_line_is_seen_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/own.toml").write_text(FILE_MAP, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    scenario = load_scenario("base/own.toml", ["topology.parameters.path=b.json"])
    assert scenario.topology.parameters["path"] == str(tmp_path / "b.json")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "marked.toml"
    path.write_text(SMALL, encoding="utf-8-sig")
    assert load_scenario(path).name == "small"

"""Scenarios on traces that qdpem does not ship: they load, and a run without the file says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdpem import load_scenario

SHIPPED = ("abilene-trace", "geant-trace", "germany50-trace")


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("command", ["run", "demand", "forecast"])
def test_without_its_file_a_shipped_scenario_says_one_sentence(ask, name, command, tmp_path) -> None:
    missing = tmp_path / "nowhere.csv.gz"
    answer = ask(command, name, "--set", f"demand.processes.traffic.path={missing}", "--seed", 1)
    assert answer.exit_code == 2
    (line,) = [line for line in answer.stderr.splitlines() if "demand." in line]
    assert "demand.processes.traffic.path" in line
    assert str(missing) in line
    assert "traffic matrices" in line


@pytest.mark.parametrize("name", SHIPPED)
def test_the_default_path_lies_beside_the_scenarios(name) -> None:
    (process,) = load_scenario(name).demand.processes.values()
    path = Path(process.path)
    assert path.is_absolute()
    assert path.parent.name == "traces"
    assert path.parent.parent.name == "scenarios"


def test_paths_of_traces_are_seen_from_their_file(row_file, tmp_path) -> None:
    text = row_file.read_text().replace("[[demand.classes]]", "[[demand.processes.traffic.classes]]")
    table = '[demand.processes.traffic]\nkind = "trace"\nfraction = 1.0\npath = "data/a.csv"\n'
    own = tmp_path / "deep" / "own.toml"
    own.parent.mkdir()
    own.write_text(text + table)
    (process,) = load_scenario(own).demand.processes.values()
    assert Path(process.path) == tmp_path / "deep" / "data" / "a.csv"


def test_demand_and_forecast_describe_a_trace(ask, row_file) -> None:
    """Four steps a day: the season of the scores is the day of the trace."""
    rows = "\n".join(f"{21600 * row},{1 + 5 * (row % 4 == 2)},1" for row in range(40))
    Path("a.csv").write_text(f"time_s,n0>n1,n1>n2\n{rows}\n")
    process = (
        "{kind='trace',fraction=1.0,path='a.csv',start_s=432000,time_compression=21600,"
        "classes=[{application='computing',fraction=1.0,target_fidelity=0.7,patience_s=1.0}]}"
    )
    keys = ("--set", "demand.classes=[]", "--set", f"demand.processes.traffic={process}")
    keys += ("--set", "window.measured_s=18", "--set", "forecasting.horizon_steps=4")
    keys += ("--set", "forecasting.history_s=20")
    told = ask("demand", row_file, "--seed", 1, *keys)
    assert told.exit_code == 0, told.stderr
    assert "trace" in told.stdout
    scored = ask("forecast", row_file, "--seed", 1, "--forecasters", "constant,seasonal-naive", *keys)
    assert scored.exit_code == 0, scored.stderr
    assert "all its peers together" in scored.stdout

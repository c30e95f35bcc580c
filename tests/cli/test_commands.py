"""Every command does what it says, with files and words that can be looked at."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from qdpem.cli.options import output_directory
from qdpem.metrics.deliveries import deliveries
from qdpem.records.reader import open_record

HEAVY = ("torch", "numpy", "scipy", "qutip", "h5py", "pydantic", "matplotlib", "pandas", "networkx")


def loaded_after(code: str) -> set[str]:
    """Which heavy modules a fresh Python has loaded after `code`."""
    script = f"{code}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(eval(answer.stdout.splitlines()[-1]))


def test_the_command_line_loads_nothing_heavy_before_a_command_runs() -> None:
    assert loaded_after("import qdpem.cli.app") == set()


def test_help_loads_nothing_that_computes() -> None:
    code = (
        "import sys\nfrom qdpem.cli.app import main\nsys.argv = ['qdpem', 'run', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )
    assert loaded_after(code) <= {"pydantic"}


def test_importing_the_package_loads_nothing_heavy_and_offers_its_names() -> None:
    assert loaded_after("import qdpem") == set()
    import qdpem

    assert set(dir(qdpem)) == set(qdpem.__all__)
    constants = {name for name in qdpem.__all__ if name.isupper()} | {"__version__"}
    assert all(callable(getattr(qdpem, name)) for name in qdpem.__all__ if name not in constants)
    assert qdpem.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="it offers"):
        _ = qdpem.simulated


def test_run_prints_the_network_records_and_measures(ask, row_file) -> None:
    answer = ask("run", row_file, "--arm", "near", "--seed", 1001)
    assert answer.exit_code == 0, answer.stderr
    assert "5 nodes, 4 links" in answer.stdout
    assert "pairs/s of a link: median" in answer.stdout
    assert "local · none · none · local-minhop" in answer.stdout
    record = open_record(row_file.parent / "output/row/near/1001.h5")
    assert record.complete
    assert (record.arm.name, record.seed) == ("near", 1001)
    assert f"{record.metrics['delivery_ratio']:.3f}" in answer.stdout
    assert record.provenance["wall_s"] > 0.0


def test_run_json_is_one_line_that_agrees_with_the_record(ask, row_file, tmp_path) -> None:
    out = tmp_path / "deep" / "one.h5"
    answer = ask("run", row_file, "--json", "--out", out, "--set", "window.measured_s=2.0")
    assert answer.exit_code == 0, answer.stderr
    assert answer.stdout.count("\n") == 1
    said = json.loads(answer.stdout)
    assert (said["arm"], said["control"], said["pregeneration"], said["forecaster"], said["policy"]) == (
        "local-minhop",
        "local",
        "none",
        "none",
        "local-minhop",
    )
    record = open_record(out)
    assert record.scenario.window.measured_s == 2.0
    measured = {name: None if np.isnan(value) else value for name, value in record.metrics.items()}
    assert said["metrics"] == measured


def test_run_warns_of_demand_nothing_can_serve(ask, row_file) -> None:
    answer = ask("run", row_file, "--set", "links.hardware.fresh_fidelity=0.6")
    assert answer.exit_code == 0, answer.stderr
    assert "warning: nothing can serve 100.0% of the teleportation demand at fidelity 0.7" in answer.stdout


ONCE = (
    "demand.rate_hz=",
    "demand.arrivals=batch",
    "demand.weights=endpoints",
    "demand.classes.0.repeat_until_deadline=pair",
)


@pytest.mark.slow
def test_requests_that_come_once_are_told_by_their_pairs(ask, row_file) -> None:
    """`run`, `study` and the report say what pairs were made, and no row that nothing was measured for."""
    sets = [word for override in (*ONCE, "demand.classes.0.patience_s=1e3") for word in ("--set", override)]
    answer = ask("run", row_file, "--seed", 1000, *sets)
    assert answer.exit_code == 0, answer.stderr
    said = " ".join(answer.stdout.split())
    assert "requests at t = 0 1 1 open" in said
    assert "pairs / s" in said
    assert "Jain" not in said
    study = ask("study", row_file, "--workers", 1, *sets)
    assert study.exit_code == 0, study.stderr
    assert "pairs / s Holm p" in " ".join(study.stdout.split())
    directory = row_file.parent / output_directory(row_file, sets[1::2])
    result = open_record(directory / "near/1001.h5").metrics
    assert result["pairs_per_s"] > 0.0
    page = (directory / "report.html").read_text(encoding="utf-8")
    assert "all requests arrive at t = 0" in page
    assert "first and last node" in page
    assert "figure-distributions" not in page
    assert page.count("--set demand.arrivals=batch") == 2  # of the study, and of a run of it


def test_run_warns_of_nodes_that_cannot_swap_and_outages_after_the_end(ask, row_file) -> None:
    late = 'outages.scheduled=[{ kind = "node", name = "n2", from_s = 50.0 }]'
    answer = ask("run", row_file, "--set", "nodes.memories=1", "--set", late)
    assert answer.exit_code == 0, answer.stderr
    said = " ".join(answer.stdout.split())
    assert "3 of 5 nodes never swap (one qubit, and a swap needs two): n1, n2, n3" in said
    assert "outages.scheduled.0.from_s = 50 is never reached: the run ends at 4 s" in said


@pytest.mark.slow
def test_study_prints_both_tables_and_the_report(ask, row_file) -> None:
    # What `qdpem run` has written, perhaps on another machine, is one of the study's runs.
    assert ask("run", row_file, "--arm", "near", "--seed", 1001).exit_code == 0
    answer = ask("study", row_file, "--workers", 1)
    assert answer.exit_code == 0, answer.stderr
    assert "1 of them reused" in answer.stdout
    assert "central · none · none · central-fcfs" in answer.stdout
    assert "paired difference from central-fcfs" in answer.stdout
    assert "report: output/row/report.html" in answer.stdout
    assert "table: output/row/results.csv" in answer.stdout
    with (row_file.parent / "output/row/results.csv").open(encoding="utf-8") as file:
        assert {row["arm"] for row in csv.DictReader(file)} == {"central-fcfs", "near"}
    page = (row_file.parent / "output/row/report.html").read_text(encoding="utf-8")
    assert f"qdpem study {row_file}" in page
    again = ask("study", row_file)
    assert "4 of them reused" in again.stdout


@pytest.mark.slow
def test_output_to_a_file_is_as_wide_as_columns_says(ask, row_file, monkeypatch) -> None:
    def heading() -> str:
        lines = ask("study", row_file, "--workers", 1).stdout.splitlines()
        return next(line for line in lines if "pregeneration" in line)

    assert "control · pregeneration · forecaster · policy" in heading()
    monkeypatch.setenv("COLUMNS", "170")
    assert heading().split()[:5] == ["arm", "control", "pregeneration", "forecaster", "policy"]


def test_bars_tell_runs_then_bounds() -> None:
    from rich.progress import Progress

    from qdpem.cli.commands.study import progress_callback
    from qdpem.study.progress import StudyProgress

    bars = Progress(disable=True)
    tell = progress_callback(bars, "row")

    def moment(work: str, finished: int, *running: tuple[str, float]) -> StudyProgress:
        far = 10.0 * finished + sum(time_s for _, time_s in running)
        return StudyProgress(done_s=far, total_s=20.0, finished=finished, tasks=2, running=running, work=work)

    def said() -> list[tuple[str, float, str]]:
        return [(bar.description, bar.completed, bar.fields["detail"]) for bar in bars.tasks]

    tell(moment("runs", 1, ("near 7", 4.0)))
    assert said() == [("row", 14.0, "1 of 2 runs"), ("  near 7", 4.0, "4 of 10 s")]
    tell(moment("bounds", 1, ("bounds 7", 4.0)))
    assert said() == [("row", 10.0, "1 of 2 bounds"), ("  bounds 7", 4.0, "")]
    tell(moment("bounds", 2))
    assert said() == [("row", 20.0, "writing the report")]


def test_export_writes_the_tables_of_a_record(ask, row_file, tmp_path) -> None:
    out = tmp_path / "one.h5"
    assert ask("run", row_file, "--out", out).exit_code == 0
    answer = ask("export", out, "--table", "requests", "--table", "metrics")
    assert answer.exit_code == 0, answer.stderr
    names = [str(tmp_path / "one" / f"{name}.csv") for name in ("requests", "metrics")]
    assert answer.stdout.split() == names
    with (tmp_path / "one" / "requests.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert [float(row["time_s"]) for row in rows] == open_record(out).tables["requests"]["time_s"].tolist()
    assert ask("export", out, "--format", "parquet", "--out", tmp_path / "p").exit_code == 0
    assert (tmp_path / "p" / "requests.parquet").exists()


def test_list_names_what_is_registered_and_ships(ask, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = ask("list")
    for name in ("local-minhop", "ewma", "pauli", "topohub", "sweeps/foresight", "A line of five nodes"):
        assert name in answer.stdout
    assert ask("list", "scenarios").stdout.splitlines()[0].startswith("abilene-trace")
    assert ask("list", "physics").stdout.splitlines()[0].startswith("pauli")
    wrong = ask("list", "policy")
    assert (wrong.exit_code, "did you mean 'policies'" in wrong.stderr) == (2, True)


@pytest.mark.slow
def test_check_judges_physics_policies_and_scenarios(ask, row_file) -> None:
    physics = ask("check", "physics", "pauli")
    assert physics.exit_code == 0
    assert "trace is 1" in physics.stdout
    assert "BROKEN" not in physics.stdout
    policy = ask("check", "policy", "local-minhop")
    assert policy.exit_code == 0, policy.stdout
    assert "has no faults" in ask("check", "scenario", row_file).stdout


def test_check_judges_and_scores_a_forecaster(ask, row_file) -> None:
    answer = ask("check", "forecaster", "ewma")
    assert answer.exit_code == 0, answer.stdout
    for word in ("own requests", "no future", "pinball_90", "clairvoyant", "193 origins"):
        assert word in answer.stdout
    on_file = ask("check", "forecaster", "constant", row_file, "--set", "forecasting.horizon_steps=2")
    assert "2 steps of" in on_file.stdout
    assert ask("check", "forecaster", "ewma", "--set", "forecasting.horizon_steps=2").exit_code == 2
    assert ask("check", "policy", "local-minhop", row_file).exit_code == 2


def test_check_exits_1_when_a_forecaster_breaks_a_law(ask, monkeypatch) -> None:
    from qdpem.forecasting.simple import ConstantForecast

    monkeypatch.setattr(ConstantForecast, "load_state", lambda self, state: None)
    answer = ask("check", "forecaster", "constant")
    assert answer.exit_code == 1
    assert "BROKEN" in answer.stdout


@pytest.mark.parametrize("command", [("check", "scenario"), ("study",)])
def test_parameters_that_arms_do_not_have_are_told_all_at_once(ask, row_file, command) -> None:
    arms = (
        '{ name = "near", policy = "local-expected-delay", parameters = { hop = 1.0 } }',
        '{ name = "far", policy = "central-expected-delay", parameters = { storage_fraction = 2.0 } }',
    )
    before, _ = row_file.read_text().split("[study]")
    row_file.write_text(f"{before}[study]\nseeds = [0]\narms = [{', '.join(arms)}]\n")
    answer = ask(*command, row_file)
    assert answer.exit_code == 2
    assert "2 faults" in answer.stderr
    assert "arm near.parameters.hop" in answer.stderr
    assert "arm far.parameters.storage_fraction: 2.0 is not allowed" in answer.stderr


def test_check_exits_1_when_a_law_is_broken(ask, monkeypatch) -> None:
    from physics.models.pauli import PauliModel

    monkeypatch.setattr(PauliModel, "fidelity", lambda self, state: 1.5)
    answer = ask("check", "physics", "pauli")
    assert answer.exit_code == 1
    assert "BROKEN" in answer.stdout


def test_version(ask) -> None:
    import qdpem

    assert ask("--version").stdout.strip() == qdpem.__version__


@pytest.mark.slow
def test_a_load_share_is_told_by_run_json_study_and_report(ask, row_file) -> None:
    row_file.write_text(
        row_file.read_text(encoding="utf-8").replace("rate_hz = 6.0\n\n[[d", "load_factor = 0.5\n\n[[d")
    )
    answer = ask("run", row_file, "--json", "--seed", 1000, "--out", row_file.parent / "one.h5")
    assert answer.exit_code == 0, answer.stderr
    load = json.loads(answer.stdout)["load"]
    record = open_record(row_file.parent / "one.h5")
    for name, value in load.items():
        assert record.tables["demand"][name].tolist() == [value]
    assert load["peak_rate_hz"] == pytest.approx(0.5 * load["capacity_hz"])
    rate = f"{load['rate_hz']:.3g} requests/s on average"
    assert f"demand: {rate}" in answer.stderr
    assert f"0.5 of the {load['capacity_hz']:.3g}/s that the network could carry" in " ".join(
        answer.stderr.split()
    )
    assert rate in ask("check", "scenario", row_file).stdout
    study = ask("study", row_file, "--workers", 1)
    assert study.exit_code == 0, study.stderr
    said = "peak at 0.5 of the rate at which the network of each seed could serve 90% of the requests"
    assert said in " ".join(study.stdout.split())
    assert rate in " ".join(study.stdout.split())
    page = (row_file.parent / "output/row/report.html").read_text(encoding="utf-8")
    assert f"{said} in the long run: {rate}" in page
    for arm in ("central-fcfs", "near"):
        kept = open_record(row_file.parent / f"output/row/{arm}/1000.h5")
        assert kept.tables["demand"]["rate_hz"].tolist() == [load["rate_hz"]]
    again = ask("study", row_file)
    assert "4 of them reused" in again.stdout
    assert rate in " ".join(again.stdout.split())


def test_bound_says_what_no_arm_can_exceed_and_what_binds(ask, row_file) -> None:
    answer = ask("bound", row_file, "--seed", 3, "--set", "demand.rate_hz=40", "--json")
    assert answer.exit_code == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["time_without_stock"] <= found["time"] <= found["flow"] < found["asked"]
    assert found["demand"] + found["links"] + found["repeaters"] == pytest.approx(1.0)
    assert "in time, without stock" in answer.stderr
    assert "most limiting repeaters" in answer.stderr
    assert ask("run", row_file, "--seed", 3, "--set", "demand.rate_hz=40").exit_code == 0
    record = open_record(row_file.parent / "output/row,demand.rate_hz=40/local-minhop/3.h5")
    assert deliveries(record.tables["requests"]) <= found["time_without_stock"]


def test_bound_without_time_is_quick_and_leaves_it_out(ask, row_file) -> None:
    answer = ask("bound", row_file, "--seed", 3, "--kind", "flow", "--json")
    assert json.loads(answer.stdout)["time"] is None
    assert "in time" not in answer.stderr


def test_bound_answers_bad_bins_with_a_sentence(ask, row_file) -> None:
    answer = ask("bound", row_file, "--bin", 9)
    assert answer.exit_code == 2
    assert "bins of 9 s do not fit a run of 4 s" in answer.stderr


@pytest.mark.slow
def test_export_gathers_the_records_of_a_study(ask, row_file) -> None:
    assert ask("study", row_file).exit_code == 0
    answer = ask("export", "output/row", "--format", "latex")
    assert answer.exit_code == 0, answer.stderr
    assert answer.stdout.split() == ["output/row/export/metrics.tex", "output/row/export/results.tex"]
    (row_file.parent / "output/row/near/1001.h5").unlink()
    answer = ask("export", "output/row", "--table", "requests", "--out", "gathered")
    assert answer.exit_code == 0
    assert "left out: near, seed 1001: there is no record" in answer.stderr
    text = (row_file.parent / "gathered/requests.csv").read_text(encoding="utf-8")
    assert "# scenario: row" in text.splitlines()
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    assert {(row["arm"], row["seed"]) for row in rows} == {
        ("central-fcfs", "1000"), ("central-fcfs", "1001"), ("near", "1000"),
    }  # fmt: skip


def test_export_of_a_directory_without_a_study_is_one_sentence(ask, tmp_path) -> None:
    answer = ask("export", tmp_path)
    assert answer.exit_code == 2
    assert "holds no study" in answer.stderr

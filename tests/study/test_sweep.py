"""A study over a grid: each cell a study of its own, one table of all, and nothing done twice."""

from __future__ import annotations

import csv
import io
import shlex
from dataclasses import replace

import pytest
from rich.console import Console

from qdpem.errors import StudyError
from qdpem.records.reader import open_record
from qdpem.scenario.load import parse_scenario, scenario_hash
from qdpem.study.sweep import cell_command, run_sweep, sweep_tables

GRID = {
    "demand.rate_hz": [4.0, 8.0],
    "size": [{"label": "short", "topology.parameters.nodes": 4}],
}


@pytest.fixture
def gridded(small_scenario):
    table = replace(small_scenario.study, seeds=(1000, 1001), sweep=GRID)
    return replace(small_scenario, study=table)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_each_cell_has_its_own_records_and_report_and_the_summary_all_of_them(gridded, tmp_path) -> None:
    heard: list[str] = []
    found = run_sweep(
        gridded, directory=tmp_path, progress=lambda name: heard.append(name) or (lambda _: None)
    )
    names = ["rate_hz=4,size=short", "rate_hz=8,size=short"]
    assert heard == names == [cell.name for cell, _ in found.cells]
    for (cell, result), rate_hz in zip(found.cells, (4.0, 8.0), strict=True):
        assert result is not None
        assert result.report == tmp_path / cell.name / "report.html"
        record = open_record(tmp_path / cell.name / "near" / "1001.h5")
        assert record.scenario.demand.rate_hz == rate_hz
        assert record.scenario.topology.parameters["nodes"] == 4
        assert record.scenario.study is None
    rows = list(csv.DictReader(found.summary.read_text(encoding="utf-8").splitlines()))
    assert [(row["rate_hz"], row["size"], row["arm"]) for row in rows] == [
        (rate, "short", arm) for rate in ("4", "8") for arm in ("central-fcfs", "near")
    ]
    result = found.cells[1][1]
    assert result is not None
    assert float(rows[3]["delivery_ratio"]) == result.means("delivery_ratio")["near"].estimate
    gap = result.differences("delivery_ratio")["near"].difference.estimate
    assert float(rows[3]["delivery_ratio_difference"]) == gap
    again = run_sweep(gridded, directory=tmp_path)
    assert all(one.reused for _, kept in again.cells for one in kept.outcomes)
    text = io.StringIO()
    for table in sweep_tables(found):
        Console(file=text, width=110).print(table)
    delivered = f"{result.means('delivery_ratio')['near'].estimate:.3f}"
    assert delivered in text.getvalue()
    assert "*" in text.getvalue()


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_the_command_of_a_cell_makes_the_same_scenario(gridded, tmp_path) -> None:
    cell, _ = run_sweep(gridded, directory=tmp_path).cells[1]
    words = shlex.split(cell_command("qdpem study row.toml --out x", cell, directory=tmp_path))
    assert words[-2:] == ["--out", str(tmp_path / cell.name)]
    assert words.count("--out") == 1
    overrides = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    from tests.study.conftest import SMALL_STUDY

    alone = parse_scenario(SMALL_STUDY, overrides=[*overrides, "study.seeds=[1000, 1001]"])
    assert scenario_hash(alone) == scenario_hash(cell.scenario)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_cell_that_fails_is_told_and_when_all_do_it_is_an_error(gridded, tmp_path, monkeypatch) -> None:
    from qdpem.records import recording

    real = recording.simulate

    def fragile(scenario, arm, **options):
        if scenario.demand.rate_hz in failing:
            raise ZeroDivisionError("ours")
        return real(scenario, arm, **options)

    monkeypatch.setattr(recording, "simulate", fragile)
    failing = {8.0}
    found = run_sweep(gridded, directory=tmp_path)
    assert [result is None for _, result in found.cells] == [False, True]
    assert found.faults[0].startswith("rate_hz=8,size=short: every task of the study failed")
    failing = {4.0, 8.0}
    with pytest.raises(StudyError, match="every cell of the sweep failed"):
        run_sweep(gridded, directory=tmp_path, fresh=True)

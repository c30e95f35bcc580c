"""Names of a user are text: in terminals, in Markdown, in figures, and where only ASCII is possible."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pytest

from qdpem.cli.plain_text import ascii_text
from qdpem.study.report.figures.network_map import network_maps
from qdpem.study.report.markdown import results_markdown

NAME = "load [/high] :fire: a|b"


@pytest.mark.slow
def test_a_study_with_brackets_in_its_name_is_printed_as_it_is_called(ask, row_file) -> None:
    answer = ask("study", row_file, "--engine", "serial", "--set", f'name="{NAME}"')
    assert answer.exit_code == 0, answer.stderr
    assert NAME in answer.stdout


def test_a_bound_with_brackets_in_its_name_is_printed_as_it_is_called(ask, row_file) -> None:
    answer = ask("bound", row_file, "--kind", "flow", "--set", f'name="{NAME}"')
    assert answer.exit_code == 0, answer.stderr
    assert NAME in answer.stdout


def test_progress_bars_take_any_name(monkeypatch) -> None:
    from rich.console import Console

    from qdpem.cli.console import progress_bars

    # As in a terminal: elsewhere progress is lines, and no bar is drawn.
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_bars() as bars:
        bars.add_task(NAME, total=1, detail="[/]")
    shown = Console(width=120, record=True, file=io.StringIO())
    shown.print(bars.make_tasks_table(bars.tasks))
    assert NAME in shown.export_text()


def test_markdown_keeps_its_columns_whatever_the_name(made_result_named) -> None:
    title, _, table = results_markdown(made_result_named("a|b *c* [d](e)")).partition("\n\n")
    assert r"a\|b \*c\* \[d\](e)" in title
    assert len({line.count("|") for line in table.split("\n\n")[0].splitlines()}) == 1


@pytest.fixture
def made_result_named():
    from dataclasses import replace
    from pathlib import Path

    from qdpem.scenario.load import parse_scenario
    from qdpem.scenario.schema import Arm
    from qdpem.study.analysis.metric_formats import DECISION, metric_formats_of
    from qdpem.study.analysis.outcome import Outcome
    from qdpem.study.analysis.results import StudyResult
    from tests.helpers.row import row_text

    def make(name: str) -> StudyResult:
        scenario = parse_scenario(row_text(description="", measured_s=3.0, seeds=(1000, 1001)))
        arm = Arm(
            name="near", policy="local-minhop", control="local", pregeneration="none", forecaster="none"
        )
        metrics = {metric.name: 0.5 for metric in (*metric_formats_of(scenario.demand), DECISION)}
        outcomes = tuple(
            Outcome(arm="near", seed=seed, path=Path("x"), metrics=metrics) for seed in (1000, 1001)
        )
        return StudyResult(
            scenario=replace(scenario, name=name),
            directory=Path("nowhere"),
            arms=(arm,),
            seeds=(1000, 1001),
            reference="near",
            outcomes=outcomes,
        )

    return make


def test_a_dollar_in_the_name_of_a_node_is_no_formula() -> None:
    names = [r"$a_{$", "$x$", "plain"]
    tables = {
        "nodes": {
            "x_km": np.arange(3.0),
            "y_km": np.arange(3.0),
            "repeater_rate_hz": np.ones(3),
        },
        "links": {"first": np.array([0, 1]), "second": np.array([1, 2])},
    }
    drawn = network_maps(tables, names=names, loads={"near": np.ones(3)}, uses={"near": np.ones(2)})["near"]
    assert all(name in drawn for name in names)


def test_output_degrades_to_ascii(row_file) -> None:
    code = "from qdpem.cli.app import main; main()"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run(
        [sys.executable, "-c", code, "run", str(row_file), "--set", 'name="Zürich ±"'],
        capture_output=True,
        env=environment,
        cwd=row_file.parent,
    )
    assert answer.returncode == 0, answer.stderr.decode()
    assert b"record: " in answer.stdout


def test_what_ascii_lacks_gets_the_nearest_letters() -> None:
    assert ascii_text("Köln – 0.5 ± 0.1 µs → 中") == "Koln - 0.5 +/- 0.1 us -> ?"

"""An arm that is compared on seeds that tuned or chose it is marked in every table."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from rich.console import Console

from qdpem.scenario.load import parse_scenario
from qdpem.study.analysis.results import TUNED_MARK
from qdpem.study.report.csv import results_csv
from qdpem.study.report.findings import findings
from qdpem.study.report.html import Appendix, write_report
from qdpem.study.report.markdown import results_markdown
from qdpem.study.report.terminal import print_study
from qdpem.study.run import run_study
from tests.study.conftest import SMALL_STUDY

SCORES = {
    "plain": {"delivery_ratio": [0.5, 0.6, 0.55], "contended_claims_per_request": [1.0, 1.1, 1.2]},
    "tuned": {"delivery_ratio": [0.7, 0.8, 0.75], "contended_claims_per_request": [0.9, 1.0, 1.1]},
}


@pytest.fixture
def made(made_result):
    def make(*tuned_on: int):
        result = made_result(SCORES)
        plain, tuned = result.arms
        return replace(result, arms=(plain, replace(tuned, tuned_on=tuned_on)))

    return make


def texts(result, tmp_path) -> dict[str, str]:
    output = io.StringIO()
    print_study(result, console=Console(file=output, width=140))
    write_report(result, path=tmp_path / "report.html", appendix=Appendix(command=""))
    return {
        "terminal": output.getvalue(),
        "markdown": results_markdown(result),
        "report": (tmp_path / "report.html").read_text(encoding="utf-8"),
    }


def test_shared_seeds_are_marked_everywhere(made, tmp_path) -> None:
    result = made(3, 1001, 1002, 1007)
    assert result.tuned_arms == {"tuned": (1001, 1002)}
    assert "tuned on seeds 1001, 1002" in findings(result)[0]
    for text in texts(result, tmp_path).values():
        assert TUNED_MARK in text
        assert "1001, 1002" in text
    rows = list(csv.DictReader(io.StringIO(results_csv(result))))
    assert {row["arm"]: row["tuned_on"] for row in rows} == {"plain": "", "tuned": "1001 1002"}


@pytest.mark.parametrize("tuned_on", [(), (0, 1, 2, 999)])
def test_other_seeds_are_not_marked(made, tmp_path, tuned_on) -> None:
    result = made(*tuned_on)
    assert not result.tuned_arms
    assert not any(TUNED_MARK in text for text in texts(result, tmp_path).values())


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_reference_that_was_chosen_on_the_seeds_of_the_comparison_is_marked(tmp_path) -> None:
    strongest = ("study.reference=strongest", "study.tuning_seeds=[1, 2]", "study.seeds=[2, 3]")
    result = run_study(parse_scenario(SMALL_STUDY, overrides=strongest), directory=tmp_path, engine="serial")
    assert result.tuned_arms == {result.reference: (2,)}


@pytest.mark.parametrize("seeds", ["[0, 1]", "[200, 201]", "[5000]", "[1000]", "[20000]"])
def test_a_study_may_use_seeds_of_its_own(seeds) -> None:
    assert parse_scenario(SMALL_STUDY, overrides=(f"study.seeds={seeds}",)).study is not None


def test_an_arm_that_is_like_another_was_tuned_on_its_seeds() -> None:
    arms = 'study.arms=[{name="central-fcfs", tuned_on=[4, 5]}, {name="near", like="central-fcfs"}]'
    study = parse_scenario(SMALL_STUDY, overrides=(arms,)).study
    assert study is not None
    assert [arm.tuned_on for arm in study.arms] == [(4, 5), (4, 5)]

"""A study opened from its directory is the study that was run; its frame has every run."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qdpem.errors import StudyError
from qdpem.scenario.load import parse_scenario
from qdpem.study.analysis.results import StudyResult
from qdpem.study.export.export import export
from qdpem.study.stored_study import open_study
from qdpem.study.sweep import SweepResult, run_sweep
from tests.helpers.row import row_text


def test_a_study_opens_as_the_result_that_it_gave(finished_study: StudyResult) -> None:
    opened = open_study(finished_study.directory)
    assert isinstance(opened, StudyResult)
    assert opened.scenario == finished_study.scenario
    assert opened.arms == finished_study.arms
    assert (opened.seeds, opened.reference) == (finished_study.seeds, finished_study.reference)
    # A bound that was not computed is NaN, which differs from itself.
    assert str(opened.bounds) == str(finished_study.bounds)
    for before, after in zip(finished_study.outcomes, opened.outcomes, strict=True):
        assert (before.arm, before.seed, before.path) == (after.arm, after.seed, after.path)
        assert before.metrics is not None
        assert after.metrics is not None
        assert list(before.metrics) == list(after.metrics)
        assert np.array_equal(list(before.metrics.values()), list(after.metrics.values()), equal_nan=True)
    assert opened.faults == ()


def test_the_frame_has_a_row_for_each_run_and_the_units_of_its_metrics(finished_study: StudyResult) -> None:
    pytest.importorskip("pandas")
    frame = finished_study.frame()
    assert frame.index.names == ["arm", "seed"]
    assert len(frame) == 6
    by_arm = frame["delivery_ratio"].groupby("arm").mean()
    for arm, mean in finished_study.means("delivery_ratio").items():
        assert by_arm[arm] == pytest.approx(mean.estimate)
    assert frame.attrs["units"]["latency_p50_s"] == "s"
    assert frame.attrs["units"]["decision_ms"]
    assert frame.attrs["arms"]["near"]["policy"] == "local-minhop"


def test_missing_and_foreign_records_are_faults_and_rows_of_nan(
    finished_study: StudyResult, tmp_path: Path
) -> None:
    pytest.importorskip("pandas")
    place = Path(shutil.copytree(finished_study.directory, tmp_path / "copy"))
    (place / "near" / "1001.h5").unlink()
    opened = open_study(place)
    (fault,) = opened.faults
    assert fault.startswith("near, seed 1001: there is no record at")
    row = opened.frame().loc[("near", 1001)]
    assert row.isna().all()
    manifest = json.loads((place / "study.json").read_text())
    (place / "study.json").write_text(json.dumps(manifest | {"scenario_hash": "0" * 16}))
    assert all("of another scenario" in fault for fault in open_study(place).faults[:1])


def test_a_directory_without_a_study_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"it has no study\.json"):
        open_study(tmp_path)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    text = row_text(description="", measured_s=1.0, seeds=(1000,))
    sweep = 'study.sweep={"demand.rate_hz" = [4.0, 8.0], "nodes.memories" = [4, 8]}'
    scenario = parse_scenario(text, overrides=(sweep, 'study.bounds="none"', "window.warm_up_s=0.1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qdpem.study.run._write_reports", _without_reports)
        return run_sweep(scenario, directory=tmp_path_factory.mktemp("swept"))


def _without_reports(result: StudyResult, *, command: str) -> StudyResult:
    from qdpem.study.manifest import begin_results, study_manifest

    begin_results(result.directory, study_manifest(result.scenario, result.arms, command=command), files=())
    return replace(result, report=result.directory, table=result.directory)


def test_a_sweep_opens_with_its_values_in_the_frame(swept: SweepResult) -> None:
    pytest.importorskip("pandas")
    opened = open_study(swept.summary.parent)
    assert isinstance(opened, SweepResult)
    frame = opened.frame()
    assert frame.index.names == ["rate_hz", "memories", "arm", "seed"]
    assert len(frame) == 4 * 2
    assert sorted(set(frame.index.get_level_values("rate_hz"))) == [4.0, 8.0]
    for cell, result in opened.cells:
        assert result is not None
        values = tuple(float(word) for word in cell.words.values())
        score = result.scores("delivery_ratio")["near"][0]
        found = frame.loc[(*values, "near", 1000), "delivery_ratio"]
        assert found == score or (math.isnan(found) and math.isnan(score))
    assert frame.equals(swept.frame())


def test_a_sweep_is_exported_with_the_values_of_its_axes(swept: SweepResult, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    links, results = export(swept, tmp_path, format="csv", tables=["links", "results"])
    frame = pandas.read_csv(links, comment="#")
    assert list(frame.columns[:4]) == ["rate_hz", "memories", "arm", "seed"]
    assert frame.groupby(["rate_hz", "memories", "arm", "seed"]).ngroups == 8
    assert len(pandas.read_csv(results, comment="#")) == 8


def test_results_scenarios_and_records_show_as_html(finished_study: StudyResult, swept: SweepResult) -> None:
    from html.parser import HTMLParser

    from qdpem.records.reader import open_record

    named = replace(finished_study.scenario, name="a < b")
    shown = [
        finished_study,
        swept,
        named,
        open_record(finished_study.outcomes[0].path),
    ]
    for value in shown:
        html = value._repr_html_()
        opened: list[str] = []
        parser = HTMLParser()
        parser.handle_starttag = lambda tag, attrs, opened=opened: opened.append(tag)
        parser.handle_endtag = lambda tag, opened=opened: opened.remove(tag)
        parser.feed(html)
        assert not opened, f"{opened} stay open"
    mean = finished_study.means("delivery_ratio")["near"]
    assert f"{mean.estimate:.3f}" in finished_study._repr_html_()
    assert "a &lt; b" in named._repr_html_()
    assert "demand.rate_hz" in named._repr_html_()

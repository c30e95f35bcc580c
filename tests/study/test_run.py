"""A study end to end: files, resuming, failures that stay where they happen."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qdpem.errors import StudyError, UnknownNameError
from qdpem.records.reader import open_record
from qdpem.scenario.load import scenario_text
from qdpem.study.analysis.metric_formats import DECISION
from qdpem.study.plan import plan_study
from qdpem.study.progress import ProgressReporter, StudyProgress, progress_reporters
from qdpem.study.report.markdown import results_markdown
from qdpem.study.run import run_study
from tests.helpers.resealed import resealed

SVG_NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def stamps(directory: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(directory.glob("*/*.h5"))}


def test_a_study_writes_one_record_per_task_and_a_report(small_scenario, tmp_path) -> None:
    updates: list[StudyProgress] = []
    result = run_study(small_scenario, directory=tmp_path, progress=updates.append)
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.glob("*/*.h5"))] == [
        f"{arm}/{seed}.h5" for arm in ("central-fcfs", "near") for seed in (1000, 1001, 1002)
    ]
    assert result.report == tmp_path / "report.html"
    assert result.faults == ()
    assert result.arms[1].control == "local"
    assert result.table == tmp_path / "results.csv"
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == results_markdown(result)
    runs = [update for update in updates if update.work == "runs"]
    assert runs[-1].finished == runs[-1].tasks == 6
    assert runs[-1].done_s == runs[-1].total_s == pytest.approx(30.0)
    assert runs[-1].length_s == pytest.approx(5.0)
    for outcome in result.outcomes:
        record = open_record(outcome.path)
        assert record.complete
        assert record.metrics["delivery_ratio"] == outcome.metrics["delivery_ratio"]
        assert record.scenario == replace(small_scenario, study=None)
    scores = result.scores("delivery_ratio")
    assert all(np.isfinite(values).all() for values in scores.values())


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_resuming_keeps_what_is_done_and_makes_the_rest_again(small_scenario, tmp_path) -> None:
    first = run_study(small_scenario, directory=tmp_path)
    before = stamps(tmp_path)
    (tmp_path / "near" / "1000.h5").unlink()
    (tmp_path / "near" / "1001.h5").write_bytes(b"no record")
    with resealed(tmp_path / "near" / "1002.h5") as file:
        file.attrs["complete"] = 0
    result = run_study(small_scenario, directory=tmp_path)
    after = stamps(tmp_path)
    for now, then in zip(result.outcomes, first.outcomes, strict=True):
        assert now.reused == (now.arm == "central-fcfs")
        if not now.reused:
            # A new run's wall time of a decision is its own.
            assert now.metrics[DECISION.name] > 0.0
            then = replace(then, metrics={**then.metrics, DECISION.name: now.metrics[DECISION.name]})
        np.testing.assert_equal(dict(now.metrics), dict(then.metrics))
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {str(tmp_path / "near" / f"{seed}.h5") for seed in (1000, 1001, 1002)}
    assert [note.partition(": ")[2] for note in result.notes] == [
        "it cannot be read",
        "its run did not finish",
    ]
    assert all(open_record(path).complete for path in after)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_another_scenario_arm_or_fresh_makes_records_again(small_scenario, tmp_path) -> None:
    def kept(scenario, *, fresh: bool = False) -> list[bool]:
        return [one.reuse for one in plan_study(scenario, directory=tmp_path, fresh=fresh).planned]

    table = replace(small_scenario.study, seeds=(1000,))
    scenario = replace(small_scenario, study=table)
    run_study(scenario, directory=tmp_path)
    assert kept(scenario) == [True, True]
    assert kept(scenario, fresh=True) == [False, False]
    louder = replace(scenario, demand=replace(scenario.demand, rate_hz=7.0))
    assert kept(louder) == [False, False]
    others = (table.arms[0], replace(table.arms[1], pregeneration="end-to-end"))
    assert kept(replace(scenario, study=replace(table, arms=others))) == [True, False]
    more = replace(table, seeds=(1000, 1001))
    assert kept(replace(scenario, study=more)) == [True, True, False, False]


@pytest.mark.usefixtures("undrawn")
def test_learned_files_are_embedded_and_a_new_one_makes_the_record_again(
    small_scenario, tmp_path, monkeypatch
) -> None:
    from qdpem.policies.minimum_hop import LocalMinimumHop

    learned = tmp_path / "weights"
    learned.write_bytes(b"one")
    monkeypatch.setattr(LocalMinimumHop, "files", lambda self: {"weights": learned}, raising=False)
    scenario = replace(small_scenario, study=replace(small_scenario.study, seeds=(1000,)))
    run_study(scenario, directory=tmp_path)
    record = open_record(tmp_path / "near" / "1000.h5")
    assert record.file("weights") == b"one"
    assert [one.reuse for one in plan_study(scenario, directory=tmp_path).planned] == [True, True]
    learned.write_bytes(b"two")
    planned = plan_study(scenario, directory=tmp_path).planned
    assert not planned[1].reuse
    assert planned[1].note.endswith("the learned files of its policy or forecaster have changed")


@pytest.mark.slow
def test_a_task_that_fails_is_a_sentence_and_the_others_go_on(small_scenario, tmp_path, monkeypatch) -> None:
    from qdpem.records import recording

    real = recording.simulate

    def fragile(scenario, arm, **options):
        if arm.name == "near" and options["seed"] == 1001:
            raise ZeroDivisionError("of our own making")
        return real(scenario, arm, **options)

    monkeypatch.setattr(recording, "simulate", fragile)
    result = run_study(small_scenario, directory=tmp_path)
    assert len(result.faults) == 1
    assert result.faults[0].startswith("near, seed 1001: ZeroDivisionError: of our own making")
    assert "ZeroDivisionError" in (tmp_path / "near" / "1001.error.txt").read_text()
    assert not open_record(tmp_path / "near" / "1001.h5").complete
    assert np.isnan(result.scores("delivery_ratio")["near"]).tolist() == [False, True, False]
    assert "1 of 6 tasks failed" in result.report.read_text()
    monkeypatch.setattr(recording, "simulate", real)
    mended = run_study(small_scenario, directory=tmp_path)
    assert [outcome.reused for outcome in mended.outcomes].count(False) == 1
    assert not (tmp_path / "near" / "1001.error.txt").exists()


def test_when_every_task_fails_the_study_says_so(small_scenario, tmp_path, monkeypatch) -> None:
    from qdpem.records import recording

    def broken(*_, **__):
        raise StudyError("no power")

    monkeypatch.setattr(recording, "simulate", broken)
    with pytest.raises(StudyError, match="every task of the study failed"):
        run_study(small_scenario, directory=tmp_path)


def test_a_scenario_without_arms_is_refused(small_scenario, tmp_path) -> None:
    with pytest.raises(StudyError, match=r"has no \[study\] table"):
        run_study(replace(small_scenario, study=None), directory=tmp_path)


def test_a_reference_that_is_no_arm_is_answered_with_the_nearest(small_scenario, tmp_path) -> None:
    table = replace(small_scenario.study, reference="central-fcf")
    with pytest.raises(UnknownNameError, match="did you mean 'central-fcfs'"):
        plan_study(replace(small_scenario, study=table), directory=tmp_path)


def test_the_report_holds_everything_and_fetches_nothing(finished_study) -> None:
    result = finished_study
    page = result.report.read_text(encoding="utf-8")
    body = page[page.index("<body>") :]
    for section in (
        "findings",
        "arms",
        "results",
        "figures",
        "differences",
        "scenario",
        "caveats",
        "reproduce",
    ):
        assert f'<section id="{section}">' in body
    assert "no public traces" in body
    assert "qdpem run row.toml --arm ARM" in body
    for arm in result.arms:
        assert all(
            re.search(f'<td( class="factor")?>{value}</td>', body)
            for value in (arm.control, arm.pregeneration, arm.forecaster, arm.policy)
        )
    for fetching in ("<script", "<link", "<img", "@import", "src=", "url(http"):
        assert fetching not in page
    links = [part.split('"')[1] for part in page.split("href=")[1:]]
    assert [link for link in links if not link.startswith(("#", "data:image/png;base64,"))] == []
    assert set(re.findall(r"https?://[^\"<> ]+", page)) == SVG_NAMESPACES


def test_figures_in_a_page_are_valid_and_share_no_ids(finished_study) -> None:
    page = finished_study.report.read_text(encoding="utf-8")
    drawings = [part.partition("</svg>")[0] + "</svg>" for part in page.split("<svg")[1:]]
    assert len(drawings) >= 4
    identifiers: list[set[str]] = []
    for drawing in drawings:
        root = ElementTree.fromstring("<svg" + drawing)
        identifiers.append({element.attrib["id"] for element in root.iter() if "id" in element.attrib})
    assert sum(map(len, identifiers)) == len(set().union(*identifiers))


@pytest.mark.usefixtures("undrawn")
def test_the_package_can_be_called_and_still_holds_its_modules(small_scenario, tmp_path) -> None:
    import qdpem.study.plan

    assert qdpem.study.plan.plan_study is plan_study
    result = qdpem.run_study(
        replace(small_scenario, study=replace(small_scenario.study, seeds=(1000,))), directory=tmp_path
    )
    assert len(result.outcomes) == 2
    assert '"row"' in scenario_text(result.scenario)


def test_progress_is_read_from_what_workers_wrote() -> None:
    updates: list[StudyProgress] = []
    with progress_reporters(["a", "b", "c"], length_s=10.0, progress=updates.append) as reporters:
        reporters[0](10.0)
        reporters[1](4.0)
    last = updates[-1]
    assert (last.done_s, last.total_s) == (14.0, 30.0)
    assert (last.finished, last.tasks, last.running) == (1, 3, (("b", 4.0),))


def test_a_reporter_without_a_file_writes_nothing(tmp_path) -> None:
    ProgressReporter(tmp_path / "gone", 0)(1.0)
    assert not (tmp_path / "gone").exists()

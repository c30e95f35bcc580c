"""Shares of the bounds in a study: once per seed, kept in files, told in tables, and never above one."""

from __future__ import annotations

import io
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from qdpem.bounds.seed_bounds import find_bounds
from qdpem.metrics.deliveries import deliveries
from qdpem.records.reader import open_record
from qdpem.scenario.schema import Scenario
from qdpem.study.analysis.metric_formats import BOUND_FRACTIONS, BOUND_HEADINGS
from qdpem.study.bounds import BoundTask, read_bounds, with_bound_fractions, write_bounds
from qdpem.study.plan import without_study
from qdpem.study.progress import StudyProgress
from qdpem.study.report.terminal import print_study
from qdpem.study.run import run_study


def printed(result) -> str:
    shown = io.StringIO()
    print_study(result, console=Console(width=140, file=shown))
    return shown.getvalue()


def test_deliveries_are_told_as_shares_of_the_flow_bound(finished_study) -> None:
    for outcome in finished_study.outcomes:
        kept = json.loads((finished_study.directory / f"bounds/{outcome.seed}.json").read_text())
        delivered = deliveries(open_record(outcome.path).tables["requests"])
        assert outcome.metrics["fraction_of_flow_bound"] == delivered / kept["bounds"]["flow"] <= 1.0
        assert math.isnan(outcome.metrics["fraction_of_time_bound"])
    assert finished_study.known(BOUND_FRACTIONS) == BOUND_FRACTIONS[:1]
    assert "flow bound" in printed(finished_study)
    assert "of flow bound" in finished_study.report.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_time_bounds_are_told_too_and_found_once(small_scenario: Scenario, tmp_path: Path) -> None:
    timed = replace(small_scenario, study=replace(small_scenario.study, bounds="time", seeds=(1000,)))
    first = run_study(timed, directory=tmp_path)
    assert first.known(BOUND_FRACTIONS) == BOUND_FRACTIONS
    kept = (tmp_path / "bounds/1000.json").read_text()
    again = run_study(timed, directory=tmp_path)
    assert (tmp_path / "bounds/1000.json").read_text() == kept
    assert again.scores("fraction_of_time_bound") == first.scores("fraction_of_time_bound")
    report = again.report.read_text(encoding="utf-8")
    assert all(metric_format.heading in report for metric_format in BOUND_FRACTIONS)


@pytest.mark.slow
def test_bounds_are_the_last_rows_of_tables(small_scenario: Scenario, tmp_path: Path) -> None:
    timed = replace(small_scenario, study=replace(small_scenario.study, bounds="time"))
    result = run_study(timed, directory=tmp_path)
    fractions = {
        name: sum(getattr(one, name) / one.asked for one in result.bounds.values()) / 3
        for name in ("flow", "time", "time_without_stock")
    }
    assert {name: maximum.estimate for name, maximum in result.maximum().items()} == pytest.approx(fractions)
    page = result.report.read_text(encoding="utf-8")
    footer = page[page.index("<tfoot>") : page.index("</tfoot>")]
    text = printed(result)
    for name, fraction in fractions.items():
        assert f"at most ({BOUND_HEADINGS[name]})" in footer
        assert f"({BOUND_HEADINGS[name]})" in text
        assert f"{fraction:.3f}" in footer
        assert f"{fraction:.3f}" in text


@pytest.mark.slow
def test_progress_is_told_while_bounds_are_worked_out(small_scenario: Scenario, tmp_path: Path) -> None:
    told: list[StudyProgress] = []
    run_study(small_scenario, directory=tmp_path, progress=told.append)
    (tmp_path / "bounds/1001.json").unlink()
    assert [one.work for one in told] == sorted((one.work for one in told), reverse=True)  # runs come first
    told.clear()
    run_study(small_scenario, directory=tmp_path, progress=told.append)
    last = told[-1]
    assert {one.work for one in told} == {"bounds"}
    assert (last.tasks, last.finished, last.running) == (1, 1, ())
    assert last.done_s == last.total_s
    told.clear()
    run_study(small_scenario, directory=tmp_path, progress=told.append)
    assert told == []


@pytest.mark.slow
def test_a_bound_on_its_way_is_named_with_its_seconds(
    small_scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bound that takes until it was seen to be on its way."""
    from qdpem.study import bounds

    seen: list[StudyProgress] = []

    def slow(*arguments: object, on_progress, **options: object):
        on_progress("with stock", None)
        for _ in range(400):
            if any(one.running for one in seen):
                break
            time.sleep(0.01)
        return find_bounds(*arguments, **options)

    monkeypatch.setattr(bounds, "find_bounds", slow)
    one_seed = replace(small_scenario, study=replace(small_scenario.study, seeds=(1000,)))
    run_study(
        one_seed, directory=tmp_path, progress=lambda one: seen.append(one) if one.work == "bounds" else None
    )
    [label, seconds] = next(one.running for one in seen if one.running)[0]
    assert label == "bounds 1000"
    assert 0.0 < seconds < 5.0


@pytest.mark.usefixtures("undrawn")
def test_bounds_can_be_switched_off(small_scenario: Scenario, tmp_path: Path) -> None:
    quiet = replace(small_scenario, study=replace(small_scenario.study, bounds="none", seeds=(1000,)))
    result = run_study(quiet, directory=tmp_path)
    assert result.known(BOUND_FRACTIONS) == ()
    assert not (tmp_path / "bounds").exists()
    assert "flow bound" not in printed(result)


def test_kept_bounds_of_another_question_are_not_taken(small_scenario: Scenario, tmp_path: Path) -> None:
    alone = without_study(small_scenario)
    task = BoundTask(scenario=alone, seed=3, kind="flow", path=tmp_path / "3.json")
    found = find_bounds(alone, seed=3, kind="flow")
    write_bounds(task, found)
    assert read_bounds(task).flow == found.flow
    other = replace(alone, demand=replace(alone.demand, rate_hz=9.0))
    assert read_bounds(replace(task, scenario=other)) is None
    assert read_bounds(replace(task, kind="time")) is None
    assert read_bounds(replace(task, seed=4)) is None
    task.path.write_text("{", encoding="utf-8")
    assert read_bounds(task) is None


def test_a_share_above_one_is_called_a_fault(finished_study, tmp_path: Path) -> None:
    """A file with a bound that is too low, as a wrong programme would leave it."""
    alone, seed = without_study(finished_study.scenario), finished_study.seeds[0]
    task = BoundTask(scenario=alone, seed=seed, kind="flow", path=tmp_path / f"bounds/{seed}.json")
    write_bounds(task, replace(find_bounds(alone, seed=seed, kind="flow"), flow=1.0))
    outcomes = [one for one in finished_study.outcomes if one.seed == seed]
    found = with_bound_fractions(
        outcomes,
        seeds=[seed],
        scenario=alone,
        kind="flow",
        directory=tmp_path,
        fresh=False,
        engine="serial",
        workers=None,
    )
    assert all(one.metrics["fraction_of_flow_bound"] > 1.0 for one in found.outcomes)
    assert found.notes == tuple(
        f"{one.arm}, seed {seed}, delivered more than its flow bound allows: this is a bug in qdpem"
        for one in outcomes
    )


@pytest.mark.parametrize("wrong", ["fast", 1])
def test_only_known_bounds_may_be_asked_for(small_scenario: Scenario, wrong: object) -> None:
    from qdpem.errors import ScenarioError
    from qdpem.scenario.load import parse_scenario, scenario_text

    told = json.loads(scenario_text(small_scenario))
    text = f"[study]\narms = [{{ name = 'a' }}]\nseeds = [1]\nbounds = {json.dumps(wrong)}\n"
    assert told["study"]["bounds"] == "flow"
    with pytest.raises(ScenarioError, match=r"study\.bounds"):
        parse_scenario(text)

"""Results of another study in a directory are kept beside the new ones, and so are their records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qdpem.file_lock import HeldError, held
from qdpem.scenario.schema import Arm, Scenario
from qdpem.study.manifest import begin_results, study_manifest
from qdpem.study.run import run_study

FILES = ("results.csv", "results.md")


def with_seeds(scenario: Scenario, *seeds: int) -> Scenario:
    assert scenario.study is not None
    return replace(scenario, study=replace(scenario.study, seeds=seeds, arms=scenario.study.arms[:1]))


def place_results(directory: Path, scenario: Scenario, text: str) -> str:
    assert scenario.study is not None
    note = begin_results(directory, study_manifest(scenario, scenario.study.arms, command=""), files=FILES)
    (directory / "results.csv").write_text(text)
    return note


def test_results_move_aside_unless_the_new_ones_tell_all_that_they_tell(small_scenario, tmp_path) -> None:
    assert place_results(tmp_path, with_seeds(small_scenario, 1000, 1001), "first") == ""
    # The same study again, and more seeds of it.
    assert place_results(tmp_path, with_seeds(small_scenario, 1001, 1000), "again") == ""
    assert place_results(tmp_path, with_seeds(small_scenario, 1000, 1001, 1002), "more") == ""
    note = place_results(tmp_path, with_seeds(small_scenario, 1000), "fewer")
    assert "seeds 1000, 1001, 1002) are kept in " in note
    assert (tmp_path / "earlier/1/results.csv").read_text() == "more"
    assert (tmp_path / "earlier/1/study.json").exists()
    louder = replace(small_scenario, demand=replace(small_scenario.demand, rate_hz=7.0))
    assert str(tmp_path / "earlier/2") in place_results(tmp_path, with_seeds(louder, 1000), "louder")
    other = with_seeds(louder, 1000)
    other = replace(other, study=replace(other.study, arms=(Arm(name="central-fcfs", forecaster="ewma"),)))
    assert str(tmp_path / "earlier/3") in place_results(tmp_path, other, "other arm")
    # Results that nobody has signed are of an unknown study.
    (tmp_path / "study.json").write_text("{")
    assert "unknown" in place_results(tmp_path, other, "last")
    kept = [(tmp_path / f"earlier/{number}/results.csv").read_text() for number in (1, 2, 3, 4)]
    assert kept == ["more", "fewer", "louder", "other arm"]


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_study_with_other_seeds_keeps_records_and_results_of_the_first(small_scenario, tmp_path) -> None:
    first = run_study(with_seeds(small_scenario, 1000), directory=tmp_path, engine="serial")
    before = {path: path.read_bytes() for path in [first.table, *tmp_path.glob("*/*.h5")]}
    second = run_study(with_seeds(small_scenario, 1001), directory=tmp_path, engine="serial")
    assert any("kept in" in note for note in second.notes)
    assert (tmp_path / "earlier/1/results.csv").read_bytes() == before.pop(first.table)
    assert (tmp_path / "earlier/1/report.html").exists()
    assert {path: path.read_bytes() for path in before} == before


def test_a_second_study_on_a_directory_is_refused_before_it_touches_anything(
    small_scenario, tmp_path
) -> None:
    (tmp_path / "near").mkdir()
    # A journal that a killed run has left would become a record.
    (tmp_path / "near" / "1000.h5.journal").write_bytes(b"")
    with held(tmp_path):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(HeldError, match="is in use by another process"):
            run_study(small_scenario, directory=tmp_path, engine="serial")
        assert sorted(tmp_path.rglob("*")) == before

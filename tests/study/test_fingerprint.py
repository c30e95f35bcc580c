"""Results are kept only while the code that made them is the same, one's own policy included."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qdpem import registry
from qdpem.errors import StudyError, UnknownNameError
from qdpem.policies.dpem.training.course.checkpoint import training_fingerprint
from qdpem.provenance import source_files
from qdpem.records.audit.audit import audit
from qdpem.records.reader import open_record
from qdpem.scenario.schema import Arm, Scenario, Topology
from qdpem.simulation.arms import resolve_arm
from qdpem.simulation.fingerprint import code_digest, input_digest
from qdpem.study.bounds import BoundTask, read_bounds
from qdpem.study.plan import Task, plan_study
from qdpem.study.report.html import _provenance
from qdpem.study.run import run_study
from qdpem.study.tasks import record_run, run_task
from qdpem.study.tuning.trials import Trials
from qdpem.study.tuning.tune import tune

_RULE = """from dataclasses import dataclass

from qdpem.policies.minimum_hop import LocalMinimumHop, MinimumHopParameters


class Own(LocalMinimumHop):
    Parameters = MinimumHopParameters
    name = "own-rule"
"""


@pytest.fixture
def own_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a policy that another distribution offers as "own-rule"."""
    folder = tmp_path / "installed"
    facts = folder / "own_rule-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: own-rule\nVersion: 1.0\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text("[qdpem.policies]\nown-rule = own_rule:Own\n", encoding="utf-8")
    path = folder / "own_rule.py"
    path.write_text(_RULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    yield path
    sys.modules.pop("own_rule", None)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_record_is_made_again_when_the_policy_that_made_it_was_edited(
    small_scenario, own_rule, tmp_path
) -> None:
    table = replace(
        small_scenario.study, seeds=(1000,), arms=(Arm(name="own-rule"), Arm(name="central-fcfs"))
    )
    table = replace(table, reference="own-rule")
    scenario = replace(small_scenario, study=table)

    def planned():
        return plan_study(scenario, directory=tmp_path / "study").planned

    run_study(scenario, directory=tmp_path / "study", engine="serial")
    assert [one.reuse for one in planned()] == [True, True]
    own_rule.write_text(_RULE + "\n\nFASTER = True\n", encoding="utf-8")
    assert [one.reuse for one in planned()] == [False, True]
    assert "has changed" in planned()[0].note
    own_rule.write_text(_RULE, encoding="utf-8")
    assert [one.reuse for one in planned()] == [True, True]


@pytest.mark.slow
def test_trials_are_made_again_when_the_policy_was_edited(small_scenario, own_rule, tmp_path) -> None:
    arm, path = resolve_arm(Arm(name="own-rule")), tmp_path / "own.jsonl"

    def found():
        return tune(small_scenario, arm, budget=8, trials=path, engine="serial")

    first = found()
    assert (found().made, found().reused) == (0, first.made)
    own_rule.write_text(_RULE + "\n", encoding="utf-8")
    assert found().made == first.made


def test_the_digest_follows_the_package_that_offers_the_policy(small_scenario, own_rule, tmp_path) -> None:
    own_arm = resolve_arm(Arm(name="own-rule")).arm
    alone, own = code_digest(small_scenario), code_digest(small_scenario, own_arm)
    assert (
        alone
        == code_digest(small_scenario, resolve_arm(Arm(name="local-expected-delay", forecaster="gru")).arm)
        != own
    )
    assert registry.package_of("policy", "own-rule") == "own_rule"
    assert source_files("own_rule") == [own_rule]
    with pytest.raises(UnknownNameError):
        code_digest(small_scenario, Arm(name="own-role"))
    assert source_files("no_such_package") == []


def test_what_comes_after_a_run_is_no_part_of_its_code(small_scenario, monkeypatch) -> None:
    digested = []
    monkeypatch.setattr(
        "qdpem.simulation.fingerprint.source_digest", lambda files: digested.extend(files) or ""
    )
    code_digest(small_scenario)
    names = {"/".join(path.parts[-4:]) for path in digested}
    assert any(name.endswith("qdpem/simulation/run.py") for name in names)
    assert "qdpem/policies/dpem/agent.py" in names
    assert any(name.endswith("qdpem/records/writer.py") for name in names)
    assert any(name.endswith("physics/models/pauli.py") for name in names)
    assert not {path.parent.name for path in digested} & {"study", "cli"}


def test_a_record_says_which_code_made_it(finished_study) -> None:
    for outcome in finished_study.outcomes:
        record = open_record(outcome.path)
        assert record.provenance["code"] == code_digest(record.scenario, record.arm)


def write_map(path: Path, *, km: float) -> None:
    links = [{"source": left, "target": left + 1, "length_km": km} for left in range(3)]
    path.write_text(
        json.dumps({"nodes": [{"id": node} for node in range(4)], "links": links}), encoding="utf-8"
    )


@pytest.fixture
def mapped(small_scenario, tmp_path) -> Scenario:
    """The small study on a map in a file, links of 5 km."""
    write_map(tmp_path / "map.json", km=5.0)
    study = replace(
        small_scenario.study, seeds=(1000,), arms=(Arm(name="central-fcfs"),), reference="central-fcfs"
    )
    topology = Topology(kind="file", parameters={"path": str(tmp_path / "map.json")})
    return replace(small_scenario, topology=topology, study=study)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_records_and_bounds_are_made_again_when_the_map_has_changed(mapped, tmp_path) -> None:
    def found():
        return run_study(mapped, directory=tmp_path / "study", engine="serial")

    first = found()
    again = found()
    assert [outcome.reused for outcome in again.outcomes] == [True]
    write_map(tmp_path / "map.json", km=60.0)
    changed = found()
    assert [outcome.reused for outcome in changed.outcomes] == [False]
    assert "map" in changed.outcomes[0].note
    assert changed.outcomes[0].metrics != first.outcomes[0].metrics
    task = BoundTask(
        scenario=replace(mapped, study=None), seed=1000, kind="flow", path=tmp_path / "study/bounds/1000.json"
    )
    assert read_bounds(task) is not None
    write_map(tmp_path / "map.json", km=5.0)
    assert read_bounds(task) is None


@pytest.mark.usefixtures("undrawn")
def test_a_map_that_changes_while_a_study_runs_ends_it_and_loses_nothing(
    mapped, tmp_path, monkeypatch
) -> None:
    def run_then_change(task, report):
        outcome = run_task(task, report)
        write_map(tmp_path / "map.json", km=6.0)
        return outcome

    with monkeypatch.context() as patch:
        patch.setattr("qdpem.study.run.run_task", run_then_change)
        with pytest.raises(StudyError, match="changed while"):
            run_study(mapped, directory=tmp_path / "study", engine="serial")
    assert open_record(tmp_path / "study/central-fcfs/1000.h5").complete


def test_trials_and_checkpoints_are_those_of_one_map(mapped, tmp_path) -> None:
    arm = resolve_arm(Arm(name="central-fcfs"))

    def facts():
        return Trials(mapped, path=tmp_path / "trials.jsonl", planned=1)._run_facts(arm, 0)

    before, trained = facts(), training_fingerprint(mapped, arm.arm, 10_000)
    assert before == facts()
    assert trained == training_fingerprint(mapped, arm.arm, 10_000)
    write_map(tmp_path / "map.json", km=7.0)
    assert before != facts()
    assert trained != training_fingerprint(mapped, arm.arm, 10_000)


def test_data_of_packages_count_as_code_and_topohubs_maps_as_input(
    small_scenario, own_rule, monkeypatch
) -> None:
    folder = own_rule.parent / "own_data"
    folder.mkdir()
    (folder / "__init__.py").write_text("", encoding="utf-8")
    (folder / "table.csv").write_text("1", encoding="utf-8")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/x.pyc").write_bytes(b"1")
    assert [file.name for file in source_files("own_data")] == ["__init__.py", "table.csv"]
    topology = Topology(kind="topohub", parameters={"key": "topozoo/Abilene"})
    assert input_digest(small_scenario) == ""
    assert len(input_digest(replace(small_scenario, topology=topology))) == 32


def test_an_audit_needs_no_file_but_the_record(mapped, tmp_path) -> None:
    write_map(tmp_path / "map.json", km=3.0)
    arm = resolve_arm(Arm(name="central-fcfs"))
    path = tmp_path / "run.h5"
    record_run(Task(scenario=replace(mapped, study=None), arm=arm, seed=1, path=path))
    (tmp_path / "map.json").unlink()
    record = open_record(path)
    assert record.tables["links"]["length_km"].tolist() == [3.0] * 3
    found = audit(record)
    assert found.passed
    assert found.compared == found.pairs > 0


def test_the_report_has_the_hash_of_its_records(finished_study) -> None:
    (shown,) = {value for name, value in _provenance(finished_study) if name == "scenario hash"}
    assert {open_record(outcome.path).scenario_hash for outcome in finished_study.outcomes} == {shown}

"""Results are kept only while the code that made them is the same, one's own policy included."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qdpem import registry
from qdpem.errors import UnknownNameError
from qdpem.provenance import source_files
from qdpem.records.reader import open_record
from qdpem.scenario.schema import Arm
from qdpem.simulation.arms import resolve_arm
from qdpem.simulation.fingerprint import code_digest
from qdpem.study.plan import plan_study
from qdpem.study.run import run_study
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
    assert any(name.endswith("physics/pauli.py") for name in names)
    assert not {path.parent.name for path in digested} & {"study", "cli"}


def test_a_record_says_which_code_made_it(finished_study) -> None:
    for outcome in finished_study.outcomes:
        record = open_record(outcome.path)
        assert record.provenance["code"] == code_digest(record.scenario, record.arm)

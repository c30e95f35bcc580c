"""A plugin that fails is named with its package, version and line; two of one name are refused."""

from __future__ import annotations

import pytest

from qdpem.records.reader import open_record
from qdpem.registry import distribution_of, plugin_fault
from tests.helpers.plugins import install

POLICY = """
from dataclasses import dataclass
from qdpem.policies.minimum_hop import LocalMinimumHop

class Guarded(LocalMinimumHop):
    name = "guarded"

class Crashing(LocalMinimumHop):
    name = "crashing"

    def act(self, observations):
        return {}["never"]

class Calling(LocalMinimumHop):
    name = "calling"

    def act(self, observations):
        return observations[10_000]

class Silent(LocalMinimumHop):
    name = "silent"

    def act(self, observations):
        return None
"""
FORECASTER = """
import numpy as np
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.forecasting.simple import ConstantForecast

class {name}(ConstantForecast):
    name = "{name}"

    def forecast(self):
        nothing = np.zeros((5, 8, 8))
        values = nothing.copy()
        {line}
        return values if values is None else ExpectedDemand(scheduled=nothing, unscheduled=values)
"""
POLICIES = {"qdpem.policies": {name.lower(): name for name in ("Guarded", "Crashing", "Calling", "Silent")}}


@pytest.fixture
def policies(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, package="stranger", version="2.5", source=POLICY, offers=POLICIES)


@pytest.mark.usefixtures("policies")
@pytest.mark.parametrize(
    ("arm", "last"), [("crashing", "KeyError: 'never'"), ("calling", "IndexError: row 10000")]
)
def test_a_crash_is_the_plugins(ask, row_file, arm, last, monkeypatch) -> None:
    answer = ask("run", row_file, "--arm", arm)
    assert answer.exit_code == 2
    for part in ("stranger 2.5", f"'{arm}'", last, "stranger.py", "QDPEM_TRACEBACK=1"):
        assert part in answer.stderr
    assert "Traceback" not in answer.stderr
    monkeypatch.setenv("QDPEM_TRACEBACK", "1")
    assert "Traceback" in ask("run", row_file, "--arm", arm).stderr


@pytest.mark.usefixtures("policies")
def test_a_crash_in_a_study_is_the_plugins(ask, row_file, tmp_path) -> None:
    arms = ("--set", 'study.arms=[{name="crashing"}]', "--set", "study.reference=crashing")
    answer = ask("study", row_file, "--engine", "serial", *arms)
    assert answer.exit_code == 2
    assert "stranger 2.5" in answer.stderr
    assert "KeyError: 'never'" in answer.stderr
    assert "bug in qdpem" not in answer.stderr


@pytest.mark.usefixtures("policies")
def test_no_decisions_are_the_policys_fault(ask, row_file) -> None:
    answer = ask("run", row_file, "--arm", "silent")
    assert answer.exit_code == 2
    assert "policy 'silent' at " in answer.stderr
    assert "decided None" in answer.stderr


@pytest.mark.usefixtures("policies")
def test_a_record_names_the_packages_of_its_plugins(ask, row_file, tmp_path) -> None:
    out = tmp_path / "one.h5"
    assert ask("run", row_file, "--arm", "guarded", "--out", out).exit_code == 0
    provenance = open_record(out).provenance
    assert provenance["policy_distribution"] == "stranger 2.5"
    for kind in ("physics", "topology", "forecaster"):
        assert provenance[f"{kind}_distribution"].split()[0] == "qdpem"
    assert distribution_of("policy", "guarded") == "stranger 2.5"


def test_an_error_of_our_own_is_no_plugins() -> None:
    with pytest.raises(KeyError) as ours:
        raise KeyError("ours")
    assert plugin_fault(ours.value) is None


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("values[2, 0, 3] = -1.5", ("-1.5", "'n2'", "step 4")),
        ("values[0, 1, 0] = np.inf", ("inf", "'n0'", "peer 1", "step 1")),
        ("values[4, 0, 7] = np.nan", ("nan", "'n4'", "step 8")),
        ("values[3, 7, 0] = 1.0", ("'n3'", "place 7")),
        ("values = values[:, :3]", ("(5, 3, 8)", "(5, 8, 8)")),
        ("values = None", ("None",)),
        ("values = [[1.0], [2.0, 3.0]]", ("[[1.0], [2.0, 3.0]]",)),
    ],
)
def test_a_bad_forecast_is_the_forecasters_fault(ask, row_file, tmp_path, monkeypatch, line, parts) -> None:
    source = FORECASTER.format(name="bad", line=line)
    offers = {"qdpem.forecasters": {"bad": "bad"}}
    install(tmp_path, monkeypatch, package="foreseer", source=source, offers=offers)
    arm = 'study.arms=[{name="b", policy="local-minhop", forecaster="bad"}]'
    answer = ask("run", row_file, "--arm", "b", "--set", arm, "--set", "study.reference=b")
    assert answer.exit_code == 2, answer.stderr
    for part in ("forecaster 'bad' at 0 s", *parts):
        assert part in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_name_that_two_packages_offer_is_refused(ask, row_file, tmp_path, monkeypatch) -> None:
    for package, version in (("first", "1.0"), ("second", "3.0")):
        install(tmp_path, monkeypatch, package=package, version=version, source=POLICY, offers=POLICIES)
    answer = ask("run", row_file, "--arm", "guarded")
    assert answer.exit_code == 2
    assert "second 3.0 and by first 1.0" in answer.stderr
    # Names that one package offers go on working.
    assert ask("run", row_file, "--arm", "local-minhop").exit_code == 0
    assert "first 1.0" in ask("list", "policies").stdout


def test_a_plugin_with_a_name_of_ours_is_refused(ask, row_file, tmp_path, monkeypatch) -> None:
    offers = {"qdpem.physics": {"pauli": "Guarded"}}
    install(tmp_path, monkeypatch, package="usurper", source=POLICY, offers=offers)
    answer = ask("run", row_file)
    assert answer.exit_code == 2
    assert "usurper 1.0" in answer.stderr
    assert "qdpem " in answer.stderr


def test_a_module_that_cannot_be_imported_is_named(ask, row_file, tmp_path, monkeypatch) -> None:
    offers = {"qdpem.policies": {"torn": "Torn"}}
    install(tmp_path, monkeypatch, package="torn", source="import nothing_of_this_name", offers=offers)
    answer = ask("run", row_file, "--arm", "torn")
    assert answer.exit_code == 2
    assert "torn 1.0" in answer.stderr
    assert "ModuleNotFoundError" in answer.stderr


MODEL = """
from physics.models.pauli import PauliModel

class Lopsided(PauliModel):
    name = "lopsided"
    reference = None

    def swap(self, left, right, node, u, outcome=None):
        return super().swap(left, right, node, 0.5, outcome)
"""


@pytest.mark.slow
@pytest.mark.parametrize("declared", [True, False])
def test_a_law_broken_by_design_is_neither_held_nor_broken(ask, tmp_path, monkeypatch, declared) -> None:
    reasons = "{law: 'one outcome is post-selected' for law in LAWS if 'drawn' in law or 'nonsense' in law}"
    source = (
        MODEL + f"\n    from physics.conformance import LAWS\n    broken_by_design = {reasons}\n" * declared
    )
    offers = {"qdpem.physics": {"lopsided": "Lopsided"}}
    install(tmp_path, monkeypatch, package="lopsided", source=source, offers=offers)
    answer = ask("check", "physics", "lopsided")
    assert answer.exit_code == (0 if declared else 1), answer.stdout
    assert ("post-selected" in answer.stdout) == declared
    assert ("BROKEN" in answer.stdout) == (not declared)

"""Without torch all works but the GRU forecaster, the arms that use it, and training; those say so at once.

`make wheel` does the same in an environment that has no torch.
"""

from __future__ import annotations

import sys

import pytest

from qdpem.errors import ScenarioError, UnknownNameError
from qdpem.scenario.arm_selection import without_arms
from qdpem.scenario.load import load_scenario

INSTALL = 'pip install "qdpem[learning]"'
SHORT = ("--set", "window.warm_up_s=0.5", "--set", "window.measured_s=0.5", "--set", "study.bounds=none")


class Hiding:
    """A finder that finds what another one does, except torch."""

    def __init__(self, finder) -> None:
        self._finder = finder

    def __getattr__(self, name: str):
        return getattr(self._finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name == "torch" else self._finder.find_spec(name, path, target)


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Hiding(finder) for finder in sys.meta_path])


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    "words",
    [
        ("run", "quickstart", "--arm", "dpem"),
        ("tune", "quickstart", "--arm", "dpem", "--budget", 4),
        ("train", "quickstart"),
        ("check", "forecaster", "gru"),
        ("check", "forecaster", "shuffled"),
    ],
)
def test_what_needs_torch_says_what_to_install_and_writes_nothing(ask, tmp_path, words) -> None:
    answer = ask(*words)
    assert answer.exit_code == 2, answer.stdout
    assert answer.stderr.strip().count("\n") == 0
    assert INSTALL in answer.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_torch")
def test_a_study_names_every_arm_that_cannot_run(ask, tmp_path) -> None:
    answer = ask("study", "germany50")
    assert answer.exit_code == 2
    needing = [arm for arm in load_scenario("germany50").study.arms if arm.forecaster == "gru"]
    for name in ("dpem", *(arm.name for arm in needing)):
        assert f"--without {name}" in answer.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_torch")
def test_dpem_acts_without_torch_under_another_forecaster(ask) -> None:
    arms = 'study.arms=[{ name = "plain", policy = "dpem", forecaster = "ewma" }]'
    claim = ("--set", "study.claim=", "--set", "study.reference=plain")
    answer = ask("run", "quickstart", "--arm", "plain", "--set", arms, *claim, *SHORT[:4])
    assert answer.exit_code == 0, answer.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("no_torch")
def test_the_study_runs_without_the_arm(ask, row_file) -> None:
    text = row_file.read_text().replace("arms = [", 'arms = [{ name = "dpem" }, ')
    row_file.write_text(
        f'{text}\n[study.claim]\narm = "dpem"\ndelivery_gain = 0.2\ncontention_relief = 0.1\n'
    )
    assert "--without dpem" in ask("study", row_file).stderr
    answer = ask("study", row_file, "--without", "dpem", *SHORT)
    assert answer.exit_code == 0, answer.stderr
    [report] = (row_file.parent / "output").glob("row,*/report.html")
    page = report.read_text(encoding="utf-8")
    assert "--without dpem" in page


def test_arms_are_left_out_with_the_claim_about_them() -> None:
    quickstart = load_scenario("quickstart")
    left = without_arms(quickstart, ["dpem", "local-minhop"]).study
    assert left is not None
    names = [arm.name for arm in quickstart.study.arms]
    assert [arm.name for arm in left.arms] == [name for name in names if name not in ("dpem", "local-minhop")]
    assert left.claim is None
    assert without_arms(quickstart, ["local-minhop"]).study.claim == quickstart.study.claim
    assert without_arms(quickstart, []) is quickstart


def test_what_cannot_be_left_out_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="'dpem'"):
        without_arms(load_scenario("quickstart"), ["dpemm"])
    with pytest.raises(ScenarioError, match=r"study\.reference"):
        without_arms(load_scenario("sweeps/foresight"), ["central-link-stock"])
    swept = load_scenario("quickstart", ['study.sweep={ "study.arms.6.policy" = ["dpem", "local-stock"] }'])
    with pytest.raises(ScenarioError, match=r"study\.arms\.6"):
        without_arms(swept, ["central-fcfs"])
    everyone = [arm.name for arm in swept.study.arms]
    with pytest.raises(ScenarioError, match="no arm is left"):
        without_arms(load_scenario("quickstart"), everyone)

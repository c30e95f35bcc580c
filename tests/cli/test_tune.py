"""`qdpem tune` from the command line: what it prints, writes and refuses."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

import pytest

from qdpem.policies.minimum_hop import LocalMinimumHop, MinimumHopParameters
from qdpem.policy.tuning import tunable


@dataclass(frozen=True, kw_only=True)
class Waiting(MinimumHopParameters):
    storage_fraction: float = tunable(0.9, low=0.0, high=1.0)


@pytest.fixture(autouse=True)
def tunable_minimum_hop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever local-minhop lets be tuned, here it is its `storage_fraction`."""
    monkeypatch.setattr(LocalMinimumHop, "Parameters", Waiting)


@pytest.mark.slow
def test_tune_prints_the_plan_the_finalists_and_writes_an_arm(ask, row_file) -> None:
    words = ("tune", row_file, "--arm", "near", "--budget", 16, "--seeds", "0-9", "--workers", 1)
    answer = ask(*words)
    assert answer.exit_code == 0, answer.stderr
    said = " ".join(answer.stdout.split())
    assert (
        "budget 16 runs (one run is one candidate on one seed for 4 simulated s): 4 candidates on 2 seeds"
        in said
    )
    assert "near: the last rung, seeds 0 to" in said
    assert "the defaults" in said
    path = row_file.parent / "output/row/tuned/near.toml"
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# qdpem tune ")
    [arm] = tomllib.loads(text)["study"]["arms"]
    assert (arm["name"], arm["policy"]) == ("near", "local-minhop")
    assert (row_file.parent / "output/row/tuned/near.jsonl").is_file()
    again = ask(*words)
    assert again.exit_code == 0
    assert "0 runs made" in again.stdout
    assert path.read_text(encoding="utf-8") == text
    # What was written is an arm that the same scenario runs.
    found = ask("run", row_file, "--arm", "near", "--set", f"study.arms=[{_inline(text)}]", "--seed", 1)
    assert found.exit_code == 0, found.stderr


def _inline(text: str) -> str:
    listed = next(line for line in text.splitlines() if "In a list" in line)
    return listed.partition(": ")[2].rstrip(",") + ', { name = "central-fcfs" }'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--arm", "nearr"), "no policy is called 'nearr'"),
        (("--arm", "near", "--seeds", "0-5,1000"), "1000 is no tuning seed"),
        (("--arm", "near", "--seeds", "5-1"), "'5-1' is not a list of seeds"),
        (("--arm", "near", "--budget", 3), "a budget of 3 runs is too small"),
    ],
)
def test_what_cannot_be_tuned_is_a_sentence(ask, row_file, words, said: str) -> None:
    answer = ask("tune", row_file, *words)
    assert answer.exit_code == 2
    assert said in answer.stderr
    assert not (row_file.parent / "output").exists()


def test_a_policy_without_tunable_parameters_is_a_sentence(ask, row_file, monkeypatch) -> None:
    """Every built-in policy declares some, so that one is made to declare none."""
    monkeypatch.setattr("qdpem.study.tuning.tune.search_space", lambda *_, **__: {})
    answer = ask("tune", row_file, "--arm", "near")
    assert answer.exit_code == 2
    assert "no tunable parameter" in answer.stderr

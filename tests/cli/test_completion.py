"""What the shell offers after Tab, and which scenario a word means, asked of the real command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-c", "import sys; sys.argv[0] = 'qdpem'; from qdpem.cli.app import main; main()")


@pytest.fixture
def offered(tmp_path: Path):
    """A function: the words that bash offers for the last of these words."""

    def complete(*words: str) -> list[str]:
        line = {"_QDPEM_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(("qdpem", *words))}
        answer = subprocess.run(
            COMMAND,
            env=os.environ | line | {"COMP_CWORD": str(len(words))},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert answer.stderr == ""
        return answer.stdout.split()

    return complete


def test_scenarios_are_offered_by_name_and_by_path(offered, tmp_path: Path) -> None:
    (tmp_path / "quarter.toml").write_text("not even TOML")
    (tmp_path / "quickstart").mkdir()
    (tmp_path / "quotes.txt").write_text("")
    assert offered("run", "qu") == ["quickstart", "quarter.toml", "quickstart/"]
    assert offered("study", "sweeps/f") == ["sweeps/foresight"]


def test_arms_of_the_scenario_are_offered_before_policies(offered) -> None:
    words = offered("run", "quickstart", "--arm", "central-")
    assert words[:3] == ["central-fcfs", "central-expected-delay", "central-stock"]
    assert len(words) == len(set(words))
    assert "central-qleap" in words
    assert "central-qleap" in offered("tune", "nowhere.toml", "--arm", "central-q")


def test_what_can_be_checked_is_offered(offered) -> None:
    assert offered("check", "physics", "w") == ["werner"]
    assert offered("check", "scenario", "hur") == ["hurry"]


def test_a_file_that_a_name_hides_is_told(ask, row_file: Path) -> None:
    row_file.rename(row_file.parent / "chain.toml")
    short = ("--set", "window.warm_up_s=0.1", "--set", "window.measured_s=0.1", "--json")
    shipped = ask("run", "chain", *short)
    assert shipped.exit_code == 0, shipped.stderr
    assert '"scenario": "chain"' in shipped.stdout
    assert "./chain.toml" in shipped.stderr
    own = ask("run", "./chain.toml", *short, "--set", "window.measured_s=3")
    assert '"scenario": "row"' in own.stdout
    assert "note" not in own.stderr

"""Commands refuse runs beyond the machine before they begin, and results lie where the help says."""

from __future__ import annotations

import re

import pytest

HUGE = "demand.rate_hz=1e9"


@pytest.mark.parametrize(
    "words",
    [
        ("run", "row.toml"),
        ("study", "row.toml"),
        ("tune", "row.toml", "--arm", "local-stock", "--budget", "8"),
        ("bound", "row.toml", "--kind", "flow"),
        ("train", "row.toml"),
        ("check", "scenario", "row.toml"),
    ],
)
def test_every_command_that_runs_refuses_what_no_machine_holds(ask, row_file, tmp_path, words) -> None:
    answer = ask(*words, "--set", HUGE)
    assert answer.exit_code == 2
    assert "because demand.rate_hz is 1e+09" in answer.stderr
    assert "--oversize" in answer.stderr
    assert list(tmp_path.iterdir()) == [row_file]


def test_an_option_runs_it_all_the_same_with_a_warning(ask, row_file, monkeypatch) -> None:
    monkeypatch.setattr("qdpem.parallel.memory_bytes", lambda: 1e6)
    assert ask("run", row_file).exit_code == 2
    answer = ask("run", row_file, "--oversize")
    assert answer.exit_code == 0, answer.stderr
    assert "warning: it would need about" in answer.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "values"),
    [
        (("run", "--seed", "7"), {"arm": "local-minhop", "seed": "7"}),
        (("study",), {}),
        (("tune", "--arm", "local-stock", "--budget", "8", "--seeds", "0-3"), {}),
        (
            ("train", "--set", "training.rounds=0", "--set", "training.fit_steps=20"),
            {"seed": "10000", "overrides": ",training.fit_steps=20,training.rounds=0"},
        ),
    ],
)
def test_results_lie_where_the_help_says(ask, row_file, tmp_path, words, values) -> None:
    (command, *options), values = words, dict(values)
    told = re.sub(r"[│\s]+", " ", ask(command, "--help").stdout)
    pattern = r"by default (?:(\S+) in )?(output/<file stem>)\[,<--set>\.\.\.\]"
    [(inside, place)] = set(re.findall(pattern, told))
    answer = ask(command, row_file, *options)
    assert answer.exit_code == 0, answer.stderr
    # Overrides follow the name, sorted.
    place = f"{place}{values.pop('overrides', '')}/{inside}".rstrip("/")
    for name, value in {"file stem": "row", **values}.items():
        place = place.replace(f"<{name}>", value)
    assert (tmp_path / place).exists()
    assert [path.name for path in tmp_path.iterdir() if path != row_file] == ["output"]

"""Without a terminal, long commands print a line of progress every so often."""

from __future__ import annotations

import pytest


@pytest.fixture
def hurried(monkeypatch) -> None:
    monkeypatch.setattr("qdpem.cli.console.LINE_PERIOD_S", 0.02)


def lines_about(what: str, text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(what) and line.endswith(" left")]


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("words", "what", "done"),
    [
        (("run", "row.toml", "--set", "window.measured_s=60"), "local-minhop, seed 1000: ", " of 61 s"),
        (("study", "row.toml", "--set", "window.measured_s=20"), "row: ", " of 4 runs"),
        (
            ("study", "row.toml", "--set", 'study.sweep={ "demand.rate_hz" = [1.0, 2.0] }'),
            "rate_hz=2: ",
            " of 4 runs",
        ),
        (
            ("tune", "row.toml", "--arm", "local-stock", "--budget", "8", "--seeds", "0-9", "--workers", "1"),
            "tuning local-stock: ",
            " of 8 runs",
        ),
    ],
)
@pytest.mark.mostly_slow
def test_a_line_tells_what_is_done_of_what_and_the_rest(ask, row_file, words, what, done) -> None:
    answer = ask(*words)
    assert answer.exit_code == 0, answer.stderr
    found = lines_about(what, answer.stderr)
    assert found
    assert any(done in line and " elapsed, about " in line for line in found)
    assert not lines_about(what, answer.stdout)


@pytest.mark.usefixtures("hurried")
def test_preparing_a_run_is_told_too(ask, row_file, monkeypatch) -> None:
    import time

    from qdpem.study.analysis import network_summary

    find = network_summary.find_offered_load
    monkeypatch.setattr(
        network_summary, "find_offered_load", lambda *a, **k: (time.sleep(0.1), find(*a, **k))[1]
    )
    answer = ask("run", row_file)
    assert answer.exit_code == 0, answer.stderr
    assert "preparing row: " in answer.stderr


def test_short_commands_print_no_line(ask, row_file) -> None:
    assert "elapsed" not in ask("run", row_file).stderr

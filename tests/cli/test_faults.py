"""What a user can get wrong is answered with a sentence and exit code 2, never a traceback."""

from __future__ import annotations

import errno
import os

import pytest

from qdpem.records.reader import open_record

FIVE_MISTAKES = """
name = "wrong"
colour = "blue"

[topology]
kind = "line"
parameters = { nodes = 5, hop_km = 5.0 }
length_scale = -1.0

[nodes]
source_rate_hz = "fast"
repeater_rate_hz = 6.0
memories = 0
hardware = { memory = { kind = "depolarising", depolarising_s = 10.0 } }

[demand]
rate_hz = 6.0

[[demand.classes]]
application = "telepathy"
fraction = 1.0
target_fidelity = 0.7
patience_s = 0.5
"""


def test_five_mistakes_get_five_lines(ask, tmp_path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(FIVE_MISTAKES, encoding="utf-8")
    for command in ("run", "study", "train"):
        answer = ask(command, path)
        assert answer.exit_code == 2
        lines = [line for line in answer.stderr.splitlines() if line.startswith("  ")]
        found = sorted(line.split(":")[0].strip() for line in lines)
        assert found == sorted(
            [
                "colour",
                "demand.classes.0.application",
                "nodes.memories",
                "nodes.source_rate_hz",
                "topology.length_scale",
            ]
        )
        assert "Traceback" not in answer.stderr + answer.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "absent.toml"), "absent.toml"),
        (("run", "row.toml", "--arm", "local-minhops"), "did you mean 'local-minhop'"),
        (("run", "row.toml", "--set", "window.measured=3"), "measured_s"),
        (("run", "row.toml", "--set", "physics.model=pauly"), "did you mean 'pauli'"),
        (("run", "row.toml", "--set", "physics.parameters={x=1}"), "physics"),
        (("run", "row.toml", "--out", "row.toml/deep/one.h5"), "cannot be created"),
        (("study", "row.toml", "--engine", "lokky"), "did you mean 'loky'"),
        (("train", "row.toml", "--seed", "1000"), "seed 1000 is not a training seed"),
        (("export", "absent.h5"), "there is no record at absent.h5"),
        (("export", "row.toml"), "is not an HDF5 file"),
        (("check", "physics", "qutipp"), "did you mean 'qutip'"),
        (("check", "policy", "dpemm"), "did you mean 'dpem'"),
        (("check", "forecaster", "ewmaa"), "did you mean 'ewma'"),
        (("check", "scenario", "absent.toml"), "absent.toml"),
    ],
)
def test_a_wrong_word_is_answered_with_a_sentence(ask, row_file, words, sentence) -> None:
    answer = ask(*words)
    assert answer.exit_code == 2, answer.stderr
    assert sentence in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_truncated_record_is_a_sentence(ask, row_file, tmp_path) -> None:
    out = tmp_path / "one.h5"
    assert ask("run", row_file, "--out", out).exit_code == 0
    os.truncate(out, out.stat().st_size // 2)
    answer = ask("export", out)
    assert answer.exit_code == 2
    assert "cut off" in answer.stderr


def test_ctrl_c_exits_130_and_leaves_a_readable_record(ask, row_file, tmp_path, monkeypatch) -> None:
    from qdpem.simulation.simulation import Simulation

    real, calls = Simulation.advance, []

    def stopped(self):
        calls.append(self.now_s)
        if self.now_s > 2.0:
            raise KeyboardInterrupt
        return real(self)

    monkeypatch.setattr(Simulation, "advance", stopped)
    out = tmp_path / "one.h5"
    answer = ask("run", row_file, "--out", out)
    assert answer.exit_code == 130
    assert "Stopped." in answer.stderr
    record = open_record(out)
    assert not record.complete
    assert len(record.tables["requests"]["request"]) > 0
    resumed = ask("study", row_file)
    assert resumed.exit_code == 130
    assert "The same command continues from here" in resumed.stderr


def failing(error: BaseException):
    def fail(*_, **__):
        raise error

    return fail


def test_a_full_disk_is_a_sentence(ask, row_file, monkeypatch) -> None:
    from qdpem.records import recording

    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(recording, "simulate", failing(full))
    answer = ask("run", row_file)
    assert answer.exit_code == 2
    assert "the disk is full" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_fault_of_our_own_shows_where_and_asks_for_a_report(ask, row_file, monkeypatch) -> None:
    from qdpem.records import recording

    monkeypatch.setattr(recording, "simulate", failing(ZeroDivisionError("ours")))
    answer = ask("run", row_file)
    assert answer.exit_code == 1
    assert "Traceback" in answer.stderr
    assert "ZeroDivisionError: ours" in answer.stderr
    assert "Please report it" in answer.stderr


@pytest.mark.slow
def test_a_study_with_a_failed_task_reports_it_and_exits_1(ask, row_file, monkeypatch) -> None:
    from qdpem.records import recording

    real = recording.simulate

    def fragile(scenario, arm, **options):
        if arm.name == "near":
            raise ZeroDivisionError("ours")
        return real(scenario, arm, **options)

    monkeypatch.setattr(recording, "simulate", fragile)
    answer = ask("study", row_file)
    assert answer.exit_code == 1
    assert "failed: near, seeds 1000, 1001: ZeroDivisionError: ours" in answer.stdout
    assert (row_file.parent / "output/row/report.html").exists()

"""`qdpem replay`: its verdict in one line, and its exit status."""

from __future__ import annotations

import json
import re

import pytest

from tests.helpers.resealed import resealed


@pytest.fixture
def record_file(ask, row_file, tmp_path):
    """The record of a run of `row.toml`."""
    path = tmp_path / "one.h5"
    answer = ask("run", row_file, "--out", path, "--set", "window.measured_s=1.0")
    assert answer.exit_code == 0, answer.stderr
    return path


def test_the_same_bits_give_one_line_and_exit_0(ask, record_file) -> None:
    answer = ask("replay", record_file)
    assert answer.exit_code == 0, answer.stderr
    assert answer.stderr == ""
    assert re.fullmatch(r"identical: \d+ data sets .*seed 1000.*\n", answer.stdout)


def test_another_bit_exits_1_with_place_and_both_values(ask, record_file) -> None:
    with resealed(record_file) as file:
        before = file["claims/rival"][7]
        file["claims/rival"][7] = 99
    answer = ask("replay", record_file, "--json")
    assert answer.exit_code == 1
    verdict, *_ = answer.stderr.splitlines()
    assert "claims/rival, row 7" in verdict
    (line,) = answer.stdout.splitlines()
    values = json.loads(line)
    assert values["identical"] is False
    (difference,) = values["differences"]
    assert difference == {
        "table": "claims", "column": "rival", "row": 7, "first": "99", "second": str(before),
    }  # fmt: skip


def test_what_cannot_be_replayed_exits_2_with_one_sentence(ask, record_file) -> None:
    with resealed(record_file) as file:
        file.attrs["policy"] = "gone"
    answer = ask("replay", record_file)
    assert answer.exit_code == 2
    assert len(answer.stderr.splitlines()) == 1
    assert "gone" in answer.stderr


def test_decisions_are_replayed_and_what_is_left_out_is_told(ask, record_file, row_file) -> None:
    refused = ask("replay", record_file, "--decisions")
    assert refused.exit_code == 2
    assert "record.level=full" in refused.stderr
    settings = ("--set", "window.measured_s=1.0", "--set", "record.level=full")
    assert ask("run", row_file, "--out", record_file, *settings).exit_code == 0
    answer = ask("replay", record_file, "--decisions")
    assert answer.exit_code == 0, answer.stdout
    assert "without forecasts" in answer.stdout

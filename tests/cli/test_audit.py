"""`qdpem audit`: what it prints, what it exits with, and what it says of records it cannot audit."""

from __future__ import annotations

import json

import pytest

from qdpem.events.words import PairOutcome
from qdpem.records.reader import open_record
from tests.helpers.resealed import resealed


@pytest.fixture
def record_file(ask, row_file, tmp_path):
    """The record of a run of `row.toml`."""
    path = tmp_path / "one.h5"
    answer = ask("run", row_file, "--out", path, "--set", "window.measured_s=1.0")
    assert answer.exit_code == 0, answer.stderr
    return path


def spoil(path) -> int:
    """Change one fidelity by a thousandth; the id of its pair."""
    with resealed(path) as file:
        row = file["pairs/outcome"][:].tolist().index(PairOutcome.DELIVERED.code)
        file["pairs/fidelity"][row] += 1e-3
        return int(file["pairs/pair"][row])


def test_an_honest_record_passes_under_the_reference_its_model_names(ask, record_file) -> None:
    answer = ask("audit", record_file)
    assert answer.exit_code == 0, answer.stderr
    pairs = len(open_record(record_file).tables["pairs"]["pair"])
    assert pairs > 10
    assert f"{pairs} of {pairs} pairs made under 'pauli' were replayed under 'qutip'" in answer.stdout
    assert "tolerance 1e-09: no difference is larger" in answer.stdout


def test_a_changed_value_exits_1_and_names_its_pair(ask, record_file) -> None:
    pair = spoil(record_file)
    answer = ask("audit", record_file, "--against", "pauli")
    assert answer.exit_code == 1
    assert "1 finding" in answer.stdout
    found = [line.split() for line in answer.stdout.splitlines() if line.strip().startswith(f"{pair} ")]
    assert len(found) == 1
    assert found[0][-1] == "0.001"
    assert "fidelity" in found[0]
    generous = ask("audit", record_file, "--against", "pauli", "--tolerance", 0.01)
    assert generous.exit_code == 0, generous.stdout


def test_json_is_one_line_and_says_the_same(ask, record_file) -> None:
    honest = ask("audit", record_file, "--against", "pauli", "--json", "--limit", 8)
    assert (honest.exit_code, honest.stdout.count("\n")) == (0, 1)
    said = json.loads(honest.stdout)
    assert (said["physics"], said["reference"], said["passed"]) == ("pauli", "pauli", True)
    assert 0 < said["compared"] <= 8 < said["pairs"]
    assert (said["worst"], said["findings"], said["findings_count"]) == (0.0, [], 0)
    pair = spoil(record_file)
    spoiled = ask("audit", record_file, "--against", "pauli", "--json")
    assert (spoiled.exit_code, spoiled.stdout.count("\n")) == (1, 1)
    (finding,) = json.loads(spoiled.stdout)["findings"]
    assert (finding["pair"], finding["what"]) == (pair, "fidelity")
    assert finding["deviation"] == pytest.approx(1e-3, rel=1e-9)


def test_contradictions_are_shown_ten_at_a_time(ask, record_file) -> None:
    with resealed(record_file) as file:
        file["pairs/fidelity_s"][:] = -1.0
        count = len(file["pairs/pair"])
    answer = ask("audit", record_file, "--against", "pauli")
    assert answer.exit_code == 1
    assert f"0 of {count} pairs" in answer.stdout
    assert answer.stdout.count("its times are out of order") == 10
    assert f"and {count - 10} more" in answer.stdout
    line = json.loads(ask("audit", record_file, "--against", "pauli", "--json").stdout)
    assert line["findings_count"] == count
    assert line["findings"][0]["deviation"] is None


def test_an_unfinished_record_is_audited_with_a_warning(ask, record_file) -> None:
    with resealed(record_file) as file:
        file.attrs.modify("complete", 0)
        for table in ("pairs", "allocations"):
            for data in file[table].values():
                data.resize(len(data) // 2, axis=0)
    answer = ask("audit", record_file, "--against", "pauli")
    assert answer.exit_code == 0, answer.stdout
    assert "is incomplete" in answer.stderr


def test_what_cannot_be_audited_is_a_sentence(ask, row_file, record_file, tmp_path) -> None:
    bare = tmp_path / "bare.h5"
    ask("run", row_file, "--out", bare, "--set", "record.level=requests", "--set", "window.measured_s=1.0")
    for words, sentence in (
        ((bare,), "run again with --set record.level=events"),
        ((record_file, "--against", "qutipp"), "did you mean 'qutip'"),
        ((tmp_path / "absent.h5",), "there is no record at"),
        ((row_file,), "is not an HDF5 file"),
    ):
        answer = ask("audit", *words)
        assert answer.exit_code == 2, answer.stderr
        assert sentence in answer.stderr
        assert "Traceback" not in answer.stderr

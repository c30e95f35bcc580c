"""What was changed in a record afterwards, or made by another physics, is found at its pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from physics.models.pauli import PauliModel
from qdpem.records.audit.audit import audit
from qdpem.records.audit.replay import _distance
from qdpem.records.reader import open_record
from tests.helpers.audited import DEPOLARISING, RELAXING, rows, sentences, tamper, write


def test_another_physics_deviates_largely(tmp_path: Path, monkeypatch) -> None:
    """Memories that decay twice as fast: every pair that waited is off, by as much as the model says."""
    record = write(tmp_path / "run.h5", memory=DEPOLARISING)
    real = PauliModel.age
    monkeypatch.setattr(
        PauliModel,
        "age",
        lambda self, state, first, second, duration_s: real(self, state, first, second, 2.0 * duration_s),
    )
    found = audit(record, against="pauli")
    assert not found.passed
    assert found.worst > 0.01
    assert len(found.findings) == found.compared == found.pairs
    pairs = record.tables["pairs"]
    delay_s = float(record.tables["links"]["delay_s"][0])
    fresh = {one.pair: one for one in found.findings if one.operation == "link"}
    for row in np.flatnonzero(pairs["first_parent"] < 0).tolist():
        # Werner weight (4 F - 1)/3; the sender's half has waited for the light, then both halves were stored.
        stored_s = 2.0 * (pairs["fidelity_s"][row] - pairs["born_s"][row]) + delay_s
        expected = (1.0 + (4.0 * 0.97 - 1.0) * np.exp(-2.0 * stored_s / 2.0)) / 4.0
        assert abs(fresh[int(pairs["pair"][row])].replayed - expected) < 1e-12


@pytest.mark.mostly_slow
@pytest.mark.parametrize("memory", [RELAXING, DEPOLARISING])
def test_a_changed_fidelity_is_found_at_its_pair(tmp_path: Path, memory: str) -> None:
    record = write(tmp_path / "run.h5", memory=memory)
    row = rows(record, "delivered", link=False)[2]
    pair = record.tables["pairs"]["pair"][row]

    def change(file: Any) -> None:
        file["pairs/fidelity"][row] += 1e-6

    found = audit(tamper(record, change), against="qutip")
    (one,) = found.findings
    assert (one.pair, one.operation, one.what) == (pair, "swap", "fidelity")
    assert one.deviation == pytest.approx(1e-6, rel=1e-6)
    assert one.recorded - one.replayed == pytest.approx(1e-6, rel=1e-6)


@pytest.mark.mostly_slow
@pytest.mark.parametrize("memory", [RELAXING, DEPOLARISING])
def test_a_changed_outcome_is_found_at_its_pair(tmp_path: Path, memory: str) -> None:
    """Also where no fidelity depends on it (depolarising memories): the seed's uniform says another."""
    record = write(tmp_path / "run.h5", memory=memory)
    row = rows(record, "delivered", link=False)[1]
    pair, outcome = (int(record.tables["pairs"][name][row]) for name in ("pair", "bell_outcome"))

    def change(file: Any) -> None:
        file["pairs/bell_outcome"][row] = outcome ^ 3

    found = audit(tamper(record, change), against="qutip")
    assert {one.pair for one in found.findings} == {pair}
    drawn = next(one for one in found.findings if one.what == "bell_outcome")
    assert (drawn.operation, drawn.recorded, drawn.replayed) == ("swap", outcome ^ 3, outcome)
    # A uniform moves by at most one to reach any outcome.
    assert 1e-9 < drawn.deviation < 1.0
    assert ("fidelity" in {one.what for one in found.findings}) == (memory == RELAXING)


def test_a_changed_sender_is_found_where_it_matters(tmp_path: Path) -> None:
    """The half that waited relaxes: turned round, the pair is another, and so is what is made of it."""
    record = write(tmp_path / "run.h5")
    # All of it, before the file is changed.
    pairs = dict(record.tables["pairs"])
    swapped = rows(record, "swapped", link=True)
    row = swapped[0]

    def change(file: Any) -> None:
        file["pairs/sender"][row] = pairs["first"][row] + pairs["second"][row] - pairs["sender"][row]

    found = audit(tamper(record, change), against="pauli", tolerance=1e-12)
    assert not found.passed
    assert {one.what for one in found.findings} <= {"fidelity"}


def test_another_seed_is_found_by_its_draws(tmp_path: Path) -> None:
    """Swaps that failed were not let fail by this seed, outcomes are not its own."""
    record = write(tmp_path / "run.h5", swap_success_probability=0.5)
    other = tamper(record, lambda file: file.attrs.modify("seed", 4))
    found = audit(other, against="pauli")
    assert {"bell_outcome", "bell_outcome of the swap that ended it"} <= {one.what for one in found.findings}
    tamper(record, lambda file: file["provenance"].attrs.modify("qdpem_version", "0.0.1"))
    unsure = audit(open_record(record.path), against="pauli")
    assert (unsure.drawn, unsure.passed) == (False, True)


@pytest.mark.mostly_slow(3)
@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("bell_outcome", -1, "cannot have had its outcome"),
        ("second_parent", 10**6, "its second parent is 1000000, not"),
        ("born_s", 0.125, "it was born at 0.125000000 s, but its parent"),
        ("first", 99, "its ends are"),
        ("fidelity_s", 10**6, "its times are out of order"),
        ("first_parent", 10**6, "its parent 1000000 was not used up"),
        ("fidelity", np.nan, "fidelity"),
    ],
)
def test_rows_that_cannot_be_are_told_with_their_pair(
    tmp_path: Path, column: str, value: float, sentence: str
) -> None:
    record = write(tmp_path / "run.h5")
    row = rows(record, "delivered", link=False)[0]
    pair = int(record.tables["pairs"]["pair"][row])

    def change(file: Any) -> None:
        file[f"pairs/{column}"][row] = value

    found = audit(tamper(record, change), against="pauli")
    assert [one for one in found.findings if one.pair == pair and sentence in one.what], found.findings
    assert max(one.deviation for one in found.findings) == np.inf


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("link", 99, "does not join its ends"),
        ("sender", 99, "is not one of its ends"),
        ("pair", 0, "more than one row"),
    ],
)
def test_fresh_pairs_that_cannot_be_are_told(tmp_path: Path, column: str, value: int, sentence: str) -> None:
    record = write(tmp_path / "run.h5")
    row = rows(record, "swapped", link=True)[4]

    def change(file: Any) -> None:
        file[f"pairs/{column}"][row] = value

    found = audit(tamper(record, change), against="pauli")
    assert sentence in sentences(found)
    assert found.compared + found.unknown == found.pairs


def test_links_are_compared_too(tmp_path: Path) -> None:
    def change(file: Any) -> None:
        file["links/success_probability"][2] *= 1.001

    record = write(tmp_path / "run.h5")
    (one,) = audit(tamper(record, change), against="qutip").findings
    assert (one.pair, one.operation, one.what) == (-1, "link", "success_probability of link 2")

    def stretch(file: Any) -> None:
        file["links/length_km"][2] = 21.0

    # The map is that of the record: a length that contradicts the rest of its row is found there.
    found = {finding.what for finding in audit(tamper(record, stretch), against="qutip").findings}
    assert found >= {"success_probability of link 2", "delay_s of link 2"}


def test_a_row_left_out_is_noticed(tmp_path: Path) -> None:
    record = write(tmp_path / "run.h5")
    row = rows(record, "delivered")[0]
    pair = int(record.tables["pairs"]["pair"][row])

    def drop(file: Any) -> None:
        for name, data in file["pairs"].items():
            left = np.delete(data[:], row)
            data.resize(len(left), axis=0)
            data[:] = left if name != "row" else np.arange(len(left))

    found = audit(tamper(record, drop), against="pauli")
    assert [(one.pair, one.what) for one in found.findings] == [
        (pair, "it is missing from a record that is marked complete")
    ]


def test_how_far_a_uniform_lies_from_an_outcome() -> None:
    """Outcomes 0, 1 and 3 up to 0.2, 0.5 and 0.9, failure above: distances by hand."""

    def outcome_at(u: float) -> int:
        return next((outcome for limit, outcome in ((0.2, 0), (0.5, 1), (0.9, 3)) if u < limit), -1)

    for u, recorded, expected in (
        (0.1, 1, 0.1),
        (0.1, 3, 0.4),
        (0.1, -1, 0.8),
        (0.95, 3, 0.05),
        (0.95, 0, 0.75),
        (0.6, 0, 0.4),
        (0.6, 2, np.inf),
        (0.1, 7, np.inf),
    ):
        assert _distance(outcome_at, u, recorded) == pytest.approx(expected, abs=1e-11), (u, recorded)

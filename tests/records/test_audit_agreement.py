"""A record lived again: honest ones agree with the reference, whole or as far as they go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from physics.interface import PROTOCOLS
from physics.models.pauli import PauliModel
from qdpem.draws.outcome_draws import swap_draws
from qdpem.errors import RecordError, UnknownNameError
from qdpem.events.tables import ALLOCATIONS, PAIRS
from qdpem.events.words import PairOutcome
from qdpem.network.build import build_network
from qdpem.records.audit.audit import audit
from qdpem.records.reader import open_record
from qdpem.records.writer import RecordWriter
from qdpem.scenario.schema import Arm
from qdpem.simulation.resources.pairs.ledger import Ledger
from qdpem.simulation.topology_tables import record_topology
from tests.helpers.audited import (
    DISTILLED,
    LOCAL,
    OUTAGES,
    STOCK,
    STOCKED,
    make_scenario,
    rows,
    tamper,
    write,
)


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize(
    ("arm", "changes"),
    [
        (LOCAL, {}),
        (LOCAL, DISTILLED),
        (LOCAL, {"pairs": 3, "patience_s": 3.0, "rate_hz": 3.0, "measured_s": 6.0}),
        (LOCAL, {"application": "qkd", "pairs": 2, **DISTILLED, "target_fidelity": 0.84}),
        (Arm(name="central-fcfs"), {"swap_success_probability": 0.6, "bell_measurement": "boosted"}),
        (Arm(name="central-expected-delay"), {"bell_measurement": "linear-optics"}),
        (STOCK, STOCKED),
        (
            Arm(
                name="central-stock",
                policy="central-expected-delay",
                pregeneration="end-to-end",
                forecaster="constant",
            ),
            STOCKED,
        ),
        (STOCK, {**STOCKED, **DISTILLED, "outages": OUTAGES}),
        (Arm(name="central-fcfs"), {"swap_success_probability": 0.6, "pairs": 2, "outages": OUTAGES}),
    ],
    ids=[
        "plain",
        "distilled",
        "several",
        "key",
        "failing",
        "linear optics",
        "stock",
        "central stock",
        "outages",
        "central outages",
    ],
)
def test_an_honest_record_agrees_with_qutip(tmp_path: Path, arm: Arm, changes: dict[str, object]) -> None:
    """Noise, relaxing memories and every way a pair can go: fidelities to 1e-12, every draw the same."""
    record = write(tmp_path / "run.h5", arm, **changes)
    found = audit(record, against="qutip", tolerance=1e-12)
    assert found.passed, found.findings[:3]
    count = len(record.tables["pairs"]["pair"])
    assert count >= 40
    assert (found.pairs, found.compared, found.unknown, found.drawn) == (count, count, 0, True)
    # Two pairs end in every operation.
    assert found.swaps == len(rows(record, "swapped")) / 2
    assert found.distillations == len(rows(record, "distilled")) / 2
    assert 0.0 < found.worst < 1e-12


def test_the_cases_above_are_the_cases_meant(tmp_path: Path) -> None:
    """There are failed swaps, failed distillations, and stocked pairs that were turned round."""
    failing = write(tmp_path / "a.h5", swap_success_probability=0.6)
    assert 2 * len(np.flatnonzero(failing.tables["pairs"]["bell_outcome"] >= 0)) < len(
        rows(failing, "swapped")
    )
    distilled = write(tmp_path / "b.h5", **DISTILLED)
    pairs = distilled.tables["pairs"]
    made = (pairs["first_parent"] >= 0) & (pairs["link"] >= 0)
    assert 0 < 2 * made.sum() < len(rows(distilled, "distilled"))
    stocked = write(tmp_path / "c.h5", STOCK, **STOCKED).tables["pairs"]
    assert ((stocked["owner"] >= 0) & (stocked["first"] != stocked["owner"])).any()


def test_the_same_model_gives_the_same_bits(tmp_path: Path) -> None:
    found = audit(write(tmp_path / "run.h5", swap_success_probability=0.7), against="pauli", tolerance=0.0)
    assert (found.passed, found.worst) == (True, 0.0)


def test_the_reference_is_the_one_that_the_model_names(tmp_path: Path, monkeypatch) -> None:
    record = write(tmp_path / "run.h5", measured_s=1.0)
    assert audit(record, limit=5).reference == PauliModel.reference == "qutip"
    monkeypatch.setattr(PauliModel, "reference", None)
    with pytest.raises(RecordError, match=r"'pauli', which names no reference; choose a model .* qutip"):
        audit(record)
    with pytest.raises(UnknownNameError, match="did you mean 'qutip'"):
        audit(record, against="qutipp")


def test_a_record_of_a_model_that_is_not_here_can_be_audited_by_another(tmp_path: Path) -> None:
    """Parameters of the record's model that the other does not take are left out."""

    def rename(file: Any) -> None:
        values = json.loads(file.attrs["scenario"])
        values["physics"] = {"model": "biased", "parameters": {"bias": 3.0}}
        file.attrs["scenario"] = json.dumps(values)

    record = tamper(write(tmp_path / "run.h5"), rename)
    with pytest.raises(RecordError, match="'biased', which is not installed here"):
        audit(record)
    found = audit(record, against="pauli")
    assert (found.physics, found.reference, found.passed) == ("biased", "pauli", True)


def test_a_run_that_stopped_is_followed_as_far_as_it_goes(tmp_path: Path) -> None:
    record = write(tmp_path / "run.h5", STOCK, stop_s=4.0, **STOCKED)
    assert not record.complete
    found = audit(record, against="qutip")
    assert found.passed, found.findings[:3]
    assert found.compared > 40
    assert found.compared + found.unknown == found.pairs


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.35, 0.7, 0.97])
@pytest.mark.parametrize("together", [True, False])
def test_rows_cut_off_anywhere_accuse_nobody(tmp_path: Path, fraction: float, together: bool) -> None:
    """All tables cut at one share of their rows, or `allocations` alone: what is left agrees."""
    record = write(tmp_path / "run.h5", **DISTILLED)

    def cut(file: Any) -> None:
        file.attrs.modify("complete", 0)
        for table in ("pairs", "allocations") if together else ("allocations",):
            for data in file[table].values():
                data.resize(int(fraction * len(data)), axis=0)

    found = audit(tamper(record, cut), against="pauli")
    assert found.passed, found.findings[:3]
    assert found.compared + found.unknown == found.pairs
    assert found.compared > 0
    assert together or fraction > 0.9 or found.unknown > 0


def test_a_limit_takes_whole_stories_and_the_same_ones_again(tmp_path: Path) -> None:
    record = write(tmp_path / "run.h5", **DISTILLED)
    told: list[tuple[int, int]] = []
    found = audit(record, against="pauli", limit=40, progress=lambda done, total: told.append((done, total)))
    assert found == audit(record, against="pauli", limit=40)
    assert 20 < found.compared <= 40 < found.pairs
    assert (found.unknown, found.passed) == (0, True)
    assert told[0] == (0, found.compared)
    assert told[-1] == (found.compared, found.compared)
    assert audit(record, against="pauli", limit=1).compared >= 1
    assert audit(record, against="pauli", limit=10**6).compared == found.pairs


def test_a_record_without_pairs_is_told_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"recorded at level 'requests'.*record.level=events"):
        audit(write(tmp_path / "a.h5", level="requests", measured_s=1.0))
    record = write(tmp_path / "b.h5", measured_s=1.0)

    def forget(file: Any) -> None:
        del file["pairs/bell_outcome"], file["allocations/protocol"]

    with pytest.raises(
        RecordError, match=r"what an audit needs \(pairs/bell_outcome, allocations/protocol\)"
    ):
        audit(tamper(record, forget))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pairs_turned_and_distilled_after_swaps_are_followed(
    tmp_path: Path, protocol: str, monkeypatch
) -> None:
    """What no run does today, by hand in the ledger: pairs turned after swaps, distilled, swapped again."""
    scenario, model = make_scenario(), PauliModel()
    network = build_network(scenario, model, seed=3)
    path = tmp_path / "run.h5"
    with RecordWriter(path, scenario=scenario, arm=LOCAL, seed=3) as writer:
        record_topology(network, model, writer)
        words = {"allocation": 7, "protocol": PROTOCOLS.index(protocol)}
        writer.appender(ALLOCATIONS)(tuple(words.get(name, 0) for name in ALLOCATIONS.names))
        ledger, draws = Ledger(network, model, writer.appender(PAIRS)), swap_draws(network.graph, seed=3)
        long = []
        for start_s in (0.0, 0.1, 0.15):
            left = ledger.birth(0, sender=1, ends=(0, 1), now_s=start_s, allocation=7)
            right = ledger.birth(1, sender=1, ends=(2, 1), now_s=start_s + 0.01, allocation=7)
            ledger.flip(right)
            joined = ledger.swap(left, right, now_s=start_s + 0.05, u=draws[1].next(), allocation=7)
            ledger.flip(joined)
            long.append(joined)
        kept = ledger.distil(*long[:2], protocol=protocol, now_s=0.2, u=0.0)
        ledger.flip(kept)
        ledger.end(kept, PairOutcome.DELIVERED, 0.5, fidelity_at_s=0.4)
        step = ledger.birth(2, sender=3, ends=(3, 2), now_s=0.3, allocation=7)
        longer = ledger.swap(step, long[2], now_s=0.7, u=draws[2].next(), allocation=7)
        ledger.end(longer, PairOutcome.EXPIRED, 0.9)
        writer.close_complete({}, {})
    found = audit(open_record(path), against="qutip", tolerance=1e-12)
    assert found.passed, found.findings
    assert (found.compared, found.swaps, found.distillations) == (12, 4, 1)
    # Without turning it back, the last swap would measure the wrong half.
    monkeypatch.setattr(PauliModel, "flip", lambda self, state: state)
    (one,) = audit(open_record(path), against="pauli", tolerance=1e-6).findings
    assert (one.pair, one.operation, one.what) == (longer.id, "swap", "fidelity")

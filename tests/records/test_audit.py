"""A record lived again: honest ones agree with the reference, what was changed afterwards is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from physics.interface import PROTOCOLS
from physics.pauli import PauliModel
from qdpem.errors import RecordError, UnknownNameError
from qdpem.events.tables import ALLOCATIONS, PAIR_ENDS, PAIRS
from qdpem.network.build import build_network
from qdpem.network.coins import swap_coins
from qdpem.records.audit import Audit, audit
from qdpem.records.lives import _distance
from qdpem.records.reader import Record, open_record
from qdpem.records.writer import RecordWriter
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.map import write_map
from qdpem.simulation.pairs import Ledger
from qdpem.simulation.run import simulate

RELAXING = '{ kind = "relaxing", relaxation_s = 1.5, dephasing_s = 0.9 }'
DEPOLARISING = '{ kind = "depolarising", depolarising_s = 2.0 }'
LINE = """
name = "line"
[topology]
kind = "line"
parameters = {{ nodes = 5, hop_km = 20.0 }}
[nodes]
source_rate_hz = 60.0
repeater_rate_hz = 30.0
[nodes.hardware]
memory = {memory}
swap_success_probability = {swap_success_probability}
gate_fidelity = {gate_fidelity}
readout_fidelity = {gate_fidelity}
bell_measurement = "{bell_measurement}"
[links.hardware]
fresh_fidelity = {fresh_fidelity}
[demand]
rate_hz = {rate_hz}
[[demand.classes]]
application = "{application}"
share = 1.0
target_fidelity = {target_fidelity}
patience_s = {patience_s}
pairs = {pairs}
[forecasting]
history_s = 20
[window]
warm_up_s = 1
measured_s = {measured_s}
[record]
level = "{level}"
[outages]
{outages}
"""
OUTAGES = """
links = { mean_up_s = 1.0, mean_down_s = 0.2 }
nodes = { mean_up_s = 2.0, mean_down_s = 0.2 }
controller = { mean_up_s = 2.0, mean_down_s = 0.2 }
"""
DEFAULTS = {
    "memory": RELAXING,
    "swap_success_probability": 1.0,
    "bell_measurement": "complete",
    "gate_fidelity": 0.98,
    "fresh_fidelity": 0.97,
    "rate_hz": 8.0,
    "application": "teleportation",
    "target_fidelity": 0.6,
    "patience_s": 1.0,
    "pairs": 1,
    "measured_s": 3.0,
    "level": "events",
    "outages": "",
}
DISTILLED = {"target_fidelity": 0.8, "rate_hz": 5.0, "fresh_fidelity": 0.95, "gate_fidelity": 0.995}
STOCKED = {
    "rate_hz": 4.0,
    "measured_s": 6.0,
    "memory": '{ kind = "relaxing", relaxation_s = 40.0, dephasing_s = 20.0 }',
}
LOCAL = Arm(name="local-minhop")
STOCK = Arm(name="local-stock")


def make_scenario(**changes: object) -> Scenario:
    assert set(changes) <= set(DEFAULTS)
    return parse_scenario(LINE.format(**{**DEFAULTS, **changes}))


class StoppedError(Exception):
    """Ends a run in a test."""


def write(
    path: Path, arm: Arm = LOCAL, *, seed: int = 11, stop_s: float = np.inf, **changes: object
) -> Record:
    """The record of a small run; with `stop_s` it stops there, as after a crash."""

    def stop(now_s: float) -> None:
        if now_s >= stop_s:
            raise StoppedError

    scenario = make_scenario(**changes)
    try:
        with RecordWriter(path, scenario=scenario, arm=arm, seed=seed) as writer:
            simulate(scenario, arm, seed=seed, recorder=writer, on_progress=stop)
            writer.close_complete({}, {})
    except StoppedError:
        pass
    return open_record(path)


def tamper(record: Record, change: Callable[[Any], None]) -> Record:
    with h5py.File(record.path, "r+") as file:
        change(file)
    return open_record(record.path)


def rows(record: Record, end: str, *, link: bool | None = None) -> list[int]:
    pairs = record.tables["pairs"]
    found = pairs["end"] == PAIR_ENDS.index(end)
    if link is not None:
        found &= (pairs["link"] >= 0) == link
    return np.flatnonzero(found).tolist()


def sentences(found: Audit) -> str:
    return " | ".join(one.what for one in found.findings)


@pytest.mark.parametrize(
    ("arm", "changes"),
    [
        (LOCAL, {}),
        (LOCAL, DISTILLED),
        (LOCAL, {"pairs": 3, "patience_s": 3.0, "rate_hz": 3.0, "measured_s": 6.0}),
        (LOCAL, {"application": "qkd", "pairs": 2, **DISTILLED, "target_fidelity": 0.84}),
        (Arm(name="central-fcfs"), {"swap_success_probability": 0.6, "bell_measurement": "boosted"}),
        (Arm(name="central-live"), {"bell_measurement": "linear-optics"}),
        (STOCK, STOCKED),
        (
            Arm(name="central-stock", policy="central-live", rights="remote", knowledge="constant"),
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
    assert 2 * len(np.flatnonzero(failing.tables["pairs"]["outcome"] >= 0)) < len(rows(failing, "swapped"))
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


@pytest.mark.parametrize("memory", [RELAXING, DEPOLARISING])
def test_a_changed_fidelity_is_found_at_its_pair(tmp_path: Path, memory: str) -> None:
    record = write(tmp_path / "run.h5", memory=memory)
    row = rows(record, "delivered", link=False)[2]

    def change(file: Any) -> None:
        file["pairs/fidelity"][row] += 1e-6

    found = audit(tamper(record, change), against="qutip")
    (one,) = found.findings
    assert (one.pair, one.operation, one.what) == (record.tables["pairs"]["pair"][row], "swap", "fidelity")
    assert one.deviation == pytest.approx(1e-6, rel=1e-6)
    assert one.recorded - one.replayed == pytest.approx(1e-6, rel=1e-6)


@pytest.mark.parametrize("memory", [RELAXING, DEPOLARISING])
def test_a_changed_outcome_is_found_at_its_pair(tmp_path: Path, memory: str) -> None:
    """Also where no fidelity depends on it (depolarising memories): the seed's uniform says another."""
    record = write(tmp_path / "run.h5", memory=memory)
    row = rows(record, "delivered", link=False)[1]
    pair, outcome = (int(record.tables["pairs"][name][row]) for name in ("pair", "outcome"))

    def change(file: Any) -> None:
        file["pairs/outcome"][row] = outcome ^ 3

    found = audit(tamper(record, change), against="qutip")
    assert {one.pair for one in found.findings} == {pair}
    drawn = next(one for one in found.findings if one.what == "outcome")
    assert (drawn.operation, drawn.recorded, drawn.replayed) == ("swap", outcome ^ 3, outcome)
    # A uniform moves by at most one to reach any outcome.
    assert 1e-9 < drawn.deviation < 1.0
    assert ("fidelity" in {one.what for one in found.findings}) == (memory == RELAXING)


def test_a_changed_sender_is_found_where_it_matters(tmp_path: Path) -> None:
    """The half that waited relaxes: turned round, the pair is another, and so is what is made of it."""
    record = write(tmp_path / "run.h5")
    pairs = record.tables["pairs"]
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
    assert {"outcome", "outcome of the swap that ended it"} <= {one.what for one in found.findings}
    tamper(record, lambda file: file["provenance"].attrs.modify("qdpem_version", "0.0.1"))
    unsure = audit(open_record(record.path), against="pauli")
    assert (unsure.drawn, unsure.passed) == (False, True)


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("outcome", -1, "cannot have had its outcome"),
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
        ("sender", 99, "is none of its ends"),
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

    with pytest.raises(RecordError, match=r"network of .* cannot be built again"):
        audit(tamper(record, stretch), against="qutip")


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
        (pair, "it is missing from a record that says it is complete")
    ]


def test_a_run_that_stopped_is_followed_as_far_as_it_goes(tmp_path: Path) -> None:
    record = write(tmp_path / "run.h5", STOCK, stop_s=4.0, **STOCKED)
    assert not record.complete
    found = audit(record, against="qutip")
    assert found.passed, found.findings[:3]
    assert found.compared > 40
    assert found.compared + found.unknown == found.pairs


@pytest.mark.parametrize("share", [0.02, 0.3, 0.35, 0.7, 0.97])
@pytest.mark.parametrize("together", [True, False])
def test_rows_cut_off_anywhere_accuse_nobody(tmp_path: Path, share: float, together: bool) -> None:
    """All tables cut at one share of their rows, or `allocations` alone: what is left agrees."""
    record = write(tmp_path / "run.h5", **DISTILLED)

    def cut(file: Any) -> None:
        file.attrs.modify("complete", 0)
        for table in ("pairs", "allocations") if together else ("allocations",):
            for data in file[table].values():
                data.resize(int(share * len(data)), axis=0)

    found = audit(tamper(record, cut), against="pauli")
    assert found.passed, found.findings[:3]
    assert found.compared + found.unknown == found.pairs
    assert found.compared > 0
    assert together or share > 0.9 or found.unknown > 0


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
    with pytest.raises(
        RecordError, match=r"keeps no pairs.*recorded at level 'requests'.*record.level=events"
    ):
        audit(write(tmp_path / "a.h5", level="requests", measured_s=1.0))
    record = write(tmp_path / "b.h5", measured_s=1.0)

    def forget(file: Any) -> None:
        del file["pairs/outcome"], file["allocations/protocol"]

    with pytest.raises(RecordError, match=r"what an audit needs \(pairs/outcome, allocations/protocol\)"):
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
        write_map(network, model, writer)
        words = {"allocation": 7, "protocol": PROTOCOLS.index(protocol)}
        writer.appender(ALLOCATIONS)(tuple(words.get(name, 0) for name in ALLOCATIONS.names))
        ledger, coins = Ledger(network, model, writer.appender(PAIRS)), swap_coins(network.graph, seed=3)
        long = []
        for start_s in (0.0, 0.1, 0.15):
            left = ledger.birth(0, sender=1, ends=(0, 1), now_s=start_s, allocation=7)
            right = ledger.birth(1, sender=1, ends=(2, 1), now_s=start_s + 0.01, allocation=7)
            ledger.turn(right)
            joined = ledger.swap(left, right, now_s=start_s + 0.05, u=coins[1].next(), allocation=7)
            ledger.turn(joined)
            long.append(joined)
        kept = ledger.distil(*long[:2], protocol=protocol, now_s=0.2, u=0.0)
        ledger.turn(kept)
        ledger.end(kept, "delivered", 0.5, fidelity_at_s=0.4)
        step = ledger.birth(2, sender=3, ends=(3, 2), now_s=0.3, allocation=7)
        longer = ledger.swap(step, long[2], now_s=0.7, u=coins[2].next(), allocation=7)
        ledger.end(longer, "expired", 0.9)
        writer.close_complete({}, {})
    found = audit(open_record(path), against="qutip", tolerance=1e-12)
    assert found.passed, found.findings
    assert (found.compared, found.swaps, found.distillations) == (12, 4, 1)
    # Without turning it back, the last swap would measure the wrong half.
    monkeypatch.setattr(PauliModel, "flip", lambda self, state: state)
    (one,) = audit(open_record(path), against="pauli", tolerance=1e-6).findings
    assert (one.pair, one.operation, one.what) == (longer.id, "swap", "fidelity")


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

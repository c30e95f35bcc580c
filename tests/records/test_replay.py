"""A run simulated again from its record is the same to the bit, and what differs is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qdpem.errors import RecordError
from qdpem.records.reader import Record, open_record
from qdpem.records.replay.replay import replay
from qdpem.records.writer import RecordWriter
from qdpem.registry import list_names
from qdpem.scenario.load import parse_scenario
from qdpem.scenario.schema import Arm
from qdpem.simulation.arms import resolve_arm
from qdpem.simulation.run import simulate
from tests.helpers.audited import OUTAGES, STOCKED, StoppedError, make_scenario
from tests.helpers.recorded import record_run
from tests.helpers.resealed import resealed
from tests.helpers.row import row_text

LOCAL = Arm(name="local-minhop")


@pytest.fixture(scope="module")
def short_record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """The record of one second of `local-minhop`; tests that change it copy it."""
    return record_run(tmp_path_factory.mktemp("short") / "run.h5", LOCAL, measured_s=1.0)


@pytest.fixture
def own_copy(short_record: Record, tmp_path: Path) -> Path:
    return Path(shutil.copy(short_record.path, tmp_path / "copy.h5"))


@pytest.mark.mostly_slow(cases=4)
@pytest.mark.parametrize("policy", list_names("policy"))
def test_every_policy_with_outages_is_replayed_to_the_bit(policy: str, tmp_path: Path) -> None:
    record = record_run(
        tmp_path / "run.h5", Arm(name=policy), outages=OUTAGES, **STOCKED | {"measured_s": 2.0}
    )
    found = replay(record)
    assert found.differences == ()
    assert found.warning == ""
    assert found.values > 1000


@pytest.mark.parametrize("level", ["requests", "events", "full"])
def test_every_level_is_replayed_with_all_its_data_sets(level: str, tmp_path: Path) -> None:
    record = record_run(tmp_path / "run.h5", Arm(name="local-price-based"), level=level, measured_s=1.0)
    found = replay(record)
    assert found.identical
    columns = sum(len(table) for table in record.tables.values())
    # Each table has the numbers of its rows beside its columns.
    assert found.data_sets >= columns + len(record.tables) + len(record.metrics)


def test_a_changed_bit_is_named_with_table_row_column_and_both_values(own_copy: Path) -> None:
    with resealed(own_copy) as file:
        before = float(file["pairs/fidelity"][5])
        file["pairs/fidelity"][5] = np.nextafter(before, 2.0)
        word = int(file["requests/outcome"][3])
        file["requests/outcome"][3] = (word + 1) % 5
    found = replay(open_record(own_copy))
    places = [(each.table, each.column, each.row) for each in found.differences]
    assert places == [("pairs", "fidelity", 5), ("requests", "outcome", 3)]
    assert float(found.differences[0].second) == before
    assert float(found.differences[0].first) == np.nextafter(before, 2.0)
    words = ("open", "delivered", "expired", "rejected", "low_fidelity")
    assert found.differences[1].second == words[word]


def test_missing_and_added_data_sets_and_rows_are_differences(own_copy: Path) -> None:
    with resealed(own_copy) as file:
        del file["pairs/owner"]
        file["requests/pairs"].resize(len(file["requests/pairs"]) - 1, axis=0)
        del file["metrics/delivery_ratio"]
        file["metrics/delivery_ratios"] = 1.0
    found = {(each.data_set, each.row, each.first) for each in replay(open_record(own_copy)).differences}
    rows = len(open_record(own_copy).tables["requests"]["pairs"])
    assert found == {
        ("pairs/owner", -1, "missing"),
        ("requests/pairs", -1, f"{rows} rows"),
        ("metrics/delivery_ratio", -1, "missing"),
        ("metrics/delivery_ratios", -1, "present"),
    }


def test_a_run_that_stopped_is_compared_as_far_as_it_went(tmp_path: Path) -> None:
    def stop(time_s: float) -> None:
        if time_s >= 2.0:
            raise StoppedError

    scenario, arm = make_scenario(measured_s=30.0), resolve_arm(Arm(name="local-stock"))
    with (
        pytest.raises(StoppedError),
        RecordWriter(tmp_path / "run.h5", scenario=scenario, arm=arm.arm, seed=11) as writer,
    ):
        simulate(scenario, arm, seed=11, recorder=writer, on_progress=stop)
    reached: list[float] = []
    found = replay(open_record(tmp_path / "run.h5"), progress=reached.append)
    assert found.identical
    assert found.values > 500
    # It does not go on to the end of the window, of which the record holds nothing.
    assert max(reached) <= 5.0
    with resealed(tmp_path / "run.h5") as file:
        file["claims/time_s"][-1] += 1e-9
    (difference,) = replay(open_record(tmp_path / "run.h5")).differences
    assert difference.data_set == "claims/time_s"


def test_a_map_with_a_demand_matrix_is_replayed_without_its_file(tmp_path: Path) -> None:
    nodes = [{"id": index, "name": f"n{index}", "x_km": 10.0 * index, "y_km": 0.0} for index in range(4)]
    edges = [{"source": index, "target": index + 1, "length_km": 10.0 + index} for index in range(3)]
    demands = {"0": {"3": 3.0}, "1": {"2": 1.0}}
    map_file = tmp_path / "map.json"
    map_file.write_text(json.dumps({"nodes": nodes, "edges": edges, "graph": {"demands": demands}}))
    text = row_text(description="", measured_s=1.0, seeds=(1,))
    overrides = (
        'topology={kind = "file", parameters = {path = "' + str(map_file) + '"}}',
        'demand.weights="matrix"',
        "study=",
    )
    scenario = parse_scenario(text, overrides=overrides)
    record = record_run(tmp_path / "run.h5", LOCAL, scenario=scenario)
    assert record.tables["demand_matrix"]["weight"].tolist() == [3.0, 1.0, 1.0, 3.0]
    map_file.unlink()
    assert replay(record).identical


def test_a_policy_file_that_moved_is_taken_from_the_record(tmp_path: Path) -> None:
    released = resolve_arm(Arm(name="dpem")).learned_files["policy.npz"]
    own = Path(shutil.copy(released, tmp_path / "own.npz"))
    arm = Arm(name="dpem", forecaster="ewma", parameters={"policy_file": str(own)})
    record = record_run(tmp_path / "run.h5", arm, measured_s=1.0)
    own.unlink()
    assert replay(record).identical


def test_a_forecaster_file_with_another_digest_refuses_the_replay(tmp_path: Path) -> None:
    record = record_run(tmp_path / "run.h5", Arm(name="local-stock", forecaster="gru"), measured_s=1.0)
    (name,) = record.file_names
    with resealed(record.path) as file:
        file[f"files/{name}"][0] ^= 1
    with pytest.raises(RecordError, match=f"cannot be replayed: .*{name}.* SHA-256"):
        replay(open_record(record.path))


def test_another_code_version_is_a_warning(own_copy: Path) -> None:
    with resealed(own_copy) as file:
        file["provenance"].attrs["code"] = "0" * 32
        file["provenance"].attrs["qdpem_version"] = "0.0.9"
        # A table that this version added is no difference either.
        del file["messages"]
    found = replay(open_record(own_copy))
    assert found.identical
    assert "0.0.9" in found.warning


@pytest.mark.parametrize("kind", ["policy", "forecaster", "physics", "topology"])
def test_a_missing_plugin_is_named_with_the_package_that_offered_it(kind: str, short_record: Record) -> None:
    scenario, arm = short_record.scenario, short_record.arm
    changed = {
        "policy": {"arm": replace(arm, policy="gone")},
        "forecaster": {"arm": replace(arm, forecaster="gone")},
        "physics": {"scenario": replace(scenario, physics=replace(scenario.physics, model="gone"))},
        "topology": {"scenario": replace(scenario, topology=replace(scenario.topology, kind="gone"))},
    }[kind]
    provenance = {f"{kind}_distribution": "their-package 2.1"}
    with pytest.raises(RecordError, match=f"{kind} 'gone', of their-package 2.1, is not installed"):
        replay(replace(short_record, provenance=provenance, **changed))

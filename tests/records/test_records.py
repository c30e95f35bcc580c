"""Records: what is written is read back, each level keeps its own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from qdpem.errors import PolicyError, RecordError
from qdpem.events.recorder import MemoryRecorder
from qdpem.events.tables import DECISIONS, NODES, kept_at
from qdpem.metrics.definitions import METRICS
from qdpem.metrics.metrics import measure
from qdpem.records import writer as writing
from qdpem.records.compare import differing_data_sets
from qdpem.records.reader import open_record
from qdpem.records.seal import SEAL_BYTES
from qdpem.records.writer import RecordWriter
from tests.helpers.made_runs import ARM, fill, make_scenario, write_record
from tests.helpers.resealed import resealed


def test_what_was_written_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    memory = write_record(tmp_path / "deep" / "run.h5")
    record = open_record(tmp_path / "deep" / "run.h5")
    assert (record.scenario, record.arm, record.seed) == (make_scenario(), ARM, 17)
    assert record.complete
    assert record.warning == ""
    for name, columns in memory.tables().items():
        for column, values in columns.items():
            assert record.tables[name][column].dtype == values.dtype
            assert record.tables[name][column].tobytes() == values.tobytes(), (name, column)
    expected = measure(memory.tables(), start_s=1.0, end_s=10.0)
    assert list(record.metrics) == [metric.name for metric in METRICS]
    assert np.array_equal(list(record.metrics.values()), list(expected.values()), equal_nan=True)
    assert measure(record.tables, start_s=1.0, end_s=10.0)["delivery_ratio"] == expected["delivery_ratio"]
    assert record.file("policy.npz") == bytes(range(200))
    assert record.file_names == ("policy.npz",)
    assert record.provenance["wall_s"] == 1.5
    assert record.provenance["numpy_version"] == np.__version__
    with pytest.raises(RecordError, match=r"no file 'gru\.npz'"):
        record.file("gru.npz")
    with pytest.raises(KeyError):
        record.tables["claims"]["colour"]


@pytest.mark.slow
def test_blocks_and_flushes_change_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(tmp_path / "a.h5")
    monkeypatch.setattr(writing, "FLUSH_EVERY_S", 0.0)
    write_record(tmp_path / "b.h5")
    assert differing_data_sets(tmp_path / "a.h5", tmp_path / "b.h5") == []
    with resealed(tmp_path / "b.h5") as file:
        file["claims/time_s"][3] = np.nextafter(file["claims/time_s"][3], 99.0)
        del file["pairs/owner"]
        file["metrics/delivery_ratio"][()] = 2.0
    differing = ["claims/time_s", "metrics/delivery_ratio", "pairs/owner"]
    assert differing_data_sets(tmp_path / "a.h5", tmp_path / "b.h5") == differing


def test_each_level_keeps_its_tables_and_outputs_but_all_metrics(tmp_path: Path) -> None:
    outputs = {"requests": set(), "events": {"value", "option"}, "full": {"value", "option", "features"}}
    for level, kept in outputs.items():
        memory = write_record(tmp_path / f"{level}.h5", level=level)
        record = open_record(tmp_path / f"{level}.h5")
        assert list(record.tables) == [table.name for table in kept_at(level)]
        assert set(record.policy_outputs) == kept
        expected = measure(memory.tables(), start_s=1.0, end_s=10.0)
        assert record.metrics["contended_s_per_request"] == expected["contended_s_per_request"]


def test_what_a_record_leaves_out_waits_on_disk_and_comes_back_whole(tmp_path: Path) -> None:
    """Read in the middle too, and more written after; the folder holds the journal alone, then the record."""
    path, memory = tmp_path / "run.h5", MemoryRecorder()
    with RecordWriter(path, scenario=make_scenario("requests"), arm=ARM, seed=1) as writer:
        for second in range(1, 6):
            for recorder in (writer, memory):
                fill(recorder, seconds=1, seed=second)
            writer.flush()
            written, expected = writer.tables(), memory.tables()
            for table in kept_at("events"):
                for name in table.names:
                    assert written[table.name][name].dtype == expected[table.name][name].dtype
                    assert written[table.name][name].tobytes() == expected[table.name][name].tobytes()
        assert [file.name for file in tmp_path.iterdir()] == ["run.h5.journal"]
    assert [file.name for file in tmp_path.iterdir()] == ["run.h5"]


def test_outputs_stand_at_the_rows_of_their_decisions(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "run.h5", scenario=make_scenario("full"), arm=ARM, seed=1) as writer:
        decided = writer.appender(DECISIONS)
        for second in range(4):
            for site in range(3):
                decided((float(second), site, 0, 0, 0))
            if second == 1:
                writer.policy_outputs({"option": np.array([5, 6]), "free": np.array([True, False])})
            if second == 2:
                writer.policy_outputs({"late": np.full((3, 2), 0.5), "option": np.array([7, 8, 9])})
            writer.flush()
        for site in range(3):
            decided((4.0, site, 0, 0, 0))
        with pytest.raises(PolicyError, match="dpem puts out 'late' of shape"):
            writer.policy_outputs({"late": np.zeros((3, 4))})
        with pytest.raises(PolicyError, match="for 9 sites"):
            writer.policy_outputs({"option": np.zeros(9, dtype=np.int64)})
        with pytest.raises(PolicyError, match="must be numbers"):
            writer.policy_outputs({"word": np.array(["a"])})
        with pytest.raises(PolicyError, match="plain word"):
            writer.policy_outputs({"a/b": np.zeros(1)})
    outputs = open_record(tmp_path / "run.h5").policy_outputs
    assert outputs["option"].tolist() == [-1, -1, -1, -1, 5, 6, 7, 8, 9, *[-1] * 6]
    assert outputs["free"].tolist() == [-1, -1, -1, -1, 1, 0, *[-1] * 9]
    assert np.isnan(outputs["late"]).sum() == 2 * 12
    assert (outputs["late"][6:9] == 0.5).all()


def test_an_empty_run_still_has_every_column(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "run.h5", scenario=make_scenario(), arm=ARM, seed=1) as writer:
        writer.close_complete({}, {})
    record = open_record(tmp_path / "run.h5")
    for table in kept_at("events"):
        assert list(record.tables[table.name]) == list(table.names)
        for column in table.columns:
            assert record.tables[table.name][column.name].shape == (0,)


def test_a_closed_writer_takes_nothing_more(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "run.h5", scenario=make_scenario(), arm=ARM, seed=1) as writer:
        writer.close_complete({}, {})
    with pytest.raises(RecordError, match="is closed"):
        writer.flush()
    assert open_record(tmp_path / "run.h5").complete


def test_the_last_line_of_a_record_is_the_digest_of_all_before_it(tmp_path: Path) -> None:
    write_record(tmp_path / "run.h5")
    content = (tmp_path / "run.h5").read_bytes()
    digest = hashlib.sha256(content[:-SEAL_BYTES]).hexdigest()
    assert content[-SEAL_BYTES:] == f"\nqdpem seal sha256 {digest}\n".encode()
    # HDF5 reads the file with the line and without it.
    (tmp_path / "bare.h5").write_bytes(content[:-SEAL_BYTES])
    for name in ("run.h5", "bare.h5"):
        with h5py.File(tmp_path / name) as file:
            assert len(file["claims/time_s"][:]) == 500


def test_names_of_any_length_and_script_are_read_by_plain_h5py(tmp_path):
    names = [f"Universitätsklinikum, Gebäude {number}, " + "Flur " * 20 for number in range(3)] + ["東京", ""]
    rows = [(index, 0.0, 0.0, 1.0, 1.0, 4, name) for index, name in enumerate(names)]
    with RecordWriter(tmp_path / "names.h5", scenario=make_scenario("events"), arm=ARM, seed=1) as writer:
        for row in rows:
            writer.appender(NODES)(row)
        writer.flush()
        assert writer.tables()["nodes"]["name"].tolist() == names
    with h5py.File(tmp_path / "names.h5") as file:
        assert file["nodes/name"].asstr()[:].tolist() == names
        assert h5py.check_string_dtype(file["nodes/name"].dtype) == ("utf-8", None)
    assert open_record(tmp_path / "names.h5").tables["nodes"]["name"].tolist() == names

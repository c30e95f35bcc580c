"""Runs that stop, disks that fill up, files that are no record or are damaged."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest

from qdpem.errors import RecordError
from qdpem.events.recorder import MemoryRecorder
from qdpem.events.tables import kept_at
from qdpem.records.reader import open_record
from qdpem.records.writer import RecordWriter
from tests.helpers.made_runs import ARM, fill, make_scenario, write_record
from tests.helpers.resealed import resealed


def test_a_run_that_stops_keeps_every_row_and_says_it_is_incomplete(tmp_path: Path) -> None:
    def interrupted() -> None:
        with RecordWriter(tmp_path / "run.h5", scenario=make_scenario(), arm=ARM, seed=1) as writer:
            fill(writer, seconds=2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    record = open_record(tmp_path / "run.h5")
    assert not record.complete
    assert "did not finish" in record.warning
    assert "until second 2 and" in record.warning
    assert len(record.tables["claims"]["claim"]) == 100
    assert record.metrics == {}


CHILD = """
    import os, resource, sys
    from pathlib import Path
    sys.path.insert(0, {folder!r})
    from tests.helpers.made_runs import ARM, fill, make_scenario
    from qdpem.errors import RecordError
    from qdpem.records.writer import RecordWriter
    path, limit = Path({path!r}), {limit}
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        with RecordWriter(path, scenario=make_scenario(), arm=ARM, seed=1) as writer:
            for second in range(1, 13):
                fill(writer, seconds=1, rows_each=600, seed=second)
                writer.flush()
                print(second, flush=True)
            fill(writer, seconds=1, rows_each=10)
            if not limit:
                os.kill(os.getpid(), 9)
    except RecordError as error:
        print("said", error)
"""


def run_child(path: Path, *, limit: int = 0) -> tuple[int, list[str]]:
    code = textwrap.dedent(CHILD.format(folder=str(Path(__file__).parents[2]), path=str(path), limit=limit))
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def test_kill_9_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    code, lines = run_child(tmp_path / "run.h5")
    assert code == -signal.SIGKILL
    record = open_record(tmp_path / "run.h5")
    assert not record.complete
    assert len(lines) == 12
    for name in ("claims", "pairs", "decisions"):
        assert len(record.tables[name][next(iter(record.tables[name]))]) == 600 * 12
    expected = MemoryRecorder()
    for second in range(1, 13):
        fill(expected, seconds=1, rows_each=600, seed=second)
    assert record.tables["claims"]["time_s"].tobytes() == expected.tables()["claims"]["time_s"].tobytes()


@pytest.mark.mostly_slow
@pytest.mark.parametrize("limit", [2_000_000, 3_100_000])
def test_a_full_disk_is_told_and_loses_nothing_that_was_flushed(tmp_path: Path, limit: int) -> None:
    code, lines = run_child(tmp_path / "run.h5", limit=limit)
    assert code == 0
    assert lines[-1].startswith("said the record")
    assert "file too large" in lines[-1]
    flushed = len(lines) - 1
    assert 2 <= flushed < 12
    assert f"keeps the first {600 * flushed * len(kept_at('events'))} rows" in lines[-1]
    record = open_record(tmp_path / "run.h5")
    assert not record.complete
    assert len(record.tables["claims"]["time_s"]) == 600 * flushed
    assert len(record.tables["pairs"]["fidelity"]) == 600 * flushed


@pytest.mark.mostly_slow
@pytest.mark.parametrize("limit", [10, 1000])
def test_a_disk_full_from_the_start_is_one_sentence_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    code, lines = run_child(tmp_path / "run.h5", limit=limit)
    assert (code, len(lines)) == (0, 1)
    assert "cannot be created: file too large" in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_finds_no_room_at_the_end_is_made_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "run.h5"
    with monkeypatch.context() as patch:
        patch.setattr("qdpem.records.journal.conversion.seal", full)
        with pytest.raises(
            RecordError, match=r"no space left on device\. All rows are in .*run\.h5\.journal"
        ):
            write_record(path)
        assert [file.name for file in tmp_path.iterdir()] == ["run.h5.journal"]
        # Without room the journal is read in place, metrics and all.
        in_place = open_record(path)
        assert in_place.complete
        assert [file.name for file in tmp_path.iterdir()] == ["run.h5.journal"]
    record = open_record(path)
    assert [file.name for file in tmp_path.iterdir()] == ["run.h5"]
    assert (record.complete, record.warning, record.file_names) == (True, "", ("policy.npz",))
    np.testing.assert_equal(dict(record.metrics), dict(in_place.metrics))
    for table, columns in record.tables.items():
        for name, values in columns.items():
            assert values.tobytes() == in_place.tables[table][name].tobytes()
    for name, values in record.policy_outputs.items():
        assert values.tobytes() == in_place.policy_outputs[name].tobytes()


def test_files_that_are_no_record_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with pytest.raises(RecordError, match="there is no record at"):
        open_record(path)
    path.write_text("hello")
    with pytest.raises(RecordError, match="is not an HDF5 file"):
        open_record(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(RecordError, match="the seal at its end is missing"):
        open_record(path)
    with pytest.raises(RecordError, match="no record of qdpem"):
        open_record(path, verify=False)
    write_record(path)
    whole = path.read_bytes()
    for fraction in (0.2, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(fraction * len(whole))])
        with pytest.raises(RecordError, match="is cut off"):
            open_record(path)
        if fraction < 0.99:
            with pytest.raises(RecordError, match="is cut off"):
                open_record(path, verify=False)
    path.write_bytes(whole)
    with resealed(path) as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(RecordError, match="schema version 99"):
        open_record(path)
    with pytest.raises(RecordError, match="cannot be created"):
        RecordWriter(tmp_path, scenario=make_scenario(), arm=ARM, seed=1)


def test_a_damaged_column_is_noticed_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    write_record(path)
    with h5py.File(path) as file:
        place = file["claims/time_s"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place + 40] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(RecordError, match="is damaged: its bytes are not those that were written"):
        open_record(path)
    record = open_record(path, verify=False)
    assert len(record.tables["claims"]["claim"]) == 500
    with pytest.raises(RecordError, match=r"claims/time_s of .* is damaged"):
        record.tables["claims"]["time_s"]

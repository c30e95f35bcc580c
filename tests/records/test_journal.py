"""A kill at any byte of the journal, or any step to the record, loses nothing that was flushed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from qdpem.errors import RecordError
from qdpem.events.recorder import MemoryRecorder
from qdpem.events.tables import Tables
from qdpem.records.compare import differing_data_sets
from qdpem.records.journal.contents import read_contents
from qdpem.records.journal.frames import frames
from qdpem.records.journal.journal import journal_path
from qdpem.records.reader import Record, open_record
from qdpem.records.writer import RecordWriter
from tests.helpers.killed_writes import FLUSHES as KILLED_FLUSHES
from tests.helpers.killed_writes import ROWS_EACH
from tests.helpers.made_runs import ARM, fill, make_scenario, write_record

ROOT = Path(__file__).parents[2]
FLUSHES = 4


def write_journal(path: Path) -> bytes:
    """The bytes of the journal of a run that was killed after its last flush."""
    with RecordWriter(path, scenario=make_scenario(), arm=ARM, seed=17) as writer:
        for second in range(1, FLUSHES + 1):
            fill(writer, seconds=1, rows_each=ROWS_EACH, seed=second)
            writer.flush()
        content = journal_path(path).read_bytes()
    path.unlink()
    return content


@cache
def made_rows(flushes: int) -> Tables:
    return expected_rows(flushes).tables()


def expected_rows(flushes: int) -> MemoryRecorder:
    memory = MemoryRecorder()
    for second in range(1, flushes + 1):
        fill(memory, seconds=1, rows_each=ROWS_EACH, seed=second)
    return memory


def assert_holds(record: Record, *, flushes: int) -> None:
    """Every table has the rows of the first flushes, bit for bit, and the outputs stand at theirs."""
    memory = expected_rows(flushes)
    for table, columns in memory.tables().items():
        for name, values in columns.items():
            assert record.tables[table][name].tobytes() == values.tobytes(), (table, name)
    if flushes:
        # Of the decisions of a second, the last seven have an output.
        kept = record.policy_outputs["value"].reshape(flushes, ROWS_EACH)
        assert np.isnan(kept[:, :-7]).all()
        assert kept[:, -7:].tolist() == [outputs["value"].tolist() for outputs in memory.outputs]


def test_a_journal_cut_at_any_byte_gives_the_flushes_before_it(tmp_path: Path) -> None:
    content = write_journal(tmp_path / "run.h5")
    path = tmp_path / "cut.journal"
    path.write_bytes(content)
    descriptor = os.open(path, os.O_RDWR)
    ends = [frame.end for frame in frames(descriptor) if frame.kind == "flush"]
    header = next(frames(descriptor)).end
    assert len(ends) == FLUSHES
    # The bytes around the edges of frames and of their heads, and some inside.
    edges = [0, 16, *(frame.end for frame in frames(descriptor))]
    cuts = {edge + shift for edge in edges for shift in (-1, 0, 1, 15, 16, 17)}
    cuts |= set(range(0, len(content), 499))
    for cut in sorted(cut for cut in cuts if 0 <= cut <= len(content)):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content[:cut], 0)
        contents = read_contents(descriptor)
        flushed = sum(end <= cut for end in ends)
        if cut < header:
            assert contents is None
            continue
        assert contents is not None
        assert contents.rows == sum(
            frame.facts["rows"] for frame in _row_frames(content, ends, flushed, path)
        )
        assert contents.provenance.get("torn_bytes", 0) == cut - contents.end
        assert not contents.damaged
    os.close(descriptor)


def _row_frames(content: bytes, ends: list[int], flushed: int, path: Path) -> list:
    whole = path.with_name("whole.journal")
    if not whole.exists():
        whole.write_bytes(content)
    descriptor = os.open(whole, os.O_RDONLY)
    last = ends[flushed - 1] if flushed else 0
    found = [frame for frame in frames(descriptor) if frame.kind == "rows" and frame.end <= last]
    os.close(descriptor)
    return found


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize("cut", [0.5, 1.0, 0.05, 0.2, 0.35, 0.8, 0.95, 0.999])
def test_the_record_of_a_cut_journal_has_whole_flushes_and_says_what_is_missing(
    tmp_path: Path, cut: float
) -> None:
    path = tmp_path / "run.h5"
    content = write_journal(path)
    journal_path(path).write_bytes(content)
    descriptor = os.open(journal_path(path), os.O_RDWR)
    header = next(frames(descriptor)).end
    size = header + int(cut * (len(content) - header))
    os.ftruncate(descriptor, size)
    ends = [frame.end for frame in frames(descriptor) if frame.kind in ("header", "flush")]
    os.close(descriptor)
    record = open_record(path)
    assert not record.complete
    assert_holds(record, flushes=len(ends) - 1)
    assert ("cut short" in record.warning) == (size != ends[-1])
    assert [file.name for file in tmp_path.iterdir()] == ["run.h5"]


@pytest.mark.slow
def test_a_kill_at_every_operation_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    """Also the record that was at the path before: it stays until the new one is whole."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.killed_writes", str(tmp_path / "kills")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
    )
    children = [json.loads(line) for line in done.stdout.splitlines()]
    operations = Counter(child["operation"] for child in children)
    # The header, the flushes, the file, two flushes of nothing and the end, each cut at three places, twice.
    assert operations["pwrite"] == 2 * 3 * (KILLED_FLUSHES + 5)
    assert min(operations[name] for name in ("replace", "fsync", "unlink", "h5py")) >= 2
    for child in children:
        path, before = Path(child["place"]) / "run.h5", child["before"]
        if not before and not path.exists() and not child["flushes"]:
            # Killed before its first flush: there may be a record without rows, or none.
            try:
                record = open_record(path)
            except RecordError as error:
                assert "there is no record" in str(error)  # noqa: PT017
                continue
        record = open_record(path)
        assert record.complete or not child["ended"]
        if record.complete:
            # Of this run, or of the one before: they are of one scenario, arm and seed.
            assert differing_data_sets(path, tmp_path / "kills" / "whole" / "run.h5") == []
        unfinished = path.with_name("run.h5.unfinished")
        kept = open_record(unfinished) if unfinished.exists() else record
        if not kept.complete:
            rows = len(kept.tables["requests"]["request"])
            flushes = [len(made_rows(number)["requests"]["request"]) for number in range(KILLED_FLUSHES + 1)]
            # A flush that was at work may be there or not, but it is there whole.
            assert rows in flushes[child["flushes"] : child["flushes"] + 2]
            expected = made_rows(flushes.index(rows))
            for table, columns in kept.tables.items():
                for name, values in columns.items():
                    assert values.tobytes() == expected[table][name].tobytes(), (table, name)
        else:
            assert unfinished.exists() is False or before
        left = {file.name for file in path.parent.iterdir()}
        assert left <= {"run.h5", "run.h5.unfinished"}, left


def test_a_second_writer_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    memory = write_record(path)
    finished = path.read_bytes()
    with RecordWriter(path, scenario=make_scenario(), arm=ARM, seed=17) as writer:
        fill(writer, seconds=3)
        writer.flush()
        there = journal_path(path).read_bytes()
        with pytest.raises(RecordError, match="is being written by another process"):
            RecordWriter(path, scenario=make_scenario(), arm=ARM, seed=18)
        assert journal_path(path).read_bytes() == there
        assert path.read_bytes() == finished
        reader = open_record(path)
        assert reader.complete
        assert "another process may be writing" in reader.warning
        values = reader.tables["claims"]["time_s"]
        assert values.tobytes() == memory.tables()["claims"]["time_s"].tobytes()
        writer.close_complete({}, {})
    # What the reader had not read yet is of a file that is no longer there.
    with pytest.raises(RecordError, match="was replaced after it was opened"):
        _ = reader.tables["pairs"]["pair"]
    assert len(open_record(path).tables["claims"]["claim"]) == 150


def test_a_reader_sees_what_a_running_writer_has_flushed(tmp_path: Path) -> None:
    path, memory = tmp_path / "run.h5", MemoryRecorder()
    with RecordWriter(path, scenario=make_scenario(), arm=ARM, seed=17) as writer:
        for recorder in (writer, memory):
            fill(recorder, seconds=2, seed=1)
        writer.embed("weights", b"12345")
        writer.flush()
        record = open_record(path)
        fill(writer, seconds=1, seed=2)
        writer.flush()
        writer.close_complete({}, {})
    # It was opened before the end, and stays what it was.
    assert not record.complete
    assert (record.metrics, record.file("weights"), record.seed) == ({}, b"12345", 17)
    for table, columns in memory.tables().items():
        for name, values in columns.items():
            assert record.tables[table][name].tobytes() == values.tobytes()
    assert set(record.policy_outputs) == {"value", "option"}
    assert open_record(path).complete


def test_a_run_that_stops_never_replaces_a_record(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def run(seconds: int) -> None:
        with RecordWriter(path, scenario=make_scenario(), arm=ARM, seed=17) as writer:
            fill(writer, seconds=seconds)
            raise StoppedError

    def stop(seconds: int) -> str:
        with pytest.raises(StoppedError) as stopped:
            run(seconds)
        return " ".join(getattr(stopped.value, "__notes__", []))

    path = tmp_path / "run.h5"
    assert f"rows are kept in {path}, marked" in stop(2)
    assert len(open_record(path).tables["claims"]["claim"]) == 100
    assert f"{path}.unfinished" in stop(3)
    assert len(open_record(path).tables["claims"]["claim"]) == 100
    assert len(open_record(f"{path}.unfinished").tables["claims"]["claim"]) == 150
    write_record(path)
    assert f"{path}.unfinished1" in stop(1)
    assert open_record(path).complete
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "run.h5",
        "run.h5.unfinished",
        "run.h5.unfinished1",
    ]


@pytest.mark.parametrize("part", ["length", "checksum", "text", "value"])
@pytest.mark.parametrize("last", [False, True])
def test_damage_behind_the_beginning_is_told_and_the_journal_kept(
    tmp_path: Path, part: str, last: bool
) -> None:
    """A bit of a head or of a payload: no kill leaves that, not even in the last frame of a file."""
    path = tmp_path / "run.h5"
    content = bytearray(write_journal(path))
    journal_path(path).write_bytes(content)
    descriptor = os.open(journal_path(path), os.O_RDONLY)
    found = list(frames(descriptor))
    os.close(descriptor)
    flushes = [place for place, frame in enumerate(found) if frame.kind == "flush"]
    place = len(found) - 1 if last else flushes[0] + 2
    start = found[place - 1].end
    content[
        {"length": start, "checksum": start + 15, "text": start + 25, "value": found[place].end - 1}[part]
    ] ^= 1
    journal_path(path).write_bytes(content)
    record = open_record(path)
    kept = FLUSHES - 1 if last else 1
    assert_holds(record, flushes=kept)
    assert not record.complete
    assert f"{len(content) - found[flushes[kept - 1]].end} bytes" in record.warning
    assert "damaged" in record.warning
    assert "cut short" not in record.warning
    assert {file.name for file in tmp_path.iterdir()} == {"run.h5", "run.h5.journal.damaged"}
    assert (tmp_path / "run.h5.journal.damaged").read_bytes() == content


def test_nothing_is_measured_of_a_journal_that_was_damaged_while_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with RecordWriter(path, scenario=make_scenario(), arm=ARM, seed=17) as writer:
        fill(writer, seconds=1)
        writer.flush()
        content = bytearray(journal_path(path).read_bytes())
        content[-200] ^= 1
        with journal_path(path).open("r+b") as file:
            file.write(content)
        with pytest.raises(RecordError, match="was damaged or changed"):
            writer.tables()
    assert not open_record(path).complete
    assert (tmp_path / "run.h5.journal.damaged").read_bytes().startswith(content)


def test_a_journal_damaged_at_its_beginning_is_told_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    content = bytearray(write_journal(path))
    content[100] ^= 1
    journal_path(path).write_bytes(content)
    with pytest.raises(RecordError, match="is damaged at its beginning"):
        open_record(path)
    with pytest.raises(RecordError, match="is damaged at its beginning"):
        RecordWriter(path, scenario=make_scenario(), arm=ARM, seed=17)
    assert journal_path(path).read_bytes() == content

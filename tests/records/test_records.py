from __future__ import annotations

import math
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from physics.hardware import DepolarisingMemory, NodeHardware
from qdpem.errors import PolicyError, RecordError, UnknownNameError
from qdpem.events.metrics import METRICS, measure
from qdpem.events.recorder import MemoryRecorder, Recorder
from qdpem.events.tables import CLAIMS, DECISIONS, PAIRS, REQUESTS, TABLES, kept_at
from qdpem.records import export as exporting
from qdpem.records import writer as writing
from qdpem.records.export import export
from qdpem.records.reader import open_record
from qdpem.records.sameness import same_data
from qdpem.records.writer import RecordWriter
from qdpem.scenario.schema import (
    Arm,
    Demand,
    Nodes,
    Recording,
    RequestClass,
    Scenario,
    Topology,
    Window,
)

ARM = Arm(
    name="dpem-no-forecast", policy="dpem", control="local", rights="remote", knowledge="none",
    parameters={"slots": 3, "floor": 0.25},
)  # fmt: skip


def make_scenario(level: str = "events") -> Scenario:
    return Scenario(
        name="two nodes",
        topology=Topology(kind="line", parameters={"nodes": 2}),
        nodes=Nodes(
            source_rate_hz=5.0,
            repeater_rate_hz=2.0,
            hardware=NodeHardware(memory=DepolarisingMemory(depolarising_s=math.inf)),
        ),
        demand=Demand(
            rate_hz=3.0,
            classes=(RequestClass(application="qkd", share=1.0, target_fidelity=0.9, patience_s=1.0),),
        ),
        window=Window(warm_up_s=1.0, measured_s=9.0),
        record=Recording(level=level),
    )


def fill(recorder: Recorder, *, seconds: int = 10, rows_each: int = 50, seed: int = 3) -> None:
    """A made-up run: `rows_each` rows in every table each second, and two notes for the decisions."""
    draw = np.random.default_rng(seed)
    for second in range(1, seconds + 1):
        for table in TABLES:
            append = recorder.appender(table)
            rows = rows_each if table.level == "events" or second == 1 else 1
            for row in zip(
                *(draw_values(draw, column, second, rows) for column in table.columns), strict=True
            ):
                append(row)
        recorder.vectors(
            {
                "value": draw.random(7),
                "option": draw.integers(0, 9, (7, 3)),
                "features": draw.random((7, 4, 5)),
            }
        )
        recorder.tick(float(second))


def draw_values(draw: np.random.Generator, column: Any, second: int, rows: int) -> list[Any]:
    if column.words:
        return draw.integers(0, len(column.words), rows).tolist()
    if column.dtype == "S64":
        return [f"Köln {number}".encode() for number in draw.integers(0, 100, rows)]
    if column.dtype == "float64":
        values = (column.name != "fidelity") * (second - 1) + draw.random(rows)
        return np.where((draw.random(rows) < 0.1) & (column.unit == ""), math.nan, values).tolist()
    return draw.integers(-1, 100, rows).tolist()


def write_record(path: Path, *, level: str = "events", seconds: int = 10, seed: int = 3) -> MemoryRecorder:
    memory = MemoryRecorder()
    fill(memory, seconds=seconds, seed=seed)
    with RecordWriter(path, scenario=make_scenario(level), arm=ARM, seed=17) as writer:
        fill(writer, seconds=seconds, seed=seed)
        writer.embed("policy.npz", bytes(range(200)))
        writer.close_complete(measure(writer.tables(), start_s=1.0, end_s=10.0), {"wall_s": 1.5})
    return memory


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


def test_blocks_and_flushes_change_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(tmp_path / "a.h5")
    monkeypatch.setattr(writing, "FLUSH_EVERY_S", 0.0)
    write_record(tmp_path / "b.h5")
    assert same_data(tmp_path / "a.h5", tmp_path / "b.h5") == []
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        file["claims/time_s"][3] = np.nextafter(file["claims/time_s"][3], 99.0)
        del file["pairs/owner"]
        file["metrics/delivery_ratio"][()] = 2.0
    differing = ["claims/time_s", "metrics/delivery_ratio", "pairs/owner"]
    assert same_data(tmp_path / "a.h5", tmp_path / "b.h5") == differing


def test_each_level_keeps_its_tables_and_notes_but_all_metrics(tmp_path: Path) -> None:
    notes = {"requests": set(), "events": {"value", "option"}, "full": {"value", "option", "features"}}
    for level, kept in notes.items():
        memory = write_record(tmp_path / f"{level}.h5", level=level)
        record = open_record(tmp_path / f"{level}.h5")
        assert list(record.tables) == [table.name for table in kept_at(level)]
        assert set(record.choices) == kept
        expected = measure(memory.tables(), start_s=1.0, end_s=10.0)
        assert record.metrics["contended_s_per_request"] == expected["contended_s_per_request"]


def test_what_a_record_leaves_out_waits_on_disk_and_comes_back_whole(tmp_path: Path) -> None:
    """Read in the middle too, and more written after; the folder holds the record alone."""
    path, memory = tmp_path / "run.h5", MemoryRecorder()
    with RecordWriter(path, scenario=make_scenario("requests"), arm=ARM, seed=1) as writer:
        for second in range(1, 6):
            for recorder in (writer, memory):
                fill(recorder, seconds=1, seed=second)
            writer.flush()
            written, expected = writer.tables(), memory.tables()
            for table in TABLES:
                for name in table.names:
                    assert written[table.name][name].dtype == expected[table.name][name].dtype
                    assert written[table.name][name].tobytes() == expected[table.name][name].tobytes()
        assert [file.name for file in tmp_path.iterdir()] == ["run.h5"]


def test_notes_stand_at_the_rows_of_their_decisions(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "run.h5", scenario=make_scenario("full"), arm=ARM, seed=1) as writer:
        decided = writer.appender(DECISIONS)
        for second in range(4):
            for site in range(3):
                decided((float(second), site, 0, 0, 0))
            if second == 1:
                writer.vectors({"option": np.array([5, 6]), "free": np.array([True, False])})
            if second == 2:
                writer.vectors({"late": np.full((3, 2), 0.5), "option": np.array([7, 8, 9])})
            writer.flush()
        for site in range(3):
            decided((4.0, site, 0, 0, 0))
        with pytest.raises(PolicyError, match="dpem notes 'late' of shape"):
            writer.vectors({"late": np.zeros((3, 4))})
        with pytest.raises(PolicyError, match="more than were just asked"):
            writer.vectors({"option": np.zeros(9, dtype=np.int64)})
        with pytest.raises(PolicyError, match="must be numbers"):
            writer.vectors({"word": np.array(["a"])})
        with pytest.raises(PolicyError, match="plain word"):
            writer.vectors({"a/b": np.zeros(1)})
    choices = open_record(tmp_path / "run.h5").choices
    assert choices["option"].tolist() == [-1, -1, -1, -1, 5, 6, 7, 8, 9, *[-1] * 6]
    assert choices["free"].tolist() == [-1, -1, -1, -1, 1, 0, *[-1] * 9]
    assert np.isnan(choices["late"]).sum() == 2 * 12
    assert (choices["late"][6:9] == 0.5).all()


def test_an_empty_run_still_has_every_column(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "run.h5", scenario=make_scenario(), arm=ARM, seed=1) as writer:
        writer.close_complete({}, {})
    record = open_record(tmp_path / "run.h5")
    for table in TABLES:
        assert list(record.tables[table.name]) == list(table.names)
        for column in table.columns:
            assert record.tables[table.name][column.name].shape == (0,)


@pytest.mark.parametrize("level", ["events", "full"])
def test_xarray_shows_names_units_and_no_nameless_dimension(tmp_path: Path, level: str) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    memory = write_record(tmp_path / "run.h5", level=level)
    with xarray.open_datatree(tmp_path / "run.h5", engine="h5netcdf") as tree:
        for table in TABLES:
            dataset = tree[table.name].to_dataset()
            assert dict(dataset.sizes) == {"row": len(memory.tables()[table.name][table.names[0]])}
            assert [str(name) for name in dataset.data_vars] == list(table.names)
            for column in table.columns:
                assert dataset[column.name].attrs["units"] == column.unit
                assert dataset[column.name].attrs["meaning"] == column.meaning
                assert dataset[column.name].dtype == column.dtype
                assert tuple(dataset[column.name].attrs.get("words", ())) == column.words
        assert tree["metrics"].attrs == {}
        assert tree["metrics/latency_p50_s"].attrs["units"] == "s"
        sizes = {name for node in tree.subtree for name in node.to_dataset(inherit=False).sizes}
        assert not [name for name in sizes if "phony" in name]


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
    from test_records import ARM, fill, make_scenario
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
    code = textwrap.dedent(CHILD.format(folder=str(Path(__file__).parent), path=str(path), limit=limit))
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


@pytest.mark.parametrize("limit", [9_300_000, 9_600_000])
def test_a_full_disk_is_told_and_loses_nothing_that_was_flushed(tmp_path: Path, limit: int) -> None:
    code, lines = run_child(tmp_path / "run.h5", limit=limit)
    assert code == 0
    assert lines[-1].startswith("said the record")
    assert "file too large" in lines[-1]
    flushed = len(lines) - 1
    assert flushed >= 2
    assert f"keeps the first {600 * flushed * len(TABLES)} rows" in lines[-1]
    record = open_record(tmp_path / "run.h5")
    assert not record.complete
    assert len(record.tables["claims"]["time_s"]) == 600 * flushed
    assert len(record.tables["pairs"]["fidelity"]) == 600 * flushed


@pytest.mark.parametrize("limit", [0, 100, 1_000_000])
def test_a_disk_full_from_the_start_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: type("Usage", (), {"free": limit}))
    with pytest.raises(RecordError, match="cannot be created: no space left on device"):
        RecordWriter(tmp_path / "run.h5", scenario=make_scenario(), arm=ARM, seed=1)


def test_a_disk_that_fills_up_later_keeps_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def filling_up() -> None:
        with RecordWriter(tmp_path / "run.h5", scenario=make_scenario(), arm=ARM, seed=1) as writer:
            fill(writer, seconds=2)
            writer.flush()
            monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10}))
            fill(writer, seconds=1)

    with pytest.raises(RecordError, match=r"no space left on device; it keeps the first \d+ rows"):
        filling_up()
    assert len(open_record(tmp_path / "run.h5").tables["claims"]["claim"]) == 100


def test_files_that_are_no_record_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with pytest.raises(RecordError, match="there is no record at"):
        open_record(path)
    path.write_text("hello")
    with pytest.raises(RecordError, match="is not an HDF5 file"):
        open_record(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(RecordError, match="no record of qdpem"):
        open_record(path)
    write_record(path)
    whole = path.read_bytes()
    for share in (0.2, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(RecordError, match="is cut off"):
            open_record(path)
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
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
    record = open_record(path)
    assert len(record.tables["claims"]["claim"]) == 500
    with pytest.raises(RecordError, match=r"claims/time_s of .* is damaged"):
        record.tables["claims"]["time_s"]


def test_a_closed_writer_takes_nothing_more(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "run.h5", scenario=make_scenario(), arm=ARM, seed=1) as writer:
        writer.close_complete({}, {})
    with pytest.raises(RecordError, match="is closed"):
        writer.flush()
    assert open_record(tmp_path / "run.h5").complete


def test_the_file_is_no_longer_than_hdf5_needs(tmp_path: Path) -> None:
    write_record(tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5") as file:
        assert (tmp_path / "run.h5").stat().st_size == file.id.get_filesize()


def test_csv_keeps_words_and_every_bit_of_floats(tmp_path: Path) -> None:
    import csv

    write_record(tmp_path / "run.h5")
    record = open_record(tmp_path / "run.h5")
    paths = export(record, tmp_path / "csv", format="csv")
    assert [path.stem for path in paths] == [*record.tables, "metrics"]
    with (tmp_path / "csv" / "requests.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = record.tables["requests"]
    assert list(rows[0]) == list(REQUESTS.names)
    assert [row["outcome"] for row in rows] == [
        ("open", "delivered", "expired", "rejected", "low_fidelity")[code] for code in columns["outcome"]
    ]
    assert np.array_equal([float(row["fidelity"]) for row in rows], columns["fidelity"], equal_nan=True)
    with (tmp_path / "csv" / "metrics.csv").open(newline="") as file:
        values = {row["metric"]: float(row["value"]) for row in csv.DictReader(file)}
    assert values["delivery_ratio"] == record.metrics["delivery_ratio"]


def test_a_record_of_before_a_column_was_added_is_read_and_exported_without_it(tmp_path: Path) -> None:
    write_record(tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        del file["pairs/outcome"]
    record = open_record(tmp_path / "run.h5")
    (path,) = export(record, tmp_path / "csv", format="csv", tables=["pairs"])
    head = path.read_text().splitlines()[0].split(",")
    assert head == list(record.tables["pairs"])
    assert set(PAIRS.names) - set(head) == {"outcome"}


def test_parquet_keeps_types_units_and_words(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_record(tmp_path / "run.h5")
    record = open_record(tmp_path / "run.h5")
    (path,) = export(record, tmp_path / "parquet", format="parquet", tables=["claims"])
    table = parquet.read_table(path)
    assert table.column_names == list(CLAIMS.names)
    assert table.field("time_s").metadata[b"units"] == b"s"
    assert table.column("time_s").to_numpy().tobytes() == record.tables["claims"]["time_s"].tobytes()
    kinds = ("emission", "token", "memory")
    assert table.column("kind").to_pylist() == [kinds[code] for code in record.tables["claims"]["kind"]]
    pandas = pytest.importorskip("pandas")
    assert pandas.read_parquet(path)["kind"].dtype == "category"


def test_export_answers_wrong_names_and_a_missing_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(tmp_path / "run.h5", level="requests")
    record = open_record(tmp_path / "run.h5")
    with pytest.raises(UnknownNameError, match="did you mean 'requests'"):
        export(record, tmp_path, format="csv", tables=["request"])
    with pytest.raises(UnknownNameError, match="export format"):
        export(record, tmp_path, format="xlsx")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RecordError, match=r"qdpem\[report\]"):
        exporting.export(record, tmp_path, format="parquet")


def test_the_examples_of_the_page_on_records_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("pandas", "xarray", "h5netcdf", "matplotlib"):
        pytest.importorskip(package)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    page = Path(__file__).parents[2] / "docs" / "records.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 4
    write_record(tmp_path / "output" / "quickstart" / "dpem" / "1000.h5")
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, str(page), "exec"), {})

"""Records read by others: xarray, CSV and Parquet."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from qdpem.errors import MissingPackagesError, UnknownNameError
from qdpem.events.tables import CLAIMS, PAIRS, REQUESTS, REWARDS, TEXT, kept_at
from qdpem.records import export as exporting
from qdpem.records.export import export
from qdpem.records.reader import open_record
from tests.helpers.made_runs import write_record
from tests.helpers.resealed import resealed


@pytest.mark.slow
@pytest.mark.parametrize("level", ["events", "full"])
def test_xarray_shows_names_units_and_no_nameless_dimension(tmp_path: Path, level: str) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    memory = write_record(tmp_path / "run.h5", level=level)
    with xarray.open_datatree(tmp_path / "run.h5", engine="h5netcdf") as tree:
        for table in kept_at(level):
            if table is REWARDS:
                continue  # computed when the record is closed
            dataset = tree[table.name].to_dataset()
            assert dict(dataset.sizes) == {"row": len(memory.tables()[table.name][table.names[0]])}
            assert [str(name) for name in dataset.data_vars] == list(table.names)
            for column in table.columns:
                assert dataset[column.name].attrs["units"] == column.unit
                assert dataset[column.name].attrs["meaning"] == column.meaning
                dtype = dataset[column.name].dtype
                # A text column has no width of its own: numpy gives it that of its longest text.
                assert dtype.kind in "UOT" if column.dtype == TEXT else dtype == column.dtype
                assert tuple(dataset[column.name].attrs.get("words", ())) == column.words
        assert tree["metrics"].attrs == {}
        assert tree["metrics/latency_p50_s"].attrs["units"] == "s"
        sizes = {name for node in tree.subtree for name in node.to_dataset(inherit=False).sizes}
        assert not [name for name in sizes if "phony" in name]


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
    with resealed(tmp_path / "run.h5") as file:
        del file["pairs/bell_outcome"]
    record = open_record(tmp_path / "run.h5")
    (path,) = export(record, tmp_path / "csv", format="csv", tables=["pairs"])
    head = path.read_text().splitlines()[0].split(",")
    assert head == list(record.tables["pairs"])
    assert set(PAIRS.names) - set(head) == {"bell_outcome"}


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
    with pytest.raises(MissingPackagesError, match=r"qdpem\[report\]"):
        exporting.export(record, tmp_path, format="parquet")

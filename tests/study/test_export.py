"""Records and studies read by others: xarray, CSV, Parquet, netCDF and LaTeX."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from qdpem.errors import MissingPackagesError, QdpemError, UnknownNameError
from qdpem.events.full_tables import REWARDS
from qdpem.events.tables import CLAIMS, PAIRS, REQUESTS, TEXT, kept_at
from qdpem.records.reader import open_record
from qdpem.study.analysis.results import StudyResult
from qdpem.study.export.export import FORMATS, export
from tests.helpers.made_runs import write_record
from tests.helpers.resealed import resealed


def data_lines(path: Path) -> list[str]:
    """The lines of a CSV file below its comments."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


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
    rows = list(csv.DictReader(data_lines(tmp_path / "csv" / "requests.csv")))
    columns = record.tables["requests"]
    assert list(rows[0]) == list(REQUESTS.names)
    assert [row["outcome"] for row in rows] == [
        ("open", "delivered", "expired", "rejected", "low_fidelity")[code] for code in columns["outcome"]
    ]
    assert np.array_equal([float(row["fidelity"]) for row in rows], columns["fidelity"], equal_nan=True)
    metrics = csv.DictReader(data_lines(tmp_path / "csv" / "metrics.csv"))
    values = {row["metric"]: float(row["value"]) for row in metrics}
    assert values["delivery_ratio"] == record.metrics["delivery_ratio"]


def test_a_record_of_before_a_column_was_added_is_read_and_exported_without_it(tmp_path: Path) -> None:
    write_record(tmp_path / "run.h5")
    with resealed(tmp_path / "run.h5") as file:
        del file["pairs/bell_outcome"]
    record = open_record(tmp_path / "run.h5")
    (path,) = export(record, tmp_path / "csv", format="csv", tables=["pairs"])
    head = data_lines(path)[0].replace('"', "").split(",")
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
    assert FORMATS == ("csv", "parquet", "netcdf", "latex")
    with pytest.raises(UnknownNameError, match="export format"):
        export(record, tmp_path, format="xlsx")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackagesError, match=r"qdpem\[report\]"):
        export(record, tmp_path, format="parquet")


def test_csv_begins_with_provenance_and_units_and_pandas_reads_it(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    write_record(tmp_path / "run.h5")
    record = open_record(tmp_path / "run.h5")
    (path,) = export(record, tmp_path / "csv", format="csv", tables=["nodes"])
    comments = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert f"# scenario_hash: {record.scenario_hash}" in comments
    assert "# seed: 17" in comments
    assert any(line.startswith("# column source_rate_hz, in Hz: ") for line in comments)
    frame = pandas.read_csv(path, comment="#")
    assert list(frame.columns) == list(record.tables["nodes"])
    assert frame["name"].tolist() == record.tables["nodes"]["name"].tolist()


def test_a_name_with_the_sign_of_a_comment_survives_in_csv(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    write_record(tmp_path / "run.h5")
    with resealed(tmp_path / "run.h5") as file:
        file["nodes/name"][0] = "node #1, north"
    (path,) = export(open_record(tmp_path / "run.h5"), tmp_path, format="csv", tables=["nodes"])
    assert pandas.read_csv(path, comment="#")["name"][0] == "node #1, north"


def test_netcdf_keeps_bits_units_words_and_provenance(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    write_record(tmp_path / "run.h5")
    record = open_record(tmp_path / "run.h5")
    paths = export(record, tmp_path / "nc", format="netcdf", tables=["claims", "nodes"])
    with xarray.open_dataset(paths[0], engine="h5netcdf", decode_times=False) as claims:
        assert claims.sizes == {"row": len(record.tables["claims"]["time_s"])}
        assert claims["time_s"].values.tobytes() == record.tables["claims"]["time_s"].tobytes()
        assert claims["time_s"].attrs["units"] == "s"
        assert claims["kind"].attrs["flag_meanings"].split() == ["emission", "token", "memory"]
        assert claims["kind"].values.tolist() == record.tables["claims"]["kind"].tolist()
        assert claims.attrs["scenario_hash"] == record.scenario_hash
    with xarray.open_dataset(paths[1], engine="h5netcdf") as nodes:
        assert nodes["name"].values.tolist() == record.tables["nodes"]["name"].tolist()


def test_latex_is_a_booktabs_table_with_every_sign_escaped(tmp_path: Path) -> None:
    write_record(tmp_path / "run.h5")
    with resealed(tmp_path / "run.h5") as file:
        file["nodes/name"][0] = "R&D_1 50%"
    record = open_record(tmp_path / "run.h5")
    assert [path.name for path in export(record, tmp_path, format="latex")] == ["metrics.tex"]
    (path,) = export(record, tmp_path, format="latex", tables=["nodes"])
    lines = path.read_text(encoding="utf-8").splitlines()
    body = [line for line in lines if not line.startswith("%")]
    assert body[:2] == [r"\begin{tabular}{rrrrrrl}", r"\toprule"]
    assert body[-2:] == [r"\bottomrule", r"\end{tabular}"]
    assert r"R\&D\_1 50\% \\" in body[4]
    assert r"source\_rate\_hz (Hz)" in body[2]
    assert "% seed: 17" in lines
    write_record(tmp_path / "long.h5", seconds=30)
    with pytest.raises(QdpemError, match="too many for LaTeX"):
        export(open_record(tmp_path / "long.h5"), tmp_path, format="latex", tables=["claims"])


def test_a_study_is_exported_with_arm_and_seed_in_every_row(
    finished_study: StudyResult, tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    names = ["requests", "metrics", "results"]
    requests, metrics, results = (
        parquet.read_table(path) for path in export(finished_study, tmp_path, format="parquet", tables=names)
    )
    assert requests.column_names[:3] == ["arm", "seed", "request"]
    frame = requests.to_pandas()
    for outcome in finished_study.outcomes:
        own = frame[(frame["arm"] == outcome.arm) & (frame["seed"] == outcome.seed)]
        recorded = open_record(outcome.path).tables["requests"]["end_s"]
        assert own["end_s"].to_numpy().tobytes() == recorded.tobytes()
    assert len(frame) == sum(
        len(open_record(outcome.path).tables["requests"]["end_s"]) for outcome in finished_study.outcomes
    )
    assert requests.schema.metadata[b"reference"] == b"central-fcfs"
    assert requests.schema.metadata[b"qdpem_version"]
    wide = metrics.to_pandas().set_index(["arm", "seed"])
    assert wide.loc[("near", 1001), "delivery_ratio"] == finished_study.scores("delivery_ratio")["near"][1]
    assert metrics.schema.field("latency_p50_s").metadata[b"units"] == b"s"
    means = results.to_pandas().set_index("arm")
    assert means.loc["near", "delivery_ratio"] == finished_study.means("delivery_ratio")["near"].estimate
    assert means.loc["near", "delivery_ratio_low"] == finished_study.means("delivery_ratio")["near"].low


def test_the_latex_results_of_a_study_are_those_of_its_report(
    finished_study: StudyResult, tmp_path: Path
) -> None:
    paths = export(finished_study, tmp_path, format="latex")
    assert [path.name for path in paths] == ["metrics.tex", "results.tex"]
    lines = [line for line in paths[1].read_text(encoding="utf-8").splitlines() if line[0] != "%"]
    rows = lines[4:6]
    best = finished_study.ranked[0].name
    assert rows[0].startswith(best)
    mean = finished_study.means("delivery_ratio")[best]
    assert f"{mean.estimate:.3f} [{mean.low:.3f}, {mean.high:.3f}]" in rows[0]
    assert sum("central-fcfs *" in row for row in rows) == 1

"""Traffic matrices in CSV: what is read, and one sentence for whatever is wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qdpem.demand.traces.matrices.matrix_csv import write_traffic_matrices
from qdpem.demand.traces.matrices.read import read_traffic_matrices
from qdpem.errors import QdpemError, UnknownNameError
from tests.helpers.trace_files import CSV, NODES, made_matrices, saved

LATER = "".join(f"2004-03-01T00:{minute},1,2,3,4,5,6\n" for minute in (20, 25))


def edited(old: str, new: str) -> str:
    assert old in CSV
    return CSV.replace(old, new, 1)


def without_row(row: int) -> str:
    lines = CSV.splitlines(keepends=True)
    return "".join(line for number, line in enumerate(lines, start=1) if number != row)


def test_matrices_are_those_of_the_file(tmp_path: Path) -> None:
    matrices = read_traffic_matrices(saved(tmp_path, CSV), unit="Mbit/s")
    assert matrices.node_names == NODES
    assert matrices.step_s == 300.0
    assert matrices.time_s.tolist() == [0.0, 300.0, 600.0, 900.0]
    assert matrices.volume[0].tolist() == [[0, 1, 2], [3, 0, 4], [5, 6, 0]]
    assert matrices.volume[2, 2, 1] == 600.0
    assert matrices.unit == "Mbit/s"
    assert matrices.origin.endswith("traffic.csv")
    assert matrices.notes == ()
    with pytest.raises(ValueError, match="read-only"):
        matrices.volume[0, 0, 1] = 7.0


@pytest.mark.parametrize("name", ["traffic.csv.gz", "traffic"])
def test_gzip_and_a_byte_order_mark_are_told_by_content(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode()))
    plain = read_traffic_matrices(saved(tmp_path, CSV))
    assert np.array_equal(read_traffic_matrices(path).volume, plain.volume)
    assert read_traffic_matrices(path).node_names == NODES


def test_seconds_and_comments(tmp_path: Path) -> None:
    text = "# unit: kbit/s\n# origin: a probe\n# anything\ntime_s,a>b\n600,1\n660,2\n"
    matrices = read_traffic_matrices(saved(tmp_path, text))
    assert matrices.time_s.tolist() == [0.0, 60.0]
    assert matrices.unit == "kbit/s"
    assert matrices.origin.endswith("a probe")
    assert "1 of 2 ordered pairs" in matrices.notes[0]
    with pytest.raises(QdpemError, match=r"kbit/s.*Mbit/s"):
        read_traffic_matrices(saved(tmp_path, text), unit="Mbit/s")
    with pytest.raises(QdpemError, match=r"row 6, column 2 \(a>b\) is 'x'"):
        read_traffic_matrices(saved(tmp_path, text.replace("660,2", "660,x")))


def test_traffic_of_a_node_with_itself_is_left_out_and_said(tmp_path: Path) -> None:
    text = "time_s,a>a,a>b,b>a\n0,50,25,25\n1,50,25,25\n"
    matrices = read_traffic_matrices(saved(tmp_path, text))
    assert matrices.volume[0].tolist() == [[0, 25], [25, 0]]
    assert "50 % of the total" in matrices.notes[0]
    silent = read_traffic_matrices(saved(tmp_path, text.replace(",50", ",0")))
    assert silent.notes == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("traffic.csv", "empty")),
        (" \n\n", ("empty",)),
        ("time,a>b\n", ("no row",)),
        (edited("4.5", "-4.5"), ("row 3, column 5 (Süd>West)", "'-4.5'", "0 or more")),
        (edited("4.5", "4,5"), ("row 3", "8 columns", "7")),
        (edited("4.5", '"4,5"'), ("row 3, column 5", "'4,5'")),
        (edited("4.5", "1_0"), ("row 3, column 5", "'1_0'")),
        (edited("4.5", "inf"), ("row 3, column 5", "'inf'")),
        (edited("4.5", "n/a"), ("row 3, column 5", "'n/a'")),
        (edited("4.5", ""), ("row 3, column 5", "no value", "repeat", "interpolate")),
        (edited("4.5", "NaN"), ("row 3, column 5", "no value")),
        (edited("05,2,0", "05,nan,0"), ("row 3, column 2 (Ost>Süd)", "no value")),
        (edited("3,4,5,600", "3,4,5"), ("row 4", "6 columns")),
        (without_row(4), ("row 4, column 1", "600 s", "1 interval of 300 s")),
        (edited("00:10", "00:05"), ("row 4, column 1", "same time")),
        (edited("00:10", "00:02"), ("row 4, column 1", "180 s before")),
        (edited("00:10", "00:11") + LATER, ("row 4, column 1", "360 s", "300 s")),
        (edited("2004-03-01T00:10", "yesterday"), ("row 4, column 1", "'yesterday'")),
        (edited("2004-03-01T00:10", "2004-03-01T00:10Z"), ("row 4, column 1", "time zone")),
        (edited("time,", "when,"), ("column 1", "'when'")),
        (edited("Süd>Ost", "Ost>Süd"), ("row 1, column 4", "'Ost>Süd'", "column 2")),
        (edited("Süd>Ost", "Ost > Süd"), ("column 4", "'Ost > Süd'", "column 2")),
        (edited("Süd>Ost", ""), ("row 1, column 4", "no name")),
        (edited("Süd>Ost", "Süd->Ost"), ("column 4", "'Süd->Ost'", "SOURCE>DESTINATION")),
        (edited("Süd>Ost", "Süd>"), ("column 4", "SOURCE>DESTINATION")),
        (edited("Süd>Ost", "Süd>Ost>West"), ("column 4", "SOURCE>DESTINATION")),
        ("time,c1,c2\n2004-03-01,1,2\n", ("read_node_activity",)),
        (CSV.replace(",", ";"), ("row 1", "commas")),
        ("time_s,a>b\n1_0,1\n20,2\n", ("row 2, column 1", "seconds")),
        ("time_s,a>b\n0,1\n", ("step_s",)),
        ("# step_s: five\ntime_s,a>b\n0,1\n", ("step_s", "'five'")),
        ("# step_s: 60\ntime_s,a>b\n0,1\n300,1\n600,1\n", ("300 s apart", "60")),
        ('time_s,a>b\n0,"1\n', ("traffic.csv",)),
    ],
)
def test_a_fault_gets_one_sentence_with_its_place(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(QdpemError) as caught:
        read_traffic_matrices(saved(tmp_path, text))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_files_that_cannot_be_opened_or_unpacked(tmp_path: Path) -> None:
    whole = gzip.compress(CSV.encode() * 50)
    for name, content, word in (
        ("short.csv.gz", whole[:-20], "cut short"),
        ("damaged.csv.gz", whole[:-6] + bytes(6), "damaged"),
        ("empty.csv.gz", gzip.compress(b""), "empty"),
        ("latin.csv", CSV.encode("latin-1"), "row 1 holds the byte 0xfc"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(QdpemError, match=word) as caught:
            read_traffic_matrices(path)
        assert name in str(caught.value)
    with pytest.raises(QdpemError, match="No such file"):
        read_traffic_matrices(tmp_path / "none.csv")
    with pytest.raises(QdpemError, match=r"holds no \.xml"):
        read_traffic_matrices(tmp_path)


def test_gaps_are_filled_only_when_asked(tmp_path: Path) -> None:
    path = saved(tmp_path, without_row(3).replace("10,3,2,3,4", "10,3,2,3,"))
    repeated = read_traffic_matrices(path, gaps="repeat")
    assert repeated.volume[:, 0, 1].tolist() == [1, 1, 3, 4]
    assert repeated.volume[:, 1, 2].tolist() == [4, 4, 4, 4]
    assert "1 missing interval and 1 missing value " in repeated.notes[0]
    line = read_traffic_matrices(path, gaps="interpolate")
    assert line.volume[:, 0, 1].tolist() == [1, 2, 3, 4]
    assert line.time_s.tolist() == [0.0, 300.0, 600.0, 900.0]
    with pytest.raises(UnknownNameError, match="interpolate"):
        read_traffic_matrices(path, gaps="interpolat")


@pytest.mark.parametrize(
    ("old", "new", "gaps", "words"),
    [
        ("00:00,1,", "00:00,,", "repeat", ("row 2, column 2", "none before")),
        ("00:15,4,", "00:15,,", "interpolate", ("row 5, column 2", "none after")),
        ("2004-03-01T00:15", "2004-03-02T00:15", "repeat", ("lacks", "at least half")),
    ],
)
def test_what_cannot_be_filled_is_refused(
    tmp_path: Path, old: str, new: str, gaps: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(QdpemError) as caught:
        read_traffic_matrices(saved(tmp_path, edited(old, new)), gaps=gaps)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_empty_rows_at_the_ends_are_left_out_when_gaps_may_be_filled(tmp_path: Path) -> None:
    path = saved(
        tmp_path, edited("00:00,1,2,3,4,5,6", "00:00,,,,,,").replace("00:15,4,2,3,4,5,6", "00:15,,,,,,")
    )
    with pytest.raises(QdpemError, match="row 2 has no value"):
        read_traffic_matrices(path)
    matrices = read_traffic_matrices(path, gaps="repeat")
    assert matrices.time_s.tolist() == [0.0, 300.0]
    assert matrices.volume[:, 0, 1].tolist() == [2, 3]
    assert "2 rows" in matrices.notes[0]


@given(
    volume=arrays(
        np.float64,
        st.tuples(st.integers(1, 4), st.just(3), st.just(3)),
        elements=st.floats(0.0, 1e300, allow_subnormal=True),
    ),
    step_s=st.floats(1e-3, 1e7),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_reads_back_to_the_last_bit(
    tmp_path: Path, volume: np.ndarray, step_s: float
) -> None:
    matrices = made_matrices(volume * (1 - np.eye(3)), step_s=step_s, names=("a b", "ü,ö", '"c"'))
    path = tmp_path / "made.csv.gz"
    write_traffic_matrices(matrices, path)
    read = read_traffic_matrices(path, unit="Mbit/s")
    assert read.node_names == matrices.node_names
    assert read.step_s == step_s
    assert np.array_equal(read.volume, matrices.volume)
    assert np.allclose(read.time_s, matrices.time_s, rtol=1e-12, atol=0.0)


def test_names_that_no_header_can_hold_are_not_written(tmp_path: Path) -> None:
    volume = np.ones((1, 2, 2)) - np.eye(2)
    for name in ("a>b", " a", "a-", ""):
        with pytest.raises(QdpemError, match="a node is called"):
            write_traffic_matrices(made_matrices(volume, names=(name, "b")), tmp_path / "x.csv")

"""The XML of SNDlib: folders, archives and single files; matrices without a pair; XML that is not safe."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from qdpem.demand.traces.matrices.read import read_traffic_matrices
from qdpem.errors import QdpemError
from tests.helpers.trace_files import NODES, saved, sndlib_xml

FULL = {("Ost", "Süd"): 1.5, ("Süd", "West"): 2, ("West", "Ost"): "3e-1"}
FILES = {
    # Named against the order of time, which is told by the content alone.
    "m-c.xml": sndlib_xml(FULL, time="20040301-0000"),
    "m-b.xml": sndlib_xml({("Ost", "Süd"): 2.5}, time="20040301-0005"),
    "m-a.xml": sndlib_xml({**FULL, ("Ost", "West"): 7}, time="20040301-0010", prefix="snd"),
}


def folder(tmp_path: Path, **changes: str) -> Path:
    where = tmp_path / "series"
    where.mkdir()
    for name, text in {**FILES, **{f"m-{key}.xml": text for key, text in changes.items()}}.items():
        saved(where, text, name)
    (where / "README.txt").write_text("not a matrix")
    (where / "._m-a.xml").write_bytes(b"\0\0")
    return where


def archived(tmp_path: Path, kind: str) -> Path:
    where, path = folder(tmp_path), tmp_path / f"archive.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in where.iterdir():
                archive.write(file, f"inner/{file.name}")
    else:
        with tarfile.open(path, "w:gz" if kind == "tgz" else "w") as tar:
            tar.add(where, "inner")
    return path


@pytest.mark.parametrize("kind", ["folder", "zip", "tgz", "tar"])
def test_a_series_is_the_same_from_a_folder_and_from_archives(tmp_path: Path, kind: str) -> None:
    path = folder(tmp_path) if kind == "folder" else archived(tmp_path, kind)
    matrices = read_traffic_matrices(path)
    assert matrices.node_names == NODES
    assert matrices.step_s == 300.0
    assert matrices.time_s.tolist() == [0.0, 300.0, 600.0]
    assert matrices.volume[0].tolist() == [[0, 1.5, 0], [0, 0, 2], [0.3, 0, 0]]
    assert matrices.volume[:, 0, 1].tolist() == [1.5, 2.5, 1.5]
    assert matrices.volume[2, 0, 2] == 7.0
    assert matrices.unit == "Mbit/s"
    assert matrices.origin.endswith("made up")
    # 3, 1 and 4 of 6 pairs are listed.
    assert "55.6 %" in matrices.notes[0]


def test_a_single_file_is_one_interval_of_its_granularity(tmp_path: Path) -> None:
    text = sndlib_xml({**FULL, ("Ost", "Ost"): 5.0}, granularity="1day", time="20050201")
    for path in (saved(tmp_path, text, "one"), tmp_path / "one.xml.gz"):
        if path.suffix == ".gz":
            path.write_bytes(gzip.compress(text.encode()))
        matrices = read_traffic_matrices(path)
        assert matrices.step_s == 86400.0
        assert matrices.volume.shape == (1, 3, 3)
        assert np.diagonal(matrices.volume[0]).tolist() == [0, 0, 0]
        assert any("themselves" in note for note in matrices.notes)
    bare = saved(
        tmp_path, text.replace("<granularity>1day</granularity>", "").replace("<time>20050201</time>", "")
    )
    assert read_traffic_matrices(bare, step_s=60.0).step_s == 60.0
    with pytest.raises(QdpemError, match="step_s"):
        read_traffic_matrices(bare)


def test_a_matrix_without_a_pair_is_a_gap_and_not_zero(tmp_path: Path) -> None:
    where = folder(tmp_path, b=sndlib_xml({}, time="20040301-0005"))
    with pytest.raises(QdpemError, match=r"m-b\.xml has no value, which is no measurement of 0"):
        read_traffic_matrices(where)
    assert read_traffic_matrices(where, gaps="repeat").volume[:, 1, 2].tolist() == [2, 2, 2]
    line = read_traffic_matrices(where, gaps="interpolate")
    assert line.volume[:, 0, 2].tolist() == [0, 3.5, 7]
    saved(where, sndlib_xml({}, time="20040301-0000"), "m-c.xml")
    only = read_traffic_matrices(where, gaps="repeat")
    assert only.time_s.tolist() == [0.0]
    assert any("2 rows without a value" in note for note in only.notes)


def changed(old: str, new: str) -> str:
    text = sndlib_xml(FULL, time="20040301-0005")
    assert old in text
    return text.replace(old, new, 1)


# 64 of 64 of 64 ...: terabytes, if it were parsed.
LAUGHS = "".join(f'<!ENTITY {name} "{f"&{before};" * 64}">' for before, name in pairwise("abcdefgh"))
BOMB = f"""<!DOCTYPE network [<!ENTITY a "ha">{LAUGHS}]>
<network xmlns="x"><meta><origin>&h;</origin></meta></network>"""
STEAL = """<!DOCTYPE network [<!ENTITY a SYSTEM "file:///etc/hostname">]>
<network><meta><origin>&a;</origin></meta></network>"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (changed(" 1.5 ", " -1.5 "), ("row 21, column 23", "'-1.5'", "0 or more")),
        (changed(" 1.5 ", ""), ("row 21", "''")),
        (changed(" 1.5 ", "nan"), ("row 21", "'nan'")),
        (changed(" 1.5 ", "1,5"), ("row 21", "'1,5'")),
        (changed("   <demandValue> 1.5 </demandValue>\n", ""), ("row 21, column 3", "<demandValue>")),
        (changed("<target>Süd</target>\n   <dem", "<target>Nord</target>\n   <dem"), ("row 2", "'Nord'")),
        (changed("<source>West</source>", "<source>Ost</source>").replace("<target>Ost<", "<target>Süd<"),
         ("Ost > Süd", "before")),
        (changed('<node id="West">', '<node id="Ost">'), ("row 13", "'Ost'")),
        (changed("</demands>", ""), ("row 34", "mismatched tag", "complete")),
        (changed("<unit>MBITPERSEC</unit>", "<unit>GBIT</unit>"), ("unit", "'GBIT'", "'MBITPERSEC'")),
        (changed("5min", "15min"), ("granularity", "'15min'", "'5min'")),
        (changed("20040301-0005", "20040301-0000"), ("same time",)),
        (changed("20040301-0005", "20040301-0010"), ("same time",)),
        (changed("20040301-0005", "200403"), ("'200403'", "20040301-0005")),
        (changed("20040301-0005", "20041301-0005"), ("'20041301-0005'",)),
        (changed("20040301-0005", "20040301-0007"), ("420 s", "300 s")),
        (changed("  <time>20040301-0005</time>\n", ""), ("states no time",)),
        (sndlib_xml(FULL, time="20040301-0005", nodes=(*NODES, "Nord")), ("other nodes", "Nord")),
        (BOMB, ("row 1, column 1", "document type")),
        ("<?xml version='1.0'?>\n " + BOMB, ("row 2, column 2", "document type")),
        (STEAL, ("row 1", "document type")),
        (changed("<demands>", "<demands>&b;"), ("row 17", "undefined entity")),
        ("<html><body/></html>", ("<html>", "<network>")),
    ],
)  # fmt: skip
def test_a_fault_names_file_row_and_column(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(QdpemError) as caught:
        read_traffic_matrices(folder(tmp_path, b=text))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "m-" in message
    assert "\n" not in message


def test_a_step_that_has_no_length_or_is_another_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QdpemError, match=r"'1month'.*one length"):
        read_traffic_matrices(saved(tmp_path, sndlib_xml(FULL, granularity="1month")))
    with pytest.raises(QdpemError, match=r"'5min'.*60 s"):
        read_traffic_matrices(saved(tmp_path, sndlib_xml(FULL)), step_s=60.0)


@pytest.mark.parametrize("kind", ["zip", "tgz"])
@pytest.mark.parametrize("left", [0.4, 0.8])
def test_an_archive_that_is_cut_short_is_refused(tmp_path: Path, kind: str, left: float) -> None:
    path = archived(tmp_path, kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content))])
    with pytest.raises(QdpemError, match="cut short"):
        read_traffic_matrices(path)


def test_an_archive_without_matrices_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("traffic.csv", "time,a>b\n")
    with pytest.raises(QdpemError, match=r"holds no \.xml"):
        read_traffic_matrices(path)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("dir.xml/"))
    (tmp_path / "other.tar").write_bytes(buffer.getvalue())
    with pytest.raises(QdpemError, match=r"holds no \.xml|is empty"):
        read_traffic_matrices(tmp_path / "other.tar")


def test_a_document_type_cannot_hide_in_another_encoding(tmp_path: Path) -> None:
    declared = "<?xml version='1.0' encoding='cp037'?>"
    path = tmp_path / "hidden.xml"
    for content in (
        declared.encode() + BOMB.encode("cp037"),
        b"<?xml version='1.0' encoding='UTF-16'?>" + BOMB.encode("utf-16"),
        BOMB.encode("utf-16"),
    ):
        path.write_bytes(content)
        with pytest.raises(QdpemError, match="UTF-8"):
            read_traffic_matrices(path)

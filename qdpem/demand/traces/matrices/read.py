"""Reads traffic matrices from a file, an archive or a folder, by what it holds and not by its name."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from qdpem.demand.traces.file_content import GZIP_MAGIC, decoded_text, read_bytes, unpacked_bytes
from qdpem.demand.traces.matrices.matrix_csv import csv_matrices
from qdpem.demand.traces.matrices.series import gap_rule
from qdpem.demand.traces.matrices.sndlib import sndlib_matrices
from qdpem.demand.traces.matrices.traffic_matrices import TrafficMatrices
from qdpem.errors import QdpemError

_ZIP_MAGIC = b"PK\x03\x04"
_TAR_MAGIC = slice(257, 262)


def read_traffic_matrices(
    path: str | Path,
    *,
    unit: str | None = None,
    step_s: float | None = None,
    gaps: str = "refuse",
) -> TrafficMatrices:
    """The traffic matrices at `path`.

    Read are CSV (`time` or `time_s`, then one column `SOURCE>DESTINATION` per ordered pair; also gzipped) and
    the XML of SNDlib (one matrix per file: a folder, a zip or tar archive of them, or one file).

    Traffic of a node with itself is left out. A pair that a CSV file has no column for, or that a matrix of
    SNDlib does not list, has no traffic. A cell without a value, or a matrix without any pair, is a gap.

    Args:
        path: the file, archive or folder.
        unit: the unit of the values, if the file does not state it; must be the stated one if it does.
        step_s: the length of an interval, if the file does not show it; must be the shown one if it does.
        gaps: "refuse", "repeat" (the value before) or "interpolate" (a straight line in time). Empty rows at
            the ends of the series are left out under the last two.

    Raises QdpemError with the file, row, column and value of the first thing that is wrong, and
    UnknownNameError for another word of `gaps`.
    """
    path, rule = Path(path), gap_rule(gaps)
    if path.is_dir():
        files = _files(path)
    elif (opened := _archive(path)) is not None:
        files = opened
    else:
        content = read_bytes(path)
        start = content.lstrip(b"\xef\xbb\xbf").lstrip()[:1]
        if start != b"<":
            return csv_matrices(
                decoded_text(content, str(path)), str(path), unit=unit, step_s=step_s, gaps=rule
            )
        files = iter([(str(path), content)])
    return sndlib_matrices(files, str(path), unit=unit, step_s=step_s, gaps=rule)


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.iterdir()):
        if _is_matrix(path.name):
            yield str(path), read_bytes(path)


def _is_matrix(name: str) -> bool:
    """Whether a file is to be read; copies of a Mac hold hidden `._` files beside the real ones."""
    base = name.rpartition("/")[2]
    return base.lower().endswith((".xml", ".xml.gz")) and not base.startswith(".")


def _archive(path: Path) -> Iterator[tuple[str, bytes]] | None:
    """The files in a zip or tar archive, also compressed, one after the other; None for another file."""
    try:
        with path.open("rb") as file:
            start = file.read(65536)
        zipped = start.startswith(GZIP_MAGIC)
        if zipped:
            # Only the first block: the largest series unpacks to a gigabyte.
            start = zlib.decompressobj(wbits=31).decompress(start, 512)
    except (OSError, zlib.error):
        # `read_bytes` says what is wrong.
        return None
    if start.startswith(_ZIP_MAGIC):
        return _zip_files(path)
    return _tar_files(path, zipped=zipped) if start[_TAR_MAGIC] == b"ustar" else None


def _zip_files(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if _is_matrix(member.filename):
                    name = f"{path}/{member.filename}"
                    yield name, unpacked_bytes(archive.read(member), name)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise QdpemError(f"{path} is damaged or cut short: {error}; download or copy it again") from error


def _tar_files(path: Path, *, zipped: bool) -> Iterator[tuple[str, bytes]]:
    try:
        # tarfile's own gzip stream takes the end of a file that is cut short for the end of the archive.
        with (
            gzip.open(path) if zipped else path.open("rb") as stream,
            tarfile.open(fileobj=stream, mode="r|") as archive,
        ):
            for member in archive:
                file = archive.extractfile(member) if _is_matrix(member.name) else None
                if file is not None:
                    name = f"{path}/{member.name}"
                    yield name, unpacked_bytes(file.read(), name)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise QdpemError(f"{path} is damaged or cut short: {error}; download or copy it again") from error

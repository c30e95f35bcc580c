"""Reads a trace by what it holds: traffic matrices, or a list of requests."""

from __future__ import annotations

import csv
import zlib
from pathlib import Path

from qdpem.demand.traces.file_content import GZIP_MAGIC
from qdpem.demand.traces.matrices.read import read_traffic_matrices
from qdpem.demand.traces.matrices.traffic_matrices import TrafficMatrices
from qdpem.demand.traces.requests.read import read_requests
from qdpem.demand.traces.requests.record_table import HDF5_MAGIC, record_requests
from qdpem.demand.traces.requests.request_list import RequestList
from qdpem.errors import QdpemError

FORMS = (
    "traffic matrices (CSV, or SNDlib XML in a file, a folder or an archive) or requests (a CSV or Parquet"
    " table, QNetBench JSON lines, or a record)"
)
"""What a trace can be, in words."""

_PARQUET_MAGIC = b"PAR1"
_START_BYTES = 65536


def read_trace(
    path: Path, *, unit: str | None = None, step_s: float | None = None, gaps: str = "refuse"
) -> TrafficMatrices | RequestList:
    """The trace at `path`, a file or folder in one of the `FORMS`.

    Raises QdpemError, with row and column, for the first thing that is wrong (`read_traffic_matrices`,
    `read_requests`, `record_requests`), and for a path at which there is nothing.

    Args:
        path: the file or folder.
        unit: as for `read_traffic_matrices`.
        step_s: as for `read_traffic_matrices`.
        gaps: as for `read_traffic_matrices`.
    """
    if not path.exists():
        raise QdpemError(f"there is nothing at {path}; should be {FORMS}")
    start = b"" if path.is_dir() else _start(path)
    if start.startswith(HDF5_MAGIC):
        return record_requests(path)
    if _is_list(start):
        return read_requests(path)
    return read_traffic_matrices(path, unit=unit, step_s=step_s, gaps=gaps)


def trace_files(path: Path) -> list[Path]:
    """The files of a trace: itself, or all files in its folder; none where there is nothing."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    return [path] if path.is_file() else []


def _start(path: Path) -> bytes:
    """The first bytes of a file, unpacked if it is a gzip file; b"" for one that cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(_START_BYTES)
        if start.startswith(GZIP_MAGIC):
            return zlib.decompressobj(wbits=31).decompress(start, _START_BYTES)
    except (OSError, zlib.error):
        # The reader of matrices says what is wrong.
        return b""
    return start


def _is_list(start: bytes) -> bool:
    """Whether a file that begins so is a list of requests."""
    text = start.decode("utf-8-sig", errors="replace").lstrip()
    if start.startswith(_PARQUET_MAGIC) or text.startswith("{"):
        return True
    header = next((line for line in text.splitlines() if line and not line.startswith("#")), "")
    cells = [cell.strip() for cell in next(csv.reader([header]), [])]
    return "source" in cells and "destination" in cells

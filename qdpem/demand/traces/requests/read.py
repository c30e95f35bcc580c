"""Reads lists of requests, by what a file holds and not by its name."""

from __future__ import annotations

from pathlib import Path

from qdpem.demand.traces.file_content import decoded_text, read_bytes
from qdpem.demand.traces.requests.qnetbench import qnetbench_requests
from qdpem.demand.traces.requests.request_list import RequestList
from qdpem.demand.traces.requests.tables import csv_requests, parquet_requests

_PARQUET_MAGIC = b"PAR1"


def read_requests(path: str | Path) -> RequestList:
    """The requests at `path`: a table in CSV or Parquet, or a trace of QNetBench (JSON lines); also gzipped.

    Columns of a table: `time_s` (seconds) or `time` (dates and times; the first is 0), `source` and
    `destination` (names of nodes); optionally `target_fidelity`, `pairs`, `patience_s` or `deadline_s` (of
    the clock of `time_s`), and `application`. An empty cell of an optional column says nothing. Rows are in
    order of time. Other columns are named in a note.

    Raises QdpemError with the file, row, column and value of the first thing that is wrong, and
    MissingPackagesError for Parquet without pyarrow.
    """
    path = Path(path)
    content = read_bytes(path)
    if content.startswith(_PARQUET_MAGIC):
        return parquet_requests(path)
    text = decoded_text(content, str(path))
    if text.lstrip().startswith("{"):
        return qnetbench_requests(text, str(path))
    return csv_requests(text, str(path))

"""Requests from the table `/requests` of a record, an HDF5 file that a run wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from qdpem.demand.traces.requests.columns import requests_from_columns
from qdpem.demand.traces.requests.request_list import RequestList
from qdpem.errors import QdpemError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

_COLUMNS = ("time_s", "source", "destination", "target_fidelity", "pairs")
_DIGITS = 9
"""A patience is the difference of two times; rounded to nanoseconds it is the one that the scenario gave."""


def record_requests(path: Path) -> RequestList:
    """The requests of the run in the record at `path`, between nodes by name; how they ended is not read.

    Raises QdpemError for an HDF5 file that is no record with requests, or cannot be read.
    """
    # h5py takes longer to import than a small run; only such a trace needs it.
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return _requests(file, str(path))
    except (OSError, KeyError) as error:
        raise QdpemError(
            f"{path} is no record with requests: {error}; should hold the tables /requests and /nodes"
        ) from error


def _requests(file: Any, origin: str) -> RequestList:
    table = file["requests"]
    columns: dict[str, Any] = {name: table[name][:] for name in _COLUMNS}
    columns["patience_s"] = np.round(table["deadline_s"][:] - columns["time_s"], _DIGITS)
    words = [str(word) for word in table["application"].attrs["words"]]
    columns["application"] = [words[code] for code in table["application"][:]]
    if not len(columns["time_s"]):
        raise QdpemError(f"{origin} has no request; should have one or more")
    names = [str(name) for name in file["nodes/name"].asstr()[:]]
    return requests_from_columns(columns, node_names=names, origin=origin)

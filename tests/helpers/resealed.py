"""A record with other content, sealed as if it had been recorded so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from qdpem.records.seal import seal


@contextmanager
def resealed(path: Path) -> Iterator[Any]:
    """The open HDF5 file of a record, to be changed; what the seal finds is tested elsewhere."""
    with h5py.File(path, "r+") as file:
        yield file
    seal(path)

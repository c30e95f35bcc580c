"""The layout of a record file: version, groups, data sets and their attributes.

Each event table is a group with ONE one-dimensional data set per column. A data set has the attributes
`units` and `meaning` and, for codes, `words`. Every axis has a dimension scale, so that netCDF readers
(xarray, R, Julia) show names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from qdpem.events.tables import TEXT, Column, Table
from qdpem.metrics.definitions import METRICS

SCHEMA_VERSION = 1
"""Increased whenever a reader of the old layout could misread the new one."""

TITLE = "qdpem record: one run of one arm"
METRICS_GROUP = "metrics"
POLICY_OUTPUTS_GROUP = "policy_outputs"
FILES_GROUP = "files"
PROVENANCE_GROUP = "provenance"

ROW = "row"
"""The name of the only axis of a table, and of the data set that numbers it."""

CHUNK_ROWS = 4096
"""Rows of one chunk, the unit that HDF5 compresses and reads."""
CHUNK_VALUES = 65536
"""Largest number of values in one chunk, which limits the rows of wide outputs."""
# Shuffling bytes makes numbers compress well even at the fastest level; the checksum finds damage on reading.
FILTERS: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}


def create_table(file: Any, table: Table) -> Any:
    """Create and return a group with the columns of the table, all empty, in their order."""
    group = file.create_group(table.name, track_order=True)
    scale = create_axis(group, ROW, meaning="number of the row, in the order of recording")
    for column in table.columns:
        data = create_column(group, column.name, dtype=column.dtype)
        data.dims[0].attach_scale(scale)
        describe(data, column)
    return group


def create_axis(group: Any, name: str, *, length: int | None = None, meaning: str = "") -> Any:
    """Create a dimension scale that numbers an axis from 0.

    It has a fixed `length`, or is empty and extendable if that is None.
    """
    if length is None:
        scale = create_column(group, name, dtype="int64")
    else:
        # HDF5 has no chunks, and so no filters, for an empty data set of fixed size.
        scale = group.create_dataset(name, data=np.arange(length), **(FILTERS if length else {}))
    scale.make_scale(name)
    scale.attrs["units"] = ""
    scale.attrs["meaning"] = meaning
    return scale


def create_column(group: Any, name: str, *, dtype: Any, shape: tuple[int, ...] = ()) -> Any:
    """Create an empty data set, extendable along its first axis; `shape` is that of one row."""
    # Filters would see the addresses of texts, not the texts: HDF5 refuses to check them.
    filters = {} if dtype == TEXT else FILTERS
    values = max(int(np.prod(shape)), 1)
    rows = min(max(CHUNK_VALUES // values, 1), CHUNK_ROWS)
    return group.create_dataset(
        name,
        shape=(0, *shape),
        maxshape=(None, *shape),
        chunks=(rows, *(max(size, 1) for size in shape)),
        dtype=h5py.string_dtype("utf-8") if dtype == TEXT else dtype,
        **filters,
    )


def read_column(data: Any, rows: slice = slice(None)) -> NDArray[Any]:
    """The rows of a data set; text as text, not as bytes."""
    if h5py.check_string_dtype(data.dtype):
        return np.asarray(data.asstr()[rows], dtype=np.str_)
    return np.asarray(data[rows])


def describe(data: Any, column: Column) -> None:
    """Attach unit, meaning and words of a column to its data set."""
    data.attrs["units"] = column.unit
    data.attrs["meaning"] = column.meaning
    if column.words:
        data.attrs["words"] = list(column.words)


def extend(group: Any, columns: Mapping[str, NDArray[Any]]) -> None:
    """Append rows to all columns of a group, and to its row numbers."""
    first = len(group[ROW])
    last = first + len(next(iter(columns.values())))
    for name, values in (*columns.items(), (ROW, np.arange(first, last))):
        data = group[name]
        data.resize(last, axis=0)
        # h5py writes text from objects only.
        data[first:last] = values.astype(object) if values.dtype.kind == "U" else values


def write_metrics(file: Any, metrics: Mapping[str, float]) -> None:
    """Each metric as a scalar float64 with its unit and meaning, in the order given."""
    known = {metric.name: metric for metric in METRICS}
    group = file.create_group(METRICS_GROUP, track_order=True)
    for name, value in metrics.items():
        data = group.create_dataset(name, data=np.float64(value))
        data.attrs["units"] = known[name].unit if name in known else ""
        data.attrs["meaning"] = known[name].meaning if name in known else ""

"""From a journal to the HDF5 file of its record, which appears under its name whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from qdpem.events.tables import TABLES, Columns
from qdpem.records.journal.contents import Contents, empty_value
from qdpem.records.journal.frames import Frame
from qdpem.records.schema import (
    CHUNK_ROWS,
    FILES_GROUP,
    FILTERS,
    POLICY_OUTPUTS_GROUP,
    PROVENANCE_GROUP,
    ROW,
    create_axis,
    create_column,
    create_table,
    extend,
    write_metrics,
)
from qdpem.records.seal import seal

_BLOCK_ROWS = 4 * CHUNK_ROWS
"""Rows written together: a last chunk that is not full would be compressed again by the next block."""


def write_record(contents: Contents, path: Path) -> None:
    """Write the contents of a journal as the record at `path`, in place of any other.

    The file is built beside `path`, sealed, brought to the disk and only then renamed: a kill at any moment
    leaves what was at `path` before, or the new record. Raises OSError or RuntimeError when it cannot be
    written.
    """
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with h5py.File(unfinished, "w") as file:
            _write(contents, file)
        seal(unfinished)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(directory: Path) -> None:
    """Bring the names in a directory to the disk, so that a power cut does not undo a rename."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        # Some file systems cannot do this to a directory.
        pass
    finally:
        os.close(descriptor)


def _write(contents: Contents, file: Any) -> None:
    descriptor = contents.descriptor
    file.attrs.update(contents.attributes | {"complete": int(contents.complete)})
    file.create_group(PROVENANCE_GROUP).attrs.update(contents.provenance)
    for table in TABLES:
        if table.name in contents.tables:
            group = create_table(file, table)
            for columns in _blocks(contents.tables[table.name], table.names, descriptor):
                extend(group, columns)
    for name, frame in contents.files.items():
        _write_file(file.require_group(FILES_GROUP), name, frame.read(descriptor, name))
    if names := contents.output_names():
        _write_outputs(file, contents, names)
    if contents.metrics is not None:
        write_metrics(file, contents.metrics)


def _blocks(table: list[Frame], names: tuple[str, ...], descriptor: int) -> Iterator[Columns]:
    """The rows of a table in blocks large enough to compress well, and small enough for the memory."""
    waiting: list[Frame] = []
    for number, frame in enumerate(table, start=1):
        waiting.append(frame)
        if number == len(table) or sum(one.facts["rows"] for one in waiting) >= _BLOCK_ROWS:
            yield {name: np.concatenate([one.read(descriptor, name) for one in waiting]) for name in names}
            waiting.clear()


def _write_file(group: Any, name: str, data: NDArray[Any]) -> None:
    stored = group.create_dataset(name, data=data, **FILTERS)
    stored.dims[0].attach_scale(create_axis(group, f"{name}_byte", length=len(data)))
    stored.attrs["units"] = ""
    stored.attrs["meaning"] = "the bytes of the embedded file"


def _write_outputs(file: Any, contents: Contents, names: tuple[str, ...]) -> None:
    """The policy outputs; decisions before the first output of a name hold its empty value."""
    group = file.create_group(POLICY_OUTPUTS_GROUP, track_order=True)
    create_axis(group, ROW, meaning="row of the table decisions")
    layouts = {name: (dtype, shape) for frame in contents.outputs for name, dtype, shape in frame.layout}
    for name in names:
        dtype, shape = layouts[name]
        _create_output(group, name, np.dtype(dtype), shape[1:], policy=contents.attributes["policy"])
    for frame in contents.outputs:
        extend(group, {name: _rows_of(frame, name, layouts, contents.descriptor) for name in names})


def _rows_of(
    frame: Frame, name: str, layouts: Mapping[str, tuple[str, tuple[int, ...]]], descriptor: int
) -> NDArray[Any]:
    if name in frame.names:
        return frame.read(descriptor, name)
    dtype, shape = layouts[name]
    return np.full((frame.facts["rows"], *shape[1:]), empty_value(np.dtype(dtype)), dtype=dtype)


def _create_output(
    group: Any, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], *, policy: str
) -> None:
    data = create_column(group, name, dtype=dtype, shape=shape)
    data.dims[0].attach_scale(group[ROW])
    for axis, size in enumerate(shape, start=1):
        data.dims[axis].attach_scale(create_axis(group, f"{name}_axis_{axis}", length=size))
    data.attrs["units"] = ""
    data.attrs["meaning"] = f"output of the policy {policy}, one row per decision"

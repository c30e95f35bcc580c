"""Streams the rows of one run to an HDF5 file that stays readable if the run stops at any moment."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from qdpem.errors import RecordError
from qdpem.events.recorder import Row
from qdpem.events.tables import TABLES, Columns, Table, Tables, kept_at
from qdpem.provenance import provenance
from qdpem.records.policy_outputs import PolicyOutputs
from qdpem.records.row_buffer import RowBuffer
from qdpem.records.schema import (
    CHUNK_ROWS,
    FILES_GROUP,
    FILTERS,
    PROVENANCE_GROUP,
    SCHEMA_VERSION,
    TITLE,
    create_axis,
    create_table,
    extend,
    read_column,
    stored_bytes,
    write_metrics,
)
from qdpem.records.spill import Spill
from qdpem.scenario.load import scenario_hash, scenario_text
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.fingerprint import code_digest, distributions, input_digest
from qdpem.strict_json import json_text

FLUSH_EVERY_S = 10.0
"""Wall time after which rows are written out however few they are."""

_BLOCK_ROWS = 4 * CHUNK_ROWS
"""Rows of a table that are written together. A last chunk that is not full is compressed again each time."""
_MARGIN_BYTES = 1 << 20
_COLUMN_BYTES = 2 * CHUNK_ROWS * 8 + 4096
"""An upper limit to what rewriting a column's last chunk and its part of the index takes."""
_OUTPUT_BLOCK_BYTES = 16 << 20


class RecordWriter:
    """A recorder that writes to `path`, whole blocks at a time; use it in a `with` statement.

    The attribute `complete` of the file is 0 until `close_complete`. When an error or Ctrl-C stops the run,
    the rows recorded so far are written on the way out. When the process is killed, the file holds all rows
    up to the last flush. An existing file is replaced, so check it with `open_record` first.

    Disk space is reserved BEFORE a block is written, because HDF5 loses the whole file when a write fails
    half-way. All methods raise RecordError when the disk is full or the file cannot be written.
    """

    def __init__(self, path: str | Path, *, scenario: Scenario, arm: Arm, seed: int) -> None:
        self.path = Path(path)
        self._buffers = {table.name: RowBuffer(table) for table in TABLES}
        self._recorded = kept_at(scenario.record.level)
        self._counts = dict.fromkeys(self._buffers, 0)
        self._safe_rows = 0
        self._failed = self._closed = False
        self._time_s = 0.0
        self._flushed_at_s = time.monotonic()
        # Metrics need all tables, whatever the level keeps.
        omitted = [table for table in TABLES if table not in self._recorded]
        self._spill = Spill(omitted, directory=self.path.parent)
        self._file = self._create(scenario, arm, seed)
        self._outputs = PolicyOutputs(self._file, level=scenario.record.level, policy=arm.policy or arm.name)

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not (self._failed or self._closed):
                self.flush()
        except RecordError:
            # An error of the run is the cause; one of the last flush must not hide it.
            if error is None:
                raise
        finally:
            self.close()

    def appender(self, table: Table) -> Callable[[Row], None]:
        """A function that takes one row of `table`, in column order."""
        return self._buffers[table.name].rows.append

    def policy_outputs(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Record what a policy put out for the last rows of `decisions`.

        Level "full" keeps all outputs, level "events" the small ones. Raises PolicyError for outputs that are
        not numbers or that change their shape.
        """
        self._outputs.add(outputs, decisions=self._count("decisions"))

    def tick(self, time_s: float) -> None:
        """Write out the rows gathered so far, if they fill a block or have waited for 10 s of wall time."""
        self._time_s = time_s
        # As columns, waiting rows need a fraction of the memory.
        for buffer in self._buffers.values():
            buffer.settle()
        full = any(len(buffer) >= _BLOCK_ROWS for buffer in self._buffers.values())
        heavy = self._outputs.pending_bytes >= _OUTPUT_BLOCK_BYTES
        if full or heavy or time.monotonic() - self._flushed_at_s >= FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write all rows recorded so far; a process killed after this loses none of them."""
        tables = {name: buffer.columns() for name, buffer in self._buffers.items() if len(buffer)}
        sizes = [
            stored_bytes(column) + _COLUMN_BYTES for table in tables.values() for column in table.values()
        ]
        self._reserve_space(sum(sizes) + 2 * self._outputs.pending_bytes)
        self._guarded(lambda: self._write(tables))
        # Only after the write has succeeded: an error message reports this number.
        self._safe_rows = sum(self._counts[table.name] for table in self._recorded)
        self._flushed_at_s = time.monotonic()

    def tables(self) -> Tables:
        """Every table recorded so far, including those that this record's level leaves out of the file."""
        self.flush()
        tables: dict[str, Columns] = {}
        for table in TABLES:
            if table in self._recorded:
                group = self._file[table.name]
                tables[table.name] = {name: read_column(group[name]) for name in table.names}
            else:
                tables[table.name] = self._spill.read(table.name)
        return tables

    def embed(self, name: str, data: bytes) -> None:
        """Store a file (weights of a policy or forecaster) under /files, byte for byte.

        Raises RecordError for an empty file and for a name with a slash.
        """
        if not name or "/" in name or not data:
            raise RecordError(f"the file {name!r} cannot be embedded: it needs a plain name and some bytes")
        self._reserve_space(2 * len(data))

        def write() -> None:
            group = self._file.require_group(FILES_GROUP)
            stored = group.create_dataset(name, data=np.frombuffer(data, dtype=np.uint8), **FILTERS)
            stored.dims[0].attach_scale(create_axis(group, f"{name}_byte", length=len(data)))
            stored.attrs["units"] = ""
            stored.attrs["meaning"] = "the bytes of the embedded file"
            self._file.flush()

        self._guarded(write)

    def close_complete(self, metrics: Mapping[str, float], wall: Mapping[str, float]) -> None:
        """Write the last rows, the metrics and the wall-clock figures (attributes of /provenance); close."""
        self.flush()
        self._reserve_space(_COLUMN_BYTES)

        def finish() -> None:
            write_metrics(self._file, metrics)
            for name, value in wall.items():
                self._file[PROVENANCE_GROUP].attrs[name] = value
            self._file.flush()
            # Marked only when all else has left the process: a run killed here counts as incomplete.
            self._file.attrs.modify("complete", 1)
            self._file.flush()

        self._guarded(finish)
        self.close()

    def close(self) -> None:
        """Close the file as it is. Unless `close_complete` came before, it stays marked incomplete."""
        if self._closed:
            return
        # First, so that a failure below does not lead to a second attempt.
        self._closed = True
        self._spill.close()
        try:
            self._release_space()
            self._file.close()
        except (OSError, RuntimeError) as error:
            if not self._failed:
                raise RecordError(f"the record {self.path} was not closed cleanly: {error}") from error

    def _create(self, scenario: Scenario, arm: Arm, seed: int) -> Any:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Append mode: if the disk is full, the file that was there is still whole.
            _reserve(self.path, _MARGIN_BYTES + _COLUMN_BYTES, mode="ab")
            self._file = h5py.File(self.path, "w")
        except OSError as error:
            raise RecordError(f"the record {self.path} cannot be created: {_reason(error)}") from error
        try:
            self._reserve_space(_COLUMN_BYTES)
            self._guarded(lambda: self._write_header(scenario, arm, seed))
        except RecordError:
            self.close()
            raise
        return self._file

    def _write_header(self, scenario: Scenario, arm: Arm, seed: int) -> None:
        self._file.attrs.update(
            {
                "title": TITLE,
                "schema_version": SCHEMA_VERSION,
                "complete": 0,
                "scenario": scenario_text(scenario),
                "scenario_name": scenario.name,
                "scenario_hash": scenario_hash(scenario),
                "seed": seed,
                "physics": scenario.physics.model,
                "physics_parameters": json_text(scenario.physics.parameters),
                "level": str(scenario.record.level),
                "arm": arm.name,
                "policy": arm.policy or arm.name,
                "control": str(arm.control or ""),
                "pregeneration": str(arm.pregeneration or ""),
                "forecaster": arm.forecaster or "",
                "arm_parameters": json_text(arm.parameters),
            }
        )
        group = self._file.create_group(PROVENANCE_GROUP)
        group.attrs.update(provenance(scenario_hash=scenario_hash(scenario)))
        group.attrs["code"] = code_digest(scenario, arm)
        group.attrs["inputs"] = input_digest(scenario)
        group.attrs.update(distributions(scenario, (arm,)))
        group.attrs["written_until_s"] = 0.0
        for table in self._recorded:
            create_table(self._file, table)
        self._file.flush()

    def _write(self, tables: Mapping[str, Columns]) -> None:
        for name, columns in tables.items():
            if name in self._spill:
                self._spill.add(name, columns)
            else:
                extend(self._file[name], columns)
            # The buffer gives its rows up only when they are written.
            self._counts[name] += len(self._buffers[name])
            self._buffers[name].clear()
        self._outputs.write(decisions=self._counts["decisions"])
        # `modify` changes the value in place. Assignment would delete the attribute first.
        self._file[PROVENANCE_GROUP].attrs.modify("written_until_s", self._time_s)
        # To the operating system, which outlives a killed process. Without fsync a power cut may lose it.
        self._file.flush()

    def _count(self, table: str) -> int:
        return self._counts[table] + len(self._buffers[table])

    def _reserve_space(self, needed_bytes: int) -> None:
        """Let the file system reserve the bytes, so that HDF5 cannot run out of space half-way."""
        if self._failed or self._closed:
            raise RecordError(f"the record {self.path} is closed; nothing more can be written to it")
        try:
            _reserve(self.path, needed_bytes + _MARGIN_BYTES, after_bytes=self._file.id.get_filesize())
        except OSError as error:
            self._fail(error)

    def _release_space(self) -> None:
        size_bytes = self._file.id.get_filesize()
        # The reserved bytes that HDF5 did not use.
        if self.path.stat().st_size > size_bytes:
            os.truncate(self.path, size_bytes)

    def _guarded(self, write: Callable[[], None]) -> None:
        try:
            write()
            self._release_space()
        # h5py raises RuntimeError for some failures of HDF5.
        except (OSError, RuntimeError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._failed = True
        raise RecordError(
            f"the record {self.path} cannot be written any further: {_reason(error)}; it keeps the first"
            f" {self._safe_rows} rows and is marked incomplete. Free some space or choose another place"
            " and run again."
        ) from error


def _reserve(path: Path, needed_bytes: int, *, after_bytes: int = 0, mode: str = "r+b") -> None:
    """Reserve `needed_bytes` behind the first `after_bytes` of a file; OSError when the disk is too full."""
    # Checked first, because a reservation that fails half-way may leave the disk full.
    if shutil.disk_usage(path.parent).free < needed_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with path.open(mode) as file:
        # macOS lacks it; there the check above must do.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, after_bytes + needed_bytes)


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if number else str(error)

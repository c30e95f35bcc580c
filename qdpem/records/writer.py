"""Streams the rows of one run to an HDF5 file that stays readable whatever happens to the run."""

from __future__ import annotations

import errno
import json
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

from physics.plugins import distribution_of
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
    write_metrics,
)
from qdpem.records.spill import Spill
from qdpem.scenario.load import scenario_hash, scenario_text
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.fingerprint import code_digest

FLUSH_EVERY_S = 10.0
"""Wall time after which even few rows are written out."""

_BLOCK_ROWS = 4 * CHUNK_ROWS
"""Of a table, written out at once: its last chunk, seldom full, is compressed anew with every block."""
_MARGIN_BYTES = 1 << 20
_COLUMN_BYTES = 2 * CHUNK_ROWS * 8 + 4096
"""More than a column's last chunk, written anew, and its share of the index can take."""
_CHOICE_BLOCK_BYTES = 16 << 20


class RecordWriter:
    """A recorder that writes to `path`, whole blocks at a time; use it in a `with` statement.

    The file says `complete = 0` until `close_complete`. When the run stops early (an error, Ctrl-C), what
    was recorded is written on the way out; when the process is killed, the file holds all rows of the
    last flush. An existing file is replaced: ask `open_record` first whether it may be.

    Room on the disk is claimed BEFORE a block is written, because HDF5 loses the whole file when a write
    fails half-way. All methods raise RecordError when the disk is full or the file cannot be written.
    """

    def __init__(self, path: str | Path, *, scenario: Scenario, arm: Arm, seed: int) -> None:
        self.path = Path(path)
        self._blocks = {table.name: RowBuffer(table) for table in TABLES}
        self._kept = kept_at(scenario.record.level)
        self._counts = dict.fromkeys(self._blocks, 0)
        self._kept_rows = 0
        self._failed = self._closed = False
        self._time_s = 0.0
        self._flushed_at_s = time.monotonic()
        left_out = [table for table in TABLES if table not in self._kept]
        self._aside = Spill(left_out, directory=self.path.parent)
        self._file = self._create(scenario, arm, seed)
        self._choices = PolicyOutputs(self._file, level=scenario.record.level, policy=arm.policy or arm.name)

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not (self._failed or self._closed):
                self.flush()
        except RecordError:
            if error is None:
                raise
        finally:
            self.close()

    def appender(self, table: Table) -> Callable[[Row], None]:
        """A function that takes one row of `table`, in column order."""
        return self._blocks[table.name].rows.append

    def policy_outputs(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Notes for the last rows of `decisions`: at level "full" all, at "events" the small ones.

        Raises PolicyError for notes that are no numbers or change their shape.
        """
        self._choices.note(outputs, decisions=self._count("decisions"))

    def tick(self, time_s: float) -> None:
        """Write out what has gathered, if it is a block's worth or has waited for 10 s of wall time."""
        self._time_s = time_s
        for block in self._blocks.values():
            block.settle()
        full = any(len(block) >= _BLOCK_ROWS for block in self._blocks.values())
        heavy = self._choices.waiting_bytes >= _CHOICE_BLOCK_BYTES
        if full or heavy or time.monotonic() - self._flushed_at_s >= FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write all rows recorded so far; a process killed after this loses none of them."""
        tables = {name: block.columns() for name, block in self._blocks.items() if len(block)}
        sizes = [column.nbytes + _COLUMN_BYTES for table in tables.values() for column in table.values()]
        self._claim_room(sum(sizes) + 2 * self._choices.waiting_bytes)
        self._guarded(lambda: self._write(tables))
        self._kept_rows = sum(self._counts[table.name] for table in self._kept)
        self._flushed_at_s = time.monotonic()

    def tables(self) -> Tables:
        """Every table recorded so far, those that this record's level leaves out of the file included."""
        self.flush()
        found: dict[str, Columns] = {}
        for table in TABLES:
            if table in self._kept:
                group = self._file[table.name]
                found[table.name] = {name: group[name][:] for name in table.names}
            else:
                found[table.name] = self._aside.read(table.name)
        return found

    def embed(self, name: str, data: bytes) -> None:
        """Put a file (weights of a policy or forecaster) under /files, byte for byte."""
        if not name or "/" in name or not data:
            raise RecordError(f"the file {name!r} cannot be embedded: it needs a plain name and some bytes")
        self._claim_room(2 * len(data))

        def write() -> None:
            group = self._file.require_group(FILES_GROUP)
            stored = group.create_dataset(name, data=np.frombuffer(data, dtype=np.uint8), **FILTERS)
            stored.dims[0].attach_scale(create_axis(group, f"{name}_byte", length=len(data)))
            stored.attrs["units"] = ""
            stored.attrs["meaning"] = "the bytes of this file"
            self._file.flush()

        self._guarded(write)

    def close_complete(self, metrics: Mapping[str, float], wall: Mapping[str, float]) -> None:
        """Write the last rows, the metrics and wall-clock figures (attributes of /provenance); close."""
        self.flush()
        self._claim_room(_COLUMN_BYTES)

        def finish() -> None:
            write_metrics(self._file, metrics)
            for name, value in wall.items():
                self._file[PROVENANCE_GROUP].attrs[name] = value
            self._file.flush()
            self._file.attrs.modify("complete", 1)
            self._file.flush()

        self._guarded(finish)
        self.close()

    def close(self) -> None:
        """Close the file as it is; without `close_complete` before, it stays marked incomplete."""
        if self._closed:
            return
        self._closed = True
        self._aside.close()
        try:
            self._give_back_room()
            self._file.close()
        except (OSError, RuntimeError) as error:
            if not self._failed:
                raise RecordError(f"the record {self.path} was not closed cleanly: {error}") from error

    def _create(self, scenario: Scenario, arm: Arm, seed: int) -> Any:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _reserve(self.path, _MARGIN_BYTES + _COLUMN_BYTES, mode="ab")
            self._file = h5py.File(self.path, "w")
        except OSError as error:
            raise RecordError(f"the record {self.path} cannot be created: {_reason(error)}") from error
        try:
            self._claim_room(_COLUMN_BYTES)
            self._guarded(lambda: self._write_head(scenario, arm, seed))
        except RecordError:
            self.close()
            raise
        return self._file

    def _write_head(self, scenario: Scenario, arm: Arm, seed: int) -> None:
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
                "physics_parameters": json.dumps(scenario.physics.parameters, sort_keys=True),
                "level": str(scenario.record.level),
                "arm": arm.name,
                "policy": arm.policy or arm.name,
                "control": str(arm.control or ""),
                "pregeneration": str(arm.pregeneration or ""),
                "forecaster": arm.forecaster or "",
                "arm_parameters": json.dumps(arm.parameters, sort_keys=True),
            }
        )
        facts = self._file.create_group(PROVENANCE_GROUP)
        facts.attrs.update(provenance(scenario_hash=scenario_hash(scenario)))
        facts.attrs["code"] = code_digest(scenario, arm)
        facts.attrs["physics_distribution"] = distribution_of(scenario.physics.model)
        facts.attrs["written_until_s"] = 0.0
        for table in self._kept:
            create_table(self._file, table)
        self._file.flush()

    def _write(self, tables: Mapping[str, Columns]) -> None:
        for name, columns in tables.items():
            if name in self._aside:
                self._aside.add(name, columns)
            else:
                extend(self._file[name], columns)
            self._counts[name] += len(self._blocks[name])
            self._blocks[name].clear()
        self._choices.write(decisions=self._counts["decisions"])
        self._file[PROVENANCE_GROUP].attrs.modify("written_until_s", self._time_s)
        self._file.flush()

    def _count(self, table: str) -> int:
        return self._counts[table] + len(self._blocks[table])

    def _claim_room(self, needed_bytes: int) -> None:
        """Make the file system set the bytes aside, so that HDF5 cannot run out of them half-way."""
        if self._failed or self._closed:
            raise RecordError(f"the record {self.path} is closed; nothing more can be written to it")
        try:
            _reserve(self.path, needed_bytes + _MARGIN_BYTES, after_bytes=self._file.id.get_filesize())
        except OSError as error:
            self._fail(error)

    def _give_back_room(self) -> None:
        size_bytes = self._file.id.get_filesize()
        if self.path.stat().st_size > size_bytes:
            os.truncate(self.path, size_bytes)

    def _guarded(self, write: Callable[[], None]) -> None:
        try:
            write()
            self._give_back_room()
        except (OSError, RuntimeError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._failed = True
        raise RecordError(
            f"the record {self.path} cannot be written any further: {_reason(error)}; it keeps the first"
            f" {self._kept_rows} rows and is marked incomplete. Free some space or choose another place"
            " and run again."
        ) from error


def _reserve(path: Path, needed_bytes: int, *, after_bytes: int = 0, mode: str = "r+b") -> None:
    """Claim `needed_bytes` behind the first `after_bytes` of a file; OSError when they are not to be had."""
    if shutil.disk_usage(path.parent).free < needed_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with path.open(mode) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, after_bytes + needed_bytes)


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if number else str(error)

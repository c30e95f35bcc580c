"""Streams the rows of one run to a journal beside its record, and makes the record of it at the end."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from qdpem.errors import RecordError
from qdpem.events.full_tables import REWARDS
from qdpem.events.recorder import Row, named_row
from qdpem.events.tables import TABLES, Columns, Table, Tables, kept_at
from qdpem.file_lock import HeldError
from qdpem.metrics.reward import rewards
from qdpem.records.buffers.policy_outputs import PolicyOutputs
from qdpem.records.buffers.row_buffer import RowBuffer
from qdpem.records.buffers.spill import Spill
from qdpem.records.journal.contents import Contents, read_contents
from qdpem.records.journal.journal import Journal, journal_path
from qdpem.records.journal.recovery import put_away_journal, recover, settle
from qdpem.records.origin import record_attributes, record_provenance
from qdpem.records.schema import CHUNK_ROWS
from qdpem.scenario.schema import Arm, Scenario
from qdpem.scenario.words import RecordLevel

FLUSH_EVERY_S = 10.0
"""Wall time after which rows are written out however few they are."""

_BLOCK_ROWS = 4 * CHUNK_ROWS
"""Rows of a table that are written together."""
_OUTPUT_BLOCK_BYTES = 16 << 20

_reward_row = named_row(REWARDS)


class RecordWriter:
    """A recorder that writes the record at `path`; use it in a `with` statement.

    While the run is on, whole blocks of rows go to a journal beside `path`, which this process alone may
    write. At the end the journal becomes the record, under its name at once:

        on        the journal is locked and grows; a file at `path` is that of an earlier run
        ended     `close_complete`: the journal holds the metrics too; its record replaces the file at `path`
        stopped   the `with` statement ends before: the record is marked incomplete, and replaces nothing
        failed    a write failed: the journal holds what was flushed; nothing more is written
        killed    the same, but the lock is free: whoever reads or runs next makes the record

    All methods raise RecordError when the disk is full or the file cannot be written, and the constructor
    when another process writes this record.

    Args:
        path: of the record.
        scenario: of the run.
        arm: of the run.
        seed: root seed of the run.
        facts: the attributes of /provenance; by default those of this version, machine and time.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        scenario: Scenario,
        arm: Arm,
        seed: int,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self._buffers = {table.name: RowBuffer(table) for table in TABLES}
        self._recorded = kept_at(scenario.record.level)
        self._reward = scenario.reward
        self._counts = dict.fromkeys(self._buffers, 0)
        self._safe_rows = 0
        self._failed = self._closed = False
        self._time_s = 0.0
        self._flushed_at_s = time.monotonic()
        self._outputs = PolicyOutputs(level=scenario.record.level, policy=arm.policy or arm.name)
        self._journal = self._begin(scenario, arm, seed, facts)
        # Where the rows are.
        self._place = self._journal.path
        # Metrics need all tables, whatever the level keeps.
        omitted = [table for table in TABLES if self.wants(table) and table not in self._recorded]
        self._spill = Spill(omitted, directory=self.path.parent)

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
            if error is not None and self._safe_rows:
                error.add_note(f"{self._safe_rows} rows are kept in {self._place}, marked incomplete.")

    def wants(self, table: Table) -> bool:
        """Whether the record keeps `table`, or its metrics need it."""
        return table in self._recorded or table.level is not RecordLevel.FULL

    def appender(self, table: Table) -> Callable[[Row], None]:
        """A function that takes one row of `table`, as `named_row` makes it."""
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
        self._guarded(self._write)
        # Only after the write has succeeded: an error message reports this number.
        self._safe_rows = sum(self._counts[table.name] for table in self._recorded)
        self._flushed_at_s = time.monotonic()

    def tables(self) -> Tables:
        """Every table that metrics or the record need, recorded so far, also those left out of the file."""
        self.flush()
        contents = self._contents()
        if contents.damaged:
            raise RecordError(
                f"{self._journal.path} was damaged or changed by another program while the run wrote it, so"
                " nothing can be measured; run again, and check the disk if it happens twice"
            )
        tables: dict[str, Columns] = {}
        for table in filter(self.wants, TABLES):
            if table in self._recorded:
                tables[table.name] = {
                    column.name: contents.column(table.name, column.name, dtype=column.dtype)
                    for column in table.columns
                }
            else:
                tables[table.name] = self._spill.read(table.name)
        return tables

    def embed(self, name: str, data: bytes) -> None:
        """Store a file (weights of a policy or forecaster) under /files, byte for byte.

        Raises RecordError for an empty file and for a name with a slash.
        """
        if not name or "/" in name or not data:
            raise RecordError(f"the file {name!r} cannot be embedded: it needs a plain name and some bytes")
        self._guarded(lambda: self._journal.embed(name, data))

    def close_complete(self, metrics: Mapping[str, float], wall: Mapping[str, float]) -> None:
        """Write the last rows, the metrics and the wall-clock figures (attributes of /provenance); close.

        The record replaces the file at `path`. If the disk has no room for it, RecordError names the journal,
        which holds all of it, and whoever opens the record next makes it. At level "full" the rewards are
        computed and written first.
        """
        if REWARDS in self._recorded:
            self._write_rewards()
        self.flush()
        self._guarded(lambda: self._journal.end(metrics, wall))
        self.close()

    def _write_rewards(self) -> None:
        earned = rewards(self.tables(), weights=self._reward)
        write = self.appender(REWARDS)
        for time_s, node, amount in zip(
            earned.time_s.tolist(), earned.site.tolist(), earned.amount.tolist(), strict=True
        ):
            write(_reward_row(time_s=time_s, node=node, amount=amount))

    def close(self) -> None:
        """Make the record of the journal. Unless `close_complete` came before, it is marked incomplete."""
        if self._closed:
            return
        # First, so that a failure below does not lead to a second attempt.
        self._closed = True
        try:
            self._spill.close()
            self._settle()
        except RecordError:
            # The failure before is the one to report. The journal stays, and the next reader tries again.
            if not self._failed:
                raise
        finally:
            # The kernel frees the lock with it.
            self._journal.close()

    def _settle(self) -> None:
        try:
            contents = self._contents()
            self._place = settle(contents, self.path)
        # h5py raises RuntimeError for some failures of HDF5.
        except (OSError, RuntimeError) as error:
            raise RecordError(
                f"the record {self.path} cannot be written: {_reason(error)}. All rows are in"
                f" {self._journal.path}: free some space and open the record, which then is made"
            ) from error
        # Only now: until the record has its name, the journal is all that a kill would leave.
        put_away_journal(self._journal.path, damaged=contents.damaged)

    def _begin(self, scenario: Scenario, arm: Arm, seed: int, given: Mapping[str, Any] | None) -> Journal:
        journal: Journal | None = None
        try:
            if self.path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Before the journal is there, because the facts take time to find and it is empty until they are.
            attributes = record_attributes(scenario, arm, seed)
            facts = record_provenance(scenario, arm) if given is None else given
            # What a killed run has left first becomes a record of its own.
            recover(self.path)
            journal = Journal(journal_path(self.path))
            journal.begin(attributes, dict(facts), tuple(table.name for table in self._recorded))
        except HeldError as error:
            raise RecordError(
                f"the record {self.path} is being written by another process; wait until it has ended, or"
                " choose another place with --out. Nothing was changed"
            ) from error
        except (OSError, RuntimeError) as error:
            if journal is not None:
                journal.path.unlink(missing_ok=True)
                journal.close()
            raise RecordError(f"the record {self.path} cannot be created: {_reason(error)}") from error
        return journal

    def _write(self) -> None:
        tables = {name: buffer.columns() for name, buffer in self._buffers.items() if len(buffer)}
        decisions = self._count("decisions")
        kept = {name: columns for name, columns in tables.items() if name not in self._spill}
        # The journal last: if one of the two fails, it must not hold more than the error message says.
        for name in tables.keys() - kept.keys():
            self._spill.add(name, tables[name])
        self._journal.flush(kept, self._outputs.block(decisions=decisions), time_s=self._time_s)
        for name in tables:
            # The buffer gives its rows up only when they are written.
            self._counts[name] += len(self._buffers[name])
            self._buffers[name].clear()
        self._outputs.clear(decisions=decisions)

    def _contents(self) -> Contents:
        contents = read_contents(self._journal.descriptor)
        assert contents is not None  # its header was written when it began
        return contents

    def _count(self, table: str) -> int:
        return self._counts[table] + len(self._buffers[table])

    def _guarded(self, write: Callable[[], None]) -> None:
        if self._failed or self._closed:
            raise RecordError(f"the record {self.path} is closed; nothing more can be written to it")
        # Until it has succeeded: an interruption half-way leaves it open which rows are written, and none may
        # be written twice.
        self._failed = True
        try:
            write()
        except OSError as error:
            raise RecordError(
                f"the record {self.path} cannot be written any further: {_reason(error)}; it keeps the first"
                f" {self._safe_rows} rows and is marked incomplete. Free some space or choose another place"
                " and run again."
            ) from error
        self._failed = False


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if number else str(error)

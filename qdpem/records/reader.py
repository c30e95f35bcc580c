"""Reads a record back: tables, scenario, arm and metrics; each column when it is first used."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from qdpem.errors import QdpemError, RecordError
from qdpem.events.tables import TABLES
from qdpem.html_tables import html_details, html_heading, html_table
from qdpem.metrics.definitions import METRICS
from qdpem.records.journal.contents import Contents, read_contents
from qdpem.records.journal.journal import journal_path
from qdpem.records.journal.recovery import recover
from qdpem.records.lazy_columns import LazyColumns, StoredColumns
from qdpem.records.schema import (
    FILES_GROUP,
    METRICS_GROUP,
    POLICY_OUTPUTS_GROUP,
    PROVENANCE_GROUP,
    SCHEMA_VERSION,
)
from qdpem.records.seal import check_seal
from qdpem.scenario.load import scenario_from_text
from qdpem.scenario.schema import Arm, Scenario
from qdpem.strict_json import json_value

_ATTEMPTS = 5
"""How often a path is looked at again whose run ends at the same moment."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """One run of one arm, as it was written.

    `tables`: table name -> column name -> array; tables that the record's level leaves out are missing.
    `metrics`: empty unless `complete`. `policy_outputs`: arrays that the policy put out, one row per row of
    `decisions`. `warning`: a sentence when the record is not complete or its path is being written, else "".
    """

    path: Path
    schema_version: int
    scenario: Scenario
    scenario_hash: str
    arm: Arm
    seed: int
    complete: bool
    warning: str
    metrics: Mapping[str, float]
    provenance: Mapping[str, Any]
    tables: Mapping[str, Mapping[str, NDArray[Any]]]
    policy_outputs: Mapping[str, NDArray[Any]]
    files: Mapping[str, NDArray[Any]]

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names of the embedded files."""
        return tuple(self.files)

    def _repr_html_(self) -> str:
        """Arm, seed and scenario, the warning if any, with metrics and tables folded below."""
        units = {metric.name: metric.unit for metric in METRICS}
        metrics = [(name, f"{value:.6g}", units.get(name, "")) for name, value in self.metrics.items()]
        tables = [
            (name, len(next(iter(columns.values()))), ", ".join(columns))
            for name, columns in self.tables.items()
        ]
        title = f"Record of {self.arm.name}, seed {self.seed}, scenario {self.scenario.name}"
        return (
            html_heading(title, self.warning)
            + html_details("metrics", html_table(("metric", "value", "unit"), metrics))
            + html_details("tables", html_table(("table", "rows", "columns"), tables))
        )

    def file(self, name: str) -> bytes:
        """The bytes of an embedded file. Raises RecordError when there is none of this name."""
        if name not in self.files:
            known = ", ".join(self.files) or "none"
            raise RecordError(f"{self.path} embeds no file {name!r}; it has: {known}")
        return self.files[name].tobytes()


def record_exists(path: Path) -> bool:
    """Whether there is a record at `path`, finished or not, or the journal of one."""
    return path.is_file() or journal_path(path).is_file()


def open_record(path: str | Path, *, verify: bool = True) -> Record:
    """The record at `path`.

    The record of a run that did not finish opens, with `complete` False and a `warning`. If the run was
    killed, its journal becomes the record first; if it is on, the record has what the run has written so far,
    unless there is an earlier record at `path`, which then is the one that opens.

    `verify`: read the whole file and compare its digest with the one in its seal, so that a changed bit
    anywhere is an error. Raises RecordError when there is no file, it is not a record, it is cut off, changed
    or damaged, or a newer qdpem wrote it.
    """
    path = Path(path)
    for _ in range(_ATTEMPTS):
        busy = _recovered(path)
        if path.is_file():
            return _stored_record(path, busy=busy, verify=verify)
        if busy and (contents := _journal_contents(path)) is not None:
            return _growing_record(path, contents)
        # The run may have ended between the two looks, and its record be at `path` now.
        if not record_exists(path):
            break
    raise RecordError(f"there is no record at {path}")


def open_file(path: Path, *, verify: bool = True) -> Any:
    """The open HDF5 file of a record that this version can read; RecordError otherwise."""
    if not record_exists(path):
        raise RecordError(f"there is no record at {path}")
    _recovered(path)
    if not path.is_file():
        raise RecordError(f"{path} is being written by another process; try again when it is done")
    try:
        if verify:
            check_seal(path)
        elif not h5py.is_hdf5(path):
            raise RecordError(f"{path} is not an HDF5 file, so it is no record of qdpem")
        file = h5py.File(path, "r")
    except OSError as error:
        raise RecordError(_open_failure(path, error)) from error
    # Before anything else is read: all the rest may differ in a newer layout.
    version = file.attrs.get("schema_version")
    if version is None:
        file.close()
        raise RecordError(f"{path} is an HDF5 file but no record of qdpem: it has no schema_version")
    if int(version) > SCHEMA_VERSION:
        file.close()
        raise RecordError(
            f"{path} has schema version {version}, this qdpem reads up to {SCHEMA_VERSION}: update it"
        )
    return file


def _recovered(path: Path) -> bool:
    """Make the record of a killed run; whether there still is a journal, which is then read in place."""
    try:
        return recover(path)
    except (OSError, RuntimeError):
        # A full disk, or a folder that nobody may write to.
        return True
    except RecordError:
        if path.is_file():
            return True
        raise


def _journal_contents(path: Path) -> Contents | None:
    try:
        descriptor = os.open(journal_path(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    contents = read_contents(descriptor)
    if contents is None:
        os.close(descriptor)
        return None
    # Open as long as the record is in use: its columns stay readable when the run ends and the journal goes.
    weakref.finalize(contents, os.close, descriptor)
    return contents


def _open_failure(path: Path, error: OSError) -> str:
    text = str(error)
    # HDF5 gives no error number for this, only its text.
    if "truncated" in text:
        return f"{path} is cut off: part of the record is missing, and it cannot be read. Run it again."
    return f"{path} cannot be opened: {text}"


def _stored_record(path: Path, *, busy: bool, verify: bool) -> Record:
    # Before it is opened: if another file takes its place from here on, columns are not read from that one.
    read = StoredColumns(path)
    with open_file(path, verify=verify) as file:
        try:
            attributes = dict(file.attrs)
            provenance = {name: _plain(value) for name, value in file[PROVENANCE_GROUP].attrs.items()}
            complete = bool(attributes["complete"])
            return Record(
                path=path,
                complete=complete,
                warning=_warning(path, provenance, complete=complete, busy=busy),
                metrics={name: float(data[()]) for name, data in file.get(METRICS_GROUP, {}).items()},
                provenance=provenance,
                tables={
                    table.name: read.columns(group, tuple(name for name in table.names if name in group))
                    for table in TABLES
                    if (group := file.get(table.name))
                },
                policy_outputs=read.columns(file.get(POLICY_OUTPUTS_GROUP)),
                files=read.columns(file.get(FILES_GROUP)),
                **_origin(path, attributes),
            )
        except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise RecordError(f"{path} cannot be read, the record is damaged: {error}") from error


def _growing_record(path: Path, contents: Contents) -> Record:
    """The record of a journal that is read in place, as far as it was written when it was opened."""
    dtypes = {(table.name, column.name): column.dtype for table in TABLES for column in table.columns}

    def columns(table: str, names: tuple[str, ...]) -> LazyColumns:
        return LazyColumns(names, lambda name: contents.column(table, name, dtype=dtypes[table, name]))

    return Record(
        path=path,
        complete=contents.complete,
        warning=_warning(path, contents.provenance, complete=contents.complete, busy=True),
        metrics=contents.metrics or {},
        provenance=contents.provenance,
        tables={
            table.name: columns(table.name, table.names) for table in TABLES if table.name in contents.tables
        },
        policy_outputs=LazyColumns(contents.output_names(), contents.output),
        files=LazyColumns(tuple(contents.files), contents.file),
        **_origin(path, contents.attributes),
    )


def _origin(path: Path, attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "schema_version": int(attributes["schema_version"]),
        "scenario": _scenario(path, attributes["scenario"]),
        "scenario_hash": attributes["scenario_hash"],
        "arm": _arm(attributes),
        "seed": int(attributes["seed"]),
    }


def _scenario(path: Path, text: str) -> Scenario:
    try:
        return scenario_from_text(text)
    except QdpemError as error:
        raise RecordError(f"the scenario inside {path} cannot be understood: {error}") from error


def _arm(attributes: Mapping[str, Any]) -> Arm:
    return Arm(
        name=attributes["arm"],
        policy=attributes["policy"],
        control=attributes["control"] or None,
        pregeneration=attributes["pregeneration"] or None,
        forecaster=attributes["forecaster"] or None,
        parameters=json_value(attributes["arm_parameters"]),
    )


def _warning(path: Path, provenance: Mapping[str, Any], *, complete: bool, busy: bool) -> str:
    until_s = provenance.get("written_until_s", 0.0)
    sentences = []
    if not complete:
        sentences.append(
            f"{path} is incomplete: the run that wrote it did not finish. It holds the rows written until"
            f" second {until_s:g} and no metrics."
        )
    torn_bytes = provenance.get("torn_bytes", 0)
    if torn_bytes and not busy:
        sentences.append(
            f"The last {torn_bytes} bytes of its journal, of a flush that was cut short, are left out."
        )
    if damaged_bytes := provenance.get("damaged_bytes", 0):
        sentences.append(
            f"The last {damaged_bytes} bytes of its journal are damaged or stand behind damage, and are left"
            " out; the journal is kept beside the record, under a name that ends in .damaged."
        )
    if busy:
        sentences.append(f"{journal_path(path)} is there: another process may be writing this record.")
    return " ".join(sentences)


def _plain(value: Any) -> Any:
    # h5py returns numpy scalars, which JSON cannot write.
    return value.item() if isinstance(value, np.generic) else value

"""Reads a record back: tables, scenario, arm and metrics; each column when it is first used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from qdpem.errors import QdpemError, RecordError
from qdpem.events.tables import TABLES
from qdpem.records.schema import (
    FILES_GROUP,
    METRICS_GROUP,
    POLICY_OUTPUTS_GROUP,
    PROVENANCE_GROUP,
    ROW,
    SCHEMA_VERSION,
    read_column,
)
from qdpem.scenario.load import scenario_from_text
from qdpem.scenario.schema import Arm, Scenario
from qdpem.strict_json import json_value


class LazyColumns(Mapping[str, NDArray[Any]]):
    """Column name -> array, each read from the file when it is first used.

    `rows` cuts all columns to one length (None: whole). After a killed run their lengths may differ.
    """

    def __init__(self, path: Path, group: str, names: tuple[str, ...], *, rows: int | None) -> None:
        self._path, self._group, self._names, self.rows = path, group, names, rows
        self._cache: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._cache:
            if name not in self._names:
                raise KeyError(name)
            self._cache[name] = self._from_file(name)
        return self._cache[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _from_file(self, name: str) -> NDArray[Any]:
        try:
            with h5py.File(self._path, "r") as file:
                return read_column(file[self._group][name], slice(self.rows))
        except (OSError, KeyError, RuntimeError) as error:
            raise RecordError(
                f"column {self._group}/{name} of {self._path} cannot be read, the file is damaged: {error}"
            ) from error


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """One run of one arm, as it was written.

    `tables`: table name -> column name -> array; tables that the record's level leaves out are missing.
    `metrics`: empty unless `complete`. `policy_outputs`: arrays that the policy put out, one row per row of
    `decisions`. `warning`: a sentence when the record is not complete, else "".
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
    file_names: tuple[str, ...]

    def file(self, name: str) -> bytes:
        """The bytes of an embedded file. Raises RecordError when there is none of this name."""
        if name not in self.file_names:
            known = ", ".join(self.file_names) or "none"
            raise RecordError(f"{self.path} embeds no file {name!r}; it has: {known}")
        return LazyColumns(self.path, FILES_GROUP, (name,), rows=None)[name].tobytes()


def open_record(path: str | Path) -> Record:
    """The record at `path`.

    Raises RecordError when there is no file, it is not an HDF5 file or not a record, it is truncated or
    damaged, or a newer qdpem wrote it. The record of a run that did not finish opens, with `complete` False
    and a `warning`.
    """
    path = Path(path)
    with open_file(path) as file:
        try:
            return _record(path, file)
        except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise RecordError(f"{path} cannot be read, the record is damaged: {error}") from error


def open_file(path: Path) -> Any:
    """The open HDF5 file of a record that this version can read; RecordError otherwise."""
    if not path.is_file():
        raise RecordError(f"there is no record at {path}")
    try:
        if not h5py.is_hdf5(path):
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


def _open_failure(path: Path, error: OSError) -> str:
    text = str(error)
    # HDF5 gives no error number for these, only its text.
    if "truncated" in text:
        return f"{path} is cut off: part of the record is missing, and it cannot be read. Run it again."
    if "lock" in text:
        return f"{path} is being written by another process; try again when it is done"
    return f"{path} cannot be opened: {text}"


def _record(path: Path, file: Any) -> Record:
    attributes = dict(file.attrs)
    provenance = {name: _plain(value) for name, value in file[PROVENANCE_GROUP].attrs.items()}
    complete = bool(attributes["complete"])
    return Record(
        path=path,
        schema_version=int(attributes["schema_version"]),
        scenario=_scenario(path, attributes["scenario"]),
        scenario_hash=attributes["scenario_hash"],
        arm=_arm(attributes),
        seed=int(attributes["seed"]),
        complete=complete,
        warning="" if complete else _unfinished(path, provenance),
        metrics={name: float(data[()]) for name, data in file.get(METRICS_GROUP, {}).items()},
        provenance=provenance,
        tables=_tables(path, file),
        policy_outputs=_policy_outputs(path, file),
        file_names=tuple(name for name, data in file.get(FILES_GROUP, {}).items() if not data.is_scale),
    )


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


def _unfinished(path: Path, provenance: Mapping[str, Any]) -> str:
    until_s = provenance.get("written_until_s", 0.0)
    return (
        f"{path} is incomplete: the run that wrote it did not finish. It holds the rows written until"
        f" second {until_s:g} and no metrics."
    )


def _tables(path: Path, file: Any) -> dict[str, Mapping[str, NDArray[Any]]]:
    tables: dict[str, Mapping[str, NDArray[Any]]] = {}
    for table in TABLES:
        if group := file.get(table.name):
            names = tuple(name for name in table.names if name in group)
            # Columns grow one after the other: a run killed meanwhile leaves some longer by one block.
            rows = min(len(group[name]) for name in names)
            tables[table.name] = LazyColumns(path, table.name, names, rows=rows)
    return tables


def _policy_outputs(path: Path, file: Any) -> Mapping[str, NDArray[Any]]:
    group = file.get(POLICY_OUTPUTS_GROUP)
    if group is None:
        return {}
    names = tuple(name for name, data in group.items() if not data.is_scale)
    return LazyColumns(
        path, POLICY_OUTPUTS_GROUP, names, rows=min(len(group[name]) for name in (*names, ROW))
    )


def _plain(value: Any) -> Any:
    # h5py returns numpy scalars, which JSON cannot write.
    return value.item() if isinstance(value, np.generic) else value

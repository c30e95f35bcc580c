"""Columns of a record that are read when they are first used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from qdpem.errors import RecordError
from qdpem.records.schema import read_column


class LazyColumns(Mapping[str, NDArray[Any]]):
    """Column name -> array, each read by `read` when it is first used."""

    def __init__(self, names: tuple[str, ...], read: Callable[[str], NDArray[Any]]) -> None:
        self._names, self._read = names, read
        self._cache: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._cache:
            if name not in self._names:
                raise KeyError(name)
            self._cache[name] = self._read(name)
        return self._cache[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class StoredColumns:
    """Reads columns of the file that is at `path` now, and of no other that takes its place later."""

    def __init__(self, path: Path) -> None:
        self._path, self._identity = path, _identity(path)

    def columns(self, group: Any, names: tuple[str, ...] | None = None) -> LazyColumns:
        """The columns of a group, those called `names` or all that are no scale; none without a group."""
        if group is None:
            return LazyColumns((), self._read)
        if names is None:
            names = tuple(name for name, data in group.items() if not data.is_scale)
        # The name of a group in HDF5 begins with a slash.
        place = str(group.name)[1:]
        return LazyColumns(names, lambda name: self._read(f"{place}/{name}"))

    def _read(self, name: str) -> NDArray[Any]:
        try:
            if _identity(self._path) != self._identity:
                raise RecordError(f"{self._path} was replaced after it was opened; open it again")
            with h5py.File(self._path, "r") as file:
                return read_column(file[name])
        except (OSError, KeyError, RuntimeError) as error:
            raise RecordError(
                f"column {name} of {self._path} cannot be read, the file is damaged: {error}"
            ) from error


def _identity(path: Path) -> tuple[int, int, int]:
    """What tells a file from another one that takes its name."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns

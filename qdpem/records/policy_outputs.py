"""What policies note for the sites asked, as data sets whose first axis is the row of `decisions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.errors import PolicyError
from qdpem.records.schema import POLICY_OUTPUTS_GROUP, ROW, create_axis, create_column, extend

SMALL = 8
"""At level "events" a note is kept if it has at most this many numbers a site."""


class PolicyOutputs:
    """Gathers notes and writes them in blocks; a decision without a note gets NaN, -1 or 0 (unsigned)."""

    def __init__(self, file: Any, *, level: str, policy: str) -> None:
        self._file, self._level, self._policy = file, level, policy
        self._pending: list[tuple[int, dict[str, NDArray[Any]]]] = []
        self._blank: dict[str, NDArray[Any]] = {}
        self._written = 0
        self.waiting_bytes = 0

    def note(self, info: Mapping[str, NDArray[Any]], *, decisions: int) -> None:
        """Take notes for the last rows of the `decisions` recorded so far.

        Raises PolicyError when a note has another shape per site than before, too many rows, a kind of
        value that is no number, or a name that cannot be a data set's.
        """
        kept = {name: _numbers(np.asarray(values)) for name, values in info.items() if self._keeps(values)}
        if not kept:
            return
        for name, values in kept.items():
            self._check(name, values, decisions)
        sites = len(next(iter(kept.values())))
        self._pending.append((decisions - sites, kept))
        self.waiting_bytes += sum(values.nbytes for values in kept.values())

    def write(self, *, decisions: int) -> None:
        """Bring every data set to the length of `decisions`."""
        if not self._blank or decisions == self._written:
            return
        group = self._group()
        count = decisions - self._written
        block = {name: np.repeat(blank[np.newaxis], count, axis=0) for name, blank in self._blank.items()}
        for first, info in self._pending:
            for name, values in info.items():
                start = first - self._written
                block[name][start : start + len(values)] = values
        extend(group, block)
        self._written, self._pending, self.waiting_bytes = decisions, [], 0

    def _keeps(self, values: NDArray[Any]) -> bool:
        if self._level == "requests":
            return False
        array = np.asarray(values)
        wide = [size for size in array.shape[1:] if size != 1]
        return self._level == "full" or len(wide) == 0 or (len(wide) == 1 and wide[0] <= SMALL)

    def _check(self, name: str, values: NDArray[Any], decisions: int) -> None:
        if not name or "/" in name or name == ROW or name.startswith("."):
            raise PolicyError(f"{self._policy} notes {name!r}; a note's name must be a plain word")
        if values.ndim == 0 or values.dtype.kind not in "iuf":
            raise PolicyError(
                f"{self._policy} notes {name!r} of type {values.dtype} and shape {values.shape}; it must be"
                " numbers with one row per site asked"
            )
        if decisions - len(values) < self._written:
            raise PolicyError(
                f"{self._policy} notes {name!r} for {len(values)} sites, more than were just asked"
            )
        blank = self._blank.setdefault(name, _blank(values))
        if blank.shape != values.shape[1:]:
            raise PolicyError(
                f"{self._policy} notes {name!r} of shape {values.shape[1:]} per site after {blank.shape};"
                " it must be one shape for the whole run"
            )

    def _group(self) -> Any:
        """The group with a data set for every name; one that comes late is blank before."""
        if POLICY_OUTPUTS_GROUP not in self._file:
            group = self._file.create_group(POLICY_OUTPUTS_GROUP, track_order=True)
            create_axis(group, ROW, meaning="row of the table decisions")
        group = self._file[POLICY_OUTPUTS_GROUP]
        for name, blank in self._blank.items():
            if name not in group:
                self._create(group, name, blank)
        return group

    def _create(self, group: Any, name: str, blank: NDArray[Any]) -> None:
        data = create_column(group, name, dtype=blank.dtype, shape=blank.shape)
        data.dims[0].attach_scale(group[ROW])
        for axis, size in enumerate(blank.shape, start=1):
            scale = create_axis(group, f"{name}_axis_{axis}", length=size)
            data.dims[axis].attach_scale(scale)
        data.attrs["units"] = ""
        data.attrs["meaning"] = f"noted by {self._policy}"
        if self._written:
            data.resize(self._written, axis=0)
            data[:] = np.repeat(blank[np.newaxis], self._written, axis=0)


def _numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Truth values as int8, because netCDF has no others; a copy, because the policy may reuse its own."""
    return values.astype(np.int8) if values.dtype.kind == "b" else values.copy()


def _blank(values: NDArray[Any]) -> NDArray[Any]:
    empty = {"f": np.nan, "i": -1, "u": 0}[values.dtype.kind]
    return np.full(values.shape[1:], empty, dtype=values.dtype)

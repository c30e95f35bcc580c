"""Arrays that policies return beside their decisions, with one row per row of the table `decisions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.errors import PolicyError
from qdpem.records.schema import POLICY_OUTPUTS_GROUP, ROW, create_axis, create_column, extend
from qdpem.scenario.words import RecordLevel

MAX_NUMBERS_PER_SITE = 8
"""Level "events" keeps an output of at most this many numbers per site; level "full" keeps all."""


class PolicyOutputs:
    """Gathers outputs and writes them in blocks.

    A decision without an output gets NaN, or -1 if the output is an integer, or 0 if it is unsigned.
    """

    def __init__(self, file: Any, *, level: RecordLevel, policy: str) -> None:
        self._file, self._level, self._policy = file, level, policy
        self._pending: list[tuple[int, dict[str, NDArray[Any]]]] = []
        self._blank: dict[str, NDArray[Any]] = {}
        self._written = 0
        self.pending_bytes = 0

    def add(self, outputs: Mapping[str, NDArray[Any]], *, decisions: int) -> None:
        """Take outputs for the last rows of the `decisions` recorded so far.

        Raises PolicyError when an output has another shape per site than before, too many rows, values that
        are not numbers, or a name that no data set can have.
        """
        recorded = {
            name: _numbers(np.asarray(values)) for name, values in outputs.items() if self._keeps(values)
        }
        if not recorded:
            return
        for name, values in recorded.items():
            self._check(name, values, decisions)
        sites = len(next(iter(recorded.values())))
        self._pending.append((decisions - sites, recorded))
        self.pending_bytes += sum(values.nbytes for values in recorded.values())

    def write(self, *, decisions: int) -> None:
        """Bring every data set to the length of `decisions`."""
        if not self._blank or decisions == self._written:
            return
        group = self._group()
        count = decisions - self._written
        block = {name: np.repeat(blank[np.newaxis], count, axis=0) for name, blank in self._blank.items()}
        for first_row, outputs in self._pending:
            for name, values in outputs.items():
                start = first_row - self._written
                block[name][start : start + len(values)] = values
        # Once for all outputs, so that their data sets keep one length.
        extend(group, block)
        self._written, self._pending, self.pending_bytes = decisions, [], 0

    def _keeps(self, values: NDArray[Any]) -> bool:
        if self._level is RecordLevel.REQUESTS:
            return False
        array = np.asarray(values)
        # Axes of size 1 hold no further numbers.
        wide = [size for size in array.shape[1:] if size != 1]
        return (
            self._level is RecordLevel.FULL
            or len(wide) == 0
            or (len(wide) == 1 and wide[0] <= MAX_NUMBERS_PER_SITE)
        )

    def _check(self, name: str, values: NDArray[Any], decisions: int) -> None:
        if not name or "/" in name or name == ROW or name.startswith("."):
            raise PolicyError(f"{self._policy} puts out {name!r}; the name of an output must be a plain word")
        if values.ndim == 0 or values.dtype.kind not in "iuf":
            raise PolicyError(
                f"{self._policy} puts out {name!r} of type {values.dtype} and shape {values.shape}; it must"
                " be numbers with one row per site asked"
            )
        # Rows before `_written` are in the file already.
        if decisions - len(values) < self._written:
            raise PolicyError(
                f"{self._policy} puts out {name!r} for {len(values)} sites; fewer were just asked"
            )
        # The first output of a name fixes its shape and type for the whole run.
        blank = self._blank.setdefault(name, _blank(values))
        if blank.shape != values.shape[1:]:
            raise PolicyError(
                f"{self._policy} puts out {name!r} of shape {values.shape[1:]} per site after {blank.shape};"
                " it must be one shape for the whole run"
            )

    def _group(self) -> Any:
        """The group, with a data set for every name; one that comes late has blank rows before."""
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
        data.attrs["meaning"] = f"output of the policy {self._policy}, one row per decision"
        if self._written:
            data.resize(self._written, axis=0)
            data[:] = np.repeat(blank[np.newaxis], self._written, axis=0)


def _numbers(values: NDArray[Any]) -> NDArray[Any]:
    """A copy, because the policy may reuse its array. Truth values become int8, which netCDF has."""
    return values.astype(np.int8) if values.dtype.kind == "b" else values.copy()


def _blank(values: NDArray[Any]) -> NDArray[Any]:
    empty = {"f": np.nan, "i": -1, "u": 0}[values.dtype.kind]
    return np.full(values.shape[1:], empty, dtype=values.dtype)

"""Arrays that policies return beside their decisions, with one row per row of the table `decisions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.errors import PolicyError
from qdpem.records.journal.contents import empty_value
from qdpem.records.schema import ROW
from qdpem.scenario.words import RecordLevel

MAX_NUMBERS_PER_SITE = 8
"""Level "events" keeps an output of at most this many numbers per site; level "full" keeps all."""


class PolicyOutputs:
    """Gathers outputs until a block of them is written.

    A decision without an output gets NaN, or -1 if the output is an integer, or 0 if it is unsigned.
    """

    def __init__(self, *, level: RecordLevel, policy: str) -> None:
        self._level, self._policy = level, policy
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

    def block(self, *, decisions: int) -> dict[str, NDArray[Any]]:
        """Every output so far for the decisions since the last `clear`, one row each; {} if there is none."""
        count = decisions - self._written
        if not self._blank or not count:
            return {}
        block = {name: np.repeat(blank[np.newaxis], count, axis=0) for name, blank in self._blank.items()}
        for first_row, outputs in self._pending:
            for name, values in outputs.items():
                start = first_row - self._written
                block[name][start : start + len(values)] = values
        return block

    def clear(self, *, decisions: int) -> None:
        """Drop the outputs of these decisions, which have been written."""
        if self._blank:
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


def _numbers(values: NDArray[Any]) -> NDArray[Any]:
    """A copy, because the policy may reuse its array. Truth values become int8, which netCDF has."""
    return values.astype(np.int8) if values.dtype.kind == "b" else values.copy()


def _blank(values: NDArray[Any]) -> NDArray[Any]:
    return np.full(values.shape[1:], empty_value(values.dtype), dtype=values.dtype)

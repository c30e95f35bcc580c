"""Series of numbers at the times of a file, brought onto equal intervals; gaps are named or filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from qdpem.arrays import Flags, Floats, Ints
from qdpem.errors import QdpemError, UnknownNameError


class GapRule(StrEnum):
    """What takes the place of intervals and cells that a file lacks: an error, the value before, a line."""

    REFUSE = "refuse"
    REPEAT = "repeat"
    INTERPOLATE = "interpolate"


@dataclass(frozen=True, eq=False, kw_only=True)
class Series:
    """P series over R rows of a file, or over T intervals once they are regular.

    `labels`: the P series. `time_s` float64 [R]. `values` float64 [R, P], NaN where there is none. `places`:
    where each row stands; `time_place`: where in it the time does. `name`: of the file. `notes`: what was
    left out or filled.
    """

    name: str
    labels: tuple[str, ...]
    time_s: Floats
    values: Floats
    places: Sequence[str]
    time_place: str = "column 1"
    notes: tuple[str, ...] = ()

    def time_of(self, row: int) -> str:
        """Where the time of a row stands."""
        return f"{self.places[row]}, {self.time_place}"

    def cell_place(self, row: int, series: int) -> str:
        """Where a value stands in a table whose first column is the time, counted from 1."""
        return f"{self.places[row]}, column {series + 2} ({self.labels[series]})"


def gap_rule(name: str) -> GapRule:
    """The rule of this name; raises UnknownNameError for any other."""
    if name not in list(GapRule):
        raise UnknownNameError("rule for gaps", name, list(GapRule))
    return GapRule(name)


def regular_series(series: Series, *, step_s: float | None, gaps: GapRule) -> tuple[Series, float]:
    """The series on regular intervals from 0, without a gap, and the length of an interval.

    `step_s`: the length that a file states, or None for the most frequent one. Rows without any value count
    as missing; at the ends of a series they are left out. Raises QdpemError for times that repeat, go back or
    do not fit the step, for a gap under "refuse", for one that has no value before it (and, to interpolate,
    after it), and for more missing intervals than there are.
    """
    _check_order(series)
    step_s = _step_s(series, step_s)
    index = _interval(series, step_s)
    empty: Flags = np.asarray(np.isnan(series.values).all(axis=1))
    if gaps is GapRule.REFUSE:
        _refuse_gaps(series, index, empty, step_s)
    rows = np.flatnonzero(~empty)
    values = _on_grid(series, index, rows, step_s)
    missing = np.isnan(values)
    if missing.any():
        _check_ends(series, missing, rows, gaps)
        values = (_repeated if gaps is GapRule.REPEAT else _interpolated)(values, missing)
    regular = replace(
        series,
        time_s=np.arange(len(values), dtype=np.float64) * step_s,
        values=values,
        places=[f"interval {interval + 1}" for interval in range(len(values))],
        notes=(*series.notes, *_notes(series, missing, rows, gaps)),
    )
    return regular, step_s


def _on_grid(series: Series, index: Ints, rows: Ints, step_s: float) -> Floats:
    """The values of `rows` at their intervals from the first to the last, NaN where there are none."""
    if not len(rows):
        raise QdpemError(f"{series.name} has no value at all; should have one in every row")
    count = int(index[rows[-1]] - index[rows[0]]) + 1
    # A wrong year in one time would otherwise fill the memory.
    if count > 2 * len(rows):
        raise QdpemError(
            f"{series.name} lacks {count - len(rows)} of {count} intervals of {step_s:g} s; should have at"
            " least half of them"
        )
    values = np.full((count, series.values.shape[1]), np.nan)
    values[index[rows] - index[rows[0]]] = series.values[rows]
    return values


def _check_order(series: Series) -> None:
    gap_s = np.diff(series.time_s)
    wrong = np.flatnonzero(gap_s <= 0.0)
    if len(wrong):
        row = int(wrong[0]) + 1
        fault = "has the same time as" if gap_s[row - 1] == 0.0 else f"is {-gap_s[row - 1]:g} s before"
        raise QdpemError(f"{series.time_of(row)} {fault} {series.places[row - 1]}; times should rise")


def _step_s(series: Series, stated_s: float | None) -> float:
    if stated_s is not None and not (stated_s > 0.0 and np.isfinite(stated_s)):
        raise QdpemError(f"step_s is {stated_s!r} for {series.name}; should be a number of seconds above 0")
    if len(series.time_s) < 2:
        if stated_s is None:
            raise QdpemError(f"{series.name} has one interval, whose length it does not state; give step_s")
        return stated_s
    distance_s = np.diff(series.time_s)
    if stated_s is None:
        return _frequent_s(distance_s)
    # One distance may be a gap; many that are alike are another step.
    if len(distance_s) > 1 and np.ptp(distance_s) <= 1e-6 * stated_s < abs(distance_s[0] - stated_s):
        raise QdpemError(
            f"the times of {series.name} are {distance_s[0]:g} s apart, but its step_s is {stated_s:g}; both"
            " should be the same"
        )
    return stated_s


def _frequent_s(distance_s: Floats) -> float:
    """The most frequent distance; of equally frequent ones the smallest, as a gap is a multiple of it."""
    # Rounding in units of the smallest distance makes equal what floats only make nearly equal.
    in_smallest = np.round(distance_s / distance_s.min(), 6)
    _, first, counts = np.unique(in_smallest, return_index=True, return_counts=True)
    return float(distance_s[first[counts.argmax()]])


def _interval(series: Series, step_s: float) -> Ints:
    steps = (series.time_s - series.time_s[0]) / step_s
    index = np.rint(steps)
    off = np.abs(steps - index) > 1e-6 * np.maximum(1.0, 1e-6 * index)
    if off.any():
        row = int(off.argmax())
        after_s = series.time_s[row] - series.time_s[row - 1]
        raise QdpemError(
            f"{series.time_of(row)} is {after_s:g} s after the time before; should be {step_s:g} s or"
            " a multiple of it"
        )
    return np.asarray(index, dtype=np.int64)


def _refuse_gaps(series: Series, index: Ints, empty: Flags, step_s: float) -> None:
    choice = 'gaps = "repeat" repeats the last value, "interpolate" draws a line'
    if empty.any():
        row = int(empty.argmax())
        raise QdpemError(f"{series.places[row]} has no value, which is no measurement of 0; {choice}")
    jumps = np.flatnonzero(np.diff(index) > 1)
    if len(jumps):
        row = int(jumps[0]) + 1
        missing = int(index[row] - index[row - 1]) - 1
        lacks = f"{_counted(missing, 'interval')} of {step_s:g} s"
        raise QdpemError(
            f"{series.time_of(row)} comes {(missing + 1) * step_s:g} s after the time before:"
            f" {lacks} missing; {choice}"
        )
    cells = np.argwhere(np.isnan(series.values))
    if len(cells):
        place = series.cell_place(*(int(number) for number in cells[0]))
        raise QdpemError(f"{place} has no value; should be a number, 0 or more; {choice}")


def _check_ends(series: Series, missing: Flags, rows: Ints, gaps: GapRule) -> None:
    """Refuse cells with nothing to repeat or to draw a line to."""
    ends = [("before", 0)] if gaps is GapRule.REPEAT else [("before", 0), ("after", -1)]
    for side, end in ends:
        # The first and last interval have a row, so that the cell has a place in the file.
        if missing[end].any():
            place = series.cell_place(int(rows[end]), int(missing[end].argmax()))
            raise QdpemError(f'{place} has no value, and none {side} it; gaps = "{gaps}" needs one there')


def _repeated(values: Floats, missing: Flags) -> Floats:
    last = np.maximum.accumulate(np.where(missing, 0, np.arange(len(values))[:, None]), axis=0)
    return np.asarray(np.take_along_axis(values, last, axis=0))


def _interpolated(values: Floats, missing: Flags) -> Floats:
    filled, times = values.copy(), np.arange(len(values))
    for column in np.flatnonzero(missing.any(axis=0)):
        lacks = missing[:, column]
        filled[lacks, column] = np.interp(times[lacks], times[~lacks], values[~lacks, column])
    return filled


def _notes(series: Series, missing: Flags, rows: Ints, gaps: GapRule) -> list[str]:
    intervals = len(missing) - len(rows)
    cells = int(missing.sum()) - intervals * missing.shape[1]
    parts = [_counted(intervals, "missing interval")] if intervals else []
    parts += [_counted(cells, "missing value")] if cells else []
    how = "repeating the value before" if gaps is GapRule.REPEAT else "a straight line"
    notes = [f"{' and '.join(parts)} of {series.name} filled by {how}"] if parts else []
    dropped = len(series.time_s) - 1 - int(rows[-1]) + int(rows[0])
    if dropped:
        ends = f"at the start or end of {series.name} left out"
        notes.append(f"{_counted(dropped, 'row')} without a value {ends}")
    return notes


def _counted(count: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is 1."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

"""Tables of one row per interval and one column per series, as CSV text: read into series."""

from __future__ import annotations

import math

import numpy as np

from qdpem.arrays import Floats
from qdpem.demand.traces.csv_rows import csv_table, parse_numbers
from qdpem.demand.traces.file_content import shown_value
from qdpem.demand.traces.matrices.series import Series
from qdpem.demand.traces.timestamps import TIME_COLUMNS, parse_times
from qdpem.errors import QdpemError


def read_series(text: str, name: str) -> tuple[Series, dict[str, str]]:
    """The series of a CSV table whose first column is `time` or `time_s`, and what its comments say.

    Values are 0 or more, NaN where a cell is empty. Raises QdpemError for the first that is not.
    """
    table = csv_table(text, name)
    kind, *labels = table.header
    if kind not in TIME_COLUMNS:
        raise QdpemError(
            f"{name}, column 1 is called {shown_value(kind)}; should be time (dates and times) or time_s"
            " (seconds), as the first column of traffic over time"
        )
    numbers: list[int] = []
    texts: list[str] = []
    values: list[Floats] = []
    for row, cells in table.rows:
        numbers.append(row)
        texts.append(cells[0])
        # Row by row, because Python's numbers take four times the memory of an array's.
        values.append(np.array(parse_numbers(cells, labels, f"{name}, row {row}"), dtype=np.float64))
    if not numbers:
        raise QdpemError(f"{name} has no row after its header; should have one per interval")
    series = Series(
        name=name,
        labels=tuple(labels),
        time_s=parse_times(kind, texts, lambda index: f"{name}, row {numbers[index]}, column 1"),
        values=np.stack(values),
        places=[f"{name}, row {row}" for row in numbers],
    )
    return series, dict(table.comments)


def stated_step_s(comments: dict[str, str], step_s: float | None, name: str) -> float | None:
    """The step that the argument or the comment `step_s` states, None if neither does."""
    if "step_s" not in comments:
        return step_s
    try:
        commented_s = float(comments["step_s"])
    except ValueError:
        commented_s = math.nan
    if not 0.0 < commented_s < math.inf or step_s not in (None, commented_s):
        should = "a number of seconds above 0" if step_s is None else f"{step_s:g}, as the argument step_s"
        raise QdpemError(f"the comment step_s of {name} is {comments['step_s']!r}; should be {should}")
    return commented_s


def stated_unit(stated: str | None, unit: str | None, name: str) -> str:
    """The unit that the file or the argument states, "not stated" if neither does."""
    if stated and unit is not None and stated != unit:
        raise QdpemError(f"the unit of {name} is {stated!r}; should be {unit!r}, as the argument unit says")
    return stated or unit or "not stated"

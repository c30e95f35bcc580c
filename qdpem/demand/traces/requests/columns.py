"""Requests from columns of numbers and names, as a record, a Parquet file or a program has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qdpem.arrays import Floats
from qdpem.demand.traces.file_content import shown_value
from qdpem.demand.traces.requests.request_list import RequestList
from qdpem.errors import QdpemError

REQUIRED = ("time_s", "source", "destination")
OPTIONAL = ("target_fidelity", "pairs", "patience_s")


def requests_from_columns(
    columns: Mapping[str, Sequence[Any]], *, node_names: Sequence[str] | None = None, origin: str
) -> RequestList:
    """Requests from columns of equal length, such as the table `/requests` of a record.

    Args:
        columns: `time_s`, `source` and `destination`; optionally `target_fidelity`, `pairs`, `patience_s` or
            `deadline_s` (of the same clock as `time_s`), and `application` as words. None and NaN mean that
            nothing is said. Other columns are named in a note. Rows need not be in order of time.
        node_names: the name of each node, if `source` and `destination` are numbers of nodes.
        origin: where the columns come from, for sentences.

    Raises QdpemError for a missing column, a number that is no node's, or a value that breaks a rule.
    """
    for column in REQUIRED:
        if column not in columns:
            raise QdpemError(f"{origin} has no column {column!r}; should have {', '.join(REQUIRED)}")
    lengths = {column: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise QdpemError(f"the columns of {origin} have the lengths {lengths}; should have one length")
    time_s = _numbers(columns, "time_s", origin)
    numbers = {column: _numbers(columns, column, origin) for column in OPTIONAL}
    used = {*REQUIRED, *OPTIONAL, "application"}
    if "deadline_s" in columns and "patience_s" not in columns:
        used.add("deadline_s")
        numbers["patience_s"] = _numbers(columns, "deadline_s", origin) - time_s
    source, destination = (
        _node_texts(columns[column], node_names, column, origin) for column in ("source", "destination")
    )
    words = list(columns.get("application", [None] * len(time_s)))
    order = np.argsort(time_s, kind="stable")
    return RequestList(
        time_s=time_s[order],
        source=tuple(source[row] for row in order),
        destination=tuple(destination[row] for row in order),
        application=tuple(None if words[row] is None else str(words[row]) for row in order),
        target_fidelity=numbers["target_fidelity"][order],
        pairs=numbers["pairs"][order],
        patience_s=numbers["patience_s"][order],
        origin=origin,
        notes=ignored_note([column for column in columns if column not in used], origin),
    )


def _numbers(columns: Mapping[str, Sequence[Any]], column: str, origin: str) -> Floats:
    """A column as float64, all NaN if there is none."""
    if column not in columns:
        return np.full(len(columns["time_s"]), np.nan)
    try:
        return np.array([np.nan if value is None else value for value in columns[column]], dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise QdpemError(
            f"the column {column} of {origin} holds other things than numbers: {error}"
        ) from error


def _node_texts(values: Sequence[Any], names: Sequence[str] | None, column: str, origin: str) -> list[str]:
    if names is None:
        return [str(value) for value in values]
    for row, value in enumerate(values):
        if not isinstance(value, int | np.integer) or not 0 <= value < len(names):
            raise QdpemError(
                f"{column} of request {row + 1} of {origin} is {shown_value(value)}; should be the number of"
                f" a node, 0 to {len(names) - 1}"
            )
    # Names of a record are NumPy's.
    return [str(names[value]) for value in values]


def ignored_note(fields: Sequence[str], origin: str) -> tuple[str, ...]:
    """A note that names what is in a file and has no place in a list of requests; none for nothing."""
    return (f"not used of {origin}: {', '.join(fields)}",) if fields else ()

"""Mean waiting time and fidelity of the delivered pairs, with standard errors."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qdpem.events.tables import Columns, Tables
from qdpem.events.words import PairOutcome

_DELIVERED = PairOutcome.DELIVERED.code
_BATCHES = 20


def pair_statistics(tables: Tables, *, start_s: float, end_s: float) -> dict[str, float]:
    """Mean waiting time and true fidelity of the pairs delivered in [start_s, end_s), with standard errors.

    A pair waits from the arrival of its request to its delivery. A pair of a repeating request waits from
    the delivery before it, and its time is multiplied by the number of pairs generated at a time, which gives
    the mean time that one generation takes. The result is empty if the record does not keep pairs.
    """
    pairs = tables.get("pairs")
    if pairs is None:
        return {}
    rows = np.flatnonzero(pairs["outcome"] == _DELIVERED)
    # Batch means and waiting times need the order of time. Ids break ties, whatever the order of rows.
    rows = rows[np.lexsort((pairs["pair"][rows], pairs["end_s"][rows]))]
    rows, waiting_s = _waiting_s(pairs, rows, tables["allocations"], tables["requests"])
    time_s = pairs["end_s"][rows]
    inside = (time_s >= start_s) & (time_s < end_s)
    fidelity = pairs["fidelity"][rows][inside]
    waiting_s = waiting_s[inside]
    return {
        "pair_waiting_s": _mean(waiting_s),
        "pair_waiting_error_s": standard_error(waiting_s),
        "pair_fidelity": _mean(fidelity),
        "pair_fidelity_error": standard_error(fidelity),
    }


def standard_error(values: NDArray[np.float64]) -> float:
    """Standard error of the mean of values in order of time, by batch means; NaN below 40 values.

    Consecutive pairs share memories and are not independent. The means of 20 batches nearly are, if batches
    are much longer than the correlation (Law and Kelton, Simulation Modeling and Analysis, 3rd ed. 2000,
    section 9.5.3).

    >>> bool(0.005 < standard_error(np.random.default_rng(1).random(2000)) < 0.0085)
    True
    """
    size = len(values) // _BATCHES
    if size < 2:
        return math.nan
    # The few values after the last full batch do not enter.
    means = values[: size * _BATCHES].reshape(_BATCHES, size).mean(axis=1)
    return float(means.std(ddof=1) / math.sqrt(_BATCHES))


def _waiting_s(
    pairs: Columns, rows: NDArray[np.int64], allocations: Columns, requests: Columns
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The waiting times of delivered pairs, given by `rows` in order of time, and the rows that have one.

    The record of a killed run may lack the allocation or request of a pair, and then its waiting time is
    unknown.
    """
    row = _rows_of(pairs["allocation"][rows], allocations["allocation"])
    rows, row = rows[row >= 0], row[row >= 0]
    request = _rows_of(allocations["request"][row], requests["request"])
    rows, row, request = rows[request >= 0], row[request >= 0], request[request >= 0]
    time_s = pairs["end_s"][rows]
    since_s = requests["time_s"][request].astype(np.float64)
    generations = np.ones(len(request))
    repeating = requests["repeat_until_deadline"][request] > 0
    for served in np.unique(request[repeating]):
        own = np.flatnonzero(request == served)
        # The first pair of a repeating request waits from the arrival, each later one from the delivery
        # before it.
        since_s[own[1:]] = time_s[own[:-1]]
        generations[own] = requests["pairs"][served]
    return rows, np.asarray(generations * (time_s - since_s))


def _rows_of(ids: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.int64]:
    """The row of each id in `column`, -1 if it is not there. Shape [ids], int64."""
    if not len(column):
        return np.full(len(ids), -1, dtype=np.int64)
    order = np.argsort(column, kind="stable")
    # An id above all others would be placed behind the end; the comparison below then finds it missing.
    position = np.minimum(np.searchsorted(column[order], ids), len(column) - 1)
    return np.asarray(np.where(column[order[position]] == ids, order[position], -1))


def _mean(values: NDArray[np.float64]) -> float:
    return math.fsum(values.tolist()) / len(values) if len(values) else math.nan

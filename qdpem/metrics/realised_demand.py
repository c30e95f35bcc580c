"""What became of a forecast: the requests that came in each forecast step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats, Ints
from qdpem.events.tables import Tables

_PEER = ("destination", "target_fidelity", "pairs")


def realised_requests(tables: Tables, *, step_s: float, end_s: float) -> Floats:
    """The number of requests that came in the step of each row of `expected_demand`, float64 [rows].

    A row forecasts the requests of one node for one peer (destination, target fidelity, pairs) that arrive
    in [time_s + (step - 1) step_s, time_s + step step_s). NaN for a step that ends after the run. Needs the
    tables requests and expected_demand, which records of level "full" keep.

    Args:
        tables: of a record.
        step_s: length of a step, `scenario.forecasting.step_s`.
        end_s: end of the run, `scenario.window.end_s`.
    """
    expected, requests = tables["expected_demand"], tables["requests"]
    order = np.argsort(requests["time_s"], kind="stable")
    time_s = requests["time_s"][order]
    asked = _groups([requests["source"][order], *(requests[name][order] for name in _PEER)])
    forecast = _groups([expected["node"], *(expected[name] for name in _PEER)])
    start_s = expected["time_s"] + (expected["step"] - 1) * step_s
    counts = np.zeros(len(start_s))
    for peer, rows in forecast.items():
        arrivals_s = time_s[asked[peer]] if peer in asked else time_s[:0]
        # A request at the edge of two steps belongs to the later one.
        before = np.searchsorted(arrivals_s, start_s[rows], side="left")
        counts[rows] = np.searchsorted(arrivals_s, start_s[rows] + step_s, side="left") - before
    return np.where(start_s + step_s > end_s, np.nan, counts)


def _groups(columns: Iterable[NDArray[Any]]) -> dict[tuple[float, ...], Ints]:
    """The rows of each combination of values, ascending."""
    table = np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])
    if not len(table):
        return {}
    peers, index = np.unique(table, axis=0, return_inverse=True)
    order = np.argsort(index.ravel(), kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(index.ravel()))[:-1])
    return dict(zip(map(tuple, peers.tolist()), rows, strict=True))

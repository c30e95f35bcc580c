"""Requests as a struct of arrays, sorted by time."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from qdpem.arrays import Floats, Ints


@dataclass(frozen=True, eq=False, kw_only=True)
class Requests:
    """R requests in order of `time_s`; all arrays of length R.

    `time_s`, `deadline_s`: absolute simulated seconds, float64. `id`, `source`, `destination`, `pairs`:
    int64. `target_fidelity`: float64. `application`, `repeat_until_deadline`: int64 indices into
    Application and Repetition of `scenario.words`. Ids of the history (time_s < 0) are negative; those of
    the run count up from 0. `process`: int64 index into `Arrivals.processes`, the process that made it.
    """

    id: Ints
    time_s: Floats
    source: Ints
    destination: Ints
    target_fidelity: Floats
    pairs: Ints
    deadline_s: Floats
    application: Ints
    repeat_until_deadline: Ints
    process: Ints

    def __len__(self) -> int:
        return len(self.id)

    def between(self, start_s: float, end_s: float) -> Requests:
        """The requests with start_s <= time_s < end_s."""
        first, last = np.searchsorted(self.time_s, [start_s, end_s])
        return Requests(**{item.name: getattr(self, item.name)[first:last] for item in fields(self)})

    def at(self, rows: Ints) -> Requests:
        """The requests in these rows, which ascend."""
        return Requests(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    def counts(self, *, nodes: int, start_s: float, step_s: float, steps: int) -> Ints:
        """Requests per step and source node, int64 [steps, nodes]; the first step begins at `start_s`."""
        step = np.floor((self.time_s - start_s) / step_s).astype(np.int64)
        inside = (step >= 0) & (step < steps)
        table = np.zeros((steps, nodes), dtype=np.int64)
        # `add.at` counts repeated index pairs; plain indexed addition would count each once.
        np.add.at(table, (step[inside], self.source[inside]), 1)
        return table

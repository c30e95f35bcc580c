"""Requests as values: one struct of arrays, sorted by time."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Requests:
    """R requests in order of `time_s`; all arrays of length R.

    `time_s`, `deadline_s`: absolute simulated seconds, float64. `id`, `source`, `destination`, `pairs`:
    int64. `target_fidelity`: float64. `application`, `persistence`: int64 codes of
    `Application` and `Persistence` in `qdpem.scenario.words`.
    Ids of history (time_s < 0) are negative, those of the run count up from 0.
    """

    id: NDArray[np.int64]
    time_s: NDArray[np.float64]
    source: NDArray[np.int64]
    destination: NDArray[np.int64]
    target_fidelity: NDArray[np.float64]
    pairs: NDArray[np.int64]
    deadline_s: NDArray[np.float64]
    application: NDArray[np.int64]
    persistence: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.id)

    def between(self, start_s: float, end_s: float) -> Requests:
        """Those with start_s <= time_s < end_s."""
        first, last = np.searchsorted(self.time_s, [start_s, end_s])
        return Requests(**{item.name: getattr(self, item.name)[first:last] for item in fields(self)})

    def counts(self, *, nodes: int, start_s: float, step_s: float, steps: int) -> NDArray[np.int64]:
        """Requests per step and source node, int64 [steps, nodes], the first step beginning at `start_s`."""
        step = np.floor((self.time_s - start_s) / step_s).astype(np.int64)
        inside = (step >= 0) & (step < steps)
        table = np.zeros((steps, nodes), dtype=np.int64)
        np.add.at(table, (step[inside], self.source[inside]), 1)
        return table


@dataclass(frozen=True, eq=False, kw_only=True)
class Arrivals:
    """What one seed asks for: the run's requests, the history before it, and the truth behind both.

    `history` has time_s in [-history_s, 0), `requests` in [0, end_s). `bursts_s` float64 [B, 3]: region,
    start and end of every burst, sorted and disjoint within a region (bursts that overlap are joined, for
    they count once), known to the oracles alone. `region` int64 [N]. `base_rate_hz` float64 [N]: a
    source's long-run mean rate. `low`, `high`: its multiplier outside and inside bursts.

    The nominal grid, which the filter oracle may know: bursts of region r nominally start at
    `phase_s[r]` + k `period_s` for every whole k, last `duration_s`, and are each displaced by a normal of
    standard deviation `jitter_s`. `phase_s` is float64 [regions], in [0, period_s). All four are zero or
    empty when demand is stationary. There is no grid and `phase_s` is empty where `timing` is "memoryless", a
    region on for `duration_s` and off for the rest of `period_s` on average, exponentially, or "cascading",
    region 0 so and each other as the one before it was `lag_s` ago.
    """

    requests: Requests
    history: Requests
    history_s: float
    bursts_s: NDArray[np.float64]
    region: NDArray[np.int64]
    base_rate_hz: NDArray[np.float64]
    low: float
    high: float
    phase_s: NDArray[np.float64]
    period_s: float
    duration_s: float
    jitter_s: float
    timing: str = "calendar"
    lag_s: float = 0.0

    def expected_counts(self, *, start_s: float, step_s: float, steps: int) -> NDArray[np.float64]:
        """The TRUE expectation of counts given the bursts: float64 [steps, N]."""
        edges = start_s + step_s * np.arange(steps + 1)
        inside = np.zeros((steps, int(self.region.max(initial=0)) + 1))
        for region, begin, end in self.bursts_s.tolist():
            covered = np.minimum(edges[1:], end) - np.maximum(edges[:-1], begin)
            inside[:, int(region)] += np.maximum(covered, 0.0) / step_s
        factor = self.low + (self.high - self.low) * inside
        return np.asarray(factor[:, self.region] * self.base_rate_hz * step_s)

"""Requests and arrivals as structs of arrays, sorted by time."""

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
    the run count up from 0.
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

    def __len__(self) -> int:
        return len(self.id)

    def between(self, start_s: float, end_s: float) -> Requests:
        """The requests with start_s <= time_s < end_s."""
        first, last = np.searchsorted(self.time_s, [start_s, end_s])
        return Requests(**{item.name: getattr(self, item.name)[first:last] for item in fields(self)})

    def counts(self, *, nodes: int, start_s: float, step_s: float, steps: int) -> Ints:
        """Requests per step and source node, int64 [steps, nodes]; the first step begins at `start_s`."""
        step = np.floor((self.time_s - start_s) / step_s).astype(np.int64)
        inside = (step >= 0) & (step < steps)
        table = np.zeros((steps, nodes), dtype=np.int64)
        # `add.at` counts repeated index pairs; plain indexed addition would count each once.
        np.add.at(table, (step[inside], self.source[inside]), 1)
        return table


@dataclass(frozen=True, eq=False, kw_only=True)
class Arrivals:
    """The demand of one seed: the run's requests, the history before it, and the process behind both.

    `history` has time_s in [-history_s, 0), `requests` in [0, end_s). `bursts_s` float64 [B, 3]: region,
    start and end of every burst, known only to the oracles. They are sorted and disjoint within a region:
    bursts that overlap are merged, because they count once. `region` int64 [N]: of each node. `base_rate_hz`
    float64 [N]: a node's long-run mean rate. `low`, `high`: its multiplier outside and inside bursts.

    The Bayes filter may know the calendar. With `timing` "calendar", bursts of region r nominally start at
    `phase_s[r]` + k `period_s` for every integer k and last `duration_s`; each is displaced by a normal of
    standard deviation `jitter_s`. `phase_s` is float64 [regions], in [0, period_s). All four are zero or
    empty when demand is stationary. Otherwise there is no calendar and `phase_s` is empty. With "memoryless"
    a region is on for `duration_s` and off for the rest of `period_s` on average, both exponential. With
    "cascading" region 0 is memoryless, and each other region does what the one before it did `lag_s` ago.
    """

    requests: Requests
    history: Requests
    history_s: float
    bursts_s: Floats
    region: Ints
    base_rate_hz: Floats
    low: float
    high: float
    phase_s: Floats
    period_s: float
    duration_s: float
    jitter_s: float
    timing: str = "calendar"
    lag_s: float = 0.0

    def expected_counts(self, *, start_s: float, step_s: float, steps: int) -> Floats:
        """The true expected counts given the bursts, float64 [steps, N]."""
        edges = start_s + step_s * np.arange(steps + 1)
        burst_fraction = np.zeros((steps, int(self.region.max(initial=0)) + 1))
        for region, begin, end in self.bursts_s.tolist():
            overlap_s = np.minimum(edges[1:], end) - np.maximum(edges[:-1], begin)
            burst_fraction[:, int(region)] += np.maximum(overlap_s, 0.0) / step_s
        factor = self.low + (self.high - self.low) * burst_fraction
        return np.asarray(factor[:, self.region] * self.base_rate_hz * step_s)

"""The inputs of a recurrent unit, kept up to date from step to step.

All peers of all nodes stand side by side, M = N x P, and no number of one enters another's. Times are in
steps, with t = 0 at the end of the history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats, Ints
from qdpem.forecasting.features.harmonics import HARMONICS, MIN_MEAN, Calendar
from qdpem.forecasting.features.schedule import SCHEDULES, WIDENINGS, phase, schedules
from qdpem.forecasting.features.starts import PREDICTORS, REMEMBERED, RegularStarts, find_starts

_SMOOTHING = np.array([0.25, 0.06, 0.015])
"""Weights of the last step in three moving averages of the counts."""

FEATURES = 2 + len(_SMOOTHING) + 4 + 5 + 2 * PREDICTORS + 2 + 2 * HARMONICS
"""Features of a peer in a step (`PeerFeatures.advance`)."""

MIN_PERIOD = 4.0
"""Starts are looked for where the remembered requests are further apart than this on average, in steps."""

_PRIOR_STEPS = 60.0
_PRIOR_COUNT = 0.3


class StepInputs(NamedTuple):
    """What the unit sees at the end of a step.

    `features` float32 [M, F]. `schedules` float32 [M, 9, H]: chances of regular starts. `mean` float64 [M]:
    requests per step so far.
    """

    features: NDArray[np.float32]
    schedules: NDArray[np.float32]
    mean: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class _Past:
    """What is remembered of M peers.

    `times` [M, 32]: the last requests, NaN before the first one. `total`, `age` [M]: requests, and steps
    since the peer became known or the history began. `levels` [M, 3]: moving averages.
    """

    times: Floats
    total: Floats
    age: Floats
    levels: Floats


class PeerFeatures:
    """Features of M peers, one step after the other.

    Args:
        peers: M.
        horizon: steps ahead that schedules cover.
        calendar: of each peer; step 0 begins at t = 0.
    """

    def __init__(self, peers: int, *, horizon: int, calendar: Calendar) -> None:
        self._horizon, self._calendar = horizon, calendar
        self._past = _Past(
            times=np.full((peers, REMEMBERED), np.nan),
            total=np.zeros(peers),
            age=np.zeros(peers),
            levels=np.zeros((peers, len(_SMOOTHING))),
        )
        self._starts = RegularStarts.none(peers)

    def advance(self, step: int, peer: Ints, time: Floats) -> StepInputs:
        """Take in the requests of `step`, of these peers at these ascending times, in steps.

        Features: count and mean; three moving averages over the mean; time since the last request, number of
        requests, spread of gaps, whether known; of the regular starts their number, fraction kept, fraction
        left out, evidence and phase, and for each way to foresee the spread and the chance of a start in the
        horizon; strength, shape and harmonics of the calendar.
        """
        counts = np.bincount(peer, minlength=len(self._past.total)).astype(np.float64)
        self._remember(counts, peer, time)
        self._look_for_starts(np.flatnonzero(counts))
        chances = schedules(self._starts, now=step + 1.0, horizon=self._horizon)
        mean = self._mean()
        parts = (self._of_counts(counts, mean, step), self._of_starts(chances, step), self._of_calendar(step))
        features = np.concatenate(parts, axis=1).astype(np.float32)
        # A peer of which nothing is known yet shows nothing.
        features[self._past.total == 0.0] = 0.0
        return StepInputs(features, chances, mean)

    def nothing(self) -> StepInputs:
        """The inputs when nothing is known."""
        peers = len(self._past.total)
        return StepInputs(
            features=np.zeros((peers, FEATURES), dtype=np.float32),
            schedules=np.zeros((peers, SCHEDULES, self._horizon), dtype=np.float32),
            mean=np.zeros(peers),
        )

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which peers have asked so far, bool [M]."""
        return np.asarray(self._past.total > 0.0)

    def state(self) -> dict[str, NDArray[Any]]:
        """All that is remembered."""
        parts: dict[str, _Past | RegularStarts | Calendar] = {
            "past": self._past,
            "starts": self._starts,
            "calendar": self._calendar,
        }
        return {
            f"{part}/{item.name}": getattr(value, item.name).copy()
            for part, value in parts.items()
            for item in fields(value)
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""

        def part(kind: type, name: str) -> Any:
            return kind(**{item.name: np.array(state[f"{name}/{item.name}"]) for item in fields(kind)})

        self._past, self._starts = part(_Past, "past"), part(RegularStarts, "starts")
        self._calendar = part(Calendar, "calendar")

    def _remember(self, counts: Floats, peer: Ints, time: Floats) -> None:
        past = self._past
        times = past.times
        if len(peer):
            times = times.copy()
            # Stable: the requests of one peer keep their order.
            order = np.argsort(peer, kind="stable")
            ranks = np.arange(len(peer)) - np.searchsorted(peer[order], peer[order])
            for rank in range(int(ranks.max()) + 1):
                rows = peer[order][ranks == rank]
                # A request that was heard of late keeps the order.
                latest = np.fmax(time[order][ranks == rank], times[rows, -1])
                times[rows, :-1] = times[rows, 1:]
                times[rows, -1] = latest
        levels = past.levels + _SMOOTHING * (counts[:, None] - past.levels)
        known = past.total > 0.0
        # Until the first request the averages stand at the mean, which then is that of this step.
        total = past.total + counts
        age = past.age + 1.0
        fresh = ~known & (counts > 0.0)
        levels[fresh] = np.maximum(_SMOOTHING * counts[fresh, None], (total / age)[fresh, None])
        self._past = _Past(times=times, total=total, age=age, levels=levels)

    def _look_for_starts(self, rows: Ints) -> None:
        """Find the regular starts of these peers anew; a busy peer has none."""
        if not len(rows):
            return
        times = self._past.times[rows]
        count = np.isfinite(times).sum(axis=1)
        span = times[:, -1] - np.nanmin(times, axis=1)
        sparse = (count > 2) & (span > MIN_PERIOD * (count - 1))
        found = RegularStarts.none(len(rows))
        if sparse.any():
            found = found.with_rows(np.flatnonzero(sparse), find_starts(times[sparse]))
        self._starts = self._starts.with_rows(rows, found)

    def _mean(self) -> Floats:
        """Requests per step so far; a weak prior keeps one request from certainty."""
        past = self._past
        return np.maximum((past.total + _PRIOR_COUNT) / (past.age + _PRIOR_STEPS), MIN_MEAN)

    def _of_counts(self, counts: Floats, mean: Floats, step: int) -> Floats:
        past = self._past
        levels = np.log((past.levels + 0.1 * mean[:, None]) / (1.1 * mean[:, None]))
        gap = np.maximum(step + 1.0 - np.nan_to_num(past.times[:, -1]), 0.0) * mean
        return np.column_stack(
            [
                (counts - mean) / (1.0 + mean),
                0.5 * np.log(mean),
                levels,
                np.log1p(gap),
                0.25 * np.log1p(past.total),
                _gap_variation(past.times),
                past.total > 0.0,
            ]
        )

    def _of_starts(self, chances: NDArray[np.float32], step: int) -> Floats:
        starts = self._starts
        some = starts.seen > 1
        relative = np.where(some[:, None], starts.spread / np.maximum(starts.period, 1e-9), 1.0)
        coming = chances.reshape(len(chances), PREDICTORS, len(WIDENINGS), -1)[:, :, 1].sum(axis=-1)
        return np.column_stack(
            [
                0.25 * np.log1p(starts.seen),
                starts.kept,
                starts.left_out,
                np.clip(starts.evidence, 0.0, 4.0),
                np.clip(phase(starts, step + 1.0), 0.0, 3.0),
                0.25 * np.log(np.clip(relative, 1e-3, 1.0)),
                coming,
            ]
        )

    def _of_calendar(self, step: int) -> Floats:
        calendar = self._calendar
        # The harmonics of the step that comes next.
        waves = calendar.harmonics(np.array([step + 1]))[0]
        return np.column_stack([calendar.strength, calendar.shape, waves])


def _gap_variation(times: Floats) -> Floats:
    """Logarithm of the coefficient of variation of the gaps [M]: 0 for random times, 0 for too few."""
    gaps = np.diff(times, axis=1)
    known = np.isfinite(gaps)
    count = known.sum(axis=1)
    gaps = np.where(known, gaps, 0.0)
    mean = gaps.sum(axis=1) / np.maximum(count, 1)
    square = np.where(known, (gaps - mean[:, None]) ** 2, 0.0).sum(axis=1) / np.maximum(count - 1, 1)
    variation = np.log(np.clip(np.sqrt(square) / np.maximum(mean, 1e-9), 0.02, 10.0))
    return np.where(count > 2, variation, 0.0)

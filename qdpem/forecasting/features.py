"""What a node's recurrent unit is shown: its own count, its own mean, and its own calendar.

The calendar is one period per node, found on that node's history alone. Bursts that return on a clock
cannot be led by a unit that sees counts only, unless it keeps count of the quiet steps between them; given
the hour, as any forecaster of daily traffic is, it can.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEATURES = 6
"""Features of a step: count, mean, and two harmonics of the calendar."""

LEAST_MEAN = 1e-3
"""Mean count per step below which a node is treated as having this one."""

_SHORTEST = 4.0
_CYCLES = 4.0
_OVERSAMPLING = 16
_FALSE_ALARM = 1e-3


@dataclass(frozen=True, eq=False, kw_only=True)
class Calendar:
    """One clock per node, float64 [N] each: turns per step (0: none) and where in the turn step 0 stands.

    Turn 0 is the middle of the busy part of the period.
    """

    turns_per_step: Floats
    offset_turns: Floats

    def harmonics(self, steps: NDArray[np.int64]) -> NDArray[np.float32]:
        """cos and sin of the turn and of twice the turn at `steps`, float32 [T, N, 4]; 0 without a clock."""
        turn = self.offset_turns + np.asarray(steps)[:, None] * self.turns_per_step
        angle = 2.0 * np.pi * (turn % 1.0)
        waves = np.stack([np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)], axis=-1)
        return np.asarray(waves * (self.turns_per_step > 0.0)[:, None], dtype=np.float32)


def fit_calendar(counts: NDArray[np.int64]) -> Calendar:
    """Each node's own period in `counts` int64 [T, N], step 0 being the first row.

    The statistic is Z^2_2 of Buccheri et al. (1983, Astronomy and Astrophysics 128, 245): the power at a
    frequency and at its double, which is chi-squared with 4 degrees of freedom for Poisson counts without
    a period. Periods from 4 steps to a quarter of the history are tried. A node has a calendar only if its
    best one would be matched by chance in one of 1,000 such nodes.
    """
    steps, nodes = counts.shape
    nothing = Calendar(turns_per_step=np.zeros(nodes), offset_turns=np.zeros(nodes))
    size = _OVERSAMPLING * steps
    first, last = int(np.ceil(_CYCLES * _OVERSAMPLING)), int(size / _SHORTEST)
    if last <= first:
        return nothing
    total = counts.sum(axis=0)
    waves = np.fft.rfft(counts - counts.mean(axis=0), n=size, axis=0)
    power = 2.0 * np.abs(waves) ** 2 / np.maximum(total, 1)
    tried = np.arange(first, last + 1)
    statistic = power[tried] + power[2 * tried]
    best = tried[np.argmax(statistic, axis=0)]
    found = statistic.max(axis=0) > _threshold(len(tried) / _OVERSAMPLING)
    turns = np.where(found, best / size, 0.0)
    offset = np.angle(waves[best, np.arange(nodes)]) / (2.0 * np.pi)
    return Calendar(turns_per_step=turns, offset_turns=np.where(found, offset, 0.0))


def _threshold(independent: float) -> float:
    """The Z^2_2 that the largest of `independent` frequencies, finely sampled, exceeds with _FALSE_ALARM.

    The tail of chi-squared with 4 degrees of freedom is exp(-z/2)(1 + z/2); about three looks count for
    each independent frequency when the grid is fine. Solved by repeated substitution.
    """
    tail = _FALSE_ALARM / (3.0 * independent)
    value = 30.0
    for _ in range(50):
        value = 2.0 * (np.log1p(0.5 * value) - np.log(tail))
    return float(value)


def count_features(counts: NDArray[np.int64], mean: Floats) -> NDArray[np.float32]:
    """The count against its mean, and the mean itself, float32 [T, N, 2], from counts [T, N] and means [N]."""
    surprise = (counts - mean) / (1.0 + mean)
    level = np.broadcast_to(0.5 * np.log(mean), surprise.shape)
    return np.stack([surprise, level], axis=-1).astype(np.float32)


def step_features(
    counts: NDArray[np.int64], mean: Floats, calendar: Calendar, *, first_step: int
) -> NDArray[np.float32]:
    """Features float32 [T, N, 6] of the steps first_step ... first_step + T - 1.

    The calendar shown with a step's count is that of the step to come.
    """
    coming = first_step + 1 + np.arange(len(counts))
    return np.concatenate([count_features(counts, mean), calendar.harmonics(coming)], axis=-1)

"""What a node's recurrent unit is shown: its own count, its own mean, and its own calendar.

The calendar is one period per node, found on that node's history alone. Bursts that return on a clock
cannot be led by a unit that sees counts only, unless it keeps count of the quiet steps between them; given
the hour, as any forecaster of daily traffic is, it can.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HARMONICS = 3
FEATURES = 4 + 2 * HARMONICS
"""Features of a step: count, mean, strength and shape of the calendar, and its harmonics now."""

MIN_MEAN = 1e-3
"""Mean count per step below which a node is treated as having this one."""

_SHORTEST = 4.0
_CYCLES = 4.0
_OVERSAMPLING = 16
_FALSE_ALARM = 1e-3


@dataclass(frozen=True, eq=False, kw_only=True)
class Calendar:
    """One clock per node, float64 [N] each; all 0 for a node without one.

    `turns_per_step`: 1 over the period in steps. `offset_turns`: where in its turn step 0 stands; turn 0 is
    the middle of the busy part. `strength`, `shape`: the amplitude of the first harmonic, and the part of
    the second that is in phase with it, as multiples of the mean; both 2 for bursts short as can be.
    """

    turns_per_step: Floats
    offset_turns: Floats
    strength: Floats
    shape: Floats

    @classmethod
    def none(cls, nodes: int) -> Calendar:
        """No clock at any node."""
        return cls(**{item.name: np.zeros(nodes) for item in fields(cls)})

    def harmonics(self, steps: NDArray[np.int64]) -> NDArray[np.float32]:
        """cos and sin of 1, 2 and 3 times the turn at `steps`, float32 [T, N, 6]; 0 without a clock."""
        turn = self.offset_turns + np.asarray(steps)[:, None] * self.turns_per_step
        angle = 2.0 * np.pi * (turn % 1.0)[..., None] * np.arange(1, HARMONICS + 1)
        waves = np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)
        return np.asarray(waves * (self.turns_per_step > 0.0)[:, None], dtype=np.float32)


def fit_calendar(counts: NDArray[np.int64]) -> Calendar:
    """Each node's own period in `counts` int64 [T, N], step 0 being the first row.

    The statistic is Z^2_2 of Buccheri et al. (1983, Astronomy and Astrophysics 128, 245): the power at a
    frequency and at its double, which is chi-squared with 4 degrees of freedom for Poisson counts without
    a period. Periods from 4 steps to a quarter of the history are tried. A node has a calendar only if its
    best one would be matched by chance in one of 1,000 such nodes.
    """
    steps, nodes = counts.shape
    size = _OVERSAMPLING * steps
    first, last = int(np.ceil(_CYCLES * _OVERSAMPLING)), int(size / _SHORTEST)
    if last <= first:
        return Calendar.none(nodes)
    total = counts.sum(axis=0)
    waves = np.fft.rfft(counts - counts.mean(axis=0), n=size, axis=0)
    power = 2.0 * np.abs(waves) ** 2 / np.maximum(total, 1)
    tried = np.arange(first, last + 1)
    statistic = power[tried] + power[2 * tried]
    best = tried[np.argmax(statistic, axis=0)]
    found = statistic.max(axis=0) > _threshold(len(tried) / _OVERSAMPLING)
    each = np.arange(nodes)
    first_wave, second_wave = waves[best, each], waves[2 * best, each]
    angle = np.angle(first_wave)
    in_phase = (second_wave * np.exp(-2j * angle)).real
    scale = np.where(found, 2.0 / np.maximum(total, 1), 0.0)
    return Calendar(
        turns_per_step=np.where(found, best / size, 0.0),
        offset_turns=np.where(found, angle / (2.0 * np.pi), 0.0),
        strength=scale * np.abs(first_wave),
        shape=scale * in_phase,
    )


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


def step_features(
    counts: NDArray[np.int64], mean: Floats, calendar: Calendar, *, first_step: int
) -> NDArray[np.float32]:
    """Features float32 [T, N, 10] of the steps first_step ... first_step + T - 1, from counts int64 [T, N].

    The harmonics shown with a step's count are those of the step to come.
    """
    features = np.empty((*counts.shape, FEATURES), dtype=np.float32)
    features[..., 0] = (counts - mean) / (1.0 + mean)
    features[..., 1] = 0.5 * np.log(mean)
    features[..., 2] = calendar.strength
    features[..., 3] = calendar.shape
    features[..., 4:] = calendar.harmonics(first_step + 1 + np.arange(len(counts)))
    return features

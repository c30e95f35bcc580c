"""The calendar of a peer: one period of its counts, estimated on its own history only.

A unit that sees counts only would have to count the quiet steps between periodic bursts to foresee the next
one. The calendar gives it the phase, as the hour of the day does in forecasts of daily traffic.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats

HARMONICS = 3
"""Multiples of the frequency of a calendar that a unit sees."""

MIN_MEAN = 1e-4
"""Smallest mean count per step; a peer with a smaller mean is treated as having this one."""

_MIN_PERIOD_STEPS = 4.0
_MIN_CYCLES = 4.0
_OVERSAMPLING = 16
_FALSE_ALARM_PROBABILITY = 1e-3


@dataclass(frozen=True, eq=False, kw_only=True)
class Calendar:
    """The period of each peer, float64 [M] each; all 0 for a peer without one.

    - `turns_per_step`: 1 over the period in steps.
    - `offset_turns`: the phase of step 0 in turns; phase 0 is the middle of the busy part.
    - `strength`: the amplitude of the first harmonic as a multiple of the mean.
    - `shape`: the part of the second harmonic that is in phase with the first, as a multiple of the mean.

    Strength and shape are both 2 in the limit of short bursts.
    """

    turns_per_step: Floats
    offset_turns: Floats
    strength: Floats
    shape: Floats

    @classmethod
    def none(cls, peers: int) -> Calendar:
        """No period at any peer."""
        return cls(**{item.name: np.zeros(peers) for item in fields(cls)})

    def harmonics(self, steps: NDArray[np.int64]) -> NDArray[np.float32]:
        """cos and sin of 1, 2 and 3 times the phase at `steps`, float32 [T, M, 6]; 0 without a period."""
        turn = self.offset_turns + np.asarray(steps)[:, None] * self.turns_per_step
        angle = 2.0 * np.pi * (turn % 1.0)[..., None] * np.arange(1, HARMONICS + 1)
        waves = np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)
        return np.asarray(waves * (self.turns_per_step > 0.0)[:, None], dtype=np.float32)


def fit_calendar(counts: NDArray[np.int64]) -> Calendar:
    """Each peer's own period in `counts` int64 [T, M]; step 0 is the step after the last row.

    The statistic is Z^2_2 of Buccheri et al. (1983, Astronomy and Astrophysics 128, 245): the power at a
    frequency and at its double. For Poisson counts without a period it is chi-squared with 4 degrees of
    freedom. Periods from 4 steps to a quarter of the history are tried. A peer gets its best period only if
    one peer without a period in 1,000 would reach that statistic by chance.
    """
    steps, peers = counts.shape
    size = _OVERSAMPLING * steps
    # In bins of the padded transform, which samples each independent frequency 16 times.
    first, last = int(np.ceil(_MIN_CYCLES * _OVERSAMPLING)), int(size / _MIN_PERIOD_STEPS)
    if last <= first:
        return Calendar.none(peers)
    total = counts.sum(axis=0)
    # Without its mean a padded series leaks no constant into low frequencies.
    waves = np.fft.rfft(counts - counts.mean(axis=0), n=size, axis=0)
    power = 2.0 * np.abs(waves) ** 2 / np.maximum(total, 1)
    candidates = np.arange(first, last + 1)
    statistic = power[candidates] + power[2 * candidates]
    best = candidates[np.argmax(statistic, axis=0)]
    significant = statistic.max(axis=0) > _threshold(len(candidates) / _OVERSAMPLING)
    each = np.arange(peers)
    first_wave, second_wave = waves[best, each], waves[2 * best, each]
    angle = np.angle(first_wave)
    # Rotated by twice the phase of the first harmonic: the real part is in phase with it.
    in_phase = (second_wave * np.exp(-2j * angle)).real
    scale = np.where(significant, 2.0 / np.maximum(total, 1), 0.0)
    return Calendar(
        turns_per_step=np.where(significant, best / size, 0.0),
        # From the first row to the step after the last one.
        offset_turns=np.where(significant, (angle / (2.0 * np.pi) + steps * best / size) % 1.0, 0.0),
        strength=scale * np.abs(first_wave),
        shape=scale * in_phase,
    )


def _threshold(independent: float) -> float:
    """The Z^2_2 that the maximum over `independent` frequencies exceeds by chance in one of 1,000 cases.

    The tail of chi-squared with 4 degrees of freedom is exp(-z/2)(1 + z/2). A fine grid amounts to about
    three trials for each independent frequency. The equation is solved by repeated substitution.
    """
    tail = _FALSE_ALARM_PROBABILITY / (3.0 * independent)
    # The substitution contracts from any start, and 50 steps reach full precision.
    value = 30.0
    for _ in range(50):
        value = 2.0 * (np.log1p(0.5 * value) - np.log(tail))
    return float(value)

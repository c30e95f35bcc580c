"""The chance that regular starts fall into each of the coming steps: the schedule of each peer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from qdpem.arrays import Floats
from qdpem.forecasting.features.starts import PREDICTORS, RegularStarts

WIDENINGS = np.array([0.7, 1.2, 2.2])
"""Factors on the spread of a start: a unit learns how much of each to believe."""

SCHEDULES = PREDICTORS * len(WIDENINGS)
"""Schedules of a peer: each way to foresee the next start, with each widening."""

_STARTS = 4
"""Starts ahead that are looked at; together they cover the horizon for periods from `MIN_PERIOD` on."""
_REACH = 6.0
_OVERDUE = 1e-6


def schedules(
    starts: RegularStarts, *, now: float, horizon: int, widenings: Floats = WIDENINGS
) -> NDArray[np.float32]:
    """Chances [B, 3 W, H] of a start in each of the next H steps, in units of steps, from `now` on.

    A start c expected at g with deviation s sqrt(d) comes in [a, b) with the probability

        k (F(b) - F(a)) / (1 - k F(now)),

    F the normal distribution function and k the fraction of starts that are not skipped. From the last start
    alone, d is c; else 1. Each way to foresee it is given with each of the W widenings.
    """
    peers = len(starts.seen)
    made = np.zeros((peers * PREDICTORS, len(widenings), horizon), dtype=np.float32)
    regular = np.flatnonzero(starts.seen > 1)
    period, last = starts.period[regular], starts.last[regular]
    first = np.maximum(np.floor((now - last) / np.maximum(period, 1e-9)), 1.0)
    number = first[..., None] + np.arange(_STARTS)
    expected = last[..., None] + number * period[..., None] - now
    deviation = np.repeat(starts.spread[regular][..., None], _STARTS, axis=2)
    deviation[:, -1] *= np.sqrt(number[:, -1])
    near = np.abs(expected - 0.5 * horizon) < 0.5 * horizon + _REACH * deviation
    # Most starts are far away, and the normal distribution is what takes time.
    chosen = np.flatnonzero(near)
    row, predictor, ahead = np.unravel_index(chosen, near.shape)
    peer = regular[row]
    if len(peer):
        spread = deviation.ravel()[chosen] * widenings[:, None]
        chance = _chances(expected.ravel()[chosen], spread, starts.kept[peer], horizon)
        # One start of each schedule at a time, because an indexed sum counts repeated indices once.
        schedule = peer * PREDICTORS + predictor
        for each in range(_STARTS):
            own = np.flatnonzero(ahead == each)
            made[schedule[own]] += chance[own]
        np.minimum(made, 1.0, out=made)
    return made.reshape(peers, -1, horizon)


def _chances(expected: Floats, spread: Floats, kept: Floats, horizon: int) -> NDArray[np.float32]:
    """Chances [S, W, H] of starts expected at [S] with deviations [W, S]."""
    # Starts last: long rows are what NumPy is fast at.
    edges = np.arange(horizon + 1, dtype=np.float64)[:, None, None]
    below = ndtr((edges - expected) / spread)
    left = np.maximum(1.0 - kept * below[0], _OVERDUE)
    chance = (kept * np.diff(below, axis=0) / left).astype(np.float32)
    return np.ascontiguousarray(chance.transpose(2, 1, 0))


def phase(starts: RegularStarts, now: float) -> Floats:
    """Periods since the last start by the line through all of them, float64 [B]; 0 without starts."""
    period = np.maximum(starts.period[:, 0], 1e-9)
    return np.where(starts.seen > 1, (now - starts.last[:, 0]) / period, 0.0)

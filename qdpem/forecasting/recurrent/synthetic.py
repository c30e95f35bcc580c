"""Synthetic peers to pretrain on: timetables, random requests, sessions, bursts, daily cycles.

Everything is in units of steps, and drawn over wide ranges; no scenario is among them.
"""

from __future__ import annotations

import numpy as np

from qdpem.arrays import Floats

FAMILIES = ("timetable", "random", "session", "bursts", "daily")
_FRACTIONS = (0.5, 0.2, 0.1, 0.1, 0.1)


def synthetic_times(generator: np.random.Generator, *, steps: int, peers: int) -> list[Floats]:
    """Ascending times of the requests of each peer in [0, steps)."""
    families = generator.choice(len(FAMILIES), size=peers, p=_FRACTIONS)
    draw = (_timetable, _random, _session, _bursts, _daily)
    return [np.sort(draw[family](generator, float(steps))) for family in families.tolist()]


def _log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))


def _some(generator: np.random.Generator, most: float) -> float:
    """Zero in half of the cases, else up to `most`."""
    return float(generator.uniform(0.0, most) * (generator.random() < 0.5))


def _timetable(generator: np.random.Generator, steps: float) -> Floats:
    """Regular starts of every jitter, some skipped, with unannounced requests; some change their phase."""
    period = _log_uniform(generator, 8.0, 240.0)
    jitter = min(_log_uniform(generator, 0.05, 10.0), 0.4 * period)
    count = int(steps / period) + 3
    displaced = jitter * generator.standard_normal(count)
    if generator.random() < 0.35:
        displaced = np.cumsum(displaced)
    if generator.random() < 0.1:
        displaced[generator.integers(count) :] += generator.uniform(0.0, period)
    start = (np.arange(count) + generator.uniform(0.0, 1.0) - 1.0) * period + displaced
    start = start[generator.random(count) >= _some(generator, 0.4)]
    unannounced = _poisson(generator, _some(generator, 0.5) / period, steps)
    times = np.concatenate([start, unannounced])
    return times[(times >= 0.0) & (times < steps)]


def _random(generator: np.random.Generator, steps: float) -> Floats:
    """Requests at a steady rate."""
    return _poisson(generator, _log_uniform(generator, 0.002, 4.0), steps)


def _session(generator: np.random.Generator, steps: float) -> Floats:
    """On and off times of exponential length, requests at random while on."""
    on, off = _log_uniform(generator, 4.0, 80.0), _log_uniform(generator, 15.0, 400.0)
    rate = _log_uniform(generator, 0.05, 2.0)
    spans = np.cumsum(generator.exponential(np.tile([off, on], int(3 * steps / (on + off)) + 8)))
    times = _poisson(generator, rate, steps)
    return np.asarray(times[np.searchsorted(spans, times) % 2 == 1])


def _bursts(generator: np.random.Generator, steps: float) -> Floats:
    """Bursts of one length and height, at a period or at random."""
    period = _log_uniform(generator, 10.0, 100.0)
    length = generator.uniform(0.1, 0.4) * period
    jitter = generator.uniform(0.0, 0.06) * period
    count = int(steps / period) + 3
    if generator.random() < 0.7:
        begin = (np.arange(count) + generator.uniform(0.0, 1.0) - 1.0) * period
        begin = np.sort(begin + jitter * generator.standard_normal(count))
    else:
        begin = np.cumsum(length + generator.exponential(period - length, count)) - period
    rate = _log_uniform(generator, 0.02, 4.0)
    low = generator.uniform(0.0, 0.6) * rate
    times = _poisson(generator, rate, steps)
    index = np.searchsorted(begin, times, side="right") - 1
    inside = (index >= 0) & (times < begin[np.maximum(index, 0)] + length)
    return times[inside | (generator.random(len(times)) * rate < low)]


def _daily(generator: np.random.Generator, steps: float) -> Floats:
    """A rate that follows a smooth cycle of two harmonics."""
    period, rate = _log_uniform(generator, 16.0, 280.0), _log_uniform(generator, 0.02, 6.0)
    first, second = generator.uniform(0.2, 1.0), generator.uniform(0.0, 0.4)
    turns = generator.uniform(0.0, 1.0, 2)
    most = rate * (1.0 + first + second)
    times = _poisson(generator, most, steps)
    angle = 2.0 * np.pi * times / period
    now = 1.0 + first * np.cos(angle + 2 * np.pi * turns[0]) + second * np.cos(2 * angle + 6.3 * turns[1])
    return np.asarray(times[generator.random(len(times)) * most < rate * np.maximum(now, 0.0)])


def _poisson(generator: np.random.Generator, rate: float, steps: float) -> Floats:
    return np.asarray(generator.uniform(0.0, steps, generator.poisson(rate * steps)))

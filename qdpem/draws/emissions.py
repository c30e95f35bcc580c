"""The emissions of one source, drawn ahead of time: the same in every arm and in the bounds.

A source emits photon pairs at `source_rate_hz`. Only the emissions that could succeed on its best link are
drawn: a Poisson stream of rate rate x eta_max, each with u uniform on [0, eta_max). On a link of
transmissivity eta, an emission with u < eta succeeds. Thinning a Poisson process in this way gives the
success times of independent Bernoulli attempts.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

_BLOCK = 256


class Emissions:
    """The drawn emissions of one source, numbered from 0: drawn as asked for, let go when passed."""

    def __init__(self, generator: np.random.Generator, *, rate_hz: float, best: float, end_s: float) -> None:
        self._generator = generator
        self._rate_hz = rate_hz * best
        self._best = best
        self._end_s = end_s if self._rate_hz > 0.0 else 0.0
        self._time_s: list[float] = []
        self._u: list[float] = []
        self._gone = 0

    def time_s(self, index: int) -> float:
        """When emission `index` happens; it must have been reached before and not be forgotten."""
        return self._time_s[index - self._gone]

    def forget(self, before: int) -> None:
        """Let go of the emissions before number `before`, a block at a time; the last one drawn stays."""
        passed = min(before - self._gone, len(self._time_s) - 1)
        if passed >= _BLOCK:
            del self._time_s[:passed], self._u[:passed]
            self._gone += passed

    def next_success(self, start: int, probability: float) -> int | None:
        """Index of the first emission from `start` on with u < probability; None if none before the end."""
        index = start
        while self._reaches(index):
            if self._u[index - self._gone] < probability:
                return index
            index += 1
        return None

    def first_after(self, start: int, now_s: float) -> int:
        """Index of the first emission from `start` on that is later than now_s, or one past the last."""
        place = start - self._gone
        while self._reaches(place + self._gone):
            place = bisect_right(self._time_s, now_s, place)
            if place < len(self._time_s):
                break
        return place + self._gone

    def _reaches(self, index: int) -> bool:
        while index - self._gone >= len(self._time_s):
            last_s = self._time_s[-1] if self._time_s else 0.0
            if last_s >= self._end_s:
                return False
            gaps = self._generator.exponential(1.0 / self._rate_hz, _BLOCK)
            self._time_s += (last_s + np.cumsum(gaps)).tolist()
            self._u += (self._generator.random(_BLOCK) * self._best).tolist()
        return True

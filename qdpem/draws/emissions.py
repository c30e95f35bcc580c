"""The emissions of one source, drawn ahead of time, so that they are the same in every arm and in the bounds.

A source emits photon pairs at `source_rate_hz`. Only emissions that could succeed on its best link are
drawn: a Poisson process of rate `source_rate_hz` x eta_max, each with u uniform on [0, eta_max). On a link
of transmissivity eta, an emission with u < eta succeeds. A Poisson process thinned in this way has the
success times of independent Bernoulli attempts.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

_BLOCK = 256


class Emissions:
    """The emissions of one source, numbered from 0. They are drawn when needed, and dropped when passed.

    `best` is the success probability on the source's best link; nothing is drawn beyond `end_s`.
    """

    def __init__(self, generator: np.random.Generator, *, rate_hz: float, best: float, end_s: float) -> None:
        self._generator = generator
        self._rate_hz = rate_hz * best
        self._best = best
        # A source without a rate ends at t = 0, so `_reaches` never divides by it.
        self._end_s = end_s if self._rate_hz > 0.0 else 0.0
        self._time_s: list[float] = []
        self._u: list[float] = []
        self._dropped = 0

    def time_s(self, index: int) -> float:
        """When emission `index` happens; it must be drawn and not forgotten."""
        return self._time_s[index - self._dropped]

    def forget(self, before: int) -> None:
        """Drop the emissions before number `before`, once they fill a block; the last one drawn stays."""
        # Its time is where the next block begins.
        passed = min(before - self._dropped, len(self._time_s) - 1)
        if passed >= _BLOCK:
            del self._time_s[:passed], self._u[:passed]
            self._dropped += passed

    def next_success(self, start: int, probability: float) -> int | None:
        """Index of the first emission from `start` on with u < probability; None if there is none."""
        index = start
        while self._reaches(index):
            if self._u[index - self._dropped] < probability:
                return index
            index += 1
        return None

    def first_after(self, start: int, now_s: float) -> int:
        """Index of the first emission from `start` on that is later than `now_s`, or one past the last."""
        offset = start - self._dropped
        while self._reaches(offset + self._dropped):
            # Right: an emission at `now_s` itself has happened.
            offset = bisect_right(self._time_s, now_s, offset)
            if offset < len(self._time_s):
                break
        return offset + self._dropped

    def _reaches(self, index: int) -> bool:
        """Whether emission `index` exists; draws blocks until it does or the end is passed."""
        while index - self._dropped >= len(self._time_s):
            last_s = self._time_s[-1] if self._time_s else 0.0
            if last_s >= self._end_s:
                return False
            # Whole blocks, gaps before uniforms: values do not depend on which arm asks for them, or when.
            gaps = self._generator.exponential(1.0 / self._rate_hz, _BLOCK)
            self._time_s += (last_s + np.cumsum(gaps)).tolist()
            self._u += (self._generator.random(_BLOCK) * self._best).tolist()
        return True

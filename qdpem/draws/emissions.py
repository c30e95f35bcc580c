"""The emissions of one source, drawn ahead of time, so that they are the same in every arm and in the bounds.

A source emits photon pairs at `source_rate_hz`. Only emissions that could succeed on its best link are
drawn: a Poisson process of rate `source_rate_hz` x eta_max, each with u uniform on [0, eta_max). On a link
of transmissivity eta, an emission with u < eta succeeds. A Poisson process thinned in this way has the
success times of independent Bernoulli attempts.

Most emissions of a fast source happen while nobody asks for them. Its time is therefore divided into windows
with a random stream each, and only the windows that are asked for are drawn.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple, Protocol

import numpy as np

from qdpem.arrays import Floats
from qdpem.rng import stream

_BLOCK = 256
FAST_HZ = 1e5
"""Emissions that could succeed, per second: above, a source is drawn window by window."""
_STRIDE = 1 << 20
"""Numbers of one window's emissions; a window holds about 256, by a Poisson law."""


class EmissionSequence(Protocol):
    """Emissions in the order of time; each has a number, which grows with time."""

    def time_s(self, index: int) -> float:
        """When emission `index` happens."""

    def after(self, index: int) -> int:
        """The number of the emission behind `index`, or one past the last."""

    def forget(self, before: int) -> None:
        """Drop emissions before number `before`, which nobody asks for any more."""

    def next_success(self, start: int, probability: float) -> int | None:
        """Number of the first emission from `start` on with u < probability; None if there is none."""

    def first_after(self, start: int, now_s: float) -> int:
        """Number of the first emission from `start` on that is later than `now_s`, or one past the last."""


def draw_emissions(*, seed: int, name: str, rate_hz: float, best: float, end_s: float) -> EmissionSequence:
    """The emissions of the source at node `name` under root seed `seed`, up to `end_s`.

    Args:
        seed: root seed of the run.
        name: of the node; keys the random stream.
        rate_hz: emissions per second, before loss.
        best: success probability on the source's best link.
        end_s: nothing is drawn beyond this time.
    """
    key = f"source/{name}"
    if rate_hz * best > FAST_HZ:
        return WindowedEmissions(seed, key, rate_hz=rate_hz, best=best, end_s=end_s)
    return Emissions(stream(seed, key), rate_hz=rate_hz, best=best, end_s=end_s)


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

    def after(self, index: int) -> int:
        """The number of the next emission."""
        return index + 1

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


class _Window(NamedTuple):
    time_s: list[float]
    u: Floats


class WindowedEmissions:
    """The emissions of a fast source: window k covers [k, k + 1) x length and has its own random stream.

    A window holds a Poisson number of emissions at independent uniform times, which together are a Poisson
    process. Emission n of window k has the number k x 2^20 + n. Numbers that are asked for or returned belong
    to emissions that exist, or to the first window behind the end.
    """

    def __init__(self, seed: int, key: str, *, rate_hz: float, best: float, end_s: float) -> None:
        self._seed, self._key, self._best = seed, key, best
        self._length_s = _BLOCK / (rate_hz * best)
        self._count = math.ceil(end_s / self._length_s)
        self._windows: dict[int, _Window] = {}

    def time_s(self, index: int) -> float:
        """When emission `index` happens; infinity behind the last."""
        index = self._existing(index)
        window, number = divmod(index, _STRIDE)
        return self._window(window).time_s[number] if window < self._count else math.inf

    def after(self, index: int) -> int:
        """The number of the next emission, or one past the last."""
        return self._existing(index + 1)

    def forget(self, before: int) -> None:
        """Drop the windows before that of number `before`."""
        for window in [window for window in self._windows if window < before // _STRIDE]:
            del self._windows[window]

    def next_success(self, start: int, probability: float) -> int | None:
        """Number of the first emission from `start` on with u < probability; None if there is none."""
        window, number = divmod(start, _STRIDE)
        while window < self._count:
            found = np.flatnonzero(self._window(window).u[number:] < probability)
            if len(found):
                return window * _STRIDE + number + int(found[0])
            window, number = window + 1, 0
        return None

    def first_after(self, start: int, now_s: float) -> int:
        """Number of the first emission from `start` on that is later than `now_s`, or one past the last."""
        window = int(now_s / self._length_s)
        # The division may have rounded up.
        window -= now_s < window * self._length_s
        window = max(window, start // _STRIDE)
        number = start % _STRIDE if window == start // _STRIDE else 0
        while window < self._count:
            times = self._window(window).time_s
            number = bisect_right(times, now_s, number)
            if number < len(times):
                return window * _STRIDE + number
            window, number = window + 1, 0
        return self._count * _STRIDE

    def _existing(self, index: int) -> int:
        """The number of the first emission from `index` on."""
        window, number = divmod(index, _STRIDE)
        while window < self._count and number >= len(self._window(window).time_s):
            window, number = window + 1, 0
        return window * _STRIDE + number

    def _window(self, window: int) -> _Window:
        if window not in self._windows:
            generator = stream(self._seed, f"{self._key}/{window}")
            count = int(generator.poisson(_BLOCK))
            start_s, end_s = window * self._length_s, (window + 1) * self._length_s
            # No rounding may carry an emission into the next window: times ascend over all windows.
            time_s = np.minimum(np.sort(start_s + self._length_s * generator.random(count)), end_s)
            self._windows[window] = _Window(time_s.tolist(), generator.random(count) * self._best)
        return self._windows[window]

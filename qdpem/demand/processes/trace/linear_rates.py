"""Rates that change linearly between given times, their integrals, and when these are reached."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qdpem.arrays import Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearRates:
    """Rates of E series, linear between the times of T knots, constant before the first and after the last.

    `time_s` float64 [T], ascending. `rate_hz` float64 [T, E], 0 or more.
    """

    time_s: Floats
    rate_hz: Floats

    @cached_property
    def _reached(self) -> Floats:
        """The integral from the first knot to each, float64 [T, E]."""
        mean_hz = 0.5 * (self.rate_hz[1:] + self.rate_hz[:-1])
        parts = mean_hz * np.diff(self.time_s)[:, None]
        return np.concatenate([np.zeros((1, self.rate_hz.shape[1])), np.cumsum(parts, axis=0)])

    @cached_property
    def _slope(self) -> Floats:
        """The change of the rates per second after each knot, float64 [T, E]; 0 after the last."""
        slope = np.diff(self.rate_hz, axis=0) / np.diff(self.time_s)[:, None]
        return np.concatenate([slope, np.zeros((1, self.rate_hz.shape[1]))])

    def integral(self, time_s: Floats) -> Floats:
        """The integral from the first knot to each time, float64 [len(time_s), E]; below 0 before it.

        >>> rates = LinearRates(time_s=np.array([0.0, 2.0]), rate_hz=np.array([[1.0], [3.0]]))
        >>> rates.integral(np.array([-1.0, 1.0, 2.0, 3.0]))[:, 0].tolist()
        [-1.0, 1.5, 4.0, 7.0]
        """
        knot = np.maximum(np.searchsorted(self.time_s, time_s, side="right") - 1, 0)
        after_s = (time_s - self.time_s[knot])[:, None]
        # Before the first knot the rate is constant too.
        slope = np.where(after_s < 0.0, 0.0, self._slope[knot])
        return np.asarray(self._reached[knot] + after_s * (self.rate_hz[knot] + 0.5 * slope * after_s))

    def time_of(self, series: int, integral: Floats) -> Floats:
        """The first time at which the integral of one series is as large; infinite where it never is.

        Between two knots it solves r t + s t^2 / 2 = remainder, with r the rate and s the slope at the first.
        """
        reached, rate_hz = self._reached[:, series], self.rate_hz[:, series]
        # Left: a time at the end of a stretch without rate, not in it.
        knot = np.maximum(np.searchsorted(reached, integral, side="left") - 1, 0)
        rest = integral - reached[knot]
        slope = np.where(rest < 0.0, 0.0, self._slope[knot, series])
        root = np.sqrt(np.maximum(rate_hz[knot] ** 2 + 2.0 * slope * rest, 0.0))
        # The form of the solution that loses no digits where the slope is small.
        with np.errstate(divide="ignore", invalid="ignore"):
            after_s = np.where(rest == 0.0, 0.0, 2.0 * rest / (rate_hz[knot] + root))
        return np.asarray(self.time_s[knot] + after_s)

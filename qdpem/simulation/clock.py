"""The clock: SimPy's, in seconds. Nothing polls; callbacks on the hot path, no processes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import simpy
from simpy.events import Timeout


class Clock:
    """Calls functions at simulated times. Equal times are served in the order they were asked for."""

    def __init__(self) -> None:
        self._environment = simpy.Environment()
        self.events = 0

    @property
    def now_s(self) -> float:
        """The present simulated second."""
        return float(self._environment.now)

    @property
    def next_s(self) -> float:
        """When the next call is due; inf when there is none."""
        return float(self._environment.peek())

    def after(self, delay_s: float, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function(*arguments)` in `delay_s` seconds."""
        timeout = Timeout(self._environment, delay_s)
        timeout.callbacks.append(lambda _: function(*arguments))

    def at(self, time_s: float, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function(*arguments)` at `time_s`, or now if that is past."""
        now_s = self._environment.now
        delay_s = max(time_s - now_s, 0.0)
        # now + (time - now) may miss the time by a rounding; what is due at one time must meet there.
        while now_s + delay_s < time_s:
            delay_s = math.nextafter(delay_s, math.inf)
        while now_s + delay_s > max(time_s, now_s):
            delay_s = math.nextafter(delay_s, 0.0)
        self.after(delay_s, function, *arguments)

    def step(self) -> None:
        """Serve the next call."""
        self.events += 1
        self._environment.step()

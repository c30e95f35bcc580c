"""The clock: SimPy's, in seconds. Nothing polls; callbacks on the hot path, no processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sized
from typing import Any

import simpy
from simpy.events import Event


class _Call(Event):
    """A scheduled call. It has happened when its time comes, whoever it calls.

    Without the base class' __init__, which sets up what callers of functions do not need.
    """

    __slots__ = ("_ok", "arguments", "callbacks", "function")

    def __init__(
        self,
        serve: Callable[[_Call], None],
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
    ) -> None:
        self.callbacks = (serve,)
        self.function = function
        self.arguments = arguments
        self._ok = True


class Clock:
    """Calls functions at simulated times. Equal times are served in the order they were asked for.

    `now_s` is the present simulated second, `events` the calls served so far.
    """

    def __init__(self) -> None:
        self._environment = simpy.Environment()
        self._schedule = self._environment.schedule
        self.now_s = 0.0
        self.events = 0

    @property
    def next_s(self) -> float:
        """When the next call is due; inf when there is none."""
        return float(self._environment.peek())

    def after(self, delay_s: float, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function(*arguments)` in `delay_s` seconds. Raises ValueError for a delay below 0."""
        if delay_s < 0.0:
            raise ValueError(f"delay_s is {delay_s!r}; it must be 0 or more")
        self._schedule(_Call(self._serve, function, arguments), delay=delay_s)

    def at(self, time_s: float, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function(*arguments)` at `time_s`, or now if that is past."""
        now_s = self.now_s
        delay_s = 0.0
        if time_s > now_s:
            delay_s = time_s - now_s
            # now + (time - now) may miss the time by a rounding; what is due at one time must meet there.
            while now_s + delay_s < time_s:
                delay_s = math.nextafter(delay_s, math.inf)
            while now_s + delay_s > time_s:
                delay_s = math.nextafter(delay_s, 0.0)
        self._schedule(_Call(self._serve, function, arguments), delay=delay_s)

    def step(self) -> None:
        """Serve the next call."""
        self._environment.step()

    def run(self, *, until_s: float, stop: Sized) -> bool:
        """Serve calls until `stop` holds something; False when none is left up to `until_s`."""
        peek, step = self._environment.peek, self._environment.step
        while not stop:
            if peek() > until_s:
                return False
            step()
        return True

    def _serve(self, call: _Call) -> None:
        self.now_s = self._environment.now
        self.events += 1
        call.function(*call.arguments)

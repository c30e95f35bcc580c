"""The clock: SimPy's event queue, in seconds. Parts of a run schedule callbacks; none of them polls."""

from __future__ import annotations

from collections.abc import Callable, Sized
from heapq import heappop, heappush
from typing import Any

import simpy
from simpy.events import NORMAL, Event


class _Call(Event):
    """A scheduled call, as a SimPy event that SimPy's own `step` can serve as well.

    The event always succeeds. The base class's `__init__` is not called: it sets up fields that calls do not
    need.
    """

    __slots__ = ("arguments", "function")
    _ok = True

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function = function
        self.arguments = arguments

    def _happen(self) -> None:
        self.function(*self.arguments)

    callbacks = (_happen,)  # type: ignore[assignment]  # shared by all calls; SimPy makes a list per event


class Clock(simpy.Environment):
    """Calls functions at simulated times; calls due at one time are served in the order they were scheduled.

    `now_s` is the present simulated second, `events` the number of calls served. The queue is SimPy's, but
    calls enter it here. SimPy schedules by delay, and now + delay may miss an absolute time by a rounding.
    Calls that are due at one time must meet there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.events = 0

    @property
    def next_s(self) -> float:
        """When the next call is due; inf when there is none."""
        return float(self.peek())

    def after(self, delay_s: float, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function(*arguments)` in `delay_s` seconds. Raises ValueError for a delay below 0."""
        if delay_s < 0.0:
            raise ValueError(f"delay_s is {delay_s!r}; it must be 0 or more")
        call = _Call(function, arguments)
        # The counter `_eid` breaks ties in the order of scheduling, so that calls are never compared.
        heappush(self._queue, (self.now_s + delay_s, NORMAL, next(self._eid), call))

    def at(self, time_s: float, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function(*arguments)` at `time_s`, or now if that time is past."""
        now_s = self.now_s
        call = _Call(function, arguments)
        heappush(self._queue, (time_s if time_s > now_s else now_s, NORMAL, next(self._eid), call))

    def step(self) -> None:
        """Serve the next call."""
        call: Any
        now_s, _, _, call = heappop(self._queue)
        # SimPy keeps its own copy of the time, which its `now` returns.
        self.now_s = self._now = now_s
        self.events += 1
        call.function(*call.arguments)

    def serve(self, *, until_s: float, stop: Sized) -> bool:
        """Serve calls until `stop` is not empty; False if no call is left up to `until_s`."""
        # Local names: this loop serves every event of a run.
        queue, step = self._queue, self.step
        # `stop` is looked at after every call, because calls fill it.
        while not stop:
            if not queue or queue[0][0] > until_s:
                return False
            step()
        return True

"""The attempts of one mode of an attempt-limited link, drawn ahead of time: the same in every arm.

The numbers of attempts up to each success are independent and geometric with the link's success probability,
from the mode's own stream. The n-th attempt of a mode thus does the same in every arm, whichever claim has it.
"""

from __future__ import annotations

import math

from qdpem.rng import stream

_BLOCK = 64
_ROUNDING = 1e-6
"""Of a slot: a claim made so much after its beginning, which rounding may cause, still has its attempt."""


class AttemptSequence:
    """The attempts one mode makes, and how many are left until one succeeds.

    Attempt k since it last began anew, counted from 0, starts at `start_s` + k x period; `made` of them
    have started, and the one that is `left` ahead of them succeeds. A slotted mode counts slots from t = 0
    instead, so that a slot begins at the same number of seconds for all.
    """

    def __init__(
        self, *, name: str, seed: int, probability: float, period_s: float, slotted: bool = False
    ) -> None:
        self._generator = stream(seed, name)
        self._probability = probability
        self._period_s = period_s
        self.slotted = slotted
        self._drawn: list[int] = []
        self._start_s = 0.0
        self._made = 0
        self._left = self._draw()

    @property
    def next_s(self) -> float:
        """When the attempt that comes next starts, or could start."""
        return self._start_s + self._made * self._period_s

    @property
    def success_s(self) -> float:
        """When the next attempt that succeeds starts, if nothing changes."""
        return self._start_s + (self._made + self._left - 1) * self._period_s

    def begin(self, now_s: float) -> None:
        """Attempt from now on, or from the end of the period that runs."""
        if self.next_s < now_s:
            self._begin_anew(now_s)

    def _begin_anew(self, now_s: float) -> None:
        """A mode that has rested can start now, or with the next slot."""
        if self.slotted:
            self._made = math.ceil(now_s / self._period_s - _ROUNDING)
        else:
            self._start_s, self._made = now_s, 0

    def pass_until(self, now_s: float) -> None:
        """Count the attempts started before `now_s`; none of them succeeded."""
        if self._start_s + self._made * self._period_s >= now_s:
            return
        started = int((now_s - self._start_s) / self._period_s)
        # The division may miss by a rounding; what decides is the number that the clock is set to.
        while self._start_s + started * self._period_s < now_s:
            started += 1
        while started > self._made and self._start_s + (started - 1) * self._period_s >= now_s:
            started -= 1
        self._left -= max(started - self._made, 0)
        self._made = max(started, self._made)

    def succeed(self) -> None:
        """The attempt that succeeds starts now, or is counted already if the clock is late by a rounding."""
        self._made += self._left
        self._left = self._draw()

    def _draw(self) -> int:
        if not self._drawn:
            self._drawn = self._generator.geometric(self._probability, _BLOCK)[::-1].tolist()
        return self._drawn.pop()

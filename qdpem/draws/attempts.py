"""The attempts of one mode of an attempt-limited link, drawn ahead of time, so that they are the same in
every arm.

The number of attempts up to each success is geometric with the link's success probability, and drawn from
the mode's own stream. The n-th attempt of a mode therefore has the same outcome in every arm, whichever
claim it is for.
"""

from __future__ import annotations

import math

from qdpem.rng import stream

_BLOCK = 64
_ROUNDING = 1e-6
"""Fraction of a slot: a claim that comes later than its start by no more than this still gets its attempt.

Rounding of times may make a claim that is due at the start of a slot come that much later.
"""


class AttemptSequence:
    """The attempts of one mode, and how many of them are left until one succeeds.

    Attempt k, counted from 0 since the mode last began anew at `_start_s`, starts at `_start_s` + k x
    period. `_started` of them have started, and of those to come the `_left`-th succeeds. A slotted mode
    counts slots from t = 0 instead, so that slots of all modes start at the same floating-point times.

    Args:
        name: of the mode; keys its random stream.
        seed: root seed of the run.
        probability: success probability of one attempt.
        period_s: from the start of one attempt to that of the next.
        slotted: whether attempts start at whole multiples of the period only.
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
        self._started = 0
        self._left = self._draw()

    @property
    def next_s(self) -> float:
        """When the next attempt starts, or could start if the mode is idle."""
        return self._start_s + self._started * self._period_s

    @property
    def success_s(self) -> float:
        """When the next successful attempt starts, if the mode goes on attempting."""
        return self._start_s + (self._started + self._left - 1) * self._period_s

    def begin(self, now_s: float) -> None:
        """Attempt from now on, or from the end of the present period."""
        # Otherwise the period of the last attempt is not over, and the sequence goes on without a gap.
        if self.next_s < now_s:
            self._begin_anew(now_s)

    def _begin_anew(self, now_s: float) -> None:
        """A mode that was idle can start now, or with the next slot."""
        if self.slotted:
            # `_start_s` stays 0. Without the allowance, `ceil` would skip the slot of a slightly late claim.
            self._started = math.ceil(now_s / self._period_s - _ROUNDING)
        else:
            self._start_s, self._started = now_s, 0

    def pass_until(self, now_s: float) -> None:
        """Count the attempts that started before `now_s`; none of them succeeded."""
        if self._start_s + self._started * self._period_s >= now_s:
            return
        started = int((now_s - self._start_s) / self._period_s)
        # The division may be off by a rounding. The times that the clock is set to decide.
        while self._start_s + started * self._period_s < now_s:
            started += 1
        while started > self._started and self._start_s + (started - 1) * self._period_s >= now_s:
            started -= 1
        self._left -= max(started - self._started, 0)
        self._started = max(started, self._started)

    def succeed(self) -> None:
        """The attempt that succeeds starts now; draw the number of attempts up to the next success."""
        # `_left` is 0 if `pass_until` has counted this attempt, because the clock was late by a rounding.
        self._started += self._left
        self._left = self._draw()

    def _draw(self) -> int:
        if not self._drawn:
            # Reversed, so that `pop` returns the draws in their order at constant cost.
            self._drawn = self._generator.geometric(self._probability, _BLOCK)[::-1].tolist()
        return self._drawn.pop()

"""Repeaters: a token bucket and the swaps that wait for tokens, most urgent first."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from operator import attrgetter

from qdpem.simulation.claims import Claim
from qdpem.simulation.clock import Clock

_ENOUGH = 1.0 - 1e-9
"""A whole token but for rounding: a wake-up computed to the refill's end may fall a bit short of it."""

_by_key = attrgetter("key")


class Repeater:
    """One swap takes one token; tokens refill at `rate_hz` up to `burst`, full at t = 0."""

    def __init__(self, *, rate_hz: float, burst: float, clock: Clock, grant: Callable[[Claim], None]) -> None:
        self._rate_hz = rate_hz
        self._burst = burst
        self._clock = clock
        self._grant = grant
        self._tokens = burst
        self._stamp_s = 0.0
        self._wake_s = -1.0
        self._last_site = -1
        self.waiting: list[Claim] = []

    def tokens(self, now_s: float) -> float:
        """Tokens in the bucket now."""
        return min(self._burst, self._tokens + self._rate_hz * (now_s - self._stamp_s))

    def add(self, claim: Claim) -> None:
        """A swap asks for a token: granted at once, or it waits."""
        if not self.waiting and self.tokens(self._clock.now_s) >= _ENOUGH:
            self._take(claim)
            return
        # The token it needs has gone to another already.
        claim.lose(self._clock.now_s, self._last_site)
        insort(self.waiting, claim, key=_by_key)
        self._wake_later()

    def remove(self, claim: Claim) -> None:
        """A waiting swap is withdrawn."""
        if claim in self.waiting:
            self.waiting.remove(claim)

    def _take(self, claim: Claim) -> None:
        now_s = self._clock.now_s
        self._tokens = max(self.tokens(now_s) - 1.0, 0.0)
        self._stamp_s = now_s
        self._last_site = claim.site
        self._grant(claim)

    def _wake_later(self) -> None:
        now_s = self._clock.now_s
        if self._rate_hz <= 0.0 or self._wake_s >= now_s:
            return
        short = max(1.0 - self.tokens(now_s), 0.0)
        self._wake_s = now_s + short / self._rate_hz
        self._clock.at(self._wake_s, self._wake)

    def _wake(self) -> None:
        self._wake_s = -1.0
        if self.waiting and self.tokens(self._clock.now_s) >= _ENOUGH:
            self._take(self.waiting.pop(0))
        if self.waiting:
            self._wake_later()

"""Repeaters: a token bucket, or a server, and the swaps that wait for it, most urgent first."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable
from operator import attrgetter

from qdpem.simulation.resources.claims import Claim
from qdpem.simulation.resources.clock import Clock

_ENOUGH = 1.0 - 1e-9
"""A whole token but for rounding: a wake-up computed to the refill's end may fall a bit short of it."""

_by_key = attrgetter("key")


class Repeater:
    """One swap takes one token; tokens refill at `rate_hz` up to `burst`, full at t = 0.

    A swap granted now has its result in `swap_time_s`. It has had its token even if it is given up by then.
    """

    def __init__(
        self,
        *,
        rate_hz: float,
        burst: float,
        swap_time_s: float,
        clock: Clock,
        grant: Callable[[Claim], None],
    ) -> None:
        self.swap_time_s = swap_time_s
        self._rate_hz = rate_hz
        self._burst = burst
        self._clock = clock
        self._grant = grant
        self._tokens = burst
        self._stamp_s = 0.0
        self._wake_s = -1.0
        self._last_source = -1
        self.waiting: list[Claim] = []

    def tokens(self, now_s: float) -> float:
        """Tokens in the bucket now."""
        return min(self._burst, self._tokens + self._rate_hz * (now_s - self._stamp_s))

    def add(self, claim: Claim) -> None:
        """A swap asks for a token: granted at once, or it waits."""
        now_s = self._clock.now_s
        tokens = self.tokens(now_s)
        if tokens >= _ENOUGH and not self.waiting:
            self._take(claim, tokens)
            return
        # The token it needs has gone to another already.
        claim.lose(now_s, self._last_source)
        insort(self.waiting, claim, key=_by_key)
        self._wake_later()

    def remove(self, claim: Claim) -> None:
        """A waiting swap is withdrawn."""
        if claim in self.waiting:
            self.waiting.remove(claim)

    def _take(self, claim: Claim, tokens: float) -> None:
        """One of the `tokens` there are now goes to `claim`."""
        self._tokens = max(tokens - 1.0, 0.0)
        self._stamp_s = self._clock.now_s
        self._last_source = claim.source
        self._grant(claim)

    def _wake_later(self) -> None:
        now_s = self._clock.now_s
        if self._rate_hz <= 0.0 or self._wake_s >= now_s:
            return
        short = max(1.0 - self.tokens(now_s), 0.0)
        self._wake_s = now_s + short / self._rate_hz
        if self._wake_s == now_s and short > 1.0 - _ENOUGH:
            # The refill takes less than the clock can tell apart; time must go on for it to happen.
            self._wake_s = math.nextafter(now_s, math.inf)
        self._clock.at(self._wake_s, self._wake)

    def _wake(self) -> None:
        self._wake_s = -1.0
        tokens = self.tokens(self._clock.now_s)
        if tokens >= _ENOUGH and self.waiting:
            self._take(self.waiting.pop(0), tokens)
        if self.waiting:
            self._wake_later()


class Server(Repeater):
    """The other reading of `rate_hz`: one swap at a time, its result handed over 1 / `rate_hz` later.

    One at a time, because several side by side would make more than `rate_hz` swaps per second. The next
    swap may begin when 1 / `rate_hz` has passed since the last one did, just as with a bucket of one
    token; `tokens` is 1 while the server is free, else the share of its present swap that is done. A swap
    given up by its allocation keeps the server to its end.
    """

    def __init__(self, *, rate_hz: float, clock: Clock, grant: Callable[[Claim], None]) -> None:
        swap_time_s = 1.0 / rate_hz if rate_hz > 0.0 else math.inf
        super().__init__(rate_hz=rate_hz, burst=1.0, swap_time_s=swap_time_s, clock=clock, grant=grant)

"""Repeaters: the swaps that wait for a token of a node's token bucket, or for its server."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable
from operator import attrgetter

from qdpem.simulation.resources.clock import Clock
from qdpem.simulation.resources.queues.claims import Claim

_ENOUGH = 1.0 - 1e-9
"""A whole token up to rounding: the bucket may hold slightly less at the computed end of a refill."""

_by_key = attrgetter("key")


class Repeater:
    """A token bucket: one swap takes one token, and tokens refill at `rate_hz` up to `burst`.

    The bucket is full at t = 0. A swap that is granted a token has its result `swap_time_s` later. The token
    is spent even if the allocation gives the swap up before that. `waiting`: claims for tokens, most urgent
    first.

    Args:
        rate_hz: tokens per second; 0 for a node that cannot swap once its burst is spent.
        burst: most tokens in the bucket.
        swap_time_s: from the token to the result of a swap.
        clock: the run's clock.
        grant: called with a claim that gets its token.
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
        # The bucket held `_tokens` at `_stamp_s`; what it holds later follows from the rate.
        self._stamp_s = 0.0
        # When the next refill is checked; in the past if no check is scheduled.
        self._wake_s = -1.0
        self._last_source = -1
        self.waiting: list[Claim] = []

    def tokens(self, now_s: float) -> float:
        """Tokens in the bucket at `now_s`, fractions included."""
        return min(self._burst, self._tokens + self._rate_hz * (now_s - self._stamp_s))

    def add(self, claim: Claim) -> None:
        """A swap claims a token. It gets one at once or waits."""
        now_s = self._clock.now_s
        tokens = self.tokens(now_s)
        if tokens >= _ENOUGH and not self.waiting:
            self._take(claim, tokens)
            return
        # The token it needs has already gone to the last claim granted.
        claim.lose(now_s, self._last_source)
        insort(self.waiting, claim, key=_by_key)
        self._wake_later()

    def remove(self, claim: Claim) -> None:
        """A waiting swap is withdrawn."""
        if claim in self.waiting:
            self.waiting.remove(claim)

    def _take(self, claim: Claim, tokens: float) -> None:
        """One of the `tokens` in the bucket goes to `claim`."""
        self._tokens = max(tokens - 1.0, 0.0)
        self._stamp_s = self._clock.now_s
        self._last_source = claim.source
        self._grant(claim)

    def _wake_later(self) -> None:
        now_s = self._clock.now_s
        if self._rate_hz <= 0.0 or self._wake_s >= now_s:
            return
        missing = max(1.0 - self.tokens(now_s), 0.0)
        self._wake_s = now_s + missing / self._rate_hz
        if self._wake_s == now_s and missing > 1.0 - _ENOUGH:
            # The refill is shorter than the resolution of the clock, but it needs some time to happen at all.
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
    """A server: one swap at a time, with its result 1 / `rate_hz` after its start.

    Swaps do not overlap, because overlapping ones would exceed `rate_hz` swaps per second. The next swap may
    start 1 / `rate_hz` after the last one did, as with a bucket of one token. `tokens` is 1 while the server
    is free, else the fraction of the present swap that is done. A swap that its allocation gives up occupies
    the server to its end.
    """

    def __init__(self, *, rate_hz: float, clock: Clock, grant: Callable[[Claim], None]) -> None:
        swap_time_s = 1.0 / rate_hz if rate_hz > 0.0 else math.inf
        super().__init__(rate_hz=rate_hz, burst=1.0, swap_time_s=swap_time_s, clock=clock, grant=grant)

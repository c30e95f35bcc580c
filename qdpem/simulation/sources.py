"""Sources: emissions drawn ahead of time, given one by one to the claims that wait at a node.

A source emits photon pairs at `source_rate_hz` and works for one claim at a time: the most urgent. Of
its emissions only those that could succeed on its best link are drawn: a Poisson stream of rate
rate x eta_max, each with u uniform on [0, eta_max). The claim at work on a link of transmissivity eta
jumps to the next emission with u < eta, which has the law of a geometric number of attempts and is the
same in every arm.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable
from operator import attrgetter

import numpy as np

from qdpem.rng import stream
from qdpem.simulation.claims import Claim
from qdpem.simulation.clock import Clock

_BLOCK = 256
_by_key = attrgetter("key")


class Emissions:
    """The drawn emissions of one source, numbered from 0: drawn as asked for, let go when passed."""

    def __init__(self, generator: np.random.Generator, *, rate_hz: float, best: float, end_s: float) -> None:
        self._generator = generator
        self._rate_hz = rate_hz * best
        self._best = best
        self._end_s = end_s if self._rate_hz > 0.0 else 0.0
        self._time_s: list[float] = []
        self._u: list[float] = []
        self._gone = 0

    def time_s(self, index: int) -> float:
        """When emission `index` happens; it must have been reached before and not be forgotten."""
        return self._time_s[index - self._gone]

    def forget(self, before: int) -> None:
        """Let go of the emissions before number `before`, a block at a time; the last one drawn stays."""
        passed = min(before - self._gone, len(self._time_s) - 1)
        if passed >= _BLOCK:
            del self._time_s[:passed], self._u[:passed]
            self._gone += passed

    def next_success(self, start: int, probability: float) -> int | None:
        """Index of the first emission from `start` on with u < probability; None if none before the end."""
        index = start
        while self._reaches(index):
            if self._u[index - self._gone] < probability:
                return index
            index += 1
        return None

    def first_after(self, start: int, now_s: float) -> int:
        """Index of the first emission from `start` on that is later than now_s, or one past the last."""
        place = start - self._gone
        while self._reaches(place + self._gone):
            place = bisect_right(self._time_s, now_s, place)
            if place < len(self._time_s):
                break
        return place + self._gone

    def _reaches(self, index: int) -> bool:
        while index - self._gone >= len(self._time_s):
            last_s = self._time_s[-1] if self._time_s else 0.0
            if last_s >= self._end_s:
                return False
            gaps = self._generator.exponential(1.0 / self._rate_hz, _BLOCK)
            self._time_s += (last_s + np.cumsum(gaps)).tolist()
            self._u += (self._generator.random(_BLOCK) * self._best).tolist()
        return True


class Source:
    """The claims waiting at one node's source, most urgent first."""

    def __init__(
        self,
        *,
        name: str,
        seed: int,
        rate_hz: float,
        probability: dict[int, float],
        end_s: float,
        clock: Clock,
        succeed: Callable[[Claim, int, float], None],
        node: int,
    ) -> None:
        best = max(probability.values(), default=0.0)
        generator = stream(seed, f"source/{name}")
        self._emissions = Emissions(generator, rate_hz=rate_hz, best=best, end_s=end_s)
        self._probability = probability
        self._clock = clock
        self._succeed = succeed
        self._node = node
        self._passed = 0
        self._version = 0
        self.claims: list[Claim] = []

    def add(self, claim: Claim) -> None:
        """A claim joins; it is served at once if it is the most urgent."""
        self.account()
        insort(self.claims, claim, key=_by_key)
        if self.claims[0] is claim:
            self._aim()

    def remove(self, claim: Claim) -> None:
        """A claim leaves, served or not."""
        self.account()
        served = self.claims[0] is claim
        self.claims.remove(claim)
        if served:
            self._aim()

    def account(self) -> None:
        """Emissions since the last change went to the first claim: all others lost them to it."""
        emissions, now_s = self._emissions, self._clock.now_s
        passed = emissions.first_after(self._passed, now_s)
        if passed > self._passed and len(self.claims) > 1:
            first_s, rival = emissions.time_s(self._passed), self.claims[0].site
            for claim in self.claims[1:]:
                claim.lose(max(first_s, claim.made_s), rival)
        self._passed = max(passed, self._passed)
        emissions.forget(self._passed)

    def _aim(self) -> None:
        """Find the next success of the claim now first; what was aimed at before is void."""
        self._version += 1
        if not self.claims:
            return
        index = self._emissions.next_success(self._passed, self._probability[self.claims[0].link])
        if index is not None:
            self._clock.at(self._emissions.time_s(index), self._emit, self._version, index)

    def _emit(self, version: int, index: int) -> None:
        if version != self._version:
            return
        # Marked as passed by index, not by time: the clock may differ from the drawn time by a rounding.
        self.account()
        claim = self.claims[0]
        if index >= self._passed and len(self.claims) > 1:
            for other in self.claims[1:]:
                other.lose(self._clock.now_s, claim.site)
        self._passed = max(self._passed, index + 1)
        self._succeed(claim, self._node, self._clock.now_s)

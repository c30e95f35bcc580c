"""Sources: the drawn emissions of a node, given one by one to the claims that wait there.

A source works for one claim at a time, the most urgent. That claim jumps to the next emission that succeeds
on its link, so that a success costs one event, however many emissions were lost before
(`qdpem.draws.emissions`).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from operator import attrgetter

from qdpem.draws.emissions import Emissions
from qdpem.rng import stream
from qdpem.simulation.resources.claims import Claim
from qdpem.simulation.resources.clock import Clock

_by_key = attrgetter("key")


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
            first_s, rival = emissions.time_s(self._passed), self.claims[0].source
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
                other.lose(self._clock.now_s, claim.source)
        self._passed = max(self._passed, index + 1)
        self._succeed(claim, self._node, self._clock.now_s)

"""Sources: a node's emissions, which go one by one to the claims that wait there.

A source works for one claim at a time, the most urgent. Its emissions are drawn ahead of time
(`qdpem.draws.emissions`), so the next success of that claim is known at once. A success costs one event,
however many emissions were lost before it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from operator import attrgetter

from qdpem.draws.emissions import draw_emissions
from qdpem.simulation.resources.clock import Clock
from qdpem.simulation.resources.queues.claims import Claim

_by_key = attrgetter("key")


class Source:
    """The claims that wait at one node's source, most urgent first.

    Args:
        name: of the node; keys its random stream.
        seed: root seed of the run.
        rate_hz: emissions per second.
        probability: success probability of an emission on each link the source feeds.
        end_s: end of the run; nothing is drawn beyond it.
        clock: the run's clock.
        succeed: called with the claim, the node and the time of an emission that succeeds.
        node: index of the node.
    """

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
        self._emissions = draw_emissions(seed=seed, name=name, rate_hz=rate_hz, best=best, end_s=end_s)
        self._probability = probability
        self._clock = clock
        self._succeed = succeed
        self._node = node
        # Number of the first emission that no claim has had yet.
        self._passed = 0
        # Counts changes of the most urgent claim: a success scheduled under an older number is void.
        self._version = 0
        self.claims: list[Claim] = []

    def add(self, claim: Claim) -> None:
        """A claim joins. If it is the most urgent, the source works for it from now on."""
        self.account()
        insort(self.claims, claim, key=_by_key)
        if self.claims[0] is claim:
            self._aim()

    def remove(self, claim: Claim) -> None:
        """A claim leaves, granted or withdrawn."""
        self.account()
        was_first = self.claims[0] is claim
        self.claims.remove(claim)
        if was_first:
            self._aim()

    def account(self) -> None:
        """Count the emissions since the last call. They went to the first claim, so all others lost them."""
        emissions, now_s = self._emissions, self._clock.now_s
        passed = emissions.first_after(self._passed, now_s)
        if passed > self._passed and len(self.claims) > 1:
            lost_s, rival = emissions.time_s(self._passed), self.claims[0].source
            for claim in self.claims[1:]:
                claim.lose(max(lost_s, claim.time_s), rival)
        self._passed = max(passed, self._passed)
        emissions.forget(self._passed)

    def _aim(self) -> None:
        """Schedule the next success of the claim that is now first, and void the one scheduled before."""
        self._version += 1
        if not self.claims:
            return
        index = self._emissions.next_success(self._passed, self._probability[self.claims[0].link])
        if index is not None:
            self._clock.at(self._emissions.time_s(index), self._emit, self._version, index)

    def _emit(self, version: int, index: int) -> None:
        if version != self._version:
            return
        # The clock may differ from the drawn time by a rounding, so `account` may or may not have passed this
        # emission. Its index decides.
        self.account()
        claim = self.claims[0]
        if index >= self._passed and len(self.claims) > 1:
            for other in self.claims[1:]:
                other.lose(self._clock.now_s, claim.source)
        self._passed = max(self._passed, self._emissions.after(index))
        self._succeed(claim, self._node, self._clock.now_s)

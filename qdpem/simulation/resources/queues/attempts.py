"""Attempts: how an attempt-limited link serves the claims that wait for it.

A link has modes. Each makes one attempt per period for one claim. The most urgent claims have a mode each;
the others wait. A mode starts to attempt for a new claim at once or, in a slotted network, at the next whole
multiple of the period. It never starts before the period of its last attempt is over, even if that attempt
was for another claim: claims that come and go cannot make a link attempt more often than it can.

The attempts of a mode that succeed are drawn ahead of time (`qdpem.draws.attempts`). A success costs one
event, however many attempts failed before it. A claim that leaves early has used up its attempts.

A claim is contended from the first attempt that starts for another claim while it waits. An attempt that was
under way when the claim was made could not have gone to it.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable
from operator import attrgetter

from qdpem.draws.attempts import AttemptSequence
from qdpem.simulation.resources.clock import Clock
from qdpem.simulation.resources.queues.claims import Claim

_by_key = attrgetter("key")


class Mode(AttemptSequence):
    """One mode of a link: the attempts it makes, and the claim it makes them for."""

    claim: Claim | None = None
    # Counts changes of the claim: a success scheduled under an older number is void.
    version = 0

    def serve(self, claim: Claim, now_s: float) -> None:
        """Attempt for `claim` from now on, or from the end of the present period."""
        self.claim = claim
        self.begin(now_s)


class Attempts:
    """The claims that wait for one link, most urgent first, and the link's modes.

    Args:
        name: of the link; keys the random stream of each mode.
        seed: root seed of the run.
        probability: success probability of one attempt.
        period_s: from the start of one attempt to that of the next.
        modes: how many attempts the link makes at once.
        slotted: whether attempts start at whole multiples of the period only.
        end_s: end of the run; no success is scheduled beyond it.
        clock: the run's clock.
        succeed: called with the claim and the start of an attempt that succeeds.
    """

    def __init__(
        self,
        *,
        name: str,
        seed: int,
        probability: float,
        period_s: float,
        modes: int,
        slotted: bool = False,
        end_s: float,
        clock: Clock,
        succeed: Callable[[Claim, float], None],
    ) -> None:
        self._modes = [
            Mode(
                name=f"link/{name}/{mode}",
                seed=seed,
                probability=probability,
                period_s=period_s,
                slotted=slotted,
            )
            for mode in range(modes)
        ]
        self._end_s = end_s
        self._clock = clock
        self._succeed = succeed
        self.claims: list[Claim] = []

    def add(self, claim: Claim) -> None:
        """A claim joins. It has a mode at once if it is among the most urgent."""
        # Attempts started before now were not this claim's to lose, so they are counted before it joins.
        self.account()
        insort(self.claims, claim, key=_by_key)
        count = len(self._modes)
        if len(self.claims) <= count:
            self._give(self._first_ready(), claim)
        elif self.claims.index(claim) < count:
            # The least urgent of those that had a mode gives it up to the new claim.
            mode = self._mode_of(self.claims[count])
            mode.pass_until(self._clock.now_s)
            self._give(mode, claim)

    def remove(self, claim: Claim) -> None:
        """A claim leaves, granted or withdrawn. Its mode passes to the most urgent claim that has none."""
        count = len(self._modes)
        if len(self.claims) > count:
            self.account()
        rank = self.claims.index(claim)
        del self.claims[rank]
        if rank >= count:
            return
        mode = self._mode_of(claim)
        mode.pass_until(self._clock.now_s)
        if len(self.claims) >= count:
            self._give(mode, self.claims[count - 1])
        else:
            # Idle. Its drawn successes stay for the next claim, but the scheduled one is void.
            mode.claim = None
            mode.version += 1

    def account(self) -> None:
        """Count the attempts started since the last call: waiting claims have lost the first of them."""
        if len(self.claims) < len(self._modes):
            return
        now_s = self._clock.now_s
        if len(self.claims) > len(self._modes):
            first = min(self._modes, key=attrgetter("next_s"))
            if first.next_s < now_s:
                self._lose(first, first.next_s)
        for mode in self._modes:
            mode.pass_until(now_s)

    def _give(self, mode: Mode, claim: Claim) -> None:
        """The mode works for `claim`, and the success scheduled before is void."""
        mode.version += 1
        mode.serve(claim, self._clock.now_s)
        success_s = mode.success_s
        if success_s <= self._end_s:
            self._clock.at(success_s, self._attempt, mode, mode.version)

    def _attempt(self, mode: Mode, version: int) -> None:
        """An attempt that will succeed starts now, unless the mode went to another claim since."""
        if version != mode.version or mode.claim is None:
            return
        # A cut-off fires a rounding late (`end_to_end`), and so do claims it causes. A slot starts on time.
        start_s = mode.success_s if mode.slotted else self._clock.now_s
        if len(self.claims) > len(self._modes):
            self.account()
            self._lose(mode, self._clock.now_s)
        mode.succeed()
        self._succeed(mode.claim, start_s)

    def _lose(self, mode: Mode, start_s: float) -> None:
        assert mode.claim is not None
        for waiting in self.claims[len(self._modes) :]:
            waiting.lose(start_s, mode.claim.source)

    def _mode_of(self, claim: Claim) -> Mode:
        for mode in self._modes:
            if mode.claim is claim:
                return mode
        raise LookupError(f"claim {claim.id} has no mode of its link")

    def _first_ready(self) -> Mode:
        """The first idle mode that can attempt now, else the idle mode that can attempt soonest."""
        now_s = self._clock.now_s
        soonest, min_s = self._modes[0], math.inf
        for mode in self._modes:
            if mode.claim is None:
                next_s = mode.next_s
                if next_s <= now_s:
                    return mode
                if next_s < min_s:
                    soonest, min_s = mode, next_s
        return soonest

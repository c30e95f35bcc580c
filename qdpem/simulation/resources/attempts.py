"""Attempts: what an attempt-limited link does for the claims that wait for it.

A link has `modes`, each of which makes one attempt per period for one claim. The most urgent claims have the
modes, one each; the others wait. A mode begins with its claim at once, or, if the network is slotted, at the
next whole multiple of the period; but never before the period of the attempt it began last is over, whosever
that was: claims that come and go cannot make a link attempt more often than it can.

Which attempts of a mode succeed is drawn ahead of time (`qdpem.draws.attempts`), so that a success costs one
event, however many attempts were lost before. A claim that leaves early has used up its attempts.

A claim contends from the first attempt that starts for another claim while it waits. An attempt that was
under way when the claim was made was never its to have.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable
from operator import attrgetter

from qdpem.draws.attempts import AttemptSequence
from qdpem.simulation.resources.claims import Claim
from qdpem.simulation.resources.clock import Clock

_by_key = attrgetter("key")


class Mode(AttemptSequence):
    """One mode of a link: the attempts it makes, and the claim it makes them for."""

    claim: Claim | None = None
    # Raised whenever the claim changes: a success scheduled for an earlier one is then void.
    version = 0

    def serve(self, claim: Claim, now_s: float) -> None:
        """Attempt for `claim` from now on, or from the end of the period that runs."""
        self.claim = claim
        self.begin(now_s)


class Attempts:
    """The claims waiting for one link, most urgent first, and its modes."""

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
        """A claim joins; it has a mode at once if it is among the most urgent."""
        # With all modes at work, what comes from now on is what this claim may lose.
        self.account()
        insort(self.claims, claim, key=_by_key)
        count = len(self._modes)
        if len(self.claims) <= count:
            self._give(self._readiest(), claim)
        elif self.claims.index(claim) < count:
            mode = self._mode_of(self.claims[count])
            mode.pass_until(self._clock.now_s)
            self._give(mode, claim)

    def remove(self, claim: Claim) -> None:
        """A claim leaves, served or not."""
        count = len(self._modes)
        if len(self.claims) > count:
            self.account()
        place = self.claims.index(claim)
        del self.claims[place]
        if place >= count:
            return
        mode = self._mode_of(claim)
        mode.pass_until(self._clock.now_s)
        if len(self.claims) >= count:
            self._give(mode, self.claims[count - 1])
        else:
            mode.claim = None
            mode.version += 1

    def account(self) -> None:
        """Those who wait have lost the first attempt started since the last change, if there was one."""
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
        """The mode works for `claim`; what it aimed at before is void."""
        mode.version += 1
        mode.serve(claim, self._clock.now_s)
        success_s = mode.success_s
        if success_s <= self._end_s:
            self._clock.at(success_s, self._attempt, mode, mode.version)

    def _attempt(self, mode: Mode, version: int) -> None:
        """An attempt that will succeed starts now, unless the mode was given to another claim meanwhile."""
        if version != mode.version or mode.claim is None:
            return
        # A claim that a cut-off made comes late by that much; the slot does not.
        start_s = mode.success_s if mode.slotted else self._clock.now_s
        if len(self.claims) > len(self._modes):
            self.account()
            self._lose(mode, self._clock.now_s)
        mode.succeed()
        self._succeed(mode.claim, start_s)

    def _lose(self, mode: Mode, start_s: float) -> None:
        assert mode.claim is not None
        for other in self.claims[len(self._modes) :]:
            other.lose(start_s, mode.claim.source)

    def _mode_of(self, claim: Claim) -> Mode:
        for mode in self._modes:
            if mode.claim is claim:
                return mode
        raise LookupError(f"claim {claim.id} has no mode of its link")

    def _readiest(self) -> Mode:
        """The first idle mode that can attempt now, else the one that can first."""
        now_s = self._clock.now_s
        found, min_s = self._modes[0], math.inf
        for mode in self._modes:
            if mode.claim is None:
                next_s = mode.next_s
                if next_s <= now_s:
                    return mode
                if next_s < min_s:
                    found, min_s = mode, next_s
        return found

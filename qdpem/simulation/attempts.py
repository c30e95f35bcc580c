"""Attempts: what an attempt-limited link does for the claims that wait for it.

A link has `modes`, each of which makes one attempt per period for one claim. The most urgent claims have the
modes, one each; the others wait. A mode begins with its claim at once, or, if the network is slotted, at the
next whole multiple of the period; but never before the period of the attempt it began last is over, whosever
that was: claims that come and go cannot make a link attempt more often than it can.

Which attempts of a mode succeed is drawn ahead of time, as the numbers of attempts up to each success:
independent, geometric with the link's success probability, from the mode's own stream. The n-th attempt of a
mode thus does the same in every arm, whoever has it, and a success costs one event, however many attempts
were lost before. A claim that leaves early has used up its attempts.

A claim contends from the first attempt that starts for another claim while it waits. An attempt that was
under way when the claim was made was never its to have.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable
from operator import attrgetter

from qdpem.rng import stream
from qdpem.simulation.claims import Claim
from qdpem.simulation.clock import Clock

_BLOCK = 64
_ROUNDING = 1e-6
"""Of a slot: a claim made so much after its beginning, which rounding may cause, still has its attempt."""
_by_key = attrgetter("key")


class Mode:
    """One mode of a link: the attempts it makes, for whom, and how many are left until one succeeds.

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
        self.claim: Claim | None = None
        self.version = 0

    @property
    def next_s(self) -> float:
        """When the attempt that comes next starts, or could start."""
        return self._start_s + self._made * self._period_s

    @property
    def success_s(self) -> float:
        """When the next attempt that succeeds starts, if nothing changes."""
        return self._start_s + (self._made + self._left - 1) * self._period_s

    def begin(self, claim: Claim, now_s: float) -> None:
        """Attempt for `claim` from now on, or from the end of the period that runs."""
        self.claim = claim
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
        mode.begin(claim, self._clock.now_s)
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
            other.lose(start_s, mode.claim.site)

    def _mode_of(self, claim: Claim) -> Mode:
        for mode in self._modes:
            if mode.claim is claim:
                return mode
        raise LookupError(f"claim {claim.id} has no mode of its link")

    def _readiest(self) -> Mode:
        """The first idle mode that can attempt now, else the one that can first."""
        now_s = self._clock.now_s
        found, least_s = self._modes[0], math.inf
        for mode in self._modes:
            if mode.claim is None:
                next_s = mode.next_s
                if next_s <= now_s:
                    return mode
                if next_s < least_s:
                    found, least_s = mode, next_s
        return found

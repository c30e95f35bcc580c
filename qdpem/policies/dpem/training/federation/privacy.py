"""Differential privacy of the shared updates: exact Gaussian composition.

T rounds in which a node reports, each with Gaussian noise of z times the sensitivity, together are one
Gaussian mechanism of mu = sqrt(T) / z (Dong, Roth and Su 2019, corollary 2). Its exact privacy profile (Balle
and Wang 2018, theorem 8) is delta(epsilon) = Phi(-epsilon/mu + mu/2) - e^epsilon Phi(-epsilon/mu - mu/2).

Rounds without a report of the node cost it nothing, because who reports does not depend on data. That the
draw of nodes might be secret is not used: amplification by sampling is not claimed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from qdpem.arrays import Flags
from qdpem.errors import StudyError

_BISECTIONS = 200
_MAX_BRACKET = 1e9


def delta_of(epsilon: float, *, mu: float) -> float:
    """The minimum delta for which a mu-Gaussian mechanism is (epsilon, delta)-private.

    >>> round(delta_of(1.0, mu=1.0), 6)
    0.126937
    """
    from scipy.special import log_ndtr

    if mu == 0.0:
        return 0.0
    # In logarithms, because e^epsilon overflows where the second tail underflows:
    # a - b = a (1 - exp(ln b - ln a)), and expm1 keeps the digits when both are nearly equal.
    first = float(log_ndtr(-epsilon / mu + mu / 2.0))
    second = epsilon + float(log_ndtr(-epsilon / mu - mu / 2.0))
    return max(math.exp(first) * -math.expm1(min(second - first, 0.0)), 0.0)


def epsilon_of(noise_multiplier: float, *, rounds: int, delta: float) -> float:
    """The minimum epsilon after `rounds` at `noise_multiplier` z; 0 after no round, inf without noise."""
    if rounds == 0:
        return 0.0
    if noise_multiplier == 0.0:
        return math.inf
    mu = math.sqrt(rounds) / noise_multiplier
    if delta_of(0.0, mu=mu) <= delta:
        return 0.0
    return _crossing(lambda epsilon: delta_of(epsilon, mu=mu) > delta)


def noise_multiplier(*, epsilon: float, delta: float, rounds: int) -> float:
    """The minimum z that makes `rounds` rounds (epsilon, delta)-private; 0, no noise, for epsilon = inf.

    >>> round(noise_multiplier(epsilon=8.0, delta=1e-3, rounds=50), 1)
    3.4
    """
    if math.isinf(epsilon):
        return 0.0
    return _crossing(lambda z: delta_of(epsilon, mu=math.sqrt(rounds) / z) > delta)


def _crossing(too_low: Callable[[float], bool]) -> float:
    """The x > 0 at which `too_low` turns from true to false, by bisection; never below it.

    The upper end of the bracket is returned, so that rounding never promises more privacy than there is.
    """
    high = 1.0
    while too_low(high):
        high *= 2.0
        if high > _MAX_BRACKET:
            return math.inf
    low = 0.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        # No float lies between the two ends: the bracket cannot shrink any more.
        if middle in (low, high):
            break
        low, high = (middle, high) if too_low(middle) else (low, middle)
    return high


@dataclass(frozen=True, kw_only=True)
class PrivacyBudget:
    """The privacy budget of a training in which no node reports in more than `rounds` rounds.

    `reports`: number of rounds so far in which the update of each node was aggregated, () before the first.
    `epsilon` = inf means no noise and no promise.
    """

    epsilon: float
    delta: float
    rounds: int
    reports: tuple[int, ...] = ()

    @property
    def spent(self) -> int:
        """Number of reports of the node that has reported most often."""
        return max(self.reports, default=0)

    @cached_property
    def noise_multiplier(self) -> float:
        """Standard deviation of the noise over the sensitivity, the same in every round."""
        return noise_multiplier(epsilon=self.epsilon, delta=self.delta, rounds=self.rounds)

    @property
    def epsilon_spent(self) -> float:
        """Epsilon of the updates that any one node has shared so far, at the budget's delta."""
        return epsilon_of(self.noise_multiplier, rounds=self.spent, delta=self.delta)

    def spend(self, arrived: Flags) -> PrivacyBudget:
        """The budget after a round in which the updates of these nodes [N] were aggregated.

        Raises StudyError when one of them has no report left.
        """
        before = self.reports or (0,) * len(arrived)
        reports = tuple(count + bool(here) for count, here in zip(before, arrived, strict=True))
        if max(reports) > self.rounds:
            raise StudyError(
                f"all {self.rounds} rounds of the privacy budget (epsilon = {self.epsilon:g}, delta ="
                f" {self.delta:g}) are spent; set training.rounds higher and train from the start"
            )
        return replace(self, reports=reports)

"""Differential privacy of the shared updates: exact Gaussian composition at full participation.

T rounds, each with Gaussian noise of z times the sensitivity, together are one Gaussian mechanism of mu =
sqrt(T) / z (Dong, Roth and Su 2019, corollary 2). Its exact privacy profile (Balle and Wang 2018, theorem 8)
is delta(epsilon) = Phi(-epsilon/mu + mu/2) - e^epsilon Phi(-epsilon/mu - mu/2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

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
    """The privacy budget of a training of `rounds` rounds, of which `spent` are over.

    `epsilon` = inf means no noise and no promise.
    """

    epsilon: float
    delta: float
    rounds: int
    spent: int = 0

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of the noise over the sensitivity, the same in every round."""
        return noise_multiplier(epsilon=self.epsilon, delta=self.delta, rounds=self.rounds)

    @property
    def epsilon_spent(self) -> float:
        """Epsilon of all updates shared so far, at the budget's delta."""
        return epsilon_of(self.noise_multiplier, rounds=self.spent, delta=self.delta)

    def spend(self) -> PrivacyBudget:
        """The budget after one more round. Raises StudyError when no round is left."""
        if self.spent >= self.rounds:
            raise StudyError(
                f"all {self.rounds} rounds of the privacy budget (epsilon = {self.epsilon:g}, delta ="
                f" {self.delta:g}) are spent; set training.rounds higher and train from the start"
            )
        return PrivacyBudget(epsilon=self.epsilon, delta=self.delta, rounds=self.rounds, spent=self.spent + 1)

    def statement(self, *, clip_norm: float, nodes: int) -> str:
        """The whole guarantee and its limits, in one paragraph."""
        if math.isinf(self.epsilon):
            return (
                f"No differential privacy (epsilon = inf): the updates of {nodes} nodes are clipped to norm"
                f" {clip_norm:g} and averaged without noise over {self.spent} rounds."
            )
        return (
            f"({self.epsilon_spent:.4g}, {self.delta:g})-differential privacy at client level under zero-out"
            f" adjacency (a node's update is replaced by zero) for the updates that a node reports: each"
            f" of {nodes} nodes takes part in every one of {self.spent} rounds, its update is clipped to norm"
            f" {clip_norm:g}, and a trusted (or secure) aggregator adds central Gaussian noise of"
            f" {self.noise_multiplier:.4g} x {clip_norm:g} to the sum, once per round; composed exactly"
            f" (Balle and Wang 2018; Dong et al. 2019). It does not bound what the updates of other nodes,"
            f" whose experience this node's behaviour shapes, or the messages of the control plane reveal"
            " about it."
        )

"""A membership canary: a lower bound on epsilon, measured by telling two worlds apart.

python -m qdpem.policies.dpem.training.federation.canary SCENARIO [KEY=VALUE ...]

In one world a node reports in every round the longest update that there is, always in one direction; in the
other its updates are zero. All other updates are zero in both. Whoever sees what the aggregator publishes
adds its components along the direction, and guesses the world by a threshold. Half of the trials choose the
threshold, the others count its errors, whose upper limits (Clopper and Pearson 1934) bound epsilon from below

- under no assumption: epsilon >= ln((1 - delta - FNR) / FPR), and the same with the two exchanged (Kairouz et
  al. 2015; Jagielski et al. 2020);
- for a Gaussian mechanism: mu >= Phi^-1(1 - FPR) - Phi^-1(FNR), and from mu epsilon (Nasr et al. 2023).

A bound above the stated epsilon is a fault in the mechanism or in its accounting.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qdpem.arrays import Floats
from qdpem.errors import StudyError
from qdpem.network.build import build_graph
from qdpem.policies.dpem.training.federation.aggregate import aggregate_privately
from qdpem.policies.dpem.training.federation.participation import attendance, most_rounds
from qdpem.policies.dpem.training.federation.privacy import PrivacyBudget, epsilon_of
from qdpem.rng import stream
from qdpem.scenario.load import load_scenario
from qdpem.scenario.schema import Training
from qdpem.scenario.tables.federation import Hostile
from qdpem.scenario.words import NoiseSource

_SIZE = 8
"""Numbers of an update. Noise is independent in each of them, so more would show no more."""

_EXCESS = 10.0
"""The canary's update is this many clip norms long: a clip that is missing shows."""

_TRIALS = 2000
_CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class CanaryAudit:
    """What a canary found: `stated` epsilon, and lower bounds at `confidence` from `trials` in each world.

    `lower` assumes nothing; `gaussian_lower` that the mechanism is Gaussian.
    """

    stated: float
    lower: float
    gaussian_lower: float
    trials: int
    confidence: float

    @property
    def passed(self) -> bool:
        """Whether neither bound is above what is stated."""
        return max(self.lower, self.gaussian_lower) <= self.stated


def audit_canary(
    settings: Training, *, nodes: int, seed: int, trials: int = _TRIALS, confidence: float = _CONFIDENCE
) -> CanaryAudit:
    """Audit the aggregation of a training with these settings.

    Raises StudyError for trials that are fewer than 2, and for a training without rounds.

    Args:
        settings: of the training; its hostile nodes are left out.
        nodes: number of clients.
        seed: root seed of who takes part; trial k has noise of the seed k.
        trials: in each of the two worlds.
        confidence: of both bounds.
    """
    if trials < 2 or not settings.rounds:
        raise StudyError(
            f"the canary has {trials} trials of {settings.rounds} rounds; it needs 2 trials or more, and a"
            " round"
        )
    honest = replace(settings, hostile=Hostile())
    present, stated = _sums(honest, nodes, seed, range(trials), length=_EXCESS * honest.clip_norm)
    absent, _ = _sums(honest, nodes, seed, range(trials, 2 * trials), length=0.0)
    half = trials // 2
    threshold = _best_threshold(absent[:half], present[:half])
    tested = trials - half
    false_positive = highest_rate(int((absent[half:] > threshold).sum()), tested, confidence=confidence)
    false_negative = highest_rate(int((present[half:] <= threshold).sum()), tested, confidence=confidence)
    return CanaryAudit(
        stated=stated,
        lower=epsilon_floor(false_positive, false_negative, delta=settings.delta),
        gaussian_lower=_gaussian_floor(false_positive, false_negative, delta=settings.delta),
        trials=trials,
        confidence=confidence,
    )


def highest_rate(count: int, trials: int, *, confidence: float) -> float:
    """The upper end of the Clopper-Pearson interval of a rate, of two that are to hold at once.

    >>> round(highest_rate(0, 100, confidence=0.95), 4)
    0.0362
    """
    from scipy.special import betaincinv

    if count >= trials:
        return 1.0
    return float(betaincinv(count + 1, trials - count, 1.0 - (1.0 - confidence) / 2.0))


def epsilon_floor(false_positive: float, false_negative: float, *, delta: float) -> float:
    """The minimum epsilon of any mechanism that lets both error rates be this low (Kairouz et al. 2015).

    >>> round(epsilon_floor(0.01, 0.5, delta=0.0), 3)
    3.912
    """
    bounds = [
        math.log((1.0 - delta - one) / other)
        for one, other in ((false_positive, false_negative), (false_negative, false_positive))
        if 1.0 - delta - one > 0.0
    ]
    return max([0.0, *bounds])


def _gaussian_floor(false_positive: float, false_negative: float, *, delta: float) -> float:
    from scipy.special import ndtri

    mu = float(-ndtri(false_positive) - ndtri(false_negative))
    return epsilon_of(1.0 / mu, rounds=1, delta=delta) if mu > 0.0 else 0.0


def _sums(
    settings: Training, nodes: int, seed: int, trials: Sequence[int], *, length: float
) -> tuple[Floats, float]:
    """What an observer adds up in each trial [M], and the epsilon that is stated in the end."""
    rounds = range(settings.rounds)
    present = [
        attendance(settings.participation, nodes=nodes, seed=seed, round_number=number) for number in rounds
    ]
    # The node that reports most often has the least privacy.
    canary = int(np.argmax(np.sum([item.arrived for item in present], axis=0)))
    direction = stream(seed, "federation/canary").standard_normal(_SIZE)
    direction = direction / np.linalg.norm(direction)
    updates = np.zeros((nodes, _SIZE))
    updates[canary] = length * direction
    most = most_rounds(settings.participation, nodes=nodes, seed=seed, rounds=settings.rounds)
    budgets = [PrivacyBudget(epsilon=settings.epsilon, delta=settings.delta, rounds=most)]
    for item in present:
        budgets.append(budgets[-1].spend(item.arrived) if item.arrived.any() else budgets[-1])
    seeded = replace(settings, noise_source=NoiseSource.SEED)
    sums = np.zeros(len(trials))
    for place, trial in enumerate(trials):
        for number in rounds:
            shared = aggregate_privately(
                updates,
                settings=seeded,
                attendance=present[number],
                budget=budgets[number],
                seed=trial,
                round_number=number,
            )
            if shared.average is not None:
                sums[place] += float(shared.average @ direction)
    return sums, budgets[-1].epsilon_spent


def _best_threshold(absent: Floats, present: Floats) -> float:
    """The threshold with the smallest sum of error rates."""
    candidates = np.concatenate([absent, present])
    errors = [(absent > value).mean() + (present <= value).mean() for value in candidates]
    # Between the best value and the next one, so that equal trials fall on their own side.
    best = float(candidates[int(np.argmin(errors))])
    above = candidates[candidates > best]
    return 0.5 * (best + float(above.min())) if len(above) else best


def main(arguments: Sequence[str]) -> str:
    """Audit the training of a scenario. Raises StudyError if a bound is above the stated epsilon."""
    scenario, seed = load_scenario(arguments[0], list(arguments[1:])), 10_000
    nodes = len(build_graph(scenario, seed=seed).node_names)
    audit = audit_canary(scenario.training, nodes=nodes, seed=seed)
    found = (
        f"stated epsilon {audit.stated:.4g}; lower bounds at {audit.confidence:.0%} confidence from"
        f" {audit.trials} trials in each world: {audit.lower:.4g} for any mechanism,"
        f" {audit.gaussian_lower:.4g} for a Gaussian one"
    )
    if not audit.passed:
        raise StudyError(f"{found}; the mechanism is less private than it states")
    return found


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m qdpem.policies.dpem.training.federation.canary SCENARIO [KEY=VALUE ...]")
    try:
        print(main(sys.argv[1:]))
    except StudyError as error:
        sys.exit(str(error))

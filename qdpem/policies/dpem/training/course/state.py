"""What a training carries from round to round, and the figures of its rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Floats
from qdpem.policies.dpem.networks import Kind, Weights
from qdpem.policies.dpem.training.federation.privacy import PrivacyBudget


@dataclass(frozen=True, kw_only=True)
class CurveRow:
    """Figures of one round, which the experimenter takes from the episodes' events before the round's update.

    - `decisions`, `simulated_s`: decisions with consequences, and simulated seconds, summed over all rounds
      so far.
    - `mean_reward`: per node and simulated second, with the contention weight of each episode.
    - `held_out_delivery`, `held_out_contention`: of episodes that no update learns from; NaN in rounds
      without a held-out score.
    - `entropy`, `divergence`, `value_loss`, `ratio_clipped`: `PPOReport` of the round's update.
    - `update_norm`: mean over nodes, before clipping; `clipped_fraction`: fraction of nodes clipped.
    - `epsilon`: spent after this round.
    - `reports`: updates that were aggregated in this round.
    - `bytes_up`, `bytes_down`: sent to the aggregator and by it in this round.
    """

    round: int
    decisions: int
    simulated_s: float
    delivery_ratio: float
    contended_claims_per_request: float
    mean_reward: float
    held_out_delivery: float = np.nan
    held_out_contention: float = np.nan
    entropy: float = 0.0
    divergence: float = 0.0
    value_loss: float = 0.0
    ratio_clipped: float = 0.0
    update_norm: float = 0.0
    clipped_fraction: float = 0.0
    epsilon: float = 0.0
    reports: int = 0
    bytes_up: int = 0
    bytes_down: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class ServerOptimiser:
    """Adam of the aggregator (Kingma and Ba 2015; FedAdam, Reddi et al. 2021): moments [P] and its steps."""

    first: Floats
    second: Floats
    steps: int = 0

    def step(self, direction: Floats, *, learning_rate: float) -> tuple[Floats, ServerOptimiser]:
        """The change of the weights along `direction`, and the optimiser after it."""
        steps = self.steps + 1
        first = _FIRST_DECAY * self.first + (1.0 - _FIRST_DECAY) * direction
        second = _SECOND_DECAY * self.second + (1.0 - _SECOND_DECAY) * direction**2
        # Both moments start at 0, which the divisions correct.
        mean = first / (1.0 - _FIRST_DECAY**steps)
        scale = np.sqrt(second / (1.0 - _SECOND_DECAY**steps))
        change = learning_rate * mean / (scale + _SMALL)
        return change, ServerOptimiser(first=first, second=second, steps=steps)


_FIRST_DECAY, _SECOND_DECAY = 0.8, 0.95
"""Shorter memories than usual: a training has tens of rounds, not thousands."""

_SMALL = 1e-8


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingState:
    """Everything the next round needs.

    `actor`: the shared weights of one node. `critics` [N, ...]: every node's own. `counts` and
    `advantage_scales`: of each kind, from public episodes. `agreement`: of the clone with the rule.
    """

    actor: Weights
    critics: Weights
    optimiser: ServerOptimiser
    counts: Mapping[Kind, float]
    advantage_scales: Mapping[Kind, float]
    agreement: Mapping[Kind, float]
    budget: PrivacyBudget
    curve: tuple[CurveRow, ...] = ()

    @property
    def nodes(self) -> int:
        """Number of clients."""
        return len(next(iter(self.critics.values())))

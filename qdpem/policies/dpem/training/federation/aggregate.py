"""Federated averaging with client-level differential privacy. Nodes share nothing else in a training.

In each round every node reports one update of its actor. The node clips the update's norm; the aggregator
sums all updates, adds Gaussian noise once, and divides by N (McMahan et al. 2018, with full participation).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Floats
from qdpem.errors import StudyError
from qdpem.policies.dpem.training.federation.privacy import PrivacyBudget
from qdpem.rng import stream

_BYTES_PER_NUMBER = 4
"""Size of one number of an update, sent in single precision."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PrivateAggregate:
    """The result of one round: the noisy average [P], the budget after it, and figures about the round.

    - `norms` [N], before clipping, and `clipped_fraction`: for the experimenter's curve; no node receives
      them.
    - `bytes`: the reports of all nodes to the aggregator and its answer to each.
    """

    average: Floats
    budget: PrivacyBudget
    norms: Floats
    clipped_fraction: float
    bytes: int


def clip(updates: Floats, *, norm: float) -> Floats:
    """Each row, scaled down to Euclidean norm `norm` if it is longer. A zero row stays zero.

    >>> clip(np.array([[3.0, 4.0], [0.0, 0.0]]), norm=2.5).tolist()
    [[1.5, 2.0], [0.0, 0.0]]
    """
    lengths: Floats = np.linalg.norm(updates, axis=1, keepdims=True)
    clipped: Floats = updates * (norm / np.maximum(lengths, norm))
    return clipped


def aggregate_privately(
    updates: Floats, *, clip_norm: float, budget: PrivacyBudget, seed: int
) -> PrivateAggregate:
    """Average the updates [N, P] of all nodes with the budget's noise, which spends one round.

    The noise has standard deviation z clip_norm / N per coordinate of the average, and depends only on the
    seed and the round. Raises StudyError when the budget is spent or an update is not finite.
    """
    # One NaN would reach every node through the average, and clipping cannot bound it.
    not_finite = np.flatnonzero(~np.isfinite(updates).all(axis=1))
    if len(not_finite):
        raise StudyError(f"the update of node {not_finite[0]} is not finite; lower training.learning_rate")
    nodes, size = updates.shape
    after = budget.spend()
    generator = stream(seed, f"federation/noise/{budget.spent}")
    # Zero-out adjacency: replacing one clipped update by zero moves the sum by at most clip_norm.
    scale = budget.noise_multiplier * clip_norm
    noise = scale * generator.standard_normal(size)
    norms = np.linalg.norm(updates, axis=1)
    return PrivateAggregate(
        average=(clip(updates, norm=clip_norm).sum(axis=0) + noise) / nodes,
        budget=after,
        norms=norms,
        clipped_fraction=float(np.mean(norms > clip_norm)),
        bytes=2 * nodes * size * _BYTES_PER_NUMBER,
    )

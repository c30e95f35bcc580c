"""Federated averaging with client-level differential privacy. Nodes share nothing else in a training.

In each round the nodes that take part report one update of their actor each. A node clips the update's
norm; the aggregator sums the updates, adds Gaussian noise once, and divides by their expected number
(McMahan et al. 2018). Or every node adds noise of the same size to its own update, and the aggregator follows
any rule: what is private stays so, whatever is computed of it (Dwork and Roth 2014, proposition 2.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Floats
from qdpem.errors import StudyError
from qdpem.policies.dpem.training.federation.hostile import false_reports, hostile_nodes
from qdpem.policies.dpem.training.federation.noise import noise_of
from qdpem.policies.dpem.training.federation.participation import Attendance
from qdpem.policies.dpem.training.federation.privacy import PrivacyBudget
from qdpem.policies.dpem.training.federation.rules import combine
from qdpem.scenario.schema import Training
from qdpem.scenario.words import NoiseOrigin

_BYTES_PER_NUMBER = 4
"""Size of one number of an update, sent in single precision."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PrivateAggregate:
    """The result of one round: one noisy update [P], the budget after it, and figures about the round.

    - `average`: None if no update arrived; then nothing is published and nothing is spent.
    - `norms` [K], of the K updates that arrived, before clipping, and `clipped_fraction`: for the
      experimenter's curve; no node receives them.
    - `bytes_up`: the reports of nodes to the aggregator, those that came too late among them.
    - `bytes_down`: the public weights to every node, which all act with.
    """

    average: Floats | None
    budget: PrivacyBudget
    norms: Floats
    clipped_fraction: float
    bytes_up: int
    bytes_down: int


def clip(updates: Floats, *, norm: float) -> Floats:
    """Each row, scaled down to Euclidean norm `norm` if it is longer. A zero row stays zero.

    >>> clip(np.array([[3.0, 4.0], [0.0, 0.0]]), norm=2.5).tolist()
    [[1.5, 2.0], [0.0, 0.0]]
    """
    lengths: Floats = np.linalg.norm(updates, axis=1, keepdims=True)
    clipped: Floats = updates * (norm / np.maximum(lengths, norm))
    return clipped


def aggregate_privately(
    updates: Floats,
    *,
    settings: Training,
    attendance: Attendance,
    budget: PrivacyBudget,
    seed: int,
    round_number: int,
) -> PrivateAggregate:
    """Make one update of those [N, P] that arrive, with the budget's noise, which spends from it.

    Central noise has the standard deviation z clip_norm / n in each coordinate of the mean, with n the
    expected number of reports, and client noise z clip_norm in each coordinate of each report. Noise of the
    source "seed" depends only on the seed and the round.

    Args:
        updates: of all nodes; only those that arrive are read.
        settings: clip norm, noise, rule and hostile nodes.
        attendance: who reports in this round.
        budget: before the round.
        seed: root seed of noise and hostile nodes.
        round_number: of the round, from 0.

    Raises:
        StudyError: The budget is spent, or an update that arrives is not finite.
    """
    arrived, (nodes, size) = attendance.arrived, updates.shape
    # One NaN would reach every node through the average, and clipping cannot bound it.
    not_finite = np.flatnonzero(arrived & ~np.isfinite(updates).all(axis=1))
    if len(not_finite):
        raise StudyError(f"the update of node {not_finite[0]} is not finite; lower training.learning_rate")
    has_aggregator = round_number not in settings.participation.outage_rounds
    norms = np.linalg.norm(updates[arrived], axis=1)
    average, after = None, budget
    if arrived.any():
        after = budget.spend(arrived)
        average = _combined(updates, settings, attendance, budget.noise_multiplier, seed, round_number)
    return PrivateAggregate(
        average=average,
        budget=after,
        norms=norms,
        clipped_fraction=float(np.mean(norms > settings.clip_norm)) if len(norms) else 0.0,
        bytes_up=int(attendance.sent.sum()) * size * _BYTES_PER_NUMBER,
        bytes_down=nodes * size * _BYTES_PER_NUMBER * has_aggregator,
    )


def _combined(
    updates: Floats, settings: Training, attendance: Attendance, multiplier: float, seed: int, number: int
) -> Floats:
    """What the aggregator publishes."""
    (nodes, size), norm = updates.shape, settings.clip_norm
    source = settings.noise_source
    # Zero-out adjacency: replacing one clipped update by zero moves the sum by at most the clip norm.
    scale = multiplier * norm
    reports, bound = clip(updates, norm=norm), norm
    if settings.noise == NoiseOrigin.CLIENT:
        reports = reports + scale * noise_of(source, (nodes, size), seed=seed, round_number=number)
        # Root mean square norm of the noisy report of a node that was clipped: hostile nodes gain no more.
        bound = norm * math.sqrt(1.0 + multiplier**2 * size)
    hostile = hostile_nodes(settings.hostile, nodes=nodes, seed=seed)
    reports = np.where(hostile[:, None], false_reports(updates, settings.hostile), reports)
    received = clip(reports, norm=bound)[attendance.arrived]
    combined = combine(
        received, settings.aggregation, trimmed_share=settings.trimmed_share, expected=attendance.expected
    )
    if settings.noise == NoiseOrigin.CENTRAL:
        combined = (
            combined + scale * noise_of(source, (size,), seed=seed, round_number=number) / attendance.expected
        )
    return combined

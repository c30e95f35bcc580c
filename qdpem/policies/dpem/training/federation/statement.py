"""The privacy statement of a training: the whole guarantee and its limits, in one paragraph."""

from __future__ import annotations

import math

from qdpem.policies.dpem.training.federation.privacy import PrivacyBudget
from qdpem.scenario.schema import Training
from qdpem.scenario.words import Aggregation, NoiseOrigin, NoiseSource

_RULES = {
    Aggregation.MEAN: "averaged",
    Aggregation.TRIMMED_MEAN: "combined by their trimmed mean",
    Aggregation.COORDINATE_MEDIAN: "combined by their coordinate median",
}

_SOURCES = {
    NoiseSource.SEED: (
        "The noise is drawn from the seed of the training: who knows the seed can subtract it, and nothing is"
        " private to them."
    ),
    NoiseSource.SYSTEM: "The noise is drawn from the operating system's generator and is not kept.",
}


def statement_of(budget: PrivacyBudget, settings: Training, *, nodes: int, rounds: int) -> str:
    """What is claimed of `rounds` rounds with this budget and these settings, and what is not."""
    norm = settings.clip_norm
    if math.isinf(budget.epsilon):
        return (
            f"No differential privacy (epsilon = inf): the updates of {nodes} nodes are clipped to norm"
            f" {norm:g} and {_RULES[settings.aggregation]} without noise over {rounds} rounds."
        )
    return (
        f"({budget.epsilon_spent:.4g}, {budget.delta:g})-differential privacy at client level under zero-out"
        f" adjacency (a node's update is replaced by zero) for the updates that a node reports:"
        f" {_presence(budget, nodes, rounds)}, its update is clipped to norm {norm:g}, and"
        f" {_noise(budget, settings)}; composed exactly"
        f" (Balle and Wang 2018; Dong et al. 2019). It does not bound what the updates of other nodes,"
        f" whose experience this node's behaviour shapes, or the messages of the control plane reveal"
        f" about it. {_SOURCES[settings.noise_source]}"
    )


def _presence(budget: PrivacyBudget, nodes: int, rounds: int) -> str:
    if set(budget.reports) <= {rounds}:
        return f"each of {nodes} nodes takes part in every one of {rounds} rounds"
    return (
        f"each of {nodes} nodes takes part in at most {budget.spent} of {rounds} rounds, drawn independently"
        " of all data and not taken for secret"
    )


def _noise(budget: PrivacyBudget, settings: Training) -> str:
    amount = f"{budget.noise_multiplier:.4g} x {settings.clip_norm:g}"
    if settings.noise == NoiseOrigin.CLIENT:
        return (
            f"it adds Gaussian noise of {amount} to each coordinate of it before it reports, so that the"
            f" aggregator need not be trusted; the noisy updates are {_RULES[settings.aggregation]}"
        )
    return (
        f"a trusted (or secure) aggregator adds central Gaussian noise of {amount} to the sum, once per round"
    )

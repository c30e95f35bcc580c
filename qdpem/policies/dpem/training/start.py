"""The start of a training: networks that imitate the rule of each variant, or random ones."""

from __future__ import annotations

import numpy as np

from qdpem.policies.dpem.networks import (
    ACTOR,
    CRITIC,
    Kind,
    Weights,
    flatten,
    initial,
    stacked,
)
from qdpem.policies.dpem.training.clone import advantage_scales, clone_actor, fit_critic
from qdpem.policies.dpem.training.course.state import ServerOptimiser, TrainingState
from qdpem.policies.dpem.training.episode import public_seed
from qdpem.policies.dpem.training.federation.participation import most_rounds
from qdpem.policies.dpem.training.federation.privacy import PrivacyBudget
from qdpem.policies.dpem.training.player import Player
from qdpem.policies.dpem.training.ppo import typical_counts

_EPISODES_WITHOUT_CLONE = 2


def initial_state(player: Player, *, seed: int, trained: tuple[str, ...]) -> TrainingState:
    """The clone of the rules and its critics; without clone episodes random weights, and their critics.

    `trained`: names of the weights that will learn.
    """
    settings, nodes = player.scenario.training, player.nodes
    weights = {**initial("actor", seed, "shared"), **initial("critic", seed, "shared")}
    agreement = dict.fromkeys(Kind, float("nan"))
    if settings.clone_episodes:
        seeds = [public_seed(seed, number) for number in range(settings.clone_episodes)]
        imitated = player.play(stacked(_actor(weights), nodes=nodes), seeds, follows_teacher=True)
        weights, report = clone_actor(weights, imitated.experience, seed=seed, steps=settings.fit_steps)
        agreement = dict(report.agreement)
    # Critics value what the present policy does, which the teacher's decisions do not show.
    count = settings.clone_episodes or _EPISODES_WITHOUT_CLONE
    seeds = [public_seed(seed, settings.clone_episodes + number) for number in range(count)]
    explored = player.play(stacked(_actor(weights), nodes=nodes), seeds).experience
    weights = fit_critic(weights, explored, seed=seed, steps=settings.fit_steps)
    size = flatten(stacked(_actor(weights), nodes=1), trained).shape[1]
    return TrainingState(
        actor=_actor(weights),
        critics={name: np.array(value) for name, value in stacked(_critic(weights), nodes=nodes).items()},
        optimiser=ServerOptimiser(first=np.zeros(size), second=np.zeros(size)),
        counts=typical_counts(explored, nodes=nodes, share=settings.episodes_per_round / count),
        advantage_scales=advantage_scales(weights, weights, explored),
        agreement=agreement,
        budget=PrivacyBudget(
            epsilon=settings.epsilon,
            delta=settings.delta,
            rounds=most_rounds(settings.participation, nodes=nodes, seed=seed, rounds=settings.rounds),
        ),
    )


def _actor(weights: Weights) -> Weights:
    return {name: weights[name] for name in ACTOR}


def _critic(weights: Weights) -> Weights:
    return {name: weights[name] for name in CRITIC}

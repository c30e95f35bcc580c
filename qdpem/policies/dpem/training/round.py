"""One round of a training: play, let every node learn from its own decisions, average with noise, score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qdpem.arrays import Flags, Floats
from qdpem.policies.dpem.networks import ACTOR, CRITIC, Weights, flatten, stacked, unflatten
from qdpem.policies.dpem.training.course.state import CurveRow, ServerOptimiser, TrainingState
from qdpem.policies.dpem.training.episode import episode_seed, held_out_seed
from qdpem.policies.dpem.training.federation.aggregate import aggregate_privately
from qdpem.policies.dpem.training.federation.hostile import poisoned
from qdpem.policies.dpem.training.federation.participation import attendance
from qdpem.policies.dpem.training.player import Played, Player
from qdpem.policies.dpem.training.ppo import PPOReport, PPOSettings, ppo_update

_HELD_OUT_EPISODES = 4


def settings_of(state_counts: TrainingState | None, player: Player, number: int) -> PPOSettings:
    """The hyperparameters of round `number`. The entropy bonus falls linearly to 0: late rounds settle."""
    training = player.scenario.training
    return PPOSettings(
        epochs=training.epochs,
        learning_rate=training.learning_rate,
        critic_learning_rate=training.critic_learning_rate,
        clip_range=training.clip_range,
        entropy_coef=training.entropy_coef * (1.0 - number / max(training.rounds, 1)),
        trainable=training.trainable,
        counts=state_counts.counts if state_counts else {},
        advantage_scales=state_counts.advantage_scales if state_counts else {},
    )


def next_round(player: Player, state: TrainingState) -> TrainingState:
    """The state after one more round."""
    training, number, nodes = player.scenario.training, len(state.curve), state.nodes
    actors = stacked(state.actor, nodes=nodes)
    first = number * training.episodes_per_round
    seeds = [episode_seed(player.seed, first + index) for index in range(training.episodes_per_round)]
    played = player.play(actors, seeds)
    settings = settings_of(state, player, number)
    experience = poisoned(played.experience, training.hostile, nodes=nodes, seed=player.seed)
    learned, report = ppo_update({**actors, **state.critics}, experience, settings)
    before = flatten(stacked(state.actor, nodes=1), settings.trained)[0]
    # In single precision, as nodes learn: what rounding changes is no update, and Adam, which divides by the
    # size of what it gets, would take it for one.
    received = before.astype(np.float32).astype(np.float64)
    present = attendance(training.participation, nodes=nodes, seed=player.seed, round_number=number)
    aggregate = aggregate_privately(
        # Nodes share the change of their actor, whose norm can be bounded, and not its weights.
        flatten(learned, settings.trained) - received,
        settings=training,
        attendance=present,
        budget=state.budget,
        seed=player.seed,
        round_number=number,
    )
    actor, optimiser = _stepped(state, aggregate.average, settings.trained, training.server_learning_rate)
    row = replace(
        _row(player, state, played, report),
        update_norm=float(aggregate.norms.mean()) if len(aggregate.norms) else 0.0,
        clipped_fraction=aggregate.clipped_fraction,
        epsilon=aggregate.budget.epsilon_spent,
        reports=len(aggregate.norms),
        bytes_up=aggregate.bytes_up,
        bytes_down=aggregate.bytes_down,
    )
    return replace(
        state,
        actor=actor,
        # Critics bypass the aggregator: each stays at its own node.
        critics=_kept_apart(state.critics, learned, present.learns),
        optimiser=optimiser,
        budget=aggregate.budget,
        curve=(*state.curve, _scored(player, actor, row)),
    )


def _stepped(
    state: TrainingState, average: Floats | None, trained: tuple[str, ...], learning_rate: float
) -> tuple[Weights, ServerOptimiser]:
    """The shared actor and the optimiser after a step along the average; as they were if there is none."""
    if average is None:
        return state.actor, state.optimiser
    change, optimiser = state.optimiser.step(average, learning_rate=learning_rate)
    before = flatten(stacked(state.actor, nodes=1), trained)[0]
    actor = {**state.actor, **unflatten(before + change, trained)}
    return {name: actor[name] for name in ACTOR}, optimiser


def _kept_apart(before: Weights, learned: Weights, learns: Flags) -> Weights:
    """The critics of all nodes: new where a node learns, as they were elsewhere."""
    return {
        name: np.where(learns.reshape(-1, *[1] * (learned[name].ndim - 1)), learned[name], before[name])
        for name in CRITIC
    }


def _row(player: Player, state: TrainingState, played: Played, report: PPOReport) -> CurveRow:
    """The round's row, without the figures of the federated average."""
    seconds = len(played.episodes) * player.scenario.training.episode_s
    before = state.curve[-1] if state.curve else None
    return CurveRow(
        round=len(state.curve),
        decisions=(before.decisions if before else 0) + sum(item.decisions for item in played.episodes),
        simulated_s=(before.simulated_s if before else 0.0) + seconds,
        delivery_ratio=played.mean("delivery_ratio"),
        contended_claims_per_request=played.mean("contention"),
        mean_reward=sum(item.reward for item in played.episodes) / seconds / state.nodes,
        entropy=report.entropy,
        divergence=report.divergence,
        value_loss=report.value_loss,
        ratio_clipped=report.clipped_fraction,
    )


def _scored(player: Player, actor: Weights, row: CurveRow) -> CurveRow:
    """The row with a held-out score of the weights after the round, where one is due."""
    training = player.scenario.training
    is_last = row.round + 1 == training.rounds
    if not training.evaluation_rounds or not ((row.round + 1) % training.evaluation_rounds == 0 or is_last):
        return row
    seeds = [held_out_seed(player.seed, index) for index in range(_HELD_OUT_EPISODES)]
    scored = player.score(stacked(actor, nodes=player.nodes), seeds)
    return replace(
        row,
        held_out_delivery=scored.mean("delivery_ratio"),
        held_out_contention=scored.mean("contention"),
    )


def trained_names(player: Player) -> tuple[str, ...]:
    """The names of the weights that the training changes."""
    return settings_of(None, player, 0).trained

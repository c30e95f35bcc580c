"""Training in rounds: simulate, let every node learn from its own decisions, average with noise, repeat.

A checkpoint holds everything the next round needs. A training that was killed therefore continues from its
last whole round and ends with the same bytes as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from qdpem.events.recorder import MemoryRecorder
from qdpem.extras import require_packages
from qdpem.file_lock import held
from qdpem.metrics.metrics import measure
from qdpem.metrics.reward import rewards
from qdpem.parallel import run_tasks
from qdpem.policies.dpem.actor_critic import (
    CRITIC,
    Weights,
    flatten_actors,
    initial_actor,
    initial_critics,
    stacked,
    unflatten_actor,
)
from qdpem.policies.dpem.agent import Dpem, save_actor
from qdpem.policies.dpem.training.checkpoint import (
    CurveRow,
    TrainingState,
    load,
    save,
    training_fingerprint,
    write_curve,
)
from qdpem.policies.dpem.training.federated import aggregate_privately
from qdpem.policies.dpem.training.ppo import PPOReport, PPOSettings, ppo_update
from qdpem.policies.dpem.training.privacy import PrivacyBudget
from qdpem.policies.dpem.training.transitions import ReturnScale, Transitions, collect, to_batch
from qdpem.policy.interface import Policy
from qdpem.scenario.schema import Arm, Scenario, Window
from qdpem.simulation.arms import resolve_arm
from qdpem.simulation.run import simulate

FIRST_SEED = 10_000
"""The first seed of an episode; tuning uses 0-99, testing 1000-1029."""

_SEEDS_PER_TRAINING = 100_000


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """The result of a training: the policy file, the learning curve, and the privacy statement."""

    policy_file: Path
    curve_file: Path
    curve: tuple[CurveRow, ...]
    statement: str


Progress = Callable[[CurveRow, int], None]
"""Called after each round with the round's row and the total number of rounds."""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Task:
    scenario: Scenario
    arm: Arm
    seed: int
    weights: Weights


@dataclass(frozen=True, eq=False, kw_only=True)
class _Episode:
    """The result of one episode. The nodes learn from `transitions`; the rest is for the experimenter."""

    transitions: Transitions
    reward: float
    delivery_ratio: float
    contention: float


def train(
    scenario: Scenario,
    *,
    seed: int,
    directory: Path,
    arm: Arm | None = None,
    progress: Progress | None = None,
    resume: bool = True,
    engine: str = "loky",
    workers: int | None = 1,
) -> TrainingResult:
    """Train the shared network of `dpem` with the settings of `scenario.training`, from random weights.

    Writes `curve.csv` and `checkpoint.npz` into `directory` after every round, and `policy.npz` at the end.
    The last round's weights are the result: choosing the best round by its score would release more than the
    privacy statement covers. Raises StudyError for a checkpoint of another scenario or seed, and
    HeldError when another process trains in the directory.

    Args:
        scenario: the network, its demand, and the settings.
        seed: root seed of weights, episodes, minibatches and privacy noise.
        directory: where the files are written; created if missing.
        arm: pregeneration and forecaster to train with; those of `dpem` unless given.
        progress: called after every round.
        resume: continue from a checkpoint of the same scenario, arm and seed, if there is one.
        engine: how episodes run in parallel, as in `qdpem.parallel.run_tasks`.
        workers: episodes at a time; all cores if None.
    """
    require_packages(["torch"], extra="learning", user="training")
    directory = Path(directory)
    # Before the checkpoint is read: two trainings would take turns in writing over each other's.
    with held(directory):
        return _train(
            scenario,
            resolve_arm(arm or Arm(name="dpem")).arm,
            seed=seed,
            directory=directory,
            progress=progress,
            resume=resume,
            engine=engine,
            workers=workers,
        )


def _train(
    scenario: Scenario,
    arm: Arm,
    *,
    seed: int,
    directory: Path,
    progress: Progress | None,
    resume: bool,
    engine: str,
    workers: int | None,
) -> TrainingResult:
    """`train` of a resolved arm, in a directory that is held."""
    checkpoint = directory / "checkpoint.npz"
    fingerprint = training_fingerprint(scenario, arm, seed)
    state = load(checkpoint, fingerprint) if resume and checkpoint.exists() else None
    if state is None:
        state = _initial(scenario, seed)
    total = scenario.training.rounds
    while state.budget.spent < total:
        state = _round(scenario, arm, state, seed=seed, engine=engine, workers=workers)
        # The checkpoint first: a resumed training reads it, and it holds the curve too.
        save(checkpoint, state, fingerprint)
        write_curve(directory / "curve.csv", state.curve)
        if progress is not None:
            progress(state.curve[-1], total)
    statement = state.budget.statement(clip_norm=scenario.training.clip_norm, nodes=len(state.scale.mean))
    policy_file = directory / "policy.npz"
    save_actor(policy_file, unflatten_actor(state.actor), scenario=scenario.name, statement=statement)
    return TrainingResult(
        policy_file=policy_file, curve_file=directory / "curve.csv", curve=state.curve, statement=statement
    )


def _initial(scenario: Scenario, seed: int) -> TrainingState:
    settings = scenario.training
    nodes = _node_count(scenario, seed)
    return TrainingState(
        actor=flatten_actors(stacked(initial_actor(seed), nodes=1))[0],
        critics=initial_critics(seed, nodes=nodes),
        scale=ReturnScale.initial(nodes),
        budget=PrivacyBudget(epsilon=settings.epsilon, delta=settings.delta, rounds=settings.rounds),
    )


def _round(
    scenario: Scenario, arm: Arm, state: TrainingState, *, seed: int, engine: str, workers: int | None
) -> TrainingState:
    """One round: play episodes, update every node's weights, average the actors' updates with noise.

    Args:
        scenario: the network, its demand, and the settings.
        arm: the resolved arm to train.
        state: the state after the last round.
        seed: root seed of the training.
        engine: how episodes run in parallel.
        workers: episodes at a time; all cores if None.
    """
    settings = scenario.training
    # The budget counts the rounds. It numbers their streams too, so a resumed training draws what follows.
    number, nodes = state.budget.spent, len(state.scale.mean)
    weights = {**stacked(unflatten_actor(state.actor), nodes=nodes), **state.critics}
    episodes = _play(scenario, arm, weights, seed=seed, number=number, engine=engine, workers=workers)
    batch, scale = to_batch(
        [episode.transitions for episode in episodes],
        nodes=nodes,
        scale=state.scale,
        gae_lambda=settings.gae_lambda,
    )
    learned, report = ppo_update(
        weights, batch, _settings(scenario, number), seed=seed, key=f"learning/round/{number}"
    )
    aggregate = aggregate_privately(
        # Nodes share the change of their actor, whose norm can be bounded, and not its weights.
        flatten_actors(learned) - state.actor,
        clip_norm=settings.clip_norm,
        budget=state.budget,
        seed=seed,
    )
    row = _row(scenario, state, episodes, report)
    row = replace(
        row,
        decisions=row.decisions + int(sum(len(episode.transitions.site) for episode in episodes)),
        update_norm=float(aggregate.norms.mean()),
        clipped_fraction=aggregate.clipped_fraction,
        epsilon=aggregate.budget.epsilon_spent,
        bytes=aggregate.bytes,
    )
    return TrainingState(
        actor=state.actor + settings.server_learning_rate * aggregate.average,
        # Critics and return scales bypass the aggregator: each stays at its own node.
        critics={name: learned[name] for name in CRITIC},
        scale=scale,
        budget=aggregate.budget,
        curve=(*state.curve, row),
    )


def _row(scenario: Scenario, state: TrainingState, episodes: list[_Episode], report: PPOReport) -> CurveRow:
    """The round's row, with zeros where the federated average is still to come."""
    played_s = len(episodes) * scenario.training.episode_s
    before = state.curve[-1] if state.curve else None
    return CurveRow(
        round=state.budget.spent,
        decisions=before.decisions if before else 0,
        simulated_s=(before.simulated_s if before else 0.0) + played_s,
        delivery_ratio=float(np.mean([episode.delivery_ratio for episode in episodes])),
        contended_claims_per_request=float(np.mean([episode.contention for episode in episodes])),
        mean_reward=sum(episode.reward for episode in episodes) / played_s / len(state.scale.mean),
        entropy=report.entropy,
        value_loss=report.value_loss,
        ratio_clipped=report.clipped_fraction,
        update_norm=0.0,
        clipped_fraction=0.0,
        epsilon=0.0,
        bytes=0,
    )


def _settings(scenario: Scenario, number: int) -> PPOSettings:
    """The hyperparameters of round `number`. The entropy bonus falls linearly to 0: late rounds settle."""
    training = scenario.training
    return PPOSettings(
        epochs=training.epochs,
        learning_rate=training.learning_rate,
        clip_range=training.clip_range,
        entropy_coef=training.entropy_coef * (1.0 - number / training.rounds),
    )


def _play(
    scenario: Scenario,
    arm: Arm,
    weights: Weights,
    *,
    seed: int,
    number: int,
    engine: str,
    workers: int | None,
) -> list[_Episode]:
    """The round's episodes, in order of their seeds and not of their end.

    Args:
        scenario: the network, its demand, and the settings.
        arm: the arm to play.
        weights: actor and critic of every node, [N, ...].
        seed: root seed of the training.
        number: number of the round, from 0.
        engine: how episodes run in parallel.
        workers: episodes at a time; all cores if None.
    """
    first = number * scenario.training.episodes_per_round
    seeds = [episode_seed(seed, first + index) for index in range(scenario.training.episodes_per_round)]
    tasks = [_Task(scenario=scenario, arm=arm, seed=episode, weights=weights) for episode in seeds]
    # Sums over episodes depend on their order, so it must not be that of completion.
    episodes = dict(run_tasks(_episode, tasks, engine=engine, workers=workers))
    return [episodes[episode] for episode in seeds]


def episode_seed(seed: int, episode: int) -> int:
    """The root seed of episode number `episode` of a training.

    >>> episode_seed(0, 3)
    10003
    """
    return FIRST_SEED + seed * _SEEDS_PER_TRAINING + episode


def _episode(task: _Task) -> tuple[int, _Episode]:
    """Run one episode with the task's weights and collect its transitions."""
    settings = task.scenario.training
    scenario = replace(task.scenario, window=Window(warm_up_s=0.0, measured_s=settings.episode_s), study=None)
    recorder = MemoryRecorder()
    # PPO's ratio compares probabilities at temperature 1, so these must be the ones that were drawn from.
    policy = cast(Policy, Dpem(Dpem.Parameters(temperature=1.0), weights=task.weights))
    simulate(scenario, task.arm, seed=task.seed, recorder=recorder, policy=policy)
    tables = recorder.tables()
    earned = rewards(tables, weights=scenario.reward)
    metrics = measure(tables, start_s=0.0, end_s=settings.episode_s)
    return task.seed, _Episode(
        transitions=collect(
            recorder.outputs, tables["decisions"], earned, discount_time_s=settings.discount_time_s
        ),
        reward=float(earned.amount.sum()),
        delivery_ratio=metrics["delivery_ratio"],
        contention=metrics["contended_claims_per_request"],
    )


def _node_count(scenario: Scenario, seed: int) -> int:
    from qdpem.network.build import build_graph

    return len(build_graph(scenario, seed=episode_seed(seed, 0)).node_names)

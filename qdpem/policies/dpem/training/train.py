"""Training in rounds: simulate, let every node learn from its own decisions, share with noise, go on.

Everything a round needs is in its checkpoint, so a training that was killed goes on from its last whole
round and ends with the same bytes as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from qdpem.events.recorder import MemoryRecorder
from qdpem.metrics.metrics import measure
from qdpem.metrics.reward import rewards
from qdpem.parallel import run_tasks
from qdpem.policies.dpem.actor_critic import (
    CRITIC,
    Weights,
    flat,
    initial_actor,
    initial_critics,
    stacked,
    unflat,
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
"""Episodes use seeds from here on: never those of tuning (0-99) or testing (1000-1029)."""

_SEEDS_PER_TRAINING = 100_000


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a training left behind: the policy file, its learning curve, and what was promised."""

    policy_file: Path
    curve_file: Path
    curve: tuple[CurveRow, ...]
    statement: str


Progress = Callable[[CurveRow, int], None]
"""Called after each round with its row and the number of rounds in all."""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Task:
    scenario: Scenario
    arm: Arm
    seed: int
    weights: Weights


@dataclass(frozen=True, eq=False, kw_only=True)
class _Episode:
    """What one episode gives; the last three are the experimenter's."""

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
) -> Training:
    """Train the shared network of `dpem` as `scenario.training` says, from random weights of `seed`.

    `arm` gives the rights and the knowledge to train with; those of `dpem` unless it says otherwise.

    Writes `policy.npz`, `curve.csv` and `checkpoint.npz` into `directory` after every round. With
    `resume`, goes on from a checkpoint of the same scenario and seed. The last round's weights are the
    result: choosing the best round by its score would release more than the privacy statement covers.
    Raises StudyError for a checkpoint of another scenario or seed.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    checkpoint = directory / "checkpoint.npz"
    arm = resolve_arm(arm or Arm(name="dpem")).arm
    mark = training_fingerprint(scenario, arm, seed)
    state = load(checkpoint, mark) if resume and checkpoint.exists() else None
    if state is None:
        state = _initial(scenario, seed)
    total = scenario.training.rounds
    while state.budget.spent < total:
        state = _round(scenario, arm, state, seed=seed, engine=engine, workers=workers)
        save(checkpoint, state, mark)
        write_curve(directory / "curve.csv", state.curve)
        if progress is not None:
            progress(state.curve[-1], total)
    statement = state.budget.statement(clip_norm=scenario.training.clip_norm, nodes=len(state.scale.mean))
    policy_file = directory / "policy.npz"
    save_actor(policy_file, unflat(state.actor), scenario=scenario.name, statement=statement)
    return Training(
        policy_file=policy_file, curve_file=directory / "curve.csv", curve=state.curve, statement=statement
    )


def _initial(scenario: Scenario, seed: int) -> TrainingState:
    settings = scenario.training
    nodes = _node_count(scenario, seed)
    return TrainingState(
        actor=flat(stacked(initial_actor(seed), nodes=1))[0],
        critics=initial_critics(seed, nodes=nodes),
        scale=ReturnScale.initial(nodes),
        budget=PrivacyBudget(epsilon=settings.epsilon, delta=settings.delta, rounds=settings.rounds),
    )


def _round(
    scenario: Scenario, arm: Arm, state: TrainingState, *, seed: int, engine: str, workers: int | None
) -> TrainingState:
    settings = scenario.training
    number, nodes = state.budget.spent, len(state.scale.mean)
    weights = {**stacked(unflat(state.actor), nodes=nodes), **state.critics}
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
    shared = aggregate_privately(
        flat(learned) - state.actor, clip_norm=settings.clip_norm, budget=state.budget, seed=seed
    )
    row = _row(scenario, state, episodes, report)
    row = replace(
        row,
        decisions=row.decisions + int(sum(len(episode.transitions.site) for episode in episodes)),
        update_norm=float(shared.norms.mean()),
        clipped_fraction=shared.clipped_fraction,
        epsilon=shared.budget.epsilon_spent,
        bytes=shared.bytes,
    )
    return TrainingState(
        actor=state.actor + settings.server_learning_rate * shared.average,
        critics={name: learned[name] for name in CRITIC},
        scale=scale,
        budget=shared.budget,
        curve=(*state.curve, row),
    )


def _row(scenario: Scenario, state: TrainingState, episodes: list[_Episode], report: PPOReport) -> CurveRow:
    """This round's row, as far as the episodes tell it."""
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
    """Those of round `number`: the entropy bonus falls linearly to nothing, so that late rounds settle."""
    chosen = scenario.training
    return PPOSettings(
        epochs=chosen.epochs,
        learning_rate=chosen.learning_rate,
        clip_range=chosen.clip_range,
        entropy_coef=chosen.entropy_coef * (1.0 - number / chosen.rounds),
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
    """This round's episodes, in order of their seeds whatever the order they finish in."""
    first = number * scenario.training.episodes_per_round
    seeds = [episode_seed(seed, first + place) for place in range(scenario.training.episodes_per_round)]
    tasks = [_Task(scenario=scenario, arm=arm, seed=one, weights=weights) for one in seeds]
    found = dict(run_tasks(_episode, tasks, engine=engine, workers=workers))
    return [found[one] for one in seeds]


def episode_seed(seed: int, episode: int) -> int:
    """The root seed of a training's `episode`-th episode.

    >>> episode_seed(0, 3)
    10003
    """
    return FIRST_SEED + seed * _SEEDS_PER_TRAINING + episode


def _episode(task: _Task) -> tuple[int, _Episode]:
    """Run one episode with the weights given and keep what its nodes may learn from."""
    settings = task.scenario.training
    scenario = replace(task.scenario, window=Window(warm_up_s=0.0, measured_s=settings.episode_s), study=None)
    recorder = MemoryRecorder()
    policy = cast(Policy, Dpem(Dpem.Parameters(temperature=1.0), weights=task.weights))
    simulate(scenario, task.arm, seed=task.seed, recorder=recorder, policy=policy)
    tables = recorder.tables()
    earned = rewards(tables, weights=scenario.reward)
    figures = measure(tables, start_s=0.0, end_s=settings.episode_s)
    return task.seed, _Episode(
        transitions=collect(
            recorder.outputs, tables["decisions"], earned, discount_time_s=settings.discount_time_s
        ),
        reward=float(earned.amount.sum()),
        delivery_ratio=figures["delivery_ratio"],
        contention=figures["contended_claims_per_request"],
    )


def _node_count(scenario: Scenario, seed: int) -> int:
    from qdpem.network.build import build_graph

    return len(build_graph(scenario, seed=episode_seed(seed, 0)).node_names)

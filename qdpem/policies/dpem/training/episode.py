"""One episode: a run whose decisions become experience."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from qdpem.events.recorder import MemoryRecorder
from qdpem.metrics.metrics import measure
from qdpem.metrics.reward import rewards
from qdpem.policies.dpem.agent import Dpem, DpemParameters
from qdpem.policies.dpem.chooser import Chosen
from qdpem.policies.dpem.networks import Kind, Weights
from qdpem.policies.dpem.teacher import Teacher
from qdpem.policies.dpem.training.credit import experience_of
from qdpem.policies.dpem.training.experience import Experience
from qdpem.policy.interface import Policy
from qdpem.rng import stream
from qdpem.scenario.load import load_scenario
from qdpem.scenario.schema import Arm, Scenario, TrainingVariant, Window
from qdpem.scenario.sweep import with_settings
from qdpem.simulation.run import simulate

FIRST_SEED = 10_000
"""The first seed of an episode; tuning uses 0-89, testing 1000-1029."""

_SEEDS_PER_TRAINING = 100_000
_FIRST_HELD_OUT = 90_000
"""Within the seeds of a training: those of held-out scores begin here, and those of the clone further on."""

_FIRST_PUBLIC = 95_000


@dataclass(frozen=True, eq=False, kw_only=True)
class EpisodeTask:
    """An episode to play. `teacher`: the rule acts. `temperature`: of the draw; 1 in training."""

    scenario: Scenario
    arm: Arm
    seed: int
    weights: Weights
    contention_weight: float
    temperature: float = 1.0
    teacher: Teacher | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Episode:
    """The result of one episode. The nodes learn from `experience`; the rest is for the experimenter.

    `reward`: of all nodes and the whole episode, with the episode's contention weight.
    """

    seed: int
    experience: dict[Kind, Experience]
    reward: float
    delivery_ratio: float
    contention: float
    decisions: int


def episode_seed(seed: int, episode: int) -> int:
    """The root seed of episode number `episode` of a training.

    >>> episode_seed(0, 3)
    10003
    """
    return FIRST_SEED + seed * _SEEDS_PER_TRAINING + episode


def held_out_seed(seed: int, episode: int) -> int:
    """The root seed of a held-out episode, which no update learns from."""
    return episode_seed(seed, _FIRST_HELD_OUT + episode)


def public_seed(seed: int, episode: int) -> int:
    """The root seed of an episode of the clone, whose demand is nobody's."""
    return episode_seed(seed, _FIRST_PUBLIC + episode)


def drawn_weight(scenario: Scenario, seed: int) -> float:
    """The contention weight of the episode with this root seed: uniform in its logarithm."""
    low, high = np.log(scenario.training.contention_weights)
    return float(np.exp(low + (high - low) * stream(seed, "learning/contention_weight").random()))


def variant_of(scenario: Scenario, arm: Arm, variant: TrainingVariant) -> tuple[Scenario, Arm, Teacher]:
    """The scenario of a variant's episodes, its arm, and the rule that is imitated there.

    Raises ScenarioError for a name that is no shipped scenario, and for keys or values that are wrong.
    """
    origin = f"training.variants of the scenario {scenario.name!r}"
    base = load_scenario(variant.scenario) if variant.scenario else scenario
    bare = replace(base, study=None, training=replace(scenario.training, variants=()))
    changed = with_settings(bare, variant.set, name=base.name, origin=origin) if variant.set else bare
    window = Window(warm_up_s=0.0, measured_s=scenario.training.episode_s)
    changed = replace(changed, window=window, training=scenario.training)
    teacher = Teacher(
        stocking_probability=variant.stocking_probability,
        life_probability=variant.life_probability,
        link_level=variant.link_level,
        separate_paths=variant.separate_paths,
    )
    return changed, replace(arm, forecaster=variant.forecaster or arm.forecaster), teacher


def play(task: EpisodeTask) -> Episode:
    """Run one episode and collect its experience."""
    settings, nodes = task.scenario.training, len(next(iter(task.weights.values())))
    recorder = MemoryRecorder()
    log: list[Chosen] = []
    parameters = DpemParameters(contention_weight=task.contention_weight, temperature=task.temperature)
    policy = Dpem(parameters, weights=task.weights, teacher=task.teacher, log=log)
    simulate(task.scenario, task.arm, seed=task.seed, recorder=recorder, policy=cast(Policy, policy))
    tables = recorder.tables()
    weights = replace(task.scenario.reward, contended=task.contention_weight)
    metrics = measure(tables, start_s=0.0, end_s=settings.episode_s)
    experience = experience_of(
        log,
        tables,
        weights=weights,
        credit=settings.credit,
        discount_time_s=settings.discount_time_s,
        end_s=settings.episode_s,
        nodes=nodes,
        external_cost_coef=settings.external_cost_coef,
    )
    return Episode(
        seed=task.seed,
        experience=experience,
        reward=float(rewards(tables, weights=weights).amount.sum()),
        delivery_ratio=metrics["delivery_ratio"],
        contention=metrics["contended_claims_per_request"],
        decisions=sum(len(part) for part in experience.values()),
    )

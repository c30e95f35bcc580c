"""Plays the episodes of a training, several at a time, in the variants of its scenario."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from qdpem.errors import StudyError
from qdpem.network.build import build_graph
from qdpem.parallel import run_tasks
from qdpem.policies.dpem.networks import Kind, Weights
from qdpem.policies.dpem.teacher import Teacher
from qdpem.policies.dpem.training.episode import (
    Episode,
    EpisodeTask,
    drawn_weight,
    episode_seed,
    play,
    variant_of,
)
from qdpem.policies.dpem.training.experience import Experience
from qdpem.scenario.schema import Arm, Scenario

_ACTING_TEMPERATURE = 0.5


@dataclass(frozen=True, eq=False, kw_only=True)
class Played:
    """Episodes in the order of their seeds, and all their experience in one."""

    episodes: tuple[Episode, ...]

    @property
    def experience(self) -> dict[Kind, Experience]:
        """The decisions of all episodes, by kind."""
        return {
            kind: Experience.join(kind, [item.experience[kind] for item in self.episodes]) for kind in Kind
        }

    def mean(self, name: str) -> float:
        """The mean of one figure of the episodes."""
        return float(np.mean([getattr(episode, name) for episode in self.episodes]))


@dataclass(frozen=True, eq=False, kw_only=True)
class Player:
    """Plays episodes of one training.

    `seed`: root seed of the training. `engine` and `workers`: as in `qdpem.parallel.run_tasks`. `nodes`: of
    the network, which all variants share. `played_s`: wall-clock seconds spent in episodes so far.
    """

    scenario: Scenario
    arm: Arm
    seed: int
    engine: str
    workers: int | None
    nodes: int = field(init=False)
    played_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.scenario.training.variants:
            raise StudyError(
                "training.variants is []; it must name one variant or more ([{}] is the scenario itself)"
            )
        counts = {
            len(build_graph(scenario, seed=episode_seed(self.seed, 0)).node_names)
            for scenario, _, _ in self._variants()
        }
        if len(counts) != 1:
            raise StudyError(
                f"the variants of a training have {sorted(counts)} nodes; all must have the same number,"
                " because every node is one client"
            )
        object.__setattr__(self, "nodes", counts.pop())

    def play(self, weights: Weights, seeds: Sequence[int], *, follows_teacher: bool = False) -> Played:
        """Training episodes with actors [N, ...]: variants in turn, each with its own contention weight."""
        variants = self._variants()
        tasks = []
        for number, seed in enumerate(seeds):
            scenario, arm, teacher = variants[number % len(variants)]
            tasks.append(
                EpisodeTask(
                    scenario=scenario,
                    arm=arm,
                    seed=seed,
                    weights=weights,
                    contention_weight=drawn_weight(self.scenario, seed),
                    teacher=teacher if follows_teacher else None,
                )
            )
        return self._run(tasks)

    def score(self, weights: Weights, seeds: Sequence[int]) -> Played:
        """Episodes of the first variant as the policy acts when it does not learn."""
        scenario, arm, _ = self._variants()[0]
        tasks = [
            EpisodeTask(
                scenario=scenario,
                arm=arm,
                seed=seed,
                weights=weights,
                contention_weight=self.scenario.reward.contended,
                temperature=_ACTING_TEMPERATURE,
            )
            for seed in seeds
        ]
        return self._run(tasks)

    def _variants(self) -> list[tuple[Scenario, Arm, Teacher]]:
        return [variant_of(self.scenario, self.arm, item) for item in self.scenario.training.variants]

    def _run(self, tasks: list[EpisodeTask]) -> Played:
        began = time.perf_counter()
        done = dict(run_tasks(_play, tasks, engine=self.engine, workers=self.workers))
        self.played_s.append(time.perf_counter() - began)
        # Sums over episodes depend on their order, so it must not be that of completion.
        return Played(episodes=tuple(done[task.seed] for task in tasks))


def _play(task: EpisodeTask) -> tuple[int, Episode]:
    return task.seed, play(task)

"""Trials: short runs without records. A file keeps their results, so that none is made twice."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from qdpem.demand.offered_load import OfferedLoad
from qdpem.errors import QdpemError, StudyError
from qdpem.parallel import run_tasks
from qdpem.registry import plugin_fault
from qdpem.scenario.load import scenario_hash
from qdpem.scenario.schema import Scenario
from qdpem.simulation.arms import ResolvedArm
from qdpem.simulation.fingerprint import code_digest, input_digest
from qdpem.strict_json import json_text, json_value
from qdpem.study.analysis.metric_formats import CONTENTION, MetricFormat, primary_formats_of
from qdpem.study.plan import Task
from qdpem.study.progress import ProgressReporter, StudyProgress
from qdpem.study.tasks import seed_load
from qdpem.study.workers import run_watched

Facts = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The result of one run: its objective and its contention (NaN where there is none)."""

    value: float
    contention: float
    wall_s: float

    def score(self, contention_weight: float) -> float:
        """The objective less the weighted contention; without a weight, contention may be NaN."""
        return self.value - contention_weight * self.contention if contention_weight else self.value


class TrialFile:
    """Finished runs as JSON lines: `run` states all that a run depends on, `trial` its result.

    Incomplete lines, which an interrupted process leaves, are ignored.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._trials: dict[str, Trial] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                row = json_value(line)
                self._trials[_key(row["run"])] = Trial(**row["trial"])
            except (ValueError, KeyError, TypeError):
                continue

    def find(self, run: Facts) -> Trial | None:
        """The trial of this run, None if the file has none."""
        return self._trials.get(_key(run))

    def add(self, run: Facts, trial: Trial) -> None:
        """Add a trial, and write it to the file at once."""
        self._trials[_key(run)] = trial
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # An interrupted process may have left half a line, which the next one must not continue.
        torn = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n" * torn + json_text({"run": run, "trial": asdict(trial)}) + "\n")


def _key(run: Facts) -> str:
    return json_text(run)


@dataclass(frozen=True, kw_only=True)
class _TrialTask:
    task: Task
    objective: MetricFormat


class Trials:
    """Runs arms on seeds of one scenario, except those that the file at `path` holds already.

    `made` and `reused` count runs. `faults` has a sentence for each run that failed. `planned` is the number
    of runs that `progress` counts as all.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        path: Path,
        planned: int,
        engine: str = "loky",
        workers: int | None = None,
        progress: Callable[[StudyProgress], None] | None = None,
    ) -> None:
        self._scenario, self._file, self._planned = scenario, TrialFile(path), planned
        self._engine, self._workers, self._progress = engine, workers, progress
        self._loads: dict[int, OfferedLoad | None] = {}
        self._scenario_hash = scenario_hash(scenario)
        self._inputs = input_digest(scenario)
        self.objective: MetricFormat = primary_formats_of(scenario.demand)[0]
        self.made = self.reused = 0
        self.faults: list[str] = []

    def run(self, wanted: Sequence[tuple[ResolvedArm, int]]) -> list[Trial | None]:
        """The trial of each arm and seed, None for one that failed."""
        runs = [self._run_facts(arm, seed) for arm, seed in wanted]
        missing = [index for index, facts in enumerate(runs) if self._file.find(facts) is None]
        self.reused += len(wanted) - len(missing)
        tasks = self._tasks([wanted[index] for index in missing])
        results = run_watched(
            run_trial,
            [_TrialTask(task=task, objective=self.objective) for task in tasks],
            labels=[f"run {number}, {task.label}" for number, task in enumerate(tasks, start=self.made + 1)],
            length_s=self._scenario.window.end_s,
            engine=self._engine,
            workers=self._workers,
            progress=self._progress_of_all(),
            on_death=lambda _, sentence: sentence,
        )
        for position, trial in results:
            if isinstance(trial, str):
                self.faults.append(trial)
            else:
                # Written at once, so that an interruption loses only the runs at work.
                self._check_inputs()
                self._file.add(runs[missing[position]], trial)
        self.made += len(missing)
        return [self._file.find(facts) for facts in runs]

    def _check_inputs(self) -> None:
        if input_digest(self._scenario) != self._inputs:
            raise StudyError("the map file of the topology changed during the search; start it again")

    def _run_facts(self, arm: ResolvedArm, seed: int) -> Facts:
        """All that a run depends on, every parameter written out."""
        learned = hashlib.blake2b(digest_size=8)
        for name, data in sorted(arm.read_learned_files().items()):
            # The length separates one file from the next.
            learned.update(f"{name}/{len(data)}/".encode() + data)
        facts = {
            "scenario": self._scenario_hash,
            "code": code_digest(self._scenario, arm.arm),
            "inputs": self._inputs,
            "policy": arm.arm.policy,
            "control": arm.arm.control,
            "pregeneration": arm.arm.pregeneration,
            "forecaster": arm.arm.forecaster,
            "parameters": asdict(arm.parameters),
            "learned": learned.hexdigest(),
            "seed": seed,
        }
        # JSON has no tuples: the facts must compare equal to those read from the file.
        as_read: Facts = json_value(json_text(facts, default=str))
        return as_read

    def _tasks(self, wanted: Sequence[tuple[ResolvedArm, int]]) -> list[Task]:
        """Tasks with the load of their seed, where finding one takes time: once per seed."""
        tasks = [
            Task(scenario=self._scenario, arm=arm, seed=seed, path=Path("trial")) for arm, seed in wanted
        ]
        if self._scenario.demand.load_factor is not None:
            by_seed = {task.seed: task for task in tasks if task.seed not in self._loads}
            loads = run_tasks(seed_load, list(by_seed.values()), engine=self._engine, workers=self._workers)
            self._loads |= dict(loads)
        return [replace(task, load=self._loads.get(task.seed)) for task in tasks]

    def _progress_of_all(self) -> Callable[[StudyProgress], None] | None:
        """Receives the progress of the next runs and passes it on as progress of all planned runs."""
        progress, length_s, before = self._progress, self._scenario.window.end_s, self.made + self.reused
        if progress is None:
            return None

        def pass_on(update: StudyProgress) -> None:
            progress(
                StudyProgress(
                    done_s=before * length_s + update.done_s,
                    total_s=self._planned * length_s,
                    finished=before + update.finished,
                    tasks=self._planned,
                    running=update.running,
                )
            )

        return pass_on


def run_trial(trial: _TrialTask, report: ProgressReporter) -> Trial | str:
    """Simulate a task and measure it, for a worker: its trial, or a sentence that states why it failed."""
    from qdpem.metrics.metrics import measure
    from qdpem.simulation.run import simulate

    task, began_s = trial.task, time.perf_counter()
    window = task.scenario.window
    try:
        run = simulate(task.scenario, task.arm, seed=task.seed, load=task.load, on_progress=report)
        assert run.tables is not None
        metrics: Mapping[str, float] = measure(run.tables, start_s=window.warm_up_s, end_s=window.end_s)
    except QdpemError as error:
        return f"{task.label}, {task.arm.arm.parameters}: {error}"
    except Exception as error:
        if (fault := plugin_fault(error)) is None:
            raise
        return f"{task.label}, {task.arm.arm.parameters}: {fault}"
    value, contention = float(metrics[trial.objective.name]), float(metrics[CONTENTION.name])
    if not math.isfinite(value):
        return f"{task.label}: no request was measured; lengthen window.measured_s"
    return Trial(value=value, contention=contention, wall_s=time.perf_counter() - began_s)

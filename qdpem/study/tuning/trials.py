"""Trials: short runs without records, of which a file keeps what came out, so that none is made twice."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qdpem import registry
from qdpem.demand.offered_load import OfferedLoad
from qdpem.errors import QdpemError, StudyError
from qdpem.parallel import run_tasks
from qdpem.scenario.load import parameters_of, scenario_hash
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.fingerprint import code_digest
from qdpem.study.analysis.metric_formats import CONTENTION, MetricFormat, headline_formats_of
from qdpem.study.plan import Task, learned_files
from qdpem.study.progress import ProgressReporter, StudyProgress, watched
from qdpem.study.run import seed_load

Facts = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came out of one run: the objective and contention (NaN where there is none)."""

    value: float
    contention: float
    wall_s: float


class TrialFile:
    """Finished runs as JSON lines: `run`, what was run, `trial`, what came out. Torn lines are left out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Trial] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                row = json.loads(line)
                self._known[_key(row["run"])] = Trial(**row["trial"])
            except (ValueError, KeyError, TypeError):
                continue

    def find(self, run: Facts) -> Trial | None:
        """The trial of this run, None if it was not made."""
        return self._known.get(_key(run))

    def add(self, run: Facts, trial: Trial) -> None:
        """Keep it, and write it down at once."""
        self._known[_key(run)] = trial
        self._path.parent.mkdir(parents=True, exist_ok=True)
        torn = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n" * torn + json.dumps({"run": run, "trial": asdict(trial)}) + "\n")


def _key(run: Facts) -> str:
    return json.dumps(run, sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class _Job:
    task: Task
    measure: MetricFormat
    tick: ProgressReporter


class Trials:
    """Makes runs of arms on seeds of one scenario, but those that `path` holds already.

    `made` and `kept` count runs, `faults` has a sentence for each that failed. `planned`: of how many runs
    in all `progress` is told.
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
        self.measure: MetricFormat = headline_formats_of(scenario.demand)[0][0]
        self.made = self.kept = 0
        self.faults: list[str] = []

    def run(self, wanted: Sequence[tuple[Arm, int]]) -> list[Trial | None]:
        """The trial of each resolved arm and seed, None for one that failed."""
        runs = [self._run_facts(arm, seed) for arm, seed in wanted]
        missing = [place for place, facts in enumerate(runs) if self._file.find(facts) is None]
        self.kept += len(wanted) - len(missing)
        tasks = self._tasks([wanted[place] for place in missing])
        labels = [f"run {number}, {task.label}" for number, task in enumerate(tasks, start=self.made + 1)]
        with watched(labels, length_s=self._scenario.window.end_s, progress=self._tell()) as tickers:
            jobs = [
                _Job(task=task, measure=self.measure, tick=tick)
                for task, tick in zip(tasks, tickers, strict=True)
            ]
            try:
                for place, trial, fault in run_tasks(
                    run_trial, jobs, engine=self._engine, workers=self._workers
                ):
                    if trial is None:
                        self.faults.append(fault)
                    else:
                        self._file.add(runs[missing[place]], trial)
            except BrokenExecutor as error:
                raise StudyError(
                    f"a worker process died, perhaps for want of memory ({error}); finished runs are kept, so"
                    " the same command goes on from here; --workers 1 needs the least memory"
                ) from error
        self.made += len(missing)
        return [self._file.find(facts) for facts in runs]

    def _run_facts(self, arm: Arm, seed: int) -> Facts:
        """All that a run depends on, every parameter written out."""
        factory = registry.load("policy", arm.policy)
        parameters = parameters_of(factory, arm.parameters, path=f"arm {arm.name}.parameters")
        learned = hashlib.blake2b(digest_size=8)
        for name, data in sorted(learned_files(arm).items()):
            learned.update(f"{name}/{len(data)}/".encode() + data)
        facts = {
            "scenario": self._scenario_hash,
            "code": code_digest(self._scenario, arm),
            "policy": arm.policy,
            "control": arm.control,
            "pregeneration": arm.pregeneration,
            "forecaster": arm.forecaster,
            "parameters": asdict(parameters),
            "learned": learned.hexdigest(),
            "seed": seed,
        }
        # As JSON gives it back: a tuple is a list there.
        found: Facts = json.loads(json.dumps(facts, default=str))
        return found

    def _tasks(self, wanted: Sequence[tuple[Arm, int]]) -> list[Task]:
        """Tasks with the load of their seed, where finding it takes time: once per seed."""
        tasks = [
            Task(scenario=self._scenario, arm=arm, seed=seed, path=Path("trial")) for arm, seed in wanted
        ]
        if self._scenario.demand.load_factor is not None:
            first = {task.seed: task for task in tasks if task.seed not in self._loads}
            found = run_tasks(seed_load, list(first.values()), engine=self._engine, workers=self._workers)
            self._loads |= dict(found)
        return [
            Task(scenario=task.scenario, arm=task.arm, seed=task.seed, path=task.path, load=load)
            for task in tasks
            for load in (self._loads.get(task.seed),)
        ]

    def _tell(self) -> Callable[[StudyProgress], None] | None:
        """Moments of these runs as moments of all that is planned."""
        progress, length_s, before = self._progress, self._scenario.window.end_s, self.made + self.kept
        if progress is None:
            return None

        def tell(moment: StudyProgress) -> None:
            progress(
                StudyProgress(
                    done_s=before * length_s + moment.done_s,
                    total_s=self._planned * length_s,
                    finished=before + moment.finished,
                    tasks=self._planned,
                    running=moment.running,
                )
            )

        return tell


def run_trial(job: _Job) -> tuple[int, Trial | None, str]:
    """Simulate a job and measure it, for a worker: its place, the trial, and a sentence where it failed."""
    from qdpem.metrics.metrics import measure
    from qdpem.simulation.run import simulate

    task, place, began_s = job.task, job.tick.place, time.perf_counter()
    window = task.scenario.window
    try:
        run = simulate(task.scenario, task.arm, seed=task.seed, load=task.load, on_progress=job.tick)
        assert run.tables is not None
        metrics: Mapping[str, float] = measure(run.tables, start_s=window.warm_up_s, end_s=window.end_s)
    except QdpemError as error:
        return place, None, f"{task.label}, {task.arm.parameters}: {error}"
    finally:
        job.tick(window.end_s)
    value, contention = float(metrics[job.measure.metric]), float(metrics[CONTENTION.metric])
    wall_s = time.perf_counter() - began_s
    if not math.isfinite(value):
        return place, None, f"{task.label}: no request was measured; lengthen window.measured_s"
    return place, Trial(value=value, contention=contention, wall_s=wall_s), ""

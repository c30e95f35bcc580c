"""From a scenario to tasks: arms times seeds, each with its file, and which records can be reused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qdpem.demand.offered_load import OfferedLoad
from qdpem.errors import RecordError, StudyError, UnknownNameError
from qdpem.scenario.load import scenario_hash
from qdpem.scenario.schema import STRONGEST, Arm, Scenario, Study
from qdpem.simulation.arms import ResolvedArm, resolve_arms
from qdpem.simulation.fingerprint import code_digest, input_digest
from qdpem.strict_json import json_text
from qdpem.study.analysis.reference_arm import contenders


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run: `scenario` without its [study] table, an arm, a seed and the path of the record.

    `load` may be one already found for the scenario and seed.
    """

    scenario: Scenario
    arm: ResolvedArm
    seed: int
    path: Path
    load: OfferedLoad | None = None

    @property
    def label(self) -> str:
        """Its name in messages."""
        return f"{self.arm.name}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A task, and whether its finished record is reused; `note` states why an existing record is not."""

    task: Task
    reuse: bool
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """All tasks of a study; the arms of a seed follow each other, so that seeds are completed early.

    `reference` is "" while the strongest of `contenders` on `tuning_seeds` is still to be found. The runs of
    the contenders on those seeds then come first. `inputs`: digest of the files that the runs read.
    """

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    reference: str
    planned: tuple[Planned, ...]
    inputs: str
    contenders: tuple[str, ...] = ()
    tuning_seeds: tuple[int, ...] = ()


def plan_study(scenario: Scenario, *, directory: Path, fresh: bool = False) -> StudyPlan:
    """The plan of the scenario's [study] table, with records in `directory`/<arm>/<seed>.h5.

    A complete record of the same scenario, map file and arm, made by the same code, is reused unless `fresh`.
    Raises StudyError without a [study] table or without an arm that could be the strongest, UnknownNameError
    for a reference that is not an arm, and what `resolve_arms` raises.
    """
    study, plain = _study_of(scenario), without_study(scenario)
    arms = resolve_arms(study.arms, origin=f"the scenario {scenario.name!r}")
    # Once per arm: the digest reads all source files.
    code = {arm.name: code_digest(plain, arm.arm) for arm in arms}
    inputs = input_digest(plain)
    reference, candidates = reference_of(study, [arm.arm for arm in arms])
    tasks = study_tasks(scenario, arms, directory=directory, candidates=candidates)
    return StudyPlan(
        arms=tuple(arm.arm for arm in arms),
        seeds=tuple(study.seeds),
        reference=reference,
        planned=tuple(
            _plan_task(task, code=code[task.arm.name], inputs=inputs, fresh=fresh) for task in tasks
        ),
        inputs=inputs,
        contenders=candidates,
        tuning_seeds=tuple(study.tuning_seeds) if candidates else (),
    )


def reference_of(study: Study, arms: Sequence[Arm]) -> tuple[str, tuple[str, ...]]:
    """The reference and (); or "" and the arms of which the strongest becomes it.

    Raises UnknownNameError for a reference that is not an arm, and StudyError without an arm that could be
    the strongest.
    """
    names = [arm.name for arm in arms]
    if study.reference != STRONGEST:
        if study.reference not in names:
            raise UnknownNameError("arm of this study", study.reference, names)
        return study.reference, ()
    candidates = tuple(arm.name for arm in contenders(arms))
    if not candidates:
        raise StudyError(
            "no arm of the study has the forecaster 'none' or 'constant', so there is no strongest arm"
            " without a forecast to compare with; add one, or name an arm in study.reference"
        )
    return (candidates[0], ()) if len(candidates) == 1 else ("", candidates)


def study_tasks(
    scenario: Scenario, arms: Sequence[ResolvedArm], *, directory: Path, candidates: Sequence[str]
) -> tuple[Task, ...]:
    """The runs of a study: those of the `candidates` on the tuning seeds, then all arms on all seeds."""
    study, plain = _study_of(scenario), without_study(scenario)
    runs = [(arm, seed) for seed in study.tuning_seeds for arm in arms if arm.name in candidates]
    # A tuning seed may also be a seed of the comparison; it runs once.
    runs += [(arm, seed) for seed in study.seeds for arm in arms if (arm, seed) not in runs]
    return tuple(
        Task(scenario=plain, arm=arm, seed=seed, path=directory / arm.name / f"{seed}.h5")
        for arm, seed in runs
    )


def without_study(scenario: Scenario) -> Scenario:
    """The scenario without its [study] table: all that a single run depends on."""
    return replace(scenario, study=None)


def _study_of(scenario: Scenario) -> Study:
    if scenario.study is None:
        raise StudyError(
            f"the scenario {scenario.name!r} has no [study] table; add one with arms and seeds,"
            " or use `qdpem run`"
        )
    return scenario.study


def _plan_task(task: Task, *, code: str, inputs: str, fresh: bool) -> Planned:
    from qdpem.records.reader import record_exists

    if fresh or not record_exists(task.path):
        return Planned(task=task, reuse=False)
    reason = _why_not_reused(task, code, inputs)
    note = f"{task.path} is made again: {reason}" if reason else ""
    return Planned(task=task, reuse=not reason, note=note)


def _why_not_reused(task: Task, code: str, inputs: str) -> str:
    """Why the record at the task's path cannot be reused, "" if it can."""
    from qdpem.records.reader import open_record

    try:
        record = open_record(task.path)
    except RecordError:
        return "it cannot be read"
    if not record.complete:
        return "its run did not finish"
    if record.scenario_hash != scenario_hash(task.scenario) or record.seed != task.seed:
        return "it belongs to another scenario or seed"
    if _identity(record.arm) != _identity(task.arm.arm):
        return "its arm has changed"
    if {name: record.file(name) for name in record.file_names} != task.arm.read_learned_files():
        return "the learned files of its policy or forecaster have changed"
    if record.provenance.get("inputs") != inputs:
        return "the map file of its topology has changed"
    if record.provenance.get("code") != code:
        return "the code of qdpem, or of the plugins that it uses, has changed"
    return ""


def _identity(arm: Arm) -> tuple[str, ...]:
    parameters = json_text(arm.parameters)
    return (arm.name, arm.policy, str(arm.control), str(arm.pregeneration), str(arm.forecaster), parameters)

"""From a scenario to tasks: arms x seeds, each with its file, and which of them are done already."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qdpem.demand.offered_load import OfferedLoad
from qdpem.errors import RecordError, StudyError, UnknownNameError
from qdpem.scenario.load import scenario_hash
from qdpem.scenario.schema import STRONGEST, Arm, Scenario, Study


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run: `scenario` without its [study] table, a resolved arm, a seed and the record's path.

    `load` may be one already found for the scenario and seed.
    """

    scenario: Scenario
    arm: Arm
    seed: int
    path: Path
    load: OfferedLoad | None = None

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.arm.name}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A task, and whether its finished record is kept; `note` is a sentence when it is made again."""

    task: Task
    keep: bool
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """Everything a study will do, in the order arms vary fastest, so that seeds complete early.

    `reference` is "" while the strongest of `contenders` on `tuning_seeds` is to be found: then their runs
    there come first.
    """

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    reference: str
    planned: tuple[Planned, ...]
    contenders: tuple[str, ...] = ()
    tuning_seeds: tuple[int, ...] = ()


def plan_study(scenario: Scenario, *, directory: Path, fresh: bool = False) -> StudyPlan:
    """The plan of `scenario`'s [study] table, records under `directory`/<arm>/<seed>.h5.

    A complete record of the same scenario and arm, made by the same code, is kept; `fresh` keeps none.
    Raises StudyError without a [study] table or without an arm that could be the strongest, UnknownNameError
    for a reference that is no arm, and what `sound_arms` raises.
    """
    from qdpem.simulation.arms import sound_arms
    from qdpem.simulation.fingerprint import code_digest

    table = _study_of(scenario)
    alone = without_study(scenario)
    arms = sound_arms(table.arms, origin=f"the scenario {scenario.name!r}")
    code = {arm.name: code_digest(alone, arm) for arm in arms}
    reference, tried = _reference(table, arms)
    wanted = [(arm, seed) for seed in table.tuning_seeds for arm in tried]
    wanted += [(arm, seed) for seed in table.seeds for arm in arms if (arm, seed) not in wanted]
    tasks = [
        Task(scenario=alone, arm=arm, seed=seed, path=directory / arm.name / f"{seed}.h5")
        for arm, seed in wanted
    ]
    return StudyPlan(
        arms=arms,
        seeds=tuple(table.seeds),
        reference=reference,
        planned=tuple(_look(task, code=code[task.arm.name], fresh=fresh) for task in tasks),
        contenders=tuple(arm.name for arm in tried),
        tuning_seeds=tuple(table.tuning_seeds) if tried else (),
    )


def _reference(table: Study, arms: Sequence[Arm]) -> tuple[str, tuple[Arm, ...]]:
    """The reference, or "" and the arms of which the strongest will be it."""
    from qdpem.study.analysis.reference_arm import contenders

    names = [arm.name for arm in arms]
    if table.reference != STRONGEST:
        if table.reference not in names:
            raise UnknownNameError("arm of this study", table.reference, names)
        return table.reference, ()
    tried = contenders(arms)
    if not tried:
        raise StudyError(
            "no arm of the study has knowledge 'none' or 'constant', so that none is the strongest without a"
            " forecast, to compare with; add one, or name an arm in study.reference"
        )
    return (tried[0].name, ()) if len(tried) == 1 else ("", tried)


def without_study(scenario: Scenario) -> Scenario:
    """The same question without its [study] table: what a single run depends on."""
    return replace(scenario, study=None)


def _study_of(scenario: Scenario) -> Study:
    if scenario.study is None:
        raise StudyError(
            f"the scenario {scenario.name!r} has no [study] table; add one with arms and seeds,"
            " or use `qdpem run`"
        )
    return scenario.study


def _look(task: Task, *, code: str, fresh: bool) -> Planned:
    if fresh or not task.path.exists():
        return Planned(task=task, keep=False)
    reason = _why_not(task, code)
    note = f"{task.path} is made again: {reason}" if reason else ""
    return Planned(task=task, keep=not reason, note=note)


def _why_not(task: Task, code: str) -> str:
    """Why the record at the task's path cannot be kept, "" if it can."""
    from qdpem.records.reader import open_record

    try:
        record = open_record(task.path)
    except RecordError:
        return "it cannot be read"
    if not record.complete:
        return "its run did not finish"
    if record.scenario_hash != scenario_hash(task.scenario) or record.seed != task.seed:
        return "its scenario is another"
    if _identity(record.arm) != _identity(task.arm):
        return "its arm is another"
    files = learned_files(task.arm)
    if {name: record.file(name) for name in record.file_names} != files:
        return "its policy or forecaster has learned files that are others now"
    if record.provenance.get("code") != code:
        return "other code made it, of qdpem or of what offers its policy, forecaster, physics or topology"
    return ""


def learned_files(arm: Arm) -> dict[str, bytes]:
    """The learned files that the policy and the forecaster of a resolved arm act with, by name.

    Whoever has some says so in a method `files()` of names and paths, such as {"policy.npz": path}; a path
    without a file is left out.
    """
    from qdpem.simulation.arms import build_forecaster, build_policy

    found: dict[str, bytes] = {}
    for maker in (build_policy(arm), build_forecaster(arm.forecaster or "none")):
        paths: Mapping[str, Path] = getattr(maker, "files", dict)()
        found |= {name: path.read_bytes() for name, path in paths.items() if path.is_file()}
    return found


def _identity(arm: Arm) -> tuple[str, ...]:
    parameters = json.dumps(arm.parameters, sort_keys=True)
    return (arm.name, arm.policy, str(arm.control), str(arm.pregeneration), str(arm.forecaster), parameters)

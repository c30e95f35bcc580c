"""Opens a study or a sweep that was run before, from its directory."""

from __future__ import annotations

import json
import math
from pathlib import Path

from qdpem.errors import RecordError, StudyError
from qdpem.records.reader import open_record
from qdpem.scenario.faults.validation import checked
from qdpem.scenario.load import scenario_from_text
from qdpem.scenario.overrides import without_none
from qdpem.scenario.schema import Arm
from qdpem.scenario.sweep import sweep_cells
from qdpem.simulation.arms import ResolvedArm
from qdpem.study.analysis.outcome import Outcome
from qdpem.study.analysis.results import StudyResult
from qdpem.study.bounds import with_stored_bounds
from qdpem.study.manifest import MANIFEST, Manifest, read_manifest
from qdpem.study.plan import Planned, StudyPlan, Task, reference_of, study_tasks, without_study
from qdpem.study.run import gather, with_decision_time
from qdpem.study.sweep import SweepResult
from qdpem.study.tasks import recorded_outcome


def open_study(directory: str | Path) -> StudyResult | SweepResult:
    """The result of the study whose records and reports are in `directory`, or of the sweep.

    Nothing is run, and neither policies nor forecasters need be installed. A record that is missing,
    unfinished or of another scenario becomes a sentence in `faults`. Raises StudyError for a directory
    without a study, and ScenarioError for a scenario that this version does not take.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    if manifest is None or not manifest.scenario:
        known = f"its {MANIFEST} states no scenario" if manifest else f"it has no {MANIFEST} of a study"
        raise StudyError(f"{directory} holds no study that can be opened: {known}; run `qdpem study` into it")
    return _open_sweep(directory, manifest) if manifest.cells else _open_one(directory, manifest)


def _open_sweep(directory: Path, manifest: Manifest) -> SweepResult:
    cells, faults = [], []
    for cell in sweep_cells(scenario_from_text(manifest.scenario)):
        place, result = directory / cell.name, None
        if cell.name in manifest.cells and (of_cell := read_manifest(place)) is not None:
            result = _open_one(place, of_cell)
            faults += [f"{cell.name}: {fault}" for fault in result.faults]
        else:
            faults.append(f"{cell.name}: {place} holds no study")
        cells.append((cell, result))
    if all(result is None for _, result in cells):
        raise StudyError(f"{directory} holds the summary of a sweep but none of its studies")
    return SweepResult(
        name=manifest.scenario_name,
        cells=tuple(cells),
        faults=tuple(faults),
        summary=directory / "summary.csv",
    )


def _open_one(directory: Path, manifest: Manifest) -> StudyResult:
    scenario = scenario_from_text(manifest.scenario)
    study = scenario.study
    if study is None:
        raise StudyError(f"the scenario in {directory / MANIFEST} has no [study] table")
    origin = str(directory / MANIFEST)
    arms = tuple(
        checked(Arm, without_none(json.loads(text)), origin=origin, path="arms") for text in manifest.arms
    )
    reference, candidates = reference_of(study, arms)
    tasks = study_tasks(
        scenario,
        [ResolvedArm(arm=arm, factory=None, parameters=None) for arm in arms],
        directory=directory,
        candidates=candidates,
    )
    outcomes = [_outcome(task, manifest) for task in tasks]
    plan = StudyPlan(
        arms=arms,
        seeds=tuple(study.seeds),
        reference=reference,
        planned=tuple(Planned(task=task, reuse=True) for task in tasks),
        inputs="",
        contenders=candidates,
        tuning_seeds=tuple(study.tuning_seeds) if candidates else (),
    )
    bounded = with_stored_bounds(outcomes, scenario=without_study(scenario), directory=directory)
    return gather(scenario, directory, plan, bounded, wall_s=math.nan)


def _outcome(task: Task, manifest: Manifest) -> Outcome:
    """The outcome in the record of a task, or why there is none."""
    try:
        record = open_record(task.path)
        if not record.complete:
            fault = "its run did not finish"
        elif record.scenario_hash != manifest.scenario_hash or (record.arm.name, record.seed) != (
            task.arm.name,
            task.seed,
        ):
            fault = "its record is of another scenario, arm or seed"
        else:
            return with_decision_time(recorded_outcome(record))
    except RecordError as error:
        fault = str(error)
    return Outcome(arm=task.arm.name, seed=task.seed, path=task.path, fault=fault)

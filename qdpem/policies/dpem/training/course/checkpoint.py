"""The checkpoint of a training, written after each round, and its learning curve."""

from __future__ import annotations

import csv
import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.errors import StudyError
from qdpem.policies.dpem.networks import ACTOR, CRITIC, Kind
from qdpem.policies.dpem.training.course.state import CurveRow, ServerOptimiser, TrainingState
from qdpem.policies.dpem.training.episode import variant_of
from qdpem.policies.dpem.training.federation.privacy import PrivacyBudget
from qdpem.scenario.load import scenario_text
from qdpem.scenario.schema import Arm, Scenario, Window
from qdpem.simulation.fingerprint import code_digest, input_digest
from qdpem.strict_json import json_text

_BY_KIND = ("counts", "advantage_scales", "agreement")
"""The figures of a state that are one number for each kind of decision."""


def training_fingerprint(scenario: Scenario, arm: Arm, seed: int) -> str:
    """The digest of all that determines a training: scenario, map file, code, arm and seed.

    Study and window are left out because a training does not read them.
    """
    relevant = replace(scenario, study=None, window=Window())
    variants = [variant_of(scenario, arm, item)[0] for item in scenario.training.variants]
    facts = [
        scenario_text(relevant),
        input_digest(scenario),
        *[scenario_text(variant) + input_digest(variant) for variant in variants],
        code_digest(scenario, arm),
        repr(arm),
        str(seed),
    ]
    return hashlib.blake2b(json_text(facts).encode(), digest_size=16).hexdigest()


def save(path: Path, state: TrainingState, fingerprint: str) -> None:
    """Write the checkpoint whole or not at all; `fingerprint` is that of `training_fingerprint`."""
    names = [item.name for item in fields(CurveRow)]
    arrays: dict[str, Any] = {
        "fingerprint": np.array(fingerprint),
        **state.actor,
        **state.critics,
        "moments": np.stack([state.optimiser.first, state.optimiser.second]),
        "optimiser_steps": np.array(state.optimiser.steps),
        **{f"{name}_{kind}": np.array(getattr(state, name)[kind]) for name in _BY_KIND for kind in Kind},
        "budget": np.array([state.budget.epsilon, state.budget.delta, state.budget.rounds]),
        "reports": np.array(state.budget.reports, dtype=np.int64),
        **{f"curve_{name}": np.array([getattr(row, name) for row in state.curve]) for name in names},
    }
    # os.replace is atomic: a training that is killed while it writes leaves the last checkpoint in place.
    partial = path.with_name(f".{path.stem}.partial.npz")
    np.savez(partial, **arrays)
    os.replace(partial, path)


def load(path: Path, fingerprint: str) -> TrainingState:
    """Read a checkpoint. Raises StudyError for a file that is none, or of another scenario, arm or seed."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: Mapping[str, NDArray[Any]] = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise StudyError(
            f"{path} is not a checkpoint ({error}); remove it to train from the start"
        ) from error
    if str(arrays["fingerprint"]) != fingerprint:
        raise StudyError(
            f"{path} belongs to another scenario, map, arm or seed, or to other code; train into another"
            f" directory (--out), or remove {path.name} to train from the start"
        )
    epsilon, delta, rounds = arrays["budget"].tolist()
    reports = tuple(arrays["reports"].tolist())
    columns = {item.name: arrays[f"curve_{item.name}"].tolist() for item in fields(CurveRow)}
    curve = tuple(
        CurveRow(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)
    )
    first, second = arrays["moments"]
    by_kind = {name: {kind: float(arrays[f"{name}_{kind}"]) for kind in Kind} for name in _BY_KIND}
    return TrainingState(
        actor={name: arrays[name] for name in ACTOR},
        critics={name: arrays[name] for name in CRITIC},
        optimiser=ServerOptimiser(first=first, second=second, steps=int(arrays["optimiser_steps"])),
        budget=PrivacyBudget(epsilon=epsilon, delta=delta, rounds=int(rounds), reports=reports),
        curve=curve,
        **by_kind,
    )


def write_curve(path: Path, curve: tuple[CurveRow, ...]) -> None:
    """Write the learning curve as CSV, one row per round, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(
            file, fieldnames=[item.name for item in fields(CurveRow)], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(asdict(row) for row in curve)
    os.replace(partial, path)

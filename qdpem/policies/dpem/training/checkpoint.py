"""Where a training stands, written whole after each round, and its learning curve."""

from __future__ import annotations

import csv
import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.errors import StudyError
from qdpem.policies.dpem.actor_critic import CRITIC, Weights
from qdpem.policies.dpem.training.privacy import PrivacyBudget
from qdpem.policies.dpem.training.transitions import ReturnScale
from qdpem.scenario.schema import Arm, Scenario, Window


@dataclass(frozen=True, kw_only=True)
class CurveRow:
    """One round, measured by the experimenter from the episodes' events, before that round's update.

    `decisions`: times a site had something to choose, summed so far; `simulated_s` likewise.
    `mean_reward`: per node and simulated second. `update_norm`: mean over nodes, before clipping;
    `clipped_fraction`: nodes clipped. `ratio_clipped`: decisions whose PPO ratio was clipped at the end.
    `epsilon`: spent after this round's sharing. `bytes`: to and from the aggregator in this round.
    """

    round: int
    decisions: int
    simulated_s: float
    delivery_ratio: float
    contended_claims_per_request: float
    mean_reward: float
    entropy: float
    value_loss: float
    ratio_clipped: float
    update_norm: float
    clipped_fraction: float
    epsilon: float
    bytes: int


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingState:
    """Everything the next round needs."""

    actor: NDArray[np.float64]
    critics: Weights
    scale: ReturnScale
    budget: PrivacyBudget
    curve: tuple[CurveRow, ...] = ()


def training_fingerprint(scenario: Scenario, arm: Arm, seed: int) -> str:
    """What a checkpoint belongs to: everything but the study and the number of the window."""
    kept = replace(scenario, study=None, window=Window())
    return hashlib.blake2b(f"{kept!r} {arm!r} seed {seed}".encode(), digest_size=16).hexdigest()


def save(path: Path, state: TrainingState, mark: str) -> None:
    """Write the checkpoint whole or not at all."""
    names = [item.name for item in fields(CurveRow)]
    arrays: dict[str, Any] = {
        "mark": np.array(mark),
        "actor": state.actor,
        **state.critics,
        **{f"scale_{name}": value for name, value in vars(state.scale).items()},
        "budget": np.array(
            [state.budget.epsilon, state.budget.delta, state.budget.rounds, state.budget.spent]
        ),
        **{f"curve_{name}": np.array([getattr(row, name) for row in state.curve]) for name in names},
    }
    partial = path.with_name(f".{path.stem}.partial.npz")
    np.savez(partial, **arrays)
    os.replace(partial, path)


def load(path: Path, mark: str) -> TrainingState:
    try:
        with np.load(path, allow_pickle=False) as file:
            held: Mapping[str, NDArray[Any]] = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise StudyError(
            f"{path} is not a checkpoint ({error}); remove it to train from the start"
        ) from error
    if str(held["mark"]) != mark:
        raise StudyError(
            f"{path} belongs to another scenario or seed; train into another directory, or with --fresh"
        )
    epsilon, delta, rounds, spent = held["budget"].tolist()
    columns = {item.name: held[f"curve_{item.name}"].tolist() for item in fields(CurveRow)}
    curve = tuple(
        CurveRow(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)
    )
    return TrainingState(
        actor=held["actor"],
        critics={name: held[name] for name in CRITIC},
        scale=ReturnScale(**{item.name: held[f"scale_{item.name}"] for item in fields(ReturnScale)}),
        budget=PrivacyBudget(epsilon=epsilon, delta=delta, rounds=int(rounds), spent=int(spent)),
        curve=curve,
    )


def write_curve(path: Path, curve: tuple[CurveRow, ...]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(
            file, fieldnames=[item.name for item in fields(CurveRow)], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(asdict(row) for row in curve)
    os.replace(partial, path)

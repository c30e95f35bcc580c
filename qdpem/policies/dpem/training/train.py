"""Training: imitate a rule, then play, learn and average in rounds.

A checkpoint holds everything the next round needs. A training that was killed therefore continues from its
last whole round and ends with the same bytes as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qdpem.extras import require_packages
from qdpem.file_lock import held
from qdpem.parallel import one_thread
from qdpem.policies.dpem.policy_file import save_actor
from qdpem.policies.dpem.training.course.checkpoint import load, save, training_fingerprint, write_curve
from qdpem.policies.dpem.training.course.convergence import converged_row, shall_end
from qdpem.policies.dpem.training.course.provenance import provenance_of
from qdpem.policies.dpem.training.course.state import CurveRow, TrainingState
from qdpem.policies.dpem.training.course.tensorboard import require_tensorboard, tensorboard_rows
from qdpem.policies.dpem.training.federation.statement import statement_of
from qdpem.policies.dpem.training.player import Player
from qdpem.policies.dpem.training.round import next_round, trained_names
from qdpem.policies.dpem.training.start import initial_state
from qdpem.scenario.schema import Arm, Scenario
from qdpem.simulation.arms import resolve_arm


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """The result of a training: the policy file, the learning curve, and the privacy statement.

    `converged_s`: simulated time of the first round whose held-out score stays within 5 % of the mean of the
    last fifth; None if there is none.
    """

    policy_file: Path
    curve_file: Path
    curve: tuple[CurveRow, ...]
    statement: str
    converged_s: float | None


@dataclass(frozen=True, kw_only=True)
class RoundProgress:
    """A round that is over: its row, the number of all rounds, and the seconds of it spent in episodes.

    `decisions`: made in the round.
    """

    row: CurveRow
    rounds: int
    decisions: int
    played_s: float


Progress = Callable[[RoundProgress], None]
"""Called after each round."""


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
    tensorboard: Path | None = None,
) -> TrainingResult:
    """Train the shared networks of `dpem` with the settings of `scenario.training`.

    Writes `curve.csv` and `checkpoint.npz` into `directory` after every round, and `policy.npz` at the end.
    The last round's weights are the result: choosing the best round by its score would release more than the
    privacy statement covers. Raises StudyError for a checkpoint of another scenario or seed, and
    HeldError when another process trains in the directory.

    Args:
        scenario: the network, its demand, and the settings.
        seed: root seed of weights, episodes and privacy noise.
        directory: where the files are written; created if missing.
        arm: pregeneration and forecaster to train with; those of `dpem` unless given.
        progress: called after every round.
        resume: continue from a checkpoint of the same scenario, arm and seed, if there is one.
        engine: how episodes run in parallel, as in `qdpem.parallel.run_tasks`.
        workers: episodes at a time; all cores if None.
        tensorboard: folder of the learning curve for TensorBoard, if any.
    """
    require_packages(["torch"], extra="learning", user="training")
    if tensorboard is not None:
        require_tensorboard()
    directory = Path(directory)
    resolved = resolve_arm(arm or Arm(name="dpem")).arm
    # Before the checkpoint is read: two trainings would take turns in writing over each other's.
    with held(directory), one_thread():
        player = Player(scenario=scenario, arm=resolved, seed=seed, engine=engine, workers=workers)
        return _train(player, directory, progress=progress, resume=resume, tensorboard=tensorboard)


def _train(
    player: Player, directory: Path, *, progress: Progress | None, resume: bool, tensorboard: Path | None
) -> TrainingResult:
    """`train` in a directory that is held."""
    scenario, seed = player.scenario, player.seed
    checkpoint = directory / "checkpoint.npz"
    fingerprint = training_fingerprint(scenario, player.arm, seed)
    state = load(checkpoint, fingerprint) if resume and checkpoint.exists() else None
    if state is None:
        state = initial_state(player, seed=seed, trained=trained_names(player))
        save(checkpoint, state, fingerprint)
    with tensorboard_rows(tensorboard, state.curve) as show_row:
        while not shall_end(state.curve, scenario.training):
            already_s = sum(player.played_s)
            before, state = state, next_round(player, state)
            # The checkpoint first: a resumed training reads it, and it holds the curve too.
            save(checkpoint, state, fingerprint)
            write_curve(directory / "curve.csv", state.curve)
            show_row(state.curve[-1])
            if progress is not None:
                progress(_progress(before, state, scenario, played_s=sum(player.played_s) - already_s))
    return _finish(player, state, directory)


def _progress(
    before: TrainingState, after: TrainingState, scenario: Scenario, *, played_s: float
) -> RoundProgress:
    """What is told of the round between two states."""
    decided = before.curve[-1].decisions if before.curve else 0
    row = after.curve[-1]
    return RoundProgress(
        row=row, rounds=scenario.training.rounds, decisions=row.decisions - decided, played_s=played_s
    )


def _finish(player: Player, state: TrainingState, directory: Path) -> TrainingResult:
    """Write the curve and the policy file."""
    scenario = player.scenario
    converged = converged_row(state.curve)
    statement = statement_of(state.budget, scenario.training, nodes=state.nodes, rounds=len(state.curve))
    policy_file, curve_file = directory / "policy.npz", directory / "curve.csv"
    write_curve(curve_file, state.curve)
    privacy = state.budget.epsilon_spent, state.budget.delta
    save_actor(
        policy_file,
        state.actor,
        scenario=scenario.name,
        statement=statement,
        privacy=privacy,
        provenance=provenance_of(state, scenario.training, seed=player.seed),
    )
    return TrainingResult(
        policy_file=policy_file,
        curve_file=curve_file,
        curve=state.curve,
        statement=statement,
        converged_s=converged.simulated_s if converged else None,
    )

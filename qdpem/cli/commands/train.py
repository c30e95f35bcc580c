"""`qdpem train`: train the shared network of `dpem` on a scenario."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qdpem.cli.console import console, progress_bars
from qdpem.cli.options import MAX_SEED, Overrides, Oversize, ScenarioWord, Workers, output_directory
from qdpem.cli.size import check_size, runs_at_once

if TYPE_CHECKING:
    from qdpem.policies.dpem.training.train import RoundProgress, TrainingResult
    from qdpem.scenario.schema import Scenario

FIRST_TRAINING_SEED = 10_000


def train(
    scenario: ScenarioWord,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", max=MAX_SEED, help="10000 or more, so that it is no seed of tuning or testing."
        ),
    ] = 10_000,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Directory of the network, its curve and its checkpoint;"
            " by default training/<seed> in output/<file stem>[,<--set>...].",
        ),
    ] = None,
    overrides: Overrides = None,
    workers: Workers = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            "--tensorboard", metavar="DIR", help="Also write the curve to this directory, for TensorBoard."
        ),
    ] = None,
    oversize: Oversize = False,
) -> None:
    """Train the dpem network on a scenario. The same command continues from the last checkpoint."""
    from qdpem.errors import StudyError
    from qdpem.scenario.load import load_scenario
    from qdpem.scenario.schema import Window

    if seed < FIRST_TRAINING_SEED:
        raise StudyError(f"seed {seed} is not a training seed; it must be {FIRST_TRAINING_SEED} or more")
    loaded = load_scenario(scenario, overrides or ())
    episode = Window(warm_up_s=0.0, measured_s=loaded.training.episode_s)
    runs = runs_at_once(workers, loaded.training.episodes_per_round)
    check_size(replace(loaded, window=episode), oversize=oversize, runs=runs)
    directory = out or output_directory(scenario, overrides) / "training" / str(seed)
    training = _train(loaded, seed=seed, directory=directory, workers=workers, tensorboard=tensorboard)
    terminal = console()
    if training.curve:
        first, last = training.curve[0], training.curve[-1]
        terminal.print(
            f"delivered {first.delivery_ratio:.3f} in the first round, {last.delivery_ratio:.3f} in the last"
            f" of {len(training.curve)} ({last.simulated_s:g} simulated s)"
        )
        if training.converged_s is not None:
            terminal.print(
                f"converged after {training.converged_s:g} simulated s: held-out delivery stays within 5 % of"
                " the mean of its last fifth"
            )
    terminal.print(training.statement, markup=False)
    terminal.print(f"network: {training.policy_file}", markup=False, soft_wrap=True)
    terminal.print(f"curve: {training.curve_file}", markup=False, soft_wrap=True)


def _train(
    scenario: Scenario, *, seed: int, directory: Path, workers: int | None, tensorboard: Path | None
) -> TrainingResult:
    from qdpem.policies.dpem.training.train import train as run_training

    with progress_bars() as bars:
        bar = bars.add_task(f"training {scenario.name}", total=scenario.training.rounds, detail="the clone")

        def show(progress: RoundProgress) -> None:
            row = progress.row
            detail = (
                f"delivered {row.delivery_ratio:.3f}, contended {row.contended_claims_per_request:.2f},"
                f" epsilon {row.epsilon:.2f}, {row.bytes_up / 1e3:.0f} kB up and"
                f" {row.bytes_down / 1e3:.0f} kB down"
            )
            bars.update(bar, total=progress.rounds, completed=row.round + 1, detail=detail)

        return run_training(
            scenario, seed=seed, directory=directory, progress=show, workers=workers, tensorboard=tensorboard
        )

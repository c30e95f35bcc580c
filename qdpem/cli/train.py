"""`qdpem train`: learn the shared network of `dpem` on a scenario."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qdpem.cli.console import console, progress_bars
from qdpem.cli.options import OUTPUT, Overrides, ScenarioFile, Workers

if TYPE_CHECKING:
    from qdpem.policies.dpem.training.checkpoint import CurveRow

FIRST_TRAINING_SEED = 10_000


def train(
    scenario: ScenarioFile,
    seed: Annotated[
        int, typer.Option("--seed", help="10000 or more: never a seed of tuning or testing.")
    ] = 10_000,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where the network, its curve and checkpoints go;"
            " output/<scenario>/training/<seed> otherwise.",
        ),
    ] = None,
    overrides: Overrides = None,
    workers: Workers = None,
) -> None:
    """Train the dpem network on the scenario; given again, it goes on from its last checkpoint."""
    from qdpem.errors import StudyError
    from qdpem.scenario.load import load_scenario

    if seed < FIRST_TRAINING_SEED:
        raise StudyError(f"seed {seed} is not a training seed; it must be {FIRST_TRAINING_SEED} or more")
    question = load_scenario(scenario, overrides or ())
    from qdpem.policies.dpem.training.train import train as run_training

    directory = out or OUTPUT / scenario.stem / "training" / str(seed)
    with progress_bars() as bars:
        bar = bars.add_task(f"training {question.name}", total=question.training.rounds, detail="first round")

        def tell(row: CurveRow, rounds: int) -> None:
            detail = f"delivered {row.delivery_ratio:.3f}, epsilon {row.epsilon:.2f}"
            bars.update(bar, total=rounds, completed=row.round + 1, detail=detail)

        made = run_training(question, seed=seed, directory=directory, progress=tell, workers=workers)
    shown = console()
    if made.curve:
        first, last = made.curve[0], made.curve[-1]
        shown.print(
            f"delivered {first.delivery_ratio:.3f} in the first round, {last.delivery_ratio:.3f} in the last"
            f" of {len(made.curve)} ({last.simulated_s:g} simulated s)"
        )
    shown.print(made.statement, markup=False)
    shown.print(f"network: {made.policy_file}", markup=False, soft_wrap=True)
    shown.print(f"curve: {made.curve_file}", markup=False, soft_wrap=True)

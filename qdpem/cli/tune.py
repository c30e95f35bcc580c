"""`qdpem tune`: find an arm's tunable parameters on the tuning seeds."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qdpem.cli.console import console, progress_bars
from qdpem.cli.options import OUTPUT, Overrides, ScenarioFile, Workers
from qdpem.cli.study import progress_callback

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from qdpem.scenario.schema import Arm, Scenario
    from qdpem.study.tuning.halving import Halving
    from qdpem.study.tuning.tune import Candidate, Tuning

_END = 0.1
"""Share of a range, at either end, where a parameter is said to lie at its end."""


def tune(
    scenario: ScenarioFile,
    arm: Annotated[
        str, typer.Option("--arm", metavar="NAME", help="An arm of the scenario, or a registered policy.")
    ],
    budget: Annotated[
        int,
        typer.Option("--budget", metavar="N", help="Runs: one is one candidate on one seed, whole window."),
    ] = 64,
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="LIST", help="Tuning seeds, like 0-19 or 0,2,5-9.")
    ] = "0-99",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where results go; output/<scenario>/tuned otherwise."),
    ] = None,
    workers: Workers = None,
    overrides: Overrides = None,
) -> None:
    """Find an arm's tunable parameters by successive halving; given again, it goes on where it stopped."""
    from qdpem.scenario.load import load_scenario
    from qdpem.simulation.arms import find_arm
    from qdpem.study.tuning.tune import snippet

    question = load_scenario(scenario, overrides or ())
    chosen = find_arm(question, arm)
    directory = out or OUTPUT / scenario.stem / "tuned"
    shown = console()
    found = _tune(question, chosen, directory, budget, parse_seeds(seeds), workers, shown)
    shown.print(finalists_table(found))
    told = sentences(found)
    for sentence in told:
        shown.print(f"- {sentence}", markup=False)
    for fault in found.faults:
        shown.print(f"failed: {fault}", style="bold red", markup=False, soft_wrap=True)
    command = shlex.join(
        ["qdpem", "tune", str(scenario), "--arm", arm, "--budget", str(budget), "--seeds", seeds]
        + [word for override in overrides or () for word in ("--set", override)]
    )
    path = directory / f"{chosen.name}.toml"
    path.write_text(snippet(found, told=[command, *told]), encoding="utf-8")
    shown.print(f"{found.made} runs made, {found.kept} kept from before")
    shown.print(f"arm: {path}", markup=False, soft_wrap=True)


def _tune(
    question: Scenario,
    arm: Arm,
    directory: Path,
    budget: int,
    seeds: tuple[int, ...],
    workers: int | None,
    shown: Console,
) -> Tuning:
    from qdpem.study.tuning.tune import tune as run_tuning

    length_s = question.window.end_s

    def tell_plan(plan: Halving) -> None:
        one = f"one run is one candidate on one seed for {length_s:g} simulated s"
        shown.print(f"budget {plan.budget} runs ({one}): {plan}")

    with progress_bars() as bars:
        return run_tuning(
            question,
            arm,
            budget=budget,
            trials=directory / f"{arm.name}.jsonl",
            seeds=seeds,
            workers=workers,
            progress=progress_callback(bars, f"tuning {arm.name}", after="comparing"),
            on_plan=tell_plan,
        )


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds of a list such as "0-3,7", in its order. Raises StudyError when it is none.

    >>> parse_seeds("0-3,7")
    (0, 1, 2, 3, 7)
    """
    from qdpem.errors import StudyError

    found: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()) or (dash and int(high) < int(low)):
            raise StudyError(f"{text!r} is no list of seeds; it should be like 0-19 or 0,2,5-9")
        found += range(int(low), int(high if dash else low) + 1)
    return tuple(found)


def finalists_table(found: Tuning) -> Table:
    """The last rung, best first: parameters, the objective, and what it is above the defaults'."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    seeds = f"seeds {found.seeds[0]} to {found.seeds[-1]}"
    table = Table(
        title=f"{found.arm.name}: the last rung, {seeds} (± standard error)",
        box=SIMPLE_HEAD,
        title_justify="left",
    )
    columns = [_cells(found, one) for one in found.finalists]
    table.add_column("")
    for place, one in enumerate(found.finalists, start=1):
        table.add_column("defaults" if one is found.defaults else f"{place}.", justify="right")
    for name, *cells in zip(
        (*found.space, found.measure.heading, "above the defaults"), *columns, strict=True
    ):
        table.add_row(name, *cells)
    return table


def _cells(found: Tuning, one: Candidate) -> list[str]:
    scores, lead, text = one.scores(found.seeds), found.lead(one), found.measure.text
    error = float(scores.std(ddof=1)) / len(scores) ** 0.5
    values = [_short(value) for value in one.values.values()]
    mean = f"{text(float(scores.mean()))} ± {text(error)}"
    if one is found.defaults:
        return [*values, mean, "–"]
    return [*values, mean, f"{_signed(found, lead.difference.estimate)} ± {text(lead.paired_spread)}"]


def sentences(found: Tuning) -> list[str]:
    """What was found, and how far to trust it."""
    verdict, what = found.verdict, found.measure.heading
    if verdict is None:
        said = f"No candidate of {found.plan.rungs[0].candidates} beats the defaults of {found.arm.name} on"
        return [f"{said} {len(found.seeds)} seeds: they are kept.", *_at_ends(found)]
    lead = found.lead(found.winner).difference.estimate
    held = f"on the {len(found.held_out)} seeds held out ({found.held_out[0]} to {found.held_out[-1]})"
    bounds = f"{_signed(found, verdict.student_low)} to {_signed(found, verdict.student_high)}"
    gap = f"{_signed(found, verdict.difference.estimate)} {what}, 95 % interval {bounds}"
    if verdict.clear and verdict.difference.estimate > 0.0:
        said = f"The winner beats the defaults {held}: {gap}."
    elif found.chosen is found.winner:
        said = f"The winner cannot be told from the defaults {held}: {gap}. It is written down all the same."
    else:
        said = f"The winner does not do better than the defaults {held}: {gap}. The defaults are kept."
    optimistic = (
        f"Its {_signed(found, lead)} on the seeds that chose it is optimistic: it is the best of"
        f" {found.plan.rungs[0].candidates}, and the best is so partly by luck."
    )
    return [said, optimistic, *_at_ends(found)]


def _at_ends(found: Tuning) -> list[str]:
    """What of the parameters chosen lies so near the end of its range that better may lie beyond."""
    from qdpem.policy.tuning import Range

    ends = [
        f"{name} = {_short(value)} of {space.low:g} to {space.high:g}"
        for name, value in found.chosen.values.items()
        if isinstance(space := found.space[name], Range) and not _END < space.position(value) < 1.0 - _END
    ]
    if not ends:
        return []
    return [f"At an end of where it was looked for: {', '.join(ends)}. Better may lie beyond."]


def _signed(found: Tuning, value: float) -> str:
    return f"{value * found.measure.scale:+.{found.measure.decimals}f}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""The result of a tuning for people: the table of finalists, and sentences on the choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdpem.policy.tuning import Range
from qdpem.study.analysis.metric_formats import CONTENTION
from qdpem.study.tuning.tune import Candidate, Tuning

if TYPE_CHECKING:
    from rich.table import Table

_END = 0.1
"""Fraction of a range, at either end, in which a parameter is reported to lie at the end."""


def finalists_table(tuning: Tuning) -> Table:
    """The last rung, best first: parameters, the objective, and its difference from the defaults."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    seeds = f"seeds {tuning.seeds[0]} to {tuning.seeds[-1]}"
    table = Table(
        title=f"{tuning.arm.name}: the last rung, {seeds} (± standard error)",
        box=SIMPLE_HEAD,
        title_justify="left",
    )
    columns = [_cells(tuning, candidate) for candidate in tuning.finalists]
    table.add_column("")
    for rank, candidate in enumerate(tuning.finalists, start=1):
        table.add_column("defaults" if candidate is tuning.defaults else f"{rank}.", justify="right")
    headings = [*tuning.space, _objective(tuning), "minus the defaults", *_parts(tuning)]
    for heading, *cells in zip(headings, *columns, strict=True):
        table.add_row(heading, *cells)
    return table


def _cells(tuning: Tuning, candidate: Candidate) -> list[str]:
    scores, text = candidate.scores(tuning.seeds), tuning.objective.text
    error = float(scores.std(ddof=1)) / len(scores) ** 0.5
    values = [_value(value) for value in candidate.values.values()]
    mean = f"{text(float(scores.mean()))} ± {text(error)}"
    parts = [text(candidate.mean("value", tuning.seeds)), f"{candidate.mean('contention', tuning.seeds):.2f}"]
    lead = "–"
    if candidate is not tuning.defaults:
        paired = tuning.lead(candidate)
        lead = f"{tuning.objective.signed(paired.difference.estimate)} ± {text(paired.paired_spread)}"
    return [*values, mean, lead, *(parts if tuning.contention_weight else [])]


def _objective(tuning: Tuning) -> str:
    """The heading of the objective."""
    weight = tuning.contention_weight
    return f"{tuning.objective.heading} - {weight:g} x contended" if weight else tuning.objective.heading


def _parts(tuning: Tuning) -> list[str]:
    """Headings of what a weighted objective consists of; none without a weight."""
    return [tuning.objective.heading, CONTENTION.heading] if tuning.contention_weight else []


def tuning_sentences(tuning: Tuning) -> list[str]:
    """Sentences that state the choice and how reliable it is."""
    verdict, signed = tuning.verdict, tuning.objective.signed
    count = tuning.plan.rungs[0].candidates
    if verdict is None:
        kept = f"The defaults of {tuning.arm.name} are kept: none of {count} candidates beats them"
        return [f"{kept} on {len(tuning.seeds)} seeds.", *_at_ends(tuning)]
    held_out = f"the {len(tuning.held_out)} seeds held out ({tuning.held_out[0]} to {tuning.held_out[-1]})"
    bounds = f"{signed(verdict.student_low)} to {signed(verdict.student_high)}"
    difference = f"{signed(verdict.difference.estimate)} {_objective(tuning)}, 95 % interval {bounds}"
    if verdict.clear and verdict.difference.estimate > 0.0:
        choice = f"The winner beats the defaults on {held_out}: {difference}."
    elif tuning.chosen is tuning.winner:
        choice = (
            f"The winner is chosen, but {held_out} do not distinguish it from the defaults: {difference}."
        )
    else:
        choice = f"The defaults are kept: the winner does not beat them on {held_out}: {difference}."
    lead = tuning.lead(tuning.winner).difference.estimate
    optimism = (
        f"Its {signed(lead)} on the seeds that chose it is optimistic, because the best of {count} candidates"
        " is the best partly by luck."
    )
    return [choice, optimism, *_at_ends(tuning)]


def _at_ends(tuning: Tuning) -> list[str]:
    """A sentence on chosen parameters so near the end of their range that better values may lie beyond."""
    ends = [
        f"{name} = {_value(value)} of {space.low:g} to {space.high:g}"
        for name, value in tuning.chosen.values.items()
        if isinstance(space := tuning.space[name], Range) and not _END < space.position(value) < 1.0 - _END
    ]
    if not ends:
        return []
    return [f"At an end of its range: {', '.join(ends)}. Better values may lie beyond."]


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

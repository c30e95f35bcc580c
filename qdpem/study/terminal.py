"""The study in a terminal: what ran, what came out, and how arms differ from the reference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qdpem.scenario.schema import Arm
from qdpem.study.reading import demand_reading, readings
from qdpem.study.results import BOUND_SHARES, Measure, StudyResult, counted, headlines_of, measures_of, p_text
from qdpem.study.statistics import Interval, PairedDifference

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_COLUMNS = 5
_WIDE = 100
"""Columns of a terminal from which an arm's four factors fit on one line."""


def print_study(result: StudyResult, *, console: Console) -> None:
    """Print both tables, the reading in sentences, and every fault."""
    console.print(results_table(result, wide=console.width >= _WIDE))
    if len(result.arms) > 1:
        console.print(differences_table(result))
    if result.scenario.demand.load_share is not None:
        console.print(f"demand: {demand_reading(result)}", highlight=False)
    for sentence in readings(result):
        console.print(f"- {sentence}", highlight=False)
    for fault in result.faults:
        console.print(f"failed: {fault}", style="bold red", highlight=False, markup=False, soft_wrap=True)


def results_table(result: StudyResult, *, wide: bool = True) -> Table:
    """One row per arm with all four factors; means over seeds, with intervals for the two headlines."""
    between = " · " if wide else "\n"
    table = _table(f"{result.scenario.name}: mean of {counted(len(result.seeds), 'seed')} [95 % interval]")
    table.add_column(f"arm\ncontrol · rights{between}knowledge · policy", no_wrap=True)
    measures, headlines = measures_of(result.scenario.demand)[:_COLUMNS], _headlines(result)
    measures += result.known(BOUND_SHARES[:2])
    for measure in measures:
        unit = f"\n({measure.unit})" if measure.unit else ""
        table.add_column(measure.heading.replace(" ", "\n", 1) + unit, justify="right")
    means = {measure.metric: result.means(measure.metric) for measure in measures}
    for arm in result.arms:
        cells = [
            _with_bounds(measure, means[measure.metric][arm.name], bounded=measure in headlines)
            for measure in measures
        ]
        table.add_row(_arm_cell(arm, between), *cells)
    return table


def differences_table(result: StudyResult) -> Table:
    """Paired differences from the reference of the headlines, with Holm's p."""
    table = _table(f"paired difference from {result.reference} [95 % interval]")
    table.add_column("arm", no_wrap=True)
    headlines = _headlines(result)
    for measure in headlines:
        table.add_column(measure.heading, justify="right", no_wrap=True)
        table.add_column("Holm p", justify="right", no_wrap=True)
    columns = [(result.differences(m.metric), result.adjusted_p(m.metric), m) for m in headlines]
    for arm in columns[0][0]:
        cells = [cell for found, p, measure in columns for cell in _difference(measure, found[arm], p[arm])]
        table.add_row(arm, *cells)
    return table


def arm_factors(arm: Arm, between: str = " · ") -> str:
    """An arm's four factors in one fixed order, with `between` in their middle.

    >>> arm_factors(Arm(name="a", policy="dpem", control="local", rights="remote", knowledge="gru"))
    'local · remote · gru · dpem'
    """
    return f"{arm.control} · {arm.rights}{between}{arm.knowledge} · {arm.policy}"


def _headlines(result: StudyResult) -> list[Measure]:
    return [measure for measure, _ in headlines_of(result.scenario.demand)]


def _table(title: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(
        title=title,
        box=SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        collapse_padding=True,
    )


def _arm_cell(arm: Arm, between: str) -> RenderableType:
    from rich.text import Text

    return Text.assemble((arm.name, "bold"), "\n", (arm_factors(arm, between), "dim"))


def _with_bounds(measure: Measure, interval: Interval, *, bounded: bool) -> str:
    text = measure.text(interval.estimate)
    if not bounded or math.isnan(interval.low):
        return text
    return f"{text}\n\\[{measure.text(interval.low)}, {measure.text(interval.high)}]"


def _difference(measure: Measure, found: PairedDifference, p: float) -> tuple[str, str]:
    """The difference, relative too, with its bounds below; and p."""
    digits, bounds = measure.decimals, found.difference
    if math.isnan(bounds.estimate):
        return "–", "–"
    ratio = found.ratio.estimate
    relative = "" if math.isnan(ratio) else f" ({ratio - 1.0:+.1%})"
    text = f"{bounds.estimate:+.{digits}f}{relative}"
    if not math.isnan(bounds.low):
        text += f"\n\\[{bounds.low:+.{digits}f}, {bounds.high:+.{digits}f}]"
    return text, p_text(p)

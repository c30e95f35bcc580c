"""The study in a terminal: what ran, what came out, and how arms differ from the reference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qdpem.scenario.schema import Arm
from qdpem.study.reading import readings
from qdpem.study.results import CONTENTION, DELIVERY, MEASURES, Measure, StudyResult, p_text
from qdpem.study.statistics import Interval, PairedDifference

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_COLUMNS = 5


def print_study(result: StudyResult, *, console: Console) -> None:
    """Print both tables, the reading in sentences, and every fault."""
    console.print(results_table(result))
    if len(result.arms) > 1:
        console.print(differences_table(result))
    for sentence in readings(result):
        console.print(f"- {sentence}", highlight=False)
    for fault in result.faults:
        console.print(f"failed: {fault}", style="bold red", highlight=False, markup=False, soft_wrap=True)


def results_table(result: StudyResult) -> Table:
    """One row per arm with all four factors; means over seeds, with intervals for the two headlines."""
    table = _table(f"{result.scenario.name}: mean of {len(result.seeds)} seeds [95 % interval]")
    table.add_column("arm\ncontrol · rights · knowledge · policy", no_wrap=True)
    measures = MEASURES[:_COLUMNS]
    for measure in measures:
        unit = f" ({measure.unit})" if measure.unit else ""
        table.add_column(measure.heading.replace(" ", "\n", 1) + unit, justify="right")
    means = {measure.metric: result.means(measure.metric) for measure in measures}
    for arm in result.arms:
        cells = [_with_bounds(measure, means[measure.metric][arm.name]) for measure in measures]
        table.add_row(_arm_cell(arm, reference=result.reference), *cells)
    return table


def differences_table(result: StudyResult) -> Table:
    """Paired differences from the reference of the two headlines, with Holm's p."""
    table = _table(f"paired difference from {result.reference} [95 % interval]")
    table.add_column("arm", no_wrap=True)
    for measure in (DELIVERY, CONTENTION):
        table.add_column(measure.heading, justify="right", no_wrap=True)
        table.add_column("relative", justify="right", no_wrap=True)
        table.add_column("Holm p", justify="right", no_wrap=True)
    columns = [(result.differences(m.metric), result.adjusted_p(m.metric), m) for m in (DELIVERY, CONTENTION)]
    for arm in columns[0][0]:
        cells = [cell for found, p, measure in columns for cell in _difference(measure, found[arm], p[arm])]
        table.add_row(arm, *cells)
    return table


def arm_factors(arm: Arm) -> str:
    """An arm's four factors in one fixed order.

    >>> arm_factors(Arm(name="a", policy="dpem", control="local", rights="remote", knowledge="gru"))
    'local · remote · gru · dpem'
    """
    return f"{arm.control} · {arm.rights} · {arm.knowledge} · {arm.policy}"


def _table(title: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)


def _arm_cell(arm: Arm, *, reference: str) -> RenderableType:
    from rich.text import Text

    mark = " (reference)" if arm.name == reference else ""
    return Text.assemble((arm.name, "bold"), mark, "\n", (arm_factors(arm), "dim"))


def _with_bounds(measure: Measure, interval: Interval) -> str:
    text = measure.text(interval.estimate)
    if measure not in (DELIVERY, CONTENTION) or math.isnan(interval.low):
        return text
    return f"{text}\n\\[{measure.text(interval.low)}, {measure.text(interval.high)}]"


def _difference(measure: Measure, found: PairedDifference, p: float) -> tuple[str, str, str]:
    digits = measure.decimals
    bounds = found.difference
    if math.isnan(bounds.estimate):
        return "–", "–", "–"
    if math.isnan(bounds.low):
        return f"{bounds.estimate:+.{digits}f}", _percent(found.ratio), "–"
    text = f"{bounds.estimate:+.{digits}f} \\[{bounds.low:+.{digits}f}, {bounds.high:+.{digits}f}]"
    return text, _percent(found.ratio), p_text(p)


def _percent(ratio: Interval) -> str:
    return "–" if math.isnan(ratio.estimate) else f"{ratio.estimate - 1.0:+.1%}"

"""The study in a terminal: what ran, what came out, and how arms differ from the reference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from qdpem.scenario.schema import Arm
from qdpem.study.analysis.contrasts import (
    CONTRAST_HEADINGS,
    Contrast,
    ContrastFamily,
    contrast_families,
    contrast_notes,
)
from qdpem.study.analysis.metric_formats import (
    BOUND_HEADINGS,
    BOUND_SHARES,
    DELIVERY,
    MetricFormat,
    headline_formats_of,
    metric_formats_of,
)
from qdpem.study.analysis.results import StudyResult
from qdpem.study.analysis.statistics import Interval, PairedDifference
from qdpem.study.report.findings import demand_sentence, findings
from qdpem.study.report.wording import counted, p_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_COLUMNS = 5
_UNBOUNDED = 10_000

Layout: TypeAlias = Literal["one line", "two lines", "tight", "narrow"]
"""An arm's four factors in columns, on a second line, the same with less room between, or on two."""

LAYOUTS: tuple[Layout, ...] = get_args(Layout)


def print_study(result: StudyResult, *, console: Console) -> None:
    """Print the tables, as wide as they fit, the reading in sentences, and every fault."""
    console.print(_widest(console, (results_table(result, layout=one) for one in LAYOUTS)))
    if len(result.arms) > 1:
        console.print(_widest(console, (differences_table(result, layout=one) for one in LAYOUTS)))
    for family in contrast_families(result):
        console.print(_widest(console, (contrast_table(result, family, layout=one) for one in LAYOUTS)))
        for sentence in contrast_notes(result, family):
            console.print(f"- {sentence}", style="dim", highlight=False)
    if result.scenario.demand.load_factor is not None:
        console.print(f"demand: {demand_sentence(result)}", highlight=False)
    for sentence in findings(result):
        console.print(f"- {sentence}", highlight=False)
    for fault in result.faults:
        console.print(f"failed: {fault}", style="bold red", highlight=False, markup=False, soft_wrap=True)


def _widest(console: Console, tables: Iterator[Table]) -> Table:
    """The first of the tables, which come widest first, that the console holds; else the last."""
    unbounded = console.options.update(width=_UNBOUNDED)
    for table in tables:
        if table.__rich_measure__(console, unbounded).maximum <= console.width:
            break
    return table


def results_table(result: StudyResult, *, layout: Layout = "two lines") -> Table:
    """One row per arm, best first, with all four factors; means over seeds, headlines with intervals.

    The reference is marked *. Factors stand in columns of their own, or below the arm.
    """
    count = counted(len(result.seeds), "seed")
    table = _table(
        f"{result.scenario.name}: mean of {count} [95 % interval], best first, * the reference", layout
    )
    if layout == "one line":
        for heading in ("arm", "control", "pregeneration", "forecaster", "policy"):
            table.add_column(heading, no_wrap=True)
    else:
        table.add_column(_factors_heading(layout), no_wrap=True)
    measures, headlines = metric_formats_of(result.scenario.demand)[:_COLUMNS], _headlines(result)
    fractions = result.known(BOUND_SHARES[:2])
    measures += fractions[-1:] if layout == "narrow" else fractions
    for measure in measures:
        heading = _short_heading(measure) + (f"\n({measure.unit})" if measure.unit else "")
        table.add_column(
            heading,
            justify="right",
            no_wrap=layout != "narrow",
            min_width=max(map(len, heading.split("\n"))),
            overflow="fold",
        )
    means = {measure.metric: result.means(measure.metric) for measure in measures}
    between = " " if layout == "one line" else "\n"
    for arm in result.ranked:
        cells = [
            _with_bounds(measure, means[measure.metric][arm.name], measure in headlines, between)
            for measure in measures
        ]
        table.add_row(*_arm_cells(arm, layout, mark=arm.name == result.reference), *cells)
    for name, maximum in result.maximum().items():
        cells = [
            _with_bounds(DELIVERY, maximum, True, between) if one == DELIVERY else "" for one in measures
        ]
        empty = [""] * (len(table.columns) - len(cells) - 1)
        table.add_row(f"at most{between}({BOUND_HEADINGS[name]})", *empty, *cells)
    return table


def differences_table(result: StudyResult, *, layout: Layout = "two lines") -> Table:
    """Paired differences from the reference of the headlines, with Holm's p, best arm first."""
    table = _table(f"paired difference from {result.reference} [95 % interval]", layout)
    table.add_column("arm", no_wrap=True)
    headlines = _headlines(result)
    _add_difference_columns(table, headlines, layout)
    columns = [(result.differences(m.metric), result.adjusted_p(m.metric), m) for m in headlines]
    for arm in result.ranked:
        if arm.name == result.reference:
            continue
        cells = [
            cell
            for found, p, measure in columns
            for cell in _difference(measure, found[arm.name], p[arm.name], layout)
        ]
        table.add_row(arm.name, *cells)
    return table


def contrast_table(result: StudyResult, family: ContrastFamily, *, layout: Layout = "two lines") -> Table:
    """Paired differences of the steps of a ladder: arms alike but for one setting."""
    setting = family.setting
    table = _table(f"{CONTRAST_HEADINGS[setting]}: paired difference [95 % interval]", layout)
    table.add_column(f"{setting}\nfrom arm to arm", no_wrap=True)
    headlines = _headlines(result)
    _add_difference_columns(table, headlines, layout)
    for contrast in family.contrasts:
        cells = [
            cell
            for measure in headlines
            for cell in _difference(
                measure, contrast.differences[measure.metric], contrast.p_values[measure.metric], layout
            )
        ]
        table.add_row(_contrast_cell(contrast, setting, layout), *cells)
    return table


def _add_difference_columns(table: Table, headlines: Sequence[MetricFormat], layout: Layout) -> None:
    for measure in headlines:
        heading = _short_heading(measure) if layout == "narrow" else measure.heading
        table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("Holm p", justify="right", no_wrap=True)


def _contrast_cell(contrast: Contrast, setting: str, layout: Layout) -> RenderableType:
    from rich.text import Text

    values = f"{getattr(contrast.lower, setting)} → {getattr(contrast.upper, setting)}"
    between = "\n  → " if layout == "narrow" else " → "
    return Text.assemble(
        (values, "bold"), "\n", (f"{contrast.lower.name}{between}{contrast.upper.name}", "dim")
    )


def arm_factors(arm: Arm, between: str = " · ") -> str:
    """An arm's four factors in one fixed order, with `between` in their middle.

    >>> arm_factors(Arm(name="a", policy="dpem", control="local", pregeneration="end-to-end", forecaster="gru"))
    'local · remote · gru · dpem'
    """
    return f"{arm.control} · {arm.pregeneration}{between}{arm.forecaster} · {arm.policy}"


def _headlines(result: StudyResult) -> list[MetricFormat]:
    return [measure for measure, _ in headline_formats_of(result.scenario.demand)]


def _table(title: str, layout: Layout) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(
        title=title,
        box=SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        padding=(0, 0) if layout in ("tight", "narrow") else (0, 1),
        collapse_padding=True,
    )


def _factors_heading(layout: Layout) -> str:
    if layout == "narrow":
        return "arm\ncontrol · rights\nknowledge · policy"
    return "arm\ncontrol · rights · knowledge · policy"


def _short_heading(measure: MetricFormat) -> str:
    """A heading on two lines, the longer word of "of flow bound" alone."""
    words = measure.heading.rsplit(" ", 1) if measure in BOUND_SHARES else measure.heading.split(" ", 1)
    return "\n".join(words)


def _arm_cells(arm: Arm, layout: Layout, *, mark: bool) -> list[RenderableType]:
    from rich.text import Text

    name = Text.assemble((arm.name, "bold"), " *" if mark else "")
    if layout == "one line":
        factors = (arm.control, arm.pregeneration, arm.forecaster, arm.policy)
        return [name, *(Text(str(factor), style="dim") for factor in factors)]
    between = "\n" if layout == "narrow" else " · "
    return [Text.assemble(name, "\n", (arm_factors(arm, between), "dim"))]


def _with_bounds(measure: MetricFormat, interval: Interval, bounded: bool, between: str) -> str:
    text = measure.text(interval.estimate)
    if not bounded or math.isnan(interval.low):
        return text
    return f"{text}{between}\\[{measure.text(interval.low)}, {measure.text(interval.high)}]"


def _difference(measure: MetricFormat, found: PairedDifference, p: float, layout: Layout) -> tuple[str, str]:
    """The difference, relative too, with its bounds beside or below it; and p."""
    digits, bounds, between = measure.decimals, found.difference, " " if layout == "one line" else "\n"
    if math.isnan(bounds.estimate):
        return "–", "–"
    ratio = found.ratio.estimate
    relative = "" if math.isnan(ratio) else f" ({ratio - 1.0:+.1%})"
    text = f"{bounds.estimate:+.{digits}f}{relative}"
    if not math.isnan(bounds.low):
        text += f"{between}\\[{bounds.low:+.{digits}f}, {bounds.high:+.{digits}f}]"
    return text, p_text(p)

"""A study in a terminal: the means, the differences from the reference, the contrasts and the findings."""

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
    BOUND_FRACTIONS,
    BOUND_HEADINGS,
    DELIVERY,
    MetricFormat,
    metric_formats_of,
    primary_formats_of,
)
from qdpem.study.analysis.results import StudyResult
from qdpem.study.analysis.statistics import Interval, PairedDifference
from qdpem.study.report.demand_words import demand_sentence
from qdpem.study.report.findings import MAX_SHOWN, findings
from qdpem.study.report.terms import TERMS
from qdpem.study.report.wording import arm_factors, counted, p_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_COLUMNS = 5
_UNBOUNDED = 10_000
_LEGEND_TERMS = ("control", "pregeneration", "forecaster", "policy", "interval", "Holm p")

Layout: TypeAlias = Literal["one line", "two lines", "tight", "narrow"]
"""An arm's four factors in columns, on a second line, the same with less space between columns, or on two."""

LAYOUTS: tuple[Layout, ...] = get_args(Layout)


def print_study(result: StudyResult, *, console: Console) -> None:
    """Print the tables in the widest layout that fits, the findings in sentences, and every fault."""
    console.print(
        _widest(console, (results_table(result, layout=layout) for layout in LAYOUTS)), markup=False
    )
    if len(result.arms) > 1:
        console.print(
            _widest(console, (differences_table(result, layout=layout) for layout in LAYOUTS)), markup=False
        )
    for family in contrast_families(result):
        console.print(
            _widest(console, (contrast_table(result, family, layout=layout) for layout in LAYOUTS)),
            markup=False,
        )
        for sentence in contrast_notes(result, family):
            console.print(f"- {sentence}", style="dim", highlight=False, markup=False)
    demand = result.scenario.demand
    if demand.load_factor is not None or demand.processes:
        console.print(f"demand: {demand_sentence(result)}", highlight=False, markup=False)
    _print_findings(findings(result), console)
    console.print()
    console.print(_legend(result), markup=False)
    for fault in result.faults:
        console.print(f"failed: {fault}", style="bold red", highlight=False, markup=False, soft_wrap=True)


def _print_findings(sentences: Sequence[str], console: Console) -> None:
    for sentence in sentences[:MAX_SHOWN]:
        console.print(f"- {sentence}", highlight=False, markup=False)
    if len(sentences) > MAX_SHOWN:
        console.print(
            f"- {counted(len(sentences) - MAX_SHOWN, 'further finding')} in the report", style="dim"
        )


def _legend(result: StudyResult) -> Table:
    """The meanings of the metrics and terms that the tables above use."""
    from rich.table import Table

    legend = Table.grid(padding=(0, 2))
    legend.add_column(no_wrap=True, style="dim")
    legend.add_column(style="dim")
    meanings = {metric.heading: metric.meaning for metric in _columns(result, "one line")}
    for name, meaning in (meanings | {name: TERMS[name] for name in _LEGEND_TERMS}).items():
        legend.add_row(name, meaning)
    return legend


def _widest(console: Console, tables: Iterator[Table]) -> Table:
    """The first of `tables`, which come widest first, that fits the console; the last if none does."""
    # Measured without a limit, because rich would shrink a table to the console and call that a fit.
    unbounded = console.options.update(width=_UNBOUNDED)
    for table in tables:
        if table.__rich_measure__(console, unbounded).maximum <= console.width:
            break
    return table


def results_table(result: StudyResult, *, layout: Layout = "two lines") -> Table:
    """One row per arm, best first, with its four factors and its means; primary metrics with intervals.

    The reference is marked *. The factors are in columns of their own or below the arm's name.
    """
    count = counted(len(result.seeds), "seed")
    table = _table(
        f"{result.scenario.name}: mean of {count} [95 % interval], best first, * the reference", layout
    )
    primary, metrics = primary_formats_of(result.scenario.demand), _columns(result, layout)
    _add_mean_columns(table, metrics, layout)
    means = {metric.name: result.means(metric.name) for metric in metrics}
    between = " " if layout == "one line" else "\n"
    for arm in result.ranked:
        cells = [
            _with_bounds(metric, means[metric.name][arm.name], metric in primary, between)
            for metric in metrics
        ]
        table.add_row(*_arm_cells(arm, layout, mark=_mark(result, arm.name)), *cells)
    for name, maximum in result.maximum().items():
        cells = [
            _with_bounds(DELIVERY, maximum, True, between) if metric == DELIVERY else "" for metric in metrics
        ]
        empty = [""] * (len(table.columns) - len(cells) - 1)
        table.add_row(f"at most{between}({BOUND_HEADINGS[name]})", *empty, *cells)
    return table


def _columns(result: StudyResult, layout: Layout) -> Sequence[MetricFormat]:
    """The metrics of the table of means."""
    fractions = result.known(BOUND_FRACTIONS[:2])
    first = metric_formats_of(result.scenario.demand)[:_COLUMNS]
    return first + (fractions[-1:] if layout == "narrow" else fractions)


def _add_mean_columns(table: Table, metrics: Sequence[MetricFormat], layout: Layout) -> None:
    if layout == "one line":
        for heading in ("arm", "control", "pregeneration", "forecaster", "policy"):
            table.add_column(heading, no_wrap=True)
    else:
        table.add_column(_factors_heading(layout), no_wrap=True)
    for metric in metrics:
        heading = _short_heading(metric) + (f"\n({metric.unit})" if metric.unit else "")
        table.add_column(
            heading,
            justify="right",
            no_wrap=layout != "narrow",
            min_width=max(map(len, heading.split("\n"))),
            overflow="fold",
        )


def differences_table(result: StudyResult, *, layout: Layout = "two lines") -> Table:
    """Paired differences of the primary metrics from the reference, with Holm's p, best arm first."""
    table = _table(f"paired difference from {result.reference} [95 % interval]", layout)
    table.add_column("arm", no_wrap=True)
    primary = primary_formats_of(result.scenario.demand)
    _add_difference_columns(table, primary, layout)
    columns = [
        (metric, result.differences(metric.name), result.adjusted_p(metric.name)) for metric in primary
    ]
    for arm in result.ranked:
        if arm.name == result.reference:
            continue
        cells = [
            cell
            for metric, differences, p in columns
            for cell in _difference(metric, differences[arm.name], p[arm.name], layout)
        ]
        table.add_row(result.marked(arm.name), *cells)
    return table


def contrast_table(result: StudyResult, family: ContrastFamily, *, layout: Layout = "two lines") -> Table:
    """Paired differences of arms that differ in one factor."""
    factor, primary = family.factor, primary_formats_of(result.scenario.demand)
    table = _table(f"{CONTRAST_HEADINGS[factor]}: paired difference [95 % interval]", layout)
    table.add_column(f"{factor}\nfrom arm to arm", no_wrap=True)
    _add_difference_columns(table, primary, layout)
    for contrast in family.contrasts:
        cells = [
            cell
            for metric in primary
            for cell in _difference(
                metric, contrast.differences[metric.name], contrast.p_values[metric.name], layout
            )
        ]
        table.add_row(_contrast_cell(result, contrast, factor, layout), *cells)
    return table


def _add_difference_columns(table: Table, metrics: Sequence[MetricFormat], layout: Layout) -> None:
    for metric in metrics:
        heading = _short_heading(metric) if layout == "narrow" else metric.heading
        table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("Holm p", justify="right", no_wrap=True)


def _contrast_cell(result: StudyResult, contrast: Contrast, factor: str, layout: Layout) -> RenderableType:
    from rich.text import Text

    values = f"{getattr(contrast.lower, factor)} → {getattr(contrast.upper, factor)}"
    between = "\n  → " if layout == "narrow" else " → "
    return Text.assemble(
        (values, "bold"),
        "\n",
        (f"{result.marked(contrast.lower.name)}{between}{result.marked(contrast.upper.name)}", "dim"),
    )


def _table(title: str, layout: Layout) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    return Table(
        # Text, because rich reads brackets in a string as markup.
        title=Text(title, style="bold"),
        box=SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        padding=(0, 0) if layout in ("tight", "narrow") else (0, 1),
        collapse_padding=True,
    )


def _factors_heading(layout: Layout) -> str:
    if layout == "narrow":
        return "arm\ncontrol · pregeneration\nforecaster · policy"
    return "arm\ncontrol · pregeneration · forecaster · policy"


def _short_heading(metric: MetricFormat) -> str:
    """A heading on two lines; in "of flow bound" the last word has a line of its own."""
    words = metric.heading.rsplit(" ", 1) if metric in BOUND_FRACTIONS else metric.heading.split(" ", 1)
    return "\n".join(words)


def _mark(result: StudyResult, arm: str) -> str:
    return result.marked(arm)[len(arm) :] + (" *" if arm == result.reference else "")


def _arm_cells(arm: Arm, layout: Layout, *, mark: str) -> list[RenderableType]:
    from rich.text import Text

    name = Text.assemble((arm.name, "bold"), mark)
    if layout == "one line":
        factors = (arm.control, arm.pregeneration, arm.forecaster, arm.policy)
        return [name, *(Text(str(factor), style="dim") for factor in factors)]
    between = "\n" if layout == "narrow" else " · "
    return [Text.assemble(name, "\n", (arm_factors(arm, between), "dim"))]


def _with_bounds(metric: MetricFormat, interval: Interval, bounded: bool, between: str) -> str:
    text = metric.text(interval.estimate)
    if not bounded or math.isnan(interval.low):
        return text
    return f"{text}{between}[{metric.text(interval.low)}, {metric.text(interval.high)}]"


def _difference(metric: MetricFormat, paired: PairedDifference, p: float, layout: Layout) -> tuple[str, str]:
    """The difference, also relative, with its bounds beside or below it; and p."""
    digits, mean, between = metric.decimals, paired.difference, " " if layout == "one line" else "\n"
    if math.isnan(mean.estimate):
        return "–", "–"
    ratio = paired.ratio.estimate
    relative = "" if math.isnan(ratio) else f" ({ratio - 1.0:+.1%})"
    text = f"{mean.estimate:+.{digits}f}{relative}"
    if not math.isnan(mean.low):
        text += f"{between}[{mean.low:+.{digits}f}, {mean.high:+.{digits}f}]"
    return text, p_text(p)

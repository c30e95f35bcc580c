"""A study's tables as Markdown, to paste into a page or a notebook: arms best first, then the contrasts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from qdpem.study.analysis.contrasts import CONTRAST_HEADINGS, Contrast, ContrastFamily, contrast_families
from qdpem.study.analysis.metric_formats import (
    APPLICATION_FORMATS,
    BOUND_FRACTIONS,
    BOUND_HEADINGS,
    DECISION,
    DELIVERY,
    MetricFormat,
    metric_formats_of,
    primary_formats_of,
)
from qdpem.study.analysis.results import TUNED_MARK, StudyResult
from qdpem.study.analysis.statistics import PairedDifference
from qdpem.study.report.demand_words import demand_sentence
from qdpem.study.report.wording import counted, p_text

_SECONDARY = (
    "contended_serve_claims_per_request",
    "contended_stock_claims_per_request",
    "refusals_per_request",
    "admission_delay_s_per_request",
    "delivered_fidelity",
    "messages_per_request",
)
"""Metrics that follow the primary ones where requests arrive during the run."""


def results_markdown(result: StudyResult) -> str:
    """The means of all arms, primary metrics with 95 % BCa intervals, and the contrasts with Holm's p."""
    count = counted(len(result.seeds), "seed")
    title = f"{_plain(result.scenario.name)}: mean of {count} [95 % interval], best first, \\* the reference"
    tables = [_means(result), *(_contrasts(result, family) for family in contrast_families(result))]
    told = [result.tuning_sentence] if result.tuned_arms else []
    if result.scenario.demand.processes:
        told.append(f"Demand: {_plain(demand_sentence(result))}.")
    return "\n\n".join([title, *tables, *told]) + "\n"


def _means(result: StudyResult) -> str:
    primary = primary_formats_of(result.scenario.demand)
    others = [metric for metric in metric_formats_of(result.scenario.demand) if metric not in primary]
    secondary = [metric for metric in others if metric.name in _SECONDARY] if DELIVERY in primary else others
    metrics = [*primary, *secondary, *result.known((*APPLICATION_FORMATS, *BOUND_FRACTIONS, DECISION))]
    means = {metric.name: result.means(metric.name) for metric in metrics}
    rows = []
    for arm in result.ranked:
        mark = f" {TUNED_MARK}" if arm.name in result.tuned_arms else ""
        mark += r" \*" if arm.name == result.reference else ""
        of_arm = [(metric, means[metric.name][arm.name]) for metric in metrics]
        cells = [metric.mean_text(mean, interval=metric in primary) for metric, mean in of_arm]
        rows.append(
            [f"`{arm.name}`{mark}", str(arm.control), str(arm.pregeneration), str(arm.forecaster), *cells]
        )
    for name, maximum in result.maximum().items() if DELIVERY in primary else ():
        rows.append([f"at most ({BOUND_HEADINGS[name]})", *[""] * 3, DELIVERY.mean_text(maximum)])
    return _table(
        ["arm", "control", "pregeneration", "forecaster"],
        [metric.heading_with_unit for metric in metrics],
        rows,
    )


def _contrasts(result: StudyResult, family: ContrastFamily) -> str:
    primary = primary_formats_of(result.scenario.demand)
    numbers = [heading for metric in primary for heading in (metric.heading_with_unit, "Holm p")]
    words = [family.factor, CONTRAST_HEADINGS[family.factor]]
    return _table(
        words, numbers, [_contrast(result, contrast, family.factor, primary) for contrast in family.contrasts]
    )


def _contrast(
    result: StudyResult, contrast: Contrast, factor: str, metrics: Sequence[MetricFormat]
) -> list[str]:
    def code(arm: str) -> str:
        return f"`{arm}`" + result.marked(arm)[len(arm) :]

    def cells() -> Iterator[str]:
        yield f"{getattr(contrast.lower, factor)} → {getattr(contrast.upper, factor)}"
        yield f"{code(contrast.lower.name)} → {code(contrast.upper.name)}"
        for metric in metrics:
            yield _difference(metric, contrast.differences[metric.name])
            yield p_text(contrast.p_values[metric.name])

    return list(cells())


def _table(words: Sequence[str], numbers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of `words` align left, columns of `numbers` right; short rows end with empty cells."""
    width = len(words) + len(numbers)
    rule = ["---"] * len(words) + ["---:"] * len(numbers)
    full_rows = [[*row, *[""] * (width - len(row))] for row in ([*words, *numbers], rule, *rows)]
    # A bar inside a cell would begin another one.
    lines = ([cell.replace("|", "\\|") for cell in cells] for cells in full_rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _plain(text: str) -> str:
    """Text of a user on one line, with a backslash before every sign that Markdown reads."""
    return re.sub(r"([\\`*_{}\[\]<>#|$~])", r"\\\1", " ".join(text.split()))


def _difference(metric: MetricFormat, paired: PairedDifference) -> str:
    mean = paired.difference
    bounds = "" if math.isnan(mean.low) else f" [{metric.signed(mean.low)}, {metric.signed(mean.high)}]"
    return metric.signed(mean.estimate) + bounds

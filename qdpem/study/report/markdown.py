"""A study's tables as Markdown, to paste into a page or a notebook: arms best first, then the ladders."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from qdpem.study.analysis.contrasts import CONTRAST_HEADINGS, Contrast, ContrastFamily, contrast_families
from qdpem.study.analysis.metric_formats import (
    BOUND_HEADINGS,
    BOUND_SHARES,
    DECISION,
    DELIVERY,
    MetricFormat,
    headline_formats_of,
    metric_formats_of,
)
from qdpem.study.analysis.results import StudyResult
from qdpem.study.analysis.statistics import Interval, PairedDifference
from qdpem.study.report.wording import counted, p_text

_BESIDE = (
    "contended_serve_claims_per_request",
    "contended_stock_claims_per_request",
    "refusals_per_request",
    "admission_delay_s_per_request",
    "delivered_fidelity",
    "messages_per_request",
)
"""What is told of an arm beside the measures that arms are compared by, where requests arrive."""


def results_markdown(result: StudyResult) -> str:
    """The means of all arms, headlines with 95 % BCa intervals, and each ladder with Holm's p."""
    count = counted(len(result.seeds), "seed")
    title = f"{result.scenario.name}: mean of {count} [95 % interval], best first, \\* the reference"
    tables = [_means(result), *(_contrasts(result, family) for family in contrast_families(result))]
    return "\n\n".join([title, *tables]) + "\n"


def _means(result: StudyResult) -> str:
    headlines = [measure for measure, _ in headline_formats_of(result.scenario.demand)]
    known = [one for one in metric_formats_of(result.scenario.demand) if one not in headlines]
    beside = [one for one in known if one.metric in _BESIDE] if DELIVERY in headlines else known
    measures = [*headlines, *beside, *result.known((*BOUND_SHARES, DECISION))]
    means = {one.metric: result.means(one.metric) for one in measures}
    rows = []
    for arm in result.ranked:
        mark = r" \*" if arm.name == result.reference else ""
        found = [(one, means[one.metric][arm.name]) for one in measures]
        cells = [_mean(one, mean) if one in headlines else one.text(mean.estimate) for one, mean in found]
        rows.append(
            [f"`{arm.name}`{mark}", str(arm.control), str(arm.pregeneration), str(arm.forecaster), *cells]
        )
    for name, maximum in result.maximum().items() if DELIVERY in headlines else ():
        rows.append([f"at most ({BOUND_HEADINGS[name]})", *[""] * 3, _mean(DELIVERY, maximum)])
    return _table(
        ["arm", "control", "pregeneration", "forecaster"], [_heading(one) for one in measures], rows
    )


def _contrasts(result: StudyResult, family: ContrastFamily) -> str:
    headlines = [measure for measure, _ in headline_formats_of(result.scenario.demand)]
    numbers = [heading for one in headlines for heading in (_heading(one), "Holm p")]
    words = [family.setting, CONTRAST_HEADINGS[family.setting]]
    return _table(
        words, numbers, [_contrast(contrast, family.setting, headlines) for contrast in family.contrasts]
    )


def _contrast(contrast: Contrast, setting: str, measures: Sequence[MetricFormat]) -> list[str]:
    def cells() -> Iterator[str]:
        yield f"{getattr(contrast.lower, setting)} → {getattr(contrast.upper, setting)}"
        yield f"`{contrast.lower.name}` → `{contrast.upper.name}`"
        for measure in measures:
            yield _difference(measure, contrast.differences[measure.metric])
            yield p_text(contrast.p_values[measure.metric])

    return list(cells())


def _table(words: Sequence[str], numbers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of `words` to the left, of `numbers` to the right; short rows are filled with nothing."""
    width = len(words) + len(numbers)
    rule = ["---"] * len(words) + ["---:"] * len(numbers)
    filled = [[*row, *[""] * (width - len(row))] for row in ([*words, *numbers], rule, *rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in filled)


def _heading(measure: MetricFormat) -> str:
    return f"{measure.heading}, {measure.unit}" if measure.unit else measure.heading


def _mean(measure: MetricFormat, found: Interval) -> str:
    bounds = "" if math.isnan(found.low) else f" [{measure.text(found.low)}, {measure.text(found.high)}]"
    return measure.text(found.estimate) + bounds


def _difference(measure: MetricFormat, found: PairedDifference) -> str:
    gap = found.difference
    bounds = "" if math.isnan(gap.low) else f" [{measure.signed(gap.low)}, {measure.signed(gap.high)}]"
    return measure.signed(gap.estimate) + bounds

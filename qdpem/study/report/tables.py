"""The report's tables as rows of text: one row per arm, best first, and one column per metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qdpem.scenario.schema import Arm
from qdpem.study.analysis.contrasts import (
    CONTRAST_HEADINGS,
    Contrast,
    ContrastFamily,
    contrast_families,
    contrast_notes,
)
from qdpem.study.analysis.metric_formats import (
    ADMISSION_DELAY,
    APPLICATION_FORMATS,
    BOUND_FRACTIONS,
    BOUND_HEADINGS,
    DECISION,
    DELIVERY,
    MetricFormat,
    metric_formats_of,
    primary_formats_of,
)
from qdpem.study.analysis.results import StudyResult
from qdpem.study.analysis.statistics import Interval, PairedDifference
from qdpem.study.report.comparisons import decided
from qdpem.study.report.figures.shown_arms import styles_of
from qdpem.study.report.findings import spread_sentence
from qdpem.study.report.wording import p_text

_FIRST = 5
"""The number of metrics that open the first table, and whose differences are shown arm by arm."""

_MIN_SECOND_TABLE = 3
"""With fewer further metrics than these, the first table takes them in."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number as text, the bounds below it, and whether it is printed bold."""

    text: str
    bounds: str = ""
    clear: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """The cells of one arm; `strip` draws its first primary metric, None without a mean."""

    arm: Arm
    cells: tuple[Cell, ...]
    strip: Strip | None = None


@dataclass(frozen=True, kw_only=True)
class Strip:
    """The positions of a mean and its bounds in the width of a drawing, in per cent."""

    low: float
    mean: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table of arms: the metrics of its columns, and a row per arm."""

    metric_formats: tuple[MetricFormat, ...]
    rows: tuple[Row, ...]


def report_tables(result: StudyResult) -> dict[str, Any]:
    """The numbers that the report's template needs, by the names that it uses."""
    columns = _columns(result)
    compared = metric_formats_of(result.scenario.demand)[:_FIRST]
    primary = primary_formats_of(result.scenario.demand)
    return {
        "arms": result.arms,
        "reference": result.reference,
        "seeds": result.seeds,
        "colours": {name: style.colour for name, style in styles_of(result).items()},
        "first_metric": primary[0],
        "extent": _range(primary[0], *_extent(result)),
        "results": _sheet(result, columns[""], strips=True),
        "sheets": [(title, _sheet(result, formats)) for title, formats in columns.items() if title],
        "bounds": _bound_cells(result, columns[""]),
        "differences": _differences(result, compared),
        "details": [_detail(result, metric) for metric in compared] if len(result.arms) > 1 else [],
        "contrast_families": [_family(result, family) for family in contrast_families(result)],
        "primary_metrics": primary,
        "spread_sentence": spread_sentence(result),
        "effects": [row for metric in primary for row in _effect_rows(result, metric)],
    }


def _columns(result: StudyResult) -> dict[str, tuple[MetricFormat, ...]]:
    """Title -> the metrics of each table of means; the first table has the title "".

    Two or more bounds have a table of their own. A few further metrics join the first table.
    """
    known, fractions = metric_formats_of(result.scenario.demand), result.known(BOUND_FRACTIONS)
    further = known[_FIRST:]
    first = (*known[:_FIRST], *(metric for metric in further if metric == ADMISSION_DELAY))
    second = (*(metric for metric in further if metric not in first), *result.known([DECISION]))
    tables = {"": (*first, *fractions) if len(fractions) < 2 else first}
    if len(second) < _MIN_SECOND_TABLE:
        tables[""] += second
    else:
        tables["Contention by purpose, waste, fairness and cost"] = second
    if applications := result.known(APPLICATION_FORMATS):
        tables["Figures of merit of the applications"] = applications
    if len(fractions) > 1:
        tables["Deliveries as fractions of the bounds"] = fractions
    return tables


def _sheet(result: StudyResult, metric_formats: Sequence[MetricFormat], *, strips: bool = False) -> Sheet:
    means = {metric.name: result.means(metric.name) for metric in metric_formats}
    strip = _strips(result) if strips else {}
    return Sheet(
        metric_formats=tuple(metric_formats),
        rows=tuple(
            Row(
                arm=arm,
                cells=tuple(_mean_cell(metric, means[metric.name][arm.name]) for metric in metric_formats),
                strip=strip.get(arm.name),
            )
            for arm in result.ranked
        ),
    )


def _strips(result: StudyResult) -> dict[str, Strip]:
    """Arm -> the positions of its first primary metric between the outermost bounds of all arms."""
    means = result.means(primary_formats_of(result.scenario.demand)[0].name)
    bounds = {arm: _ends(mean) for arm, mean in means.items() if math.isfinite(mean.estimate)}
    lowest, highest = _extent(result)
    width = highest - lowest
    if not width > 0.0:
        return {}

    def per_cent(value: float) -> float:
        return 100.0 * (value - lowest) / width

    return {
        arm: Strip(low=per_cent(low), mean=per_cent(means[arm].estimate), high=per_cent(high))
        for arm, (low, high) in bounds.items()
    }


def _extent(result: StudyResult) -> tuple[float, float]:
    """The outermost bounds of the first primary metric over all arms; NaN without any."""
    means = result.means(primary_formats_of(result.scenario.demand)[0].name).values()
    ends = [end for mean in means if math.isfinite(mean.estimate) for end in _ends(mean)]
    return (min(ends), max(ends)) if ends else (math.nan, math.nan)


def _ends(mean: Interval) -> tuple[float, float]:
    """The bounds of a mean, or twice the mean if it has none."""
    return (mean.low, mean.high) if math.isfinite(mean.low) else (mean.estimate, mean.estimate)


def _mean_cell(metric: MetricFormat, mean: Interval) -> Cell:
    return Cell(text=metric.text(mean.estimate), bounds=_range(metric, mean.low, mean.high))


def _range(metric: MetricFormat, low: float, high: float) -> str:
    return "" if math.isnan(low) or math.isnan(high) else f"{metric.text(low)}–{metric.text(high)}"


def _bound_cells(result: StudyResult, metric_formats: Sequence[MetricFormat]) -> list[tuple[str, list[Cell]]]:
    """A row per bound: the fraction of requests that it allows under "delivered", nothing elsewhere."""
    if DELIVERY not in metric_formats:
        return []
    return [
        (
            BOUND_HEADINGS[name],
            [
                _mean_cell(DELIVERY, maximum) if metric == DELIVERY else Cell(text="")
                for metric in metric_formats
            ],
        )
        for name, maximum in result.maximum().items()
    ]


def _differences(result: StudyResult, metric_formats: Sequence[MetricFormat]) -> Sheet:
    """The differences of every other arm from the reference; clear ones are bold."""
    by_metric = {
        metric.name: (result.differences(metric.name), result.adjusted_p(metric.name))
        for metric in metric_formats
    }

    def cell(metric: MetricFormat, arm: str) -> Cell:
        differences, adjusted = by_metric[metric.name]
        return difference_cell(metric, differences[arm], p=adjusted[arm])

    return Sheet(
        metric_formats=tuple(metric_formats),
        rows=tuple(
            Row(arm=arm, cells=tuple(cell(metric, arm.name) for metric in metric_formats))
            for arm in result.ranked
            if arm.name != result.reference
        ),
    )


def difference_cell(metric: MetricFormat, paired: PairedDifference, *, p: float) -> Cell:
    """A difference, also in per cent if its ratio exists, over its BCa interval."""
    mean, ratio = paired.difference, paired.ratio.estimate
    relative = "" if math.isnan(ratio) else f" ({100.0 * (ratio - 1.0):+.1f} %)"
    return Cell(
        text=metric.signed(mean.estimate) + relative,
        bounds="" if math.isnan(mean.low) else _between(metric, mean.low, mean.high),
        clear=decided(paired, p=p),
    )


def _between(metric: MetricFormat, low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{metric.signed(low)} … {metric.signed(high)}"


def _detail(result: StudyResult, metric: MetricFormat) -> dict[str, Any]:
    """Everything about the differences in one metric, a row per arm."""
    adjusted, differences = result.adjusted_p(metric.name), result.differences(metric.name)
    arms = [arm.name for arm in result.ranked if arm.name != result.reference]
    return {
        "metric_format": metric,
        "rows": [
            {"arm": arm, "decided": decided(differences[arm], p=adjusted[arm])}
            | _difference_texts(metric, differences[arm], p=adjusted[arm])
            for arm in arms
        ],
    }


def _difference_texts(metric: MetricFormat, paired: PairedDifference, *, p: float) -> dict[str, str]:
    ratio, low, high = paired.ratio.estimate, paired.ratio.low, paired.ratio.high
    return {
        "difference": metric.signed(paired.difference.estimate),
        "bounds": _between(metric, paired.difference.low, paired.difference.high),
        "student": _between(metric, paired.student_low, paired.student_high),
        "ratio": "–" if math.isnan(ratio) else f"{ratio:.3f}",
        "ratio_bounds": "" if math.isnan(low) else f"{low:.3f}–{high:.3f}",
        "p": p_text(p),
        "spread": _short(paired.paired_spread * metric.scale),
        "unpaired": _short(paired.unpaired_spread * metric.scale),
    }


def _family(result: StudyResult, family: ContrastFamily) -> Mapping[str, Any]:
    primary = primary_formats_of(result.scenario.demand)
    return {
        "factor": family.factor,
        "heading": CONTRAST_HEADINGS[family.factor],
        "notes": contrast_notes(result, family),
        "contrasts": [_contrast(contrast, family.factor, primary) for contrast in family.contrasts],
    }


def _contrast(contrast: Contrast, factor: str, metric_formats: Sequence[MetricFormat]) -> Mapping[str, Any]:
    return {
        "lower": contrast.lower,
        "upper": contrast.upper,
        "from": getattr(contrast.lower, factor),
        "to": getattr(contrast.upper, factor),
        "cells": [
            (difference_cell(metric, contrast.differences[metric.name], p=p), p_text(p))
            for metric in metric_formats
            for p in (contrast.p_values[metric.name],)
        ],
    }


def _effect_rows(result: StudyResult, metric: MetricFormat) -> list[dict[str, Any]]:
    return [
        {
            "heading": metric.heading,
            "factor": effect.factor,
            "squares": _short(effect.sum_squares),
            "degrees": effect.degrees,
            "f": _short(effect.f_value),
            "p": p_text(effect.p_value),
            "eta": f"{effect.partial_eta_squared:.2f}",
        }
        for effect in result.effects(metric.name)
    ]


def _short(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2g}" if abs(value) < 100.0 else f"{value:.0f}"

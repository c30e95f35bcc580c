"""The report's tables as rows of text: arms down, measures across, best arm first."""

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
from qdpem.study.report.findings import decided, spread_sentence
from qdpem.study.report.shown_arms import styles_of
from qdpem.study.report.wording import p_text

_FIRST = 5
"""So many of a scenario's measures open the first table and are compared arm by arm."""

_ALSO_FIRST = ("admission_delay_s_per_request",)
_FEWEST = 3
"""Measures below which a second table is not worth having."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number as text, its bounds below it, and whether it stands out."""

    text: str
    bounds: str = ""
    clear: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """One arm's cells. `strip` places its headline between 0 and 1 for a drawing; None without one."""

    arm: Arm
    cells: tuple[Cell, ...]
    strip: Strip | None = None


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Where low, mean and high of a headline lie in the width of its drawing, in per cent."""

    low: float
    mean: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table of arms: the measures of its columns, a row per arm."""

    measures: tuple[MetricFormat, ...]
    rows: tuple[Row, ...]


def report_tables(result: StudyResult) -> dict[str, Any]:
    """What the report's template needs of numbers."""
    columns = _columns(result)
    compared = metric_formats_of(result.scenario.demand)[:_FIRST]
    headlines = [measure for measure, _ in headline_formats_of(result.scenario.demand)]
    return {
        "arms": result.arms,
        "reference": result.reference,
        "seeds": result.seeds,
        "colours": {name: style.colour for name, style in styles_of(result).items()},
        "headline": headlines[0],
        "extent": _range(headlines[0], *_extent(result)),
        "results": _sheet(result, columns[""], strips=True),
        "sheets": [(title, _sheet(result, found)) for title, found in columns.items() if title],
        "bounds": _bound_cells(result, columns[""]),
        "differences": _differences(result, compared),
        "details": [_detail(result, measure) for measure in compared] if len(result.arms) > 1 else [],
        "ladders": [_family(result, family) for family in contrast_families(result)],
        "headlines": headlines,
        "spread_sentence": spread_sentence(result),
        "effects": [row for measure in headlines for row in _effect_rows(result, measure)],
    }


def _columns(result: StudyResult) -> dict[str, tuple[MetricFormat, ...]]:
    """Heading -> measures of each table of means; the first has no heading.

    A second bound on makes a table of bounds, and few measures more make no second table.
    """
    known, fractions = metric_formats_of(result.scenario.demand), result.known(BOUND_SHARES)
    early = [one for one in known[_FIRST:] if one.metric in _ALSO_FIRST]
    first = (*known[:_FIRST], *early)
    second = (*(one for one in known[_FIRST:] if one not in early), *result.known([DECISION]))
    found = {"": (*first, *fractions) if len(fractions) < 2 else first}
    if len(second) < _FEWEST:
        found[""] += second
    else:
        found["Where it contends, and what it costs"] = second
    if len(fractions) > 1:
        found["Deliveries as shares of what no arm can exceed"] = fractions
    return found


def _sheet(result: StudyResult, measures: Sequence[MetricFormat], *, strips: bool = False) -> Sheet:
    means = {measure.metric: result.means(measure.metric) for measure in measures}
    strip = _strips(result) if strips else {}
    return Sheet(
        measures=tuple(measures),
        rows=tuple(
            Row(
                arm=arm,
                cells=tuple(_mean_cell(one, means[one.metric][arm.name]) for one in measures),
                strip=strip.get(arm.name),
            )
            for arm in result.ranked
        ),
    )


def _strips(result: StudyResult) -> dict[str, Strip]:
    """Arm -> where its first headline lies between the lowest and the highest bound of all arms."""
    means = result.means(headline_formats_of(result.scenario.demand)[0][0].metric)
    found = {arm: _ends(mean) for arm, mean in means.items() if math.isfinite(mean.estimate)}
    lowest, highest = _extent(result)
    width = highest - lowest
    if not width > 0.0:
        return {}

    def place(value: float) -> float:
        return 100.0 * (value - lowest) / width

    return {
        arm: Strip(low=place(low), mean=place(means[arm].estimate), high=place(high))
        for arm, (low, high) in found.items()
    }


def _extent(result: StudyResult) -> tuple[float, float]:
    """Lowest and highest bound of the first headline over all arms; NaN without any."""
    means = result.means(headline_formats_of(result.scenario.demand)[0][0].metric).values()
    ends = [end for mean in means if math.isfinite(mean.estimate) for end in _ends(mean)]
    return (min(ends), max(ends)) if ends else (math.nan, math.nan)


def _ends(mean: Interval) -> tuple[float, float]:
    """The bounds of a mean, or itself where it has none."""
    return (mean.low, mean.high) if math.isfinite(mean.low) else (mean.estimate, mean.estimate)


def _mean_cell(measure: MetricFormat, mean: Interval) -> Cell:
    return Cell(text=measure.text(mean.estimate), bounds=_range(measure, mean.low, mean.high))


def _range(measure: MetricFormat, low: float, high: float) -> str:
    return "" if math.isnan(low) or math.isnan(high) else f"{measure.text(low)}–{measure.text(high)}"


def _bound_cells(result: StudyResult, measures: Sequence[MetricFormat]) -> list[tuple[str, list[Cell]]]:
    """A row per bound: its share of requests under "delivered", nothing elsewhere."""
    if DELIVERY not in measures:
        return []
    return [
        (
            BOUND_HEADINGS[name],
            [_mean_cell(DELIVERY, maximum) if one == DELIVERY else Cell(text="") for one in measures],
        )
        for name, maximum in result.maximum().items()
    ]


def _differences(result: StudyResult, measures: Sequence[MetricFormat]) -> Sheet:
    """Arm by arm the differences from the reference in `measures`; those that are clear stand out."""
    found = {one.metric: (result.differences(one.metric), result.adjusted_p(one.metric)) for one in measures}

    def cell(measure: MetricFormat, arm: str) -> Cell:
        differences, adjusted = found[measure.metric]
        return difference_cell(measure, differences[arm], p=adjusted[arm])

    return Sheet(
        measures=tuple(measures),
        rows=tuple(
            Row(arm=arm, cells=tuple(cell(one, arm.name) for one in measures))
            for arm in result.ranked
            if arm.name != result.reference
        ),
    )


def difference_cell(measure: MetricFormat, found: PairedDifference, *, p: float) -> Cell:
    """A difference, in per cent too where that means something, over its BCa interval."""
    gap, ratio = found.difference, found.ratio.estimate
    relative = "" if math.isnan(ratio) else f" ({100.0 * (ratio - 1.0):+.1f} %)"
    return Cell(
        text=measure.signed(gap.estimate) + relative,
        bounds="" if math.isnan(gap.low) else _between(measure, gap.low, gap.high),
        clear=decided(found, p=p),
    )


def _between(measure: MetricFormat, low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{measure.signed(low)} … {measure.signed(high)}"


def _detail(result: StudyResult, measure: MetricFormat) -> dict[str, Any]:
    """All that is known of the differences in one measure, a row per arm."""
    adjusted, differences = result.adjusted_p(measure.metric), result.differences(measure.metric)
    arms = [arm.name for arm in result.ranked if arm.name != result.reference]
    return {
        "measure": measure,
        "rows": [
            {"arm": arm, "decided": decided(differences[arm], p=adjusted[arm])}
            | _difference_texts(measure, differences[arm], p=adjusted[arm])
            for arm in arms
        ],
    }


def _difference_texts(measure: MetricFormat, found: PairedDifference, *, p: float) -> dict[str, str]:
    ratio, low, high = found.ratio.estimate, found.ratio.low, found.ratio.high
    return {
        "difference": measure.signed(found.difference.estimate),
        "bounds": _between(measure, found.difference.low, found.difference.high),
        "student": _between(measure, found.student_low, found.student_high),
        "ratio": "–" if math.isnan(ratio) else f"{ratio:.3f}",
        "ratio_bounds": "" if math.isnan(low) else f"{low:.3f}–{high:.3f}",
        "p": p_text(p),
        "spread": _short(found.paired_spread * measure.scale),
        "unpaired": _short(found.unpaired_spread * measure.scale),
    }


def _family(result: StudyResult, family: ContrastFamily) -> Mapping[str, Any]:
    measures = [measure for measure, _ in headline_formats_of(result.scenario.demand)]
    return {
        "setting": family.setting,
        "heading": CONTRAST_HEADINGS[family.setting],
        "notes": contrast_notes(result, family),
        "steps": [_contrast(contrast, family.setting, measures) for contrast in family.contrasts],
    }


def _contrast(contrast: Contrast, setting: str, measures: Sequence[MetricFormat]) -> Mapping[str, Any]:
    return {
        "lower": contrast.lower,
        "upper": contrast.upper,
        "from": getattr(contrast.lower, setting),
        "to": getattr(contrast.upper, setting),
        "cells": [
            (
                difference_cell(one, contrast.differences[one.metric], p=contrast.p_values[one.metric]),
                p_text(contrast.p_values[one.metric]),
            )
            for one in measures
        ],
    }


def _effect_rows(result: StudyResult, measure: MetricFormat) -> list[dict[str, Any]]:
    return [
        {
            "heading": measure.heading,
            "factor": effect.factor,
            "squares": _short(effect.sum_squares),
            "degrees": effect.degrees,
            "f": _short(effect.f_value),
            "p": p_text(effect.p_value),
            "eta": f"{effect.partial_eta_squared:.2f}",
        }
        for effect in result.effects(measure.metric)
    ]


def _short(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2g}" if abs(value) < 100.0 else f"{value:.0f}"

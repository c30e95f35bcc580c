"""A study's comparison as a file that others can read: one line per arm and measure."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path

from qdpem.scenario.schema import Arm
from qdpem.study.analysis.metric_formats import BOUND_SHARES, DECISION, MetricFormat, metric_formats_of
from qdpem.study.analysis.results import StudyResult
from qdpem.study.analysis.statistics import Interval, PairedDifference

COLUMNS = (
    "arm",
    "policy",
    "control",
    "pregeneration",
    "forecaster",
    "parameters",
    "measure",
    "better",
    "mean",
    "low",
    "high",
    "seeds",
    "reference",
    "difference",
    "difference_low",
    "difference_high",
    "holm_p",
)


def results_csv(result: StudyResult) -> str:
    """Every measure of the report, arm by arm, in the units its name ends with; what is unknown is empty.

    `low` and `high`: 95 % BCa interval of the mean. `difference`: from the reference, seed by seed, with
    Student's paired 95 % interval, as in a grid's summary.csv. Measures of wall time have no difference.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(result))
    return text.getvalue()


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all, and the folder it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _rows(result: StudyResult) -> Iterator[list[object]]:
    measures = (*metric_formats_of(result.scenario.demand), *result.known((*BOUND_SHARES, DECISION)))
    means = {one.metric: result.means(one.metric) for one in measures}
    compared = [one.metric for one in measures if one != DECISION]
    gaps = {metric: result.differences(metric) for metric in compared}
    adjusted = {metric: result.adjusted_p(metric) for metric in compared}
    for arm in result.arms:
        for measure in measures:
            gap = gaps.get(measure.metric, {}).get(arm.name)
            p = adjusted.get(measure.metric, {}).get(arm.name, math.nan)
            yield [
                *_settings(arm),
                *_mean(measure, means[measure.metric][arm.name]),
                result.reference,
                *_gap(gap),
                _number(p),
            ]


def _settings(arm: Arm) -> list[object]:
    parameters = json.dumps(arm.parameters, sort_keys=True)
    return [arm.name, arm.policy, arm.control, arm.pregeneration, arm.forecaster, parameters]


def _mean(measure: MetricFormat, found: Interval) -> list[object]:
    bounds = [_number(value) for value in (found.estimate, found.low, found.high)]
    return [measure.metric, measure.better, *bounds, found.seeds]


def _gap(found: PairedDifference | None) -> list[object]:
    if found is None:
        return ["", "", ""]
    return [_number(value) for value in (found.difference.estimate, found.student_low, found.student_high)]


def _number(value: float) -> object:
    return "" if math.isnan(value) else value

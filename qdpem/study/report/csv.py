"""A study's comparison as a CSV file: one line per arm and metric."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

from qdpem.scenario.schema import Arm
from qdpem.strict_json import json_text
from qdpem.study.analysis.metric_formats import (
    APPLICATION_FORMATS,
    BOUND_FRACTIONS,
    DECISION,
    MetricFormat,
    metric_formats_of,
)
from qdpem.study.analysis.results import StudyResult
from qdpem.study.analysis.statistics import Interval, PairedDifference

COLUMNS = (
    "arm",
    "policy",
    "control",
    "pregeneration",
    "forecaster",
    "parameters",
    "metric",
    "better",
    "mean",
    "low",
    "high",
    "seeds",
    "tuned_on",
    "reference",
    "difference",
    "difference_low",
    "difference_high",
    "holm_p",
)


def results_csv(result: StudyResult) -> str:
    """Every metric of the report, arm by arm, in the unit that its name ends with; unknown values are empty.

    `low` and `high` are the 95 % BCa interval of the mean. `difference` is the paired difference from the
    reference with Student's 95 % interval, as in a sweep's summary.csv. Wall times have no difference.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(result))
    return text.getvalue()


def write_text_file(path: Path, text: str) -> None:
    """Write a text file as `write_file` does."""
    write_file(path, text.encode())


def write_file(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all; its directory is created if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(data)
    # A rename is atomic: readers see the old file or the whole new one.
    unfinished.replace(path)


def _rows(result: StudyResult) -> Iterator[list[object]]:
    metrics = (
        *metric_formats_of(result.scenario.demand),
        *result.known((*APPLICATION_FORMATS, *BOUND_FRACTIONS, DECISION)),
    )
    means = {metric.name: result.means(metric.name) for metric in metrics}
    compared = [metric.name for metric in metrics if metric != DECISION]
    differences = {name: result.differences(name) for name in compared}
    adjusted = {name: result.adjusted_p(name) for name in compared}
    for arm in result.arms:
        for metric in metrics:
            yield [
                *_settings(arm),
                *_mean(metric, means[metric.name][arm.name]),
                # Seeds of this comparison that tuned or chose the arm.
                " ".join(map(str, result.tuned_arms.get(arm.name, ()))),
                result.reference,
                *_difference(differences.get(metric.name, {}).get(arm.name)),
                _number(adjusted.get(metric.name, {}).get(arm.name, math.nan)),
            ]


def _settings(arm: Arm) -> list[object]:
    parameters = json_text(arm.parameters)
    return [arm.name, arm.policy, arm.control, arm.pregeneration, arm.forecaster, parameters]


def _mean(metric: MetricFormat, mean: Interval) -> list[object]:
    numbers = [_number(value) for value in (mean.estimate, mean.low, mean.high)]
    return [metric.name, metric.better, *numbers, mean.seeds]


def _difference(paired: PairedDifference | None) -> list[object]:
    if paired is None:
        return ["", "", ""]
    return [_number(value) for value in (paired.difference.estimate, paired.student_low, paired.student_high)]


def _number(value: float) -> object:
    return "" if math.isnan(value) else value

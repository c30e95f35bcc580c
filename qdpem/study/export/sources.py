"""The tables of a record, of a study and of a sweep, with their provenance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qdpem.events.tables import TABLES, TEXT, Column, Table
from qdpem.metrics.definitions import METRICS
from qdpem.provenance import provenance
from qdpem.records.reader import Record, open_record
from qdpem.study.analysis.metric_formats import (
    APPLICATION_FORMATS,
    BOUND_FRACTIONS,
    DECISION,
    MetricFormat,
    metric_formats_of,
)
from qdpem.study.analysis.results import UNITS, StudyResult
from qdpem.study.export.exported_table import Block, ExportedTable
from qdpem.study.sweep import SweepResult, axis_values

Source: TypeAlias = Record | StudyResult | SweepResult

METRICS_TABLE = "metrics"
RESULTS_TABLE = "results"
_RECORD_METRICS = (
    Column("metric", TEXT, "", "name of the metric"),
    Column("value", "float64", "", "value of the metric, in its unit"),
    Column("unit", TEXT, "", "unit of the value; empty for a pure number"),
)
_VERSIONS = ("qdpem_version", "commit", "code", "python", "platform")
_MEANINGS = {metric.name: metric.meaning for metric in METRICS} | {
    each.name: each.meaning for each in (*BOUND_FRACTIONS, DECISION)
}


def tables_of(source: Source) -> dict[str, Callable[[], ExportedTable]]:
    """The tables of a source by name, in the order of a record, each to be made by a call.

    Those of a study have the columns `arm` and `seed` first, and those of a sweep the values of its axes
    before them. Its `metrics` have a row for each arm and seed, and `results` the means of the arms.
    """
    if isinstance(source, Record):
        return _of_record(source)
    runs = _runs(source)
    tables: dict[str, Callable[[], ExportedTable]] = {
        table.name: partial(_of_runs, runs, table) for table in TABLES if runs.columns_of(table.name)
    }
    tables[METRICS_TABLE] = partial(_metrics, source, runs)
    tables[RESULTS_TABLE] = partial(_results, source, runs)
    return tables


def _of_record(record: Record) -> dict[str, Callable[[], ExportedTable]]:
    tables: dict[str, Callable[[], ExportedTable]] = {
        table.name: partial(_table_of_record, record, table)
        for table in TABLES
        if table.name in record.tables
    }
    if record.metrics:
        tables[METRICS_TABLE] = partial(_metrics_of_record, record)
    return tables


def _table_of_record(record: Record, table: Table) -> ExportedTable:
    columns = record.tables[table.name]
    return ExportedTable(
        name=table.name,
        columns=tuple(column for column in table.columns if column.name in columns),
        blocks=partial(_single, columns),
        facts=_record_facts(record),
    )


def _metrics_of_record(record: Record) -> ExportedTable:
    names = list(record.metrics)
    block = {
        "metric": np.array(names),
        "value": np.array(list(record.metrics.values())),
        "unit": np.array([UNITS.get(name, "") for name in names]),
    }
    return ExportedTable(
        name=METRICS_TABLE,
        columns=_RECORD_METRICS,
        blocks=partial(_single, block),
        facts=_record_facts(record),
    )


def _single(block: Block) -> Iterator[Block]:
    yield block


def _record_facts(record: Record) -> dict[str, str]:
    """What a file says of one run."""
    arm = record.arm
    return {
        "record": str(record.path),
        "scenario": record.scenario.name,
        "scenario_hash": record.scenario_hash,
        "arm": arm.name,
        "policy": arm.policy,
        "control": str(arm.control or ""),
        "pregeneration": str(arm.pregeneration or ""),
        "forecaster": arm.forecaster or "",
        "seed": str(record.seed),
        **{key: str(record.provenance.get(key, "")) for key in (*_VERSIONS, "date")},
        "exported_by": f"qdpem {provenance()['qdpem_version']}",
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class _Runs:
    """The finished runs of a study or sweep: the record of each, and the values of its key columns.

    `layouts`: for each record, table -> columns.
    """

    keys: tuple[Column, ...]
    paths: tuple[Path, ...]
    values: Mapping[str, NDArray[Any]]
    facts: Mapping[str, str]
    layouts: tuple[Mapping[str, frozenset[str]], ...]

    def columns_of(self, table: str) -> frozenset[str]:
        """The columns of a table that all records have; none if one of them lacks the table."""
        found = [layout.get(table, frozenset()) for layout in self.layouts]
        return frozenset.intersection(*found) if found else frozenset()


def _of_runs(runs: _Runs, table: Table) -> ExportedTable:
    present = runs.columns_of(table.name)
    return ExportedTable(
        name=table.name,
        columns=(*runs.keys, *(column for column in table.columns if column.name in present)),
        blocks=partial(_rows, runs, table.name),
        facts=runs.facts,
    )


def _rows(runs: _Runs, table: str) -> Iterator[Block]:
    for place, path in enumerate(runs.paths):
        columns = open_record(path, verify=False).tables[table]
        count = len(next(iter(columns.values())))
        yield {
            name: np.repeat(values[place : place + 1], count) for name, values in runs.values.items()
        } | dict(columns)


def _cells(source: StudyResult | SweepResult) -> list[tuple[Mapping[str, str], StudyResult]]:
    """Each finished study with the words of its axes."""
    if isinstance(source, StudyResult):
        return [({}, source)]
    return [(cell.words, result) for cell, result in source.cells if result is not None]


def _runs(source: StudyResult | SweepResult) -> _Runs:
    cells = _cells(source)
    finished = [
        (words, outcome)
        for words, result in cells
        for outcome in result.outcomes
        if outcome.metrics is not None
    ]
    arms = tuple(dict.fromkeys(arm.name for _, result in cells for arm in result.arms))
    keys, values = _axis_columns([words for words, _ in finished])
    keys += [
        Column("arm", "int32", "", "arm of the run", arms),
        Column("seed", "int64", "", "root seed of the run"),
    ]
    values["arm"] = np.array([arms.index(outcome.arm) for _, outcome in finished], dtype=np.int32)
    values["seed"] = np.array([outcome.seed for _, outcome in finished], dtype=np.int64)
    paths = tuple(outcome.path for _, outcome in finished)
    # Opened once here and again for its rows: an open record would keep every column that was read.
    records = [open_record(path, verify=False) for path in paths]
    return _Runs(
        keys=tuple(keys),
        paths=paths,
        values=values,
        facts=_study_facts(source, records),
        layouts=tuple(
            {name: frozenset(columns) for name, columns in record.tables.items()} for record in records
        ),
    )


def _axis_columns(words: Sequence[Mapping[str, str]]) -> tuple[list[Column], dict[str, NDArray[Any]]]:
    """A column for each axis of a sweep, with a value for each run: numbers, or words and their codes."""
    keys: list[Column] = []
    values: dict[str, NDArray[Any]] = {}
    for axis in words[0] if words else ():
        meaning = "value of this axis of the sweep"
        of_axis = axis_values([each[axis] for each in words])
        if all(isinstance(value, float) for value in of_axis):
            keys.append(Column(axis, "float64", "", meaning))
            values[axis] = np.array(of_axis, dtype=np.float64)
        else:
            named = tuple(dict.fromkeys(map(str, of_axis)))
            keys.append(Column(axis, "int32", "", meaning, named))
            values[axis] = np.array([named.index(str(value)) for value in of_axis], dtype=np.int32)
    return keys, values


def _study_facts(source: StudyResult | SweepResult, records: Sequence[Record]) -> dict[str, str]:
    """What a file says of a study: its scenario, and all versions that made its records."""
    result = _cells(source)[0][1]
    made = [record.provenance for record in records]
    versions = {key: ", ".join(sorted({str(each.get(key, "")) for each in made} - {""})) for key in _VERSIONS}
    dates = sorted(str(each.get("date", "")) for each in made)
    hashes = sorted({record.scenario_hash for record in records})
    return {
        "scenario": source.name if isinstance(source, SweepResult) else source.scenario.name,
        "scenario_hash": ", ".join(hashes),
        "reference": result.reference,
        "records": str(len(records)),
        **versions,
        "date": " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "",
        "exported_by": f"qdpem {provenance()['qdpem_version']}",
    }


def _metrics(source: StudyResult | SweepResult, runs: _Runs) -> ExportedTable:
    """A row for each run and a column for each metric."""
    metrics = [
        dict(outcome.metrics)
        for _, result in _cells(source)
        for outcome in result.outcomes
        if outcome.metrics is not None
    ]
    names = dict.fromkeys(name for each in metrics for name in each)
    columns = tuple(Column(name, "float64", UNITS.get(name, ""), _MEANINGS.get(name, "")) for name in names)
    values = {name: np.array([each.get(name, np.nan) for each in metrics]) for name in names}
    return ExportedTable(
        name=METRICS_TABLE,
        columns=(*runs.keys, *columns),
        blocks=partial(_single, {**runs.values, **values}),
        facts=runs.facts,
    )


def _results(source: StudyResult | SweepResult, runs: _Runs) -> ExportedTable:
    """A row for each arm: the mean over seeds of the metrics that reports show, each with its interval."""
    cells = _cells(source)
    rows = [(words, result, arm) for words, result in cells for arm in result.ranked]
    keys, values = _axis_columns([words for words, _, _ in rows])
    arms = next(column for column in runs.keys if column.name == "arm")
    columns = [*keys, arms, Column("seeds", "int32", "", "number of seeds")]
    values["arm"] = np.array([arms.words.index(arm.name) for _, _, arm in rows], dtype=np.int32)
    values["seeds"] = np.array([len(result.seeds) for _, result, _ in rows], dtype=np.int32)
    for metric in shown_metrics(cells[0][1]):
        unit = UNITS.get(metric.name, "")
        means = [result.means(metric.name)[arm.name] for _, result, arm in rows]
        for ending, meaning, numbers in (
            ("", f"{metric.meaning}; mean over seeds", [mean.estimate for mean in means]),
            ("_low", "lower end of its 95 % interval (BCa)", [mean.low for mean in means]),
            ("_high", "upper end of its 95 % interval (BCa)", [mean.high for mean in means]),
        ):
            columns.append(Column(metric.name + ending, "float64", unit, meaning))
            values[metric.name + ending] = np.array(numbers, dtype=np.float64)
    return ExportedTable(
        name=RESULTS_TABLE, columns=tuple(columns), blocks=partial(_single, values), facts=runs.facts
    )


def shown_metrics(result: StudyResult) -> tuple[MetricFormat, ...]:
    """The metrics that reports show of a study."""
    return (
        *metric_formats_of(result.scenario.demand),
        *result.known((*APPLICATION_FORMATS, *BOUND_FRACTIONS, DECISION)),
    )

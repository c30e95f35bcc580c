"""Rows of the event tables are made by the names of their columns."""

from __future__ import annotations

import pytest

from qdpem.events.recorder import MemoryRecorder, named_row
from qdpem.events.tables import TABLES, TEXT, Table
from qdpem.scenario.words import RecordLevel


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_values_reach_the_columns_they_are_named_for_in_any_order(table: Table) -> None:
    values = {
        column.name: f"text {place}" if column.dtype == TEXT else place % 2
        for place, column in enumerate(table.columns)
    }
    recorder = MemoryRecorder(RecordLevel.FULL)
    recorder.appender(table)(named_row(table)(**dict(reversed(values.items()))))
    columns = recorder.tables()[table.name]
    assert {name: column.tolist() for name, column in columns.items()} == {
        name: [value] for name, value in values.items()
    }


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_missing_an_unknown_and_an_unnamed_value_are_refused(table: Table) -> None:
    make, values = named_row(table), dict.fromkeys(table.names, 0)
    for wrong in ({**values, "no_column": 0}, dict(list(values.items())[1:])):
        with pytest.raises(TypeError):
            make(**wrong)
    with pytest.raises(TypeError):
        make(*values.values())


def test_the_level_of_a_recorder_may_be_a_word() -> None:
    assert set(MemoryRecorder("full").tables()) == set(MemoryRecorder(RecordLevel.FULL).tables())
    assert "claims" not in MemoryRecorder("requests").tables()
    with pytest.raises(ValueError, match="'all'"):
        MemoryRecorder("all")

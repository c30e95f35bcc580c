"""Columns and tables of events, and the kinds of columns that there are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qdpem.scenario.words import RecordLevel

TEXT = "str"
"""The type of a column of text: as wide as its longest value in memory, UTF-8 of any length in a record."""


@dataclass(frozen=True)
class Column:
    """One column: its numpy type, unit ("" for a pure number) and meaning, and the words of its codes."""

    name: str
    dtype: str
    unit: str
    meaning: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table, and the lowest record level that keeps it."""

    name: str
    columns: tuple[Column, ...]
    level: RecordLevel = RecordLevel.EVENTS

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in the order of a row."""
        return tuple(column.name for column in self.columns)


def id_column(name: str, meaning: str) -> Column:
    return Column(name, "int64", "", meaning)


def node_column(name: str, meaning: str) -> Column:
    return Column(name, "int32", "", meaning)


def time_column(name: str, meaning: str) -> Column:
    return Column(name, "float64", "s", meaning)


def real_column(name: str, meaning: str, unit: str = "") -> Column:
    return Column(name, "float64", unit, meaning)


def count_column(name: str, meaning: str) -> Column:
    return Column(name, "int32", "", meaning)


def code_column(name: str, words: Iterable[str], meaning: str) -> Column:
    # The position of a word is its code, so the order of words is part of the layout of a record.
    return Column(name, "int8", "", meaning, tuple(map(str, words)))

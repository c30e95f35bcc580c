"""The tables of a record, column by column, and its metrics."""

from __future__ import annotations

from generator.markdown import code, table
from qdpem.events.tables import TABLES, Column
from qdpem.metrics.definitions import METRICS


def record_tables() -> str:
    """A section for each table."""
    return "\n\n".join(
        f"### `/{each.name}`\n\nKept from level `{each.level}`.\n\n"
        + table(("column", "type", "unit", "meaning"), map(_row, each.columns))
        for each in TABLES
    )


def metric_table() -> str:
    """A row for each metric."""
    rows = [(code(each.name), each.unit, each.better, each.meaning) for each in METRICS]
    return table(("metric", "unit", "better", "meaning"), rows)


def _row(column: Column) -> tuple[str, str, str, str]:
    words = "".join(f"; {code(index)} {word}" for index, word in enumerate(column.words))
    return code(column.name), code(column.dtype), column.unit, column.meaning + words

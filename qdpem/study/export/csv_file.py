"""A table as a CSV file: provenance and units in lines that begin with #, then heads, then rows."""

from __future__ import annotations

import csv
from pathlib import Path

from qdpem.study.export.exported_table import ExportedTable, words_of

_BLOCK_ROWS = 65536


def write_csv(path: Path, table: ExportedTable) -> None:
    """Write one table; floats keep every bit.

    Text is in quotes, so that readers who skip what follows a # do not cut off a name with a # in it.
    """
    # The csv module writes line ends itself. Blocks keep the Python objects of a long table out of memory.
    with path.open("w", newline="", encoding="utf-8") as file:
        file.writelines(f"# {line}\n" for line in comment_lines(table))
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(column.name for column in table.columns)
        for block in table.blocks():
            rows = len(block[table.columns[0].name])
            for first in range(0, rows, _BLOCK_ROWS):
                part = (
                    words_of(column, block[column.name][first : first + _BLOCK_ROWS])
                    for column in table.columns
                )
                writer.writerows(zip(*part, strict=True))


def comment_lines(table: ExportedTable) -> list[str]:
    """The provenance of a table, and unit and meaning of each column, as lines of text."""
    lines = [f"table: {table.name}"]
    lines += [f"{key}: {' '.join(value.split())}" for key, value in table.facts.items() if value]
    for column in table.columns:
        unit = f", in {column.unit}" if column.unit else ""
        lines.append(f"column {column.name}{unit}: {column.meaning}")
    return lines

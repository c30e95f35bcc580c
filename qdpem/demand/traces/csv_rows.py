"""Rows of CSV text with their numbers: what every CSV file of this room shares."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from qdpem.demand.traces.file_content import shown_value
from qdpem.errors import QdpemError


@dataclass(frozen=True)
class CsvTable:
    """The header of a CSV file, its comments, and its rows.

    `comments`: key -> text of lines `# key: text` before the header. `rows` yields the number of each row,
    counted from 1 as an editor shows it, and its cells, as many as the header has.
    """

    name: str
    header: tuple[str, ...]
    comments: Mapping[str, str]
    rows: Iterator[tuple[int, list[str]]]


def csv_table(text: str, name: str) -> CsvTable:
    """The table in CSV `text`.

    Raises QdpemError for text without a header, for a repeated or empty column name and, while the rows are
    read, for one with more or fewer cells than the header. Empty rows are skipped.
    """
    comments, skipped, rest = _comments(text)
    reader = csv.reader(io.StringIO(rest, newline=""))
    header: list[str] = []
    while not header:
        header = [cell.strip() for cell in _next(reader, name, skipped)]
    row = skipped + reader.line_num
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise QdpemError(f"{name}, row {row} is {shown_value(header[0])}; should be separated by commas")
    column_of: dict[str, int] = {}
    for column, label in enumerate(header):
        if not label:
            raise QdpemError(f"{name}, row {row}, column {column + 1} has no name; should have one")
        if (first := column_of.setdefault(label, column)) < column:
            raise QdpemError(
                f"{name}, row {row}, column {column + 1} is {label!r}, as is column {first + 1}; each name"
                " should be there once"
            )
    return CsvTable(name, tuple(header), comments, _rows(reader, name, skipped, len(header)))


def _comments(text: str) -> tuple[dict[str, str], int, str]:
    """What lines with # before the header say, their number, and the text after them."""
    comments: dict[str, str] = {}
    count = start = 0
    while text.startswith("#", start):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        key, _, value = text[start + 1 : end].partition(":")
        comments[key.strip()] = value.strip()
        count, start = count + 1, end + 1
    return comments, count, text[start:]


def _next(reader: Iterator[list[str]], name: str, skipped: int) -> list[str]:
    try:
        return next(reader)
    except StopIteration as error:
        raise QdpemError(f"{name} has no header; should have one in row {skipped + 1}") from error
    except csv.Error as error:
        raise QdpemError(f"{name} is no CSV file: {error}") from error


def _rows(
    reader: Iterator[list[str]], name: str, skipped: int, width: int
) -> Iterator[tuple[int, list[str]]]:
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise QdpemError(f"{name} is no CSV file: {error}") from error
        if not cells:
            continue
        row = skipped + getattr(reader, "line_num", 0)
        if len(cells) != width:
            raise QdpemError(
                f"{name}, row {row} has {len(cells)} columns; should have {width}, as the header"
            )
        yield row, cells


def parse_numbers(cells: Sequence[str], labels: Sequence[str], place: str) -> list[float]:
    """The numbers of a row's cells but the first, NaN for an empty cell or "nan".

    `labels` are those of the columns, `place` says where the row stands. Raises QdpemError for the first cell
    that is no number, or is infinite or below 0.
    """
    cells = cells[1:]
    try:
        numbers = list(map(float, cells))
        # An underscore inside a number is Python's, and no file's.
        wrong = any("_" in cell for cell in cells)
    except ValueError:
        wrong = True
    if not wrong and min(numbers, default=0.0) >= 0.0 and max(numbers, default=0.0) < math.inf:
        return numbers
    # Also for "nan" in the first cell, which is neither: such a row is read cell by cell.
    return [_number(cell, column, labels, place) for column, cell in enumerate(cells)]


def _number(cell: str, column: int, labels: Sequence[str], place: str) -> float:
    if not cell.strip() or cell.strip().lower() == "nan":
        return math.nan
    try:
        number = -1.0 if "_" in cell else float(cell)
    except ValueError:
        number = -1.0
    if not 0.0 <= number < math.inf:
        raise QdpemError(
            f"{place}, column {column + 2} ({labels[column]}) is {shown_value(cell)}; should be a number,"
            " 0 or more, with a point for decimals"
        )
    return number

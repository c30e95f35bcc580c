"""Pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; columns that are empty throughout are left out."""
    kept = [list(map(_cell, row)) for row in rows]
    columns = [index for index in range(len(head)) if any(row[index] for row in kept)]
    lines = [[head[index] for index in columns], ["---"] * len(columns)]
    lines += [[row[index] for index in columns] for row in kept]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def code(value: object) -> str:
    """As code."""
    return f"`{value}`"


def paragraph(docstring: str) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join(docstring.strip().split("\n\n")[0].split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")

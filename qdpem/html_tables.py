"""Tables in HTML, as notebooks show values: `_repr_html_` of scenarios, records and results."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def html_table(heads: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = "") -> str:
    """A table with one line of heads; every text is escaped.

    >>> html_table(["a"], [["<b>"]])
    '<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_details(summary: str, content: str) -> str:
    """HTML that is folded away below a line of text."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def html_heading(text: str, note: str = "") -> str:
    """A line in bold with a note behind it."""
    return f"<p><b>{escape(text)}</b>{f' {escape(note)}' if note else ''}</p>"

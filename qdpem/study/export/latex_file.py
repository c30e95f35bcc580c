"""A table as LaTeX, in the style of the package booktabs, to be included in a document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from qdpem.errors import QdpemError
from qdpem.study.analysis.results import TUNED_MARK, StudyResult
from qdpem.study.export.csv_file import comment_lines
from qdpem.study.export.exported_table import ExportedTable, words_of
from qdpem.study.report.csv import write_text_file

MAX_ROWS = 1000
"""A longer table is no table for readers."""

_MAX_METRICS = 5
_SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "†": r"\textdagger{}", "–": "--", "±": r"$\pm$",
}  # fmt: skip


def write_latex(path: Path, table: ExportedTable) -> None:
    """Write one table: heads with units, numbers with four digits, provenance as comments.

    Raises QdpemError for a table of more than MAX_ROWS rows.
    """
    rows: list[list[str]] = []
    for block in table.blocks():
        columns = [
            [_cell(value) for value in words_of(column, block[column.name])] for column in table.columns
        ]
        rows += [list(row) for row in zip(*columns, strict=True)]
        if len(rows) > MAX_ROWS:
            raise QdpemError(
                f"the table {table.name} has more than {MAX_ROWS} rows, too many for LaTeX; choose other"
                " tables with --table, or another format"
            )
    heads = [f"{column.name} ({column.unit})" if column.unit else column.name for column in table.columns]
    numbers = [not (column.words or column.dtype == "str") for column in table.columns]
    write_text_file(path, _document(comment_lines(table), heads, rows, numbers))


def write_results_latex(path: Path, table: ExportedTable, result: StudyResult) -> None:
    """Write the means of a study's arms as its report shows them: best first, primary metrics with intervals.

    `table` gives the provenance.
    """
    from qdpem.study.analysis.metric_formats import metric_formats_of, primary_formats_of

    metric_formats = metric_formats_of(result.scenario.demand)[:_MAX_METRICS]
    primary = primary_formats_of(result.scenario.demand)
    rows = []
    for arm in result.ranked:
        means = [(each, result.means(each.name)[arm.name]) for each in metric_formats]
        mark = f" {TUNED_MARK}" * (arm.name in result.tuned_arms) + " *" * (arm.name == result.reference)
        rows.append(
            [arm.name + mark, *(each.mean_text(mean, interval=each in primary) for each, mean in means)]
        )
    comments = [
        *(line for line in comment_lines(table) if not line.startswith("column ")),
        f"means of {len(result.seeds)} seeds with 95 % BCa intervals, best first, * the reference",
    ]
    heads = ["arm", *(each.heading_with_unit for each in metric_formats)]
    write_text_file(path, _document(comments, heads, rows, [False, *[True] * len(metric_formats)]))


def _document(
    comments: Sequence[str], heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool]
) -> str:
    r"""A `tabular`, to be put into a document with \usepackage{booktabs} by \input."""
    lines = [f"% {line}" for line in comments]
    lines.append(r"% \usepackage{booktabs}")
    lines.append(r"\begin{tabular}{" + "".join("r" if number else "l" for number in numbers) + "}")
    lines += [r"\toprule", _line(heads), r"\midrule", *map(_line, rows), r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return " & ".join("".join(_SIGNS.get(sign, sign) for sign in cell) for cell in cells) + r" \\"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    return str(value)

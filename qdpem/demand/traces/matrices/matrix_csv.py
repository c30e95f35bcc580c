"""Traffic matrices as CSV: a column `time` and one `SOURCE>DESTINATION` for each ordered pair of nodes."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np

from qdpem.arrays import Floats
from qdpem.demand.traces.matrices.series import GapRule, Series, regular_series
from qdpem.demand.traces.matrices.series_csv import read_series, stated_step_s, stated_unit
from qdpem.demand.traces.matrices.traffic_matrices import TrafficMatrices
from qdpem.errors import QdpemError


def csv_matrices(
    text: str, name: str, *, unit: str | None, step_s: float | None, gaps: GapRule
) -> TrafficMatrices:
    """The matrices in CSV `text`; see `read_traffic_matrices`.

    Nodes stand in the order in which the columns name them. A pair without a column has no traffic, and the
    traffic of a node with itself is left out; a note says so.
    """
    series, comments = read_series(text, name)
    ends = [_ends(label, name, column) for column, label in enumerate(series.labels, start=2)]
    column_of: dict[tuple[str, str], int] = {}
    for column, pair in enumerate(ends):
        # Blanks around the > make two names of one pair.
        if (first := column_of.setdefault(pair, column)) < column:
            raise QdpemError(
                f"{name}, column {column + 2} is {series.labels[column]!r}, the pair of column {first + 2};"
                " each pair should be there once"
            )
    nodes = tuple(dict.fromkeys(end for pair in ends for end in pair))
    regular, step_s = regular_series(series, step_s=stated_step_s(comments, step_s, name), gaps=gaps)
    return matrices_from_series(
        regular,
        nodes,
        ends,
        step_s=step_s,
        unit=stated_unit(comments.get("unit"), unit, name),
        origin="; ".join(filter(None, (name, comments.get("origin")))),
    )


def _ends(label: str, name: str, column: int) -> tuple[str, str]:
    source, arrow, destination = (part.strip() for part in label.partition(">"))
    if not arrow and column == 2:
        raise QdpemError(
            f"{name}, column 2 is called {label!r}, not SOURCE>DESTINATION; traffic of single nodes is read"
            " with read_node_activity, and gravity_matrices makes matrices of it"
        )
    if not (source and destination) or ">" in destination or source.endswith("-"):
        raise QdpemError(f"{name}, column {column} is called {label!r}; should be SOURCE>DESTINATION")
    return source, destination


def matrices_from_series(
    series: Series,
    nodes: tuple[str, ...],
    ends: list[tuple[str, str]],
    *,
    step_s: float,
    unit: str,
    origin: str,
) -> TrafficMatrices:
    """Regular series, one per ordered pair, as matrices.

    Args:
        series: regular series without a gap.
        nodes: the names of the nodes, in order.
        ends: the source and destination of each series.
        step_s: length of an interval.
        unit: of the values.
        origin: where they come from.
    """
    index = {node: number for number, node in enumerate(nodes)}
    volume = np.zeros((len(series.time_s), len(nodes), len(nodes)))
    source, destination = np.array([[index[end] for end in pair] for pair in ends]).reshape(-1, 2).T
    volume[:, source, destination] = series.values
    volume, notes = without_diagonal(volume, origin)
    absent = len(nodes) * (len(nodes) - 1) - int((source != destination).sum())
    if absent:
        notes += (f"{absent} of {len(nodes) * (len(nodes) - 1)} ordered pairs have no column and no traffic",)
    return TrafficMatrices(
        node_names=nodes,
        time_s=series.time_s,
        step_s=step_s,
        volume=volume,
        unit=unit,
        origin=origin,
        notes=(*series.notes, *notes),
    )


def without_diagonal(volume: Floats, origin: str) -> tuple[Floats, tuple[str, ...]]:
    """`volume` with zero diagonal, and a note if that left anything out."""
    diagonal = np.einsum("tii->ti", volume)
    total, own = float(volume.sum()), float(diagonal.sum())
    if own == 0.0:
        return volume, ()
    cleared = volume.copy()
    np.einsum("tii->ti", cleared)[...] = 0.0
    return cleared, (
        f"traffic of nodes with themselves left out of {origin}: {100.0 * own / total:.3g} % of the total",
    )


def write_traffic_matrices(matrices: TrafficMatrices, path: str | Path) -> None:
    """Write a CSV file that `read_traffic_matrices` reads back to the last bit; gzip if it ends in `.gz`.

    Unit, origin and step stand in comments before the header. Raises QdpemError for a node name that holds
    ">" or blanks at its ends, and for a file that cannot be written.
    """
    path = Path(path)
    for node in matrices.node_names:
        if ">" in node or node != node.strip() or not node or node.endswith("-"):
            raise QdpemError(
                f"a node is called {node!r}; should have no > or blanks at its ends, nor end in -, to be"
                f" written to {path}"
            )
    text = io.StringIO(newline="")
    for key, value in (("unit", matrices.unit), ("origin", matrices.origin), ("step_s", matrices.step_s)):
        text.write(f"# {key}: {' '.join(str(value).split())}\n")
    writer = csv.writer(text, lineterminator="\n")
    off = ~np.eye(len(matrices.node_names), dtype=np.bool_)
    names = matrices.node_names
    writer.writerow(["time_s", *(f"{names[i]}>{names[j]}" for i, j in np.argwhere(off))])
    for time_s, matrix in zip(matrices.time_s.tolist(), matrices.volume[:, off].tolist(), strict=True):
        writer.writerow([time_s, *matrix])
    content = text.getvalue().encode()
    try:
        # Without a time stamp in it, equal values make equal files.
        path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    except OSError as error:
        raise QdpemError(f"{path} cannot be written: {error.strerror or error}") from error

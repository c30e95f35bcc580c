"""The activity of single nodes over time, such as the mobile traffic of the cells of a city."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qdpem.arrays import Floats
from qdpem.demand.traces.csv_rows import csv_table
from qdpem.demand.traces.file_content import decoded_text, read_bytes, shown_value
from qdpem.demand.traces.matrices.series import gap_rule, regular_series
from qdpem.demand.traces.matrices.series_csv import read_series, stated_step_s, stated_unit
from qdpem.demand.traces.matrices.traffic_matrices import check_regular_times
from qdpem.errors import QdpemError

_POSITION = ("id", "lat", "lon")


@dataclass(frozen=True, eq=False, kw_only=True)
class NodeActivity:
    """Activity of C cells in T intervals of equal length without a gap.

    `activity` float64 [T, C], 0 or more, in `unit`. `longitude`, `latitude` float64 [C], in degrees. The
    other fields are those of `TrafficMatrices`. Raises QdpemError for arrays that break one of these rules.
    """

    node_names: tuple[str, ...]
    time_s: Floats
    step_s: float
    activity: Floats
    longitude: Floats
    latitude: Floats
    unit: str
    origin: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_regular_times(self.time_s, self.step_s, self.origin)
        cells = len(self.node_names)
        shapes = (self.activity.shape, self.longitude.shape, self.latitude.shape)
        if shapes != ((len(self.time_s), cells), (cells,), (cells,)):
            raise QdpemError(
                f"the activity, longitude and latitude of {self.origin} have the shapes {shapes}; should be"
                f" {((len(self.time_s), cells), (cells,), (cells,))}"
            )
        wrong = ~(np.isfinite(self.activity) & (self.activity >= 0.0))
        if wrong.any():
            interval, cell = (int(index) for index in np.argwhere(wrong)[0])
            raise QdpemError(
                f"the activity of {self.node_names[cell]} of {self.origin} at {self.time_s[interval]:g} s is"
                f" {self.activity[interval, cell]:g}; should be 0 or more"
            )
        for array in (self.time_s, self.activity, self.longitude, self.latitude):
            array.flags.writeable = False


def read_node_activity(
    path: str | Path,
    cells_path: str | Path,
    *,
    unit: str | None = None,
    step_s: float | None = None,
    gaps: str = "refuse",
) -> NodeActivity:
    """The activity of single nodes from two CSV files, each also gzipped.

    Args:
        path: `time` or `time_s`, then one column per cell.
        cells_path: one row per cell with its `id`, `lat` and `lon` in degrees; other columns are not read,
            and cells without a column in `path` are left out.
        unit: as for `read_traffic_matrices`.
        step_s: as for `read_traffic_matrices`.
        gaps: as for `read_traffic_matrices`.

    Raises QdpemError with the file, row, column and value of the first thing that is wrong, and
    UnknownNameError for another word of `gaps`.
    """
    rule, name, cells_name = gap_rule(gaps), str(path), str(cells_path)
    series, comments = read_series(decoded_text(read_bytes(Path(path)), name), name)
    positions = _positions(decoded_text(read_bytes(Path(cells_path)), cells_name), cells_name)
    for column, label in enumerate(series.labels, start=2):
        if label not in positions:
            raise QdpemError(
                f"{name}, column {column} is {label!r}; should be the id of a cell in {cells_name}"
            )
    regular, step_s = regular_series(series, step_s=stated_step_s(comments, step_s, name), gaps=rule)
    latitude, longitude = np.array([positions[label] for label in series.labels]).T.copy()
    return NodeActivity(
        node_names=series.labels,
        time_s=regular.time_s,
        step_s=step_s,
        activity=regular.values,
        longitude=longitude,
        latitude=latitude,
        unit=stated_unit(comments.get("unit"), unit, name),
        origin="; ".join(filter(None, (name, comments.get("origin")))),
        notes=regular.notes,
    )


def _positions(text: str, name: str) -> dict[str, tuple[float, float]]:
    """Latitude and longitude of each cell."""
    table = csv_table(text, name)
    for label in _POSITION:
        if label not in table.header:
            raise QdpemError(f"{name} has no column {label!r}; should have id, lat and lon (degrees)")
    columns = [table.header.index(label) for label in _POSITION]
    positions: dict[str, tuple[float, float]] = {}
    for row, cells in table.rows:
        cell = cells[columns[0]].strip()
        if not cell or cell in positions:
            raise QdpemError(
                f"{name}, row {row}, column {columns[0] + 1} (id) is {cell!r}; should be an id of its own"
            )
        latitude, longitude = (
            _degrees(cells[column], limit, f"{name}, row {row}, column {column + 1} ({label})")
            for column, label, limit in zip(columns[1:], _POSITION[1:], (90.0, 180.0), strict=True)
        )
        positions[cell] = latitude, longitude
    return positions


def _degrees(text: str, limit: float, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = limit + 1.0
    if not abs(value) <= limit:
        raise QdpemError(f"{place} is {shown_value(text)}; should be -{limit:g} to {limit:g} degrees")
    return value

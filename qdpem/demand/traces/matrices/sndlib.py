"""Traffic matrices in the XML of SNDlib: one matrix per file, in a folder, a zip or tar archive, or alone.

SNDlib lists only pairs with traffic, so a pair that a matrix does not list has 0. A matrix that lists no pair
at all is a lost measurement: GEANT's series begins with two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import numpy as np

from qdpem.arrays import Floats
from qdpem.demand.traces.matrices.matrix_csv import matrices_from_series
from qdpem.demand.traces.matrices.series import GapRule, Series, regular_series
from qdpem.demand.traces.matrices.series_csv import stated_unit
from qdpem.demand.traces.matrices.sndlib_document import SndlibDocument, read_document
from qdpem.demand.traces.matrices.traffic_matrices import TrafficMatrices
from qdpem.errors import QdpemError

_STEP_S = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "hour": 3600.0, "day": 86400.0, "week": 604800.0}
_UNITS = {"MBITPERSEC": "Mbit/s"}
_TIME = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:[-T ]?(\d{2}):?(\d{2}))?")


class _Found(NamedTuple):
    """One matrix: its time, its file, its N x N values, and the number of pairs that the file lists."""

    time: datetime
    name: str
    row: Floats
    listed: int


def sndlib_matrices(
    contents: Iterable[tuple[str, bytes]],
    name: str,
    *,
    unit: str | None,
    step_s: float | None,
    gaps: GapRule,
) -> TrafficMatrices:
    """The matrices of SNDlib files, given by their names and contents; see `read_traffic_matrices`.

    Files need not come in the order of time.
    """
    first: SndlibDocument | None = None
    found: list[_Found] = []
    for file_name, content in contents:
        document = read_document(content, file_name)
        first = first or document
        _check_like(document, first)
        found.append(_Found(_time(document), file_name, _row(document), len(document.demands)))
    if first is None:
        raise QdpemError(f"{name} holds no .xml file; should hold one matrix of SNDlib in each")
    found.sort(key=lambda matrix: (matrix.time, matrix.name))
    series, ends = _series(found, first.nodes, name)
    regular, step_s = regular_series(series, step_s=_stated_step_s(first, step_s), gaps=gaps)
    stated = _UNITS.get(first.meta.get("unit", ""), first.meta.get("unit"))
    return matrices_from_series(
        regular,
        first.nodes,
        ends,
        step_s=step_s,
        unit=stated_unit(stated, unit, first.name),
        origin="; ".join(filter(None, (name, first.meta.get("origin")))),
    )


def _check_like(document: SndlibDocument, first: SndlibDocument) -> None:
    if document.nodes != first.nodes:
        # As sets: another order alone is no fault, but nothing that SNDlib offers has one.
        other = sorted(set(document.nodes) ^ set(first.nodes)) or ["the order"]
        raise QdpemError(
            f"{document.name} has other nodes than {first.name} ({other[0]}); all files of a series should"
            " have the same"
        )
    for key in ("unit", "granularity"):
        here, there = document.meta.get(key), first.meta.get(key)
        if here != there:
            raise QdpemError(
                f"{document.name} has the {key} {here!r}; should have {there!r}, as {first.name} has"
            )


def _time(document: SndlibDocument) -> datetime:
    """The time of a matrix; the beginning of time for a file that states none, which must be alone."""
    text = document.meta.get("time")
    if text is None:
        return datetime.min
    matched = _TIME.fullmatch(text)
    try:
        if matched is None:
            raise ValueError("no date")
        year, month, day, hour, minute = (int(part) for part in matched.groups(default="0"))
        return datetime(year, month, day, hour, minute)
    except ValueError as error:
        raise QdpemError(
            f"the time of {document.name} is {text!r}; should be a day, or a day and minute: 20040301-0005"
        ) from error


def _stated_step_s(document: SndlibDocument, step_s: float | None) -> float | None:
    text = document.meta.get("granularity")
    if text is None:
        return step_s
    matched = re.fullmatch(r"(\d+)\s*([a-z]+?)s?", text.strip().lower())
    unit_s = None if matched is None else _STEP_S.get(matched[2])
    if matched is None or not unit_s or int(matched[1]) == 0:
        raise QdpemError(
            f"the granularity of {document.name} is {text!r}; should be a number of"
            f" {', '.join(unit for unit in ('min', 'hour', 'day', 'week'))}, which all have one length"
        )
    stated_s = int(matched[1]) * unit_s
    if step_s not in (None, stated_s):
        raise QdpemError(
            f"the granularity of {document.name} is {text!r}, {stated_s:g} s; should be {step_s:g} s, as the"
            " argument step_s says"
        )
    return stated_s


def _row(document: SndlibDocument) -> Floats:
    """The matrix as one row of N x N values, all NaN if it lists no pair."""
    nodes = len(document.nodes)
    if not document.demands:
        return np.full(nodes * nodes, np.nan)
    row = np.zeros(nodes * nodes)
    index = {node: number for number, node in enumerate(document.nodes)}
    places = [index[source] * nodes + index[target] for source, target in document.demands]
    row[places] = list(document.demands.values())
    return row


def _series(found: list[_Found], nodes: tuple[str, ...], name: str) -> tuple[Series, list[tuple[str, str]]]:
    if len(found) > 1 and found[0].time == datetime.min:
        raise QdpemError(f"{found[0].name} states no time; should have one (<meta><time>) in a series")
    ends = [(source, target) for source in nodes for target in nodes]
    # A matrix that lists no pair at all has no value; in the others those it does not list are 0.
    unlisted = [1.0 - matrix.listed / (len(nodes) * (len(nodes) - 1)) for matrix in found if matrix.listed]
    share = 100.0 * max(0.0, sum(unlisted)) / max(1, len(unlisted))
    note = f"{share:.3g} % of the pairs of {name} are not listed and have no traffic"
    series = Series(
        name=name,
        labels=tuple(f"{source}>{target}" for source, target in ends),
        time_s=np.array([(matrix.time - found[0].time).total_seconds() for matrix in found]),
        values=np.stack([matrix.row for matrix in found]),
        places=[matrix.name for matrix in found],
        time_place="<time>",
        notes=(note,) if share else (),
    )
    return series, ends

"""Requests in a trace of QNetBench 0.1: one JSON object per line (trace schema 0.2).

Of every event `ent_requested` this takes the time `t`, `src`, `dst`, the number of pairs `n`, and of its
`demand` the `min_fidelity` and the `deadline` (absolute) or, without one, the `latency_budget` (from `t`).
The application is that of the `run_header` before it. Every other field and event is named in a note.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from qdpem.demand.traces.file_content import shown_value
from qdpem.demand.traces.requests.columns import ignored_note, requests_from_columns
from qdpem.demand.traces.requests.request_list import RequestList
from qdpem.errors import QdpemError

_REQUEST, _HEADER = "ent_requested", "run_header"
_FIELDS = {"kind", "t", "src", "dst", "n", "demand"}
_DEMAND = {"min_fidelity", "deadline", "latency_budget"}
_LARGEST = 1e300
_COLUMNS = ("time_s", "source", "destination", "pairs", "target_fidelity", "patience_s", "application")


def qnetbench_requests(text: str, name: str) -> RequestList:
    """The requests in a QNetBench trace; see `read_requests`.

    A `min_fidelity` of 0 is none. Raises QdpemError, with the row, for a line that is no JSON object with a
    `kind`, for a request that lacks a field or has a wrong value, and for a trace without a request.
    """
    columns: dict[str, list[Any]] = {column: [] for column in _COLUMNS}
    unused: Counter[str] = Counter()
    application = None
    for row, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{name}, row {row}"
        event = _event(line, place)
        if event["kind"] == _HEADER:
            application = event.get("app")
        elif event["kind"] != _REQUEST:
            unused[f"events {event['kind']}"] += 1
        else:
            request = {**_request(event, place), "application": application}
            if columns["time_s"] and request["time_s"] < columns["time_s"][-1]:
                raise QdpemError(
                    f"{place}: t is {event['t']!r}, after {columns['time_s'][-1]!r} of the request above;"
                    " rows should be in order of time"
                )
            for column, value in request.items():
                columns[column].append(value)
            unused.update(_unused(event))
    if not columns["time_s"]:
        raise QdpemError(f"{name} has no event {_REQUEST}, only {dict(unused)}; should have one or more")
    made = requests_from_columns(columns, origin=name)
    fields = [f"{field} ({count})" for field, count in unused.items()]
    return RequestList(**{**vars(made), "notes": (*made.notes, *ignored_note(fields, name))})


def _event(line: str, place: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError as error:
        raise QdpemError(f"{place} is no JSON: {error}; should be one event per row") from error
    if not isinstance(event, dict) or not isinstance(event.get("kind"), str):
        raise QdpemError(f"{place} is {shown_value(line)}; should be an object with a kind")
    return event


def _request(event: dict[str, Any], place: str) -> dict[str, Any]:
    demand = event.get("demand")
    if not isinstance(demand, dict):
        raise QdpemError(f"{place}: demand is {shown_value(demand)}; should be an object")
    source, destination = (_name(event, end, place) for end in ("src", "dst"))
    if source == destination:
        raise QdpemError(f"{place}: dst is {destination!r}, as src; should be another node")
    time_s = _number(event, "t", place, -math.inf, math.inf)
    pairs = _number(event, "n", place, 1.0, math.inf)
    if time_s is None or pairs is None or pairs % 1.0 > 0.0:
        raise QdpemError(
            f"{place}: t is {event.get('t')!r} and n is {event.get('n')!r}; should be seconds and a whole"
            " number of 1 or more"
        )
    deadline_s = _number(demand, "deadline", place, time_s, math.inf)
    patience_s = _number(demand, "latency_budget", place, 0.0, math.inf)
    if deadline_s is not None:
        patience_s = deadline_s - time_s
    if patience_s is not None and not patience_s > 0.0:
        raise QdpemError(f"{place}: the deadline is the time of the request; should be later")
    return {
        "time_s": time_s,
        "source": source,
        "destination": destination,
        "pairs": pairs,
        "target_fidelity": _number(demand, "min_fidelity", place, 0.0, 1.0) or None,
        "patience_s": patience_s,
    }


def _name(event: dict[str, Any], field: str, place: str) -> str:
    value = event.get(field)
    if not isinstance(value, str) or not value:
        raise QdpemError(f"{place}: {field} is {shown_value(value)}; should be the name of a node")
    return value


def _number(values: dict[str, Any], field: str, place: str, low: float, high: float) -> float | None:
    """The number of a field, None for null or no such field."""
    value = values.get(field)
    if value is None:
        return None
    # JSON has integers that no float holds.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        raise QdpemError(f"{place}: {field} is {shown_value(value)}; should be a number")
    if not low <= value <= high:
        should = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
        raise QdpemError(f"{place}: {field} is {value!r}; should be {should}")
    return float(value)


def _unused(event: dict[str, Any]) -> list[str]:
    """Fields of a request that say something and have no place in a list of requests."""
    demand = event["demand"]
    names = [field for field, value in event.items() if field not in _FIELDS and value is not None]
    names += [f"demand.{key}" for key, value in demand.items() if key not in _DEMAND and value is not None]
    if demand.get("deadline") is not None and demand.get("latency_budget") is not None:
        names.append("demand.latency_budget")
    return names

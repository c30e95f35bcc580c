"""Times of files: dates, or seconds, as float64 seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np

from qdpem.arrays import Floats
from qdpem.demand.traces.file_content import shown_value
from qdpem.errors import QdpemError

TIME_COLUMNS = ("time", "time_s")
"""The names of a column of times: dates and times (ISO 8601), or seconds."""


def parse_times(kind: str, texts: Sequence[str], place: Callable[[int], str]) -> Floats:
    """Seconds of each text, float64 [R]: as they stand for "time_s", since the first for "time".

    `place` says where the text of an index stands. Raises QdpemError for the first that is no time. No order
    is asked for.
    """
    if kind == "time_s":
        return np.array([_seconds(text, place, index) for index, text in enumerate(texts)], dtype=np.float64)
    stamps = [_stamp(text, place, index) for index, text in enumerate(texts)]
    for index, stamp in enumerate(stamps):
        if (stamp.tzinfo is None) != (stamps[0].tzinfo is None):
            raise QdpemError(
                f"{place(index)} is {shown_value(texts[index])}, {place(0)} is {shown_value(texts[0])};"
                " should both have a time zone, or neither"
            )
    return np.array([(stamp - stamps[0]).total_seconds() for stamp in stamps], dtype=np.float64)


def _seconds(text: str, place: Callable[[int], str], index: int) -> float:
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise QdpemError(f"{place(index)} is {shown_value(text)}; should be a number of seconds")
    return value


def _stamp(text: str, place: Callable[[int], str], index: int) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise QdpemError(
            f"{place(index)} is {shown_value(text)}; should be a date and time such as 2004-03-01T00:05"
            " (a column of seconds is called time_s)"
        ) from error

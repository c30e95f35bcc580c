"""Requests with their times, as one frozen value, and the operations on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qdpem.arrays import Floats
from qdpem.demand.traces.node_mapping import named_nodes
from qdpem.errors import QdpemError


@dataclass(frozen=True, eq=False, kw_only=True)
class RequestList:
    """R requests in order of time; all arrays and tuples have the length R.

    `time_s` float64: arrival, in seconds of the trace, ascending; equal times are allowed. `source`,
    `destination`: names of two different nodes. What a file need not say: `target_fidelity` (above 0, at most
    1), `pairs` (whole numbers of 1 or more) and `patience_s` (above 0), float64 with NaN where it is not
    said, and `application`, None where it is not said. `origin`: the file. `notes`: one sentence for
    everything in it that has no place here.

    Raises QdpemError for values that break one of these rules. The arrays become read-only.
    """

    time_s: Floats
    source: tuple[str, ...]
    destination: tuple[str, ...]
    target_fidelity: Floats
    pairs: Floats
    patience_s: Floats
    application: tuple[str | None, ...]
    origin: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.time_s)

    def __post_init__(self) -> None:
        arrays = (self.time_s, self.target_fidelity, self.pairs, self.patience_s)
        lengths = {len(column) for column in (*arrays, self.source, self.destination, self.application)}
        if len(lengths) > 1:
            raise QdpemError(
                f"the columns of {self.origin} have {sorted(lengths)} values; should have one number of them"
            )
        for index, fault in _first_fault(self):
            raise QdpemError(f"request {index + 1} of {self.origin}: {fault}")
        for array in arrays:
            array.flags.writeable = False


def _first_fault(requests: RequestList) -> list[tuple[int, str]]:
    """The first request that breaks a rule and the sentence about it, if there is one."""
    time_s, fidelity, pairs, patience_s = (
        requests.time_s, requests.target_fidelity, requests.pairs, requests.patience_s
    )  # fmt: skip
    same = np.array(
        [a == b for a, b in zip(requests.source, requests.destination, strict=True)], dtype=np.bool_
    )
    earlier = np.diff(time_s, prepend=time_s[:1]) < 0.0
    # Comparisons with NaN are false, so that what is not said is no fault.
    rules: list[tuple[str, Any, Any, str]] = [
        ("time_s", time_s, ~np.isfinite(time_s), "a finite number of seconds"),
        ("time_s", time_s, earlier, "that of the request before, or later"),
        ("destination", requests.destination, same, "another node than the source"),
        ("target_fidelity", fidelity, (fidelity <= 0.0) | (fidelity > 1.0), "above 0 and at most 1"),
        ("pairs", pairs, (pairs < 1.0) | (pairs % 1.0 > 0.0) | np.isinf(pairs), "a whole number, 1 or more"),
        ("patience_s", patience_s, (patience_s <= 0.0) | np.isinf(patience_s), "above 0 seconds"),
    ]
    found = [
        (int(np.argmax(wrong)), f"{column} is {_plain(values[int(np.argmax(wrong))])!r}; should be {should}")
        for column, values, wrong, should in rules
        if np.any(wrong)
    ]
    return [min(found, key=lambda item: item[0])] if found else []


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def map_request_nodes(
    requests: RequestList, network_names: Sequence[str], mapping: Mapping[str, str | None] | None = None
) -> RequestList:
    """The requests between the nodes of a network; the mapping is that of `map_nodes`.

    Requests with an end that is left out, or with both ends at one node, are left out; a note says how many.
    Raises UnknownNameError for a node that does not exist and QdpemError for one that the mapping lacks.
    """
    names = tuple(dict.fromkeys((*requests.source, *requests.destination)))
    target = named_nodes(names, network_names, mapping, requests.origin)
    ends = [(target[a], target[b]) for a, b in zip(requests.source, requests.destination, strict=True)]
    kept = [row for row, (a, b) in enumerate(ends) if a is not None and b is not None and a != b]
    lost = len(ends) - len(kept)
    note = f"{lost} of {len(ends)} requests left out, with an end left out or both ends at one node"
    return replace(
        requests,
        time_s=requests.time_s[kept],
        source=tuple(str(ends[row][0]) for row in kept),
        destination=tuple(str(ends[row][1]) for row in kept),
        target_fidelity=requests.target_fidelity[kept],
        pairs=requests.pairs[kept],
        patience_s=requests.patience_s[kept],
        application=tuple(requests.application[row] for row in kept),
        notes=(*requests.notes, *((note,) if lost else ())),
    )

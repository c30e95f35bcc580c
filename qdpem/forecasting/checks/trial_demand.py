"""The demand of a trial, and what the laws change in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np

from qdpem.demand.requests import Requests

Steps: TypeAlias = Sequence[Requests]


@dataclass(frozen=True, eq=False, kw_only=True)
class TrialDemand:
    """Requests for a trial: the `history` before t = 0, and those of each step from there on."""

    history: Requests
    steps: Steps


def with_other_nodes(own: Requests, other: Requests, node: int) -> Requests:
    """The requests of `node` from `own`, and of all other nodes from `other`."""
    parts = [own.at(np.flatnonzero(own.source == node)), other.at(np.flatnonzero(other.source != node))]
    columns = {
        item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Requests)
    }
    order = np.argsort(columns["time_s"], kind="stable")
    return _read_only(Requests(**{name: column[order] for name, column in columns.items()}))


def views_of_one_array(parts: Steps) -> list[Requests]:
    """The same requests as read-only views of one array for each column."""
    ends = np.cumsum([0, *map(len, parts)])
    whole = {
        item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Requests)
    }
    return [
        _read_only(Requests(**{name: column[first:last] for name, column in whole.items()}))
        for first, last in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    ]


def frozen_demand(demand: TrialDemand) -> TrialDemand:
    """The same demand in read-only arrays of its own."""
    rows = [np.arange(len(part)) for part in (demand.history, *demand.steps)]
    history, *steps = (
        _read_only(part.at(row)) for part, row in zip((demand.history, *demand.steps), rows, strict=True)
    )
    return TrialDemand(history=history, steps=steps)


def _read_only(requests: Requests) -> Requests:
    for item in fields(requests):
        getattr(requests, item.name).setflags(write=False)
    return requests

"""Delivery of measured requests by application, source or distance of the two ends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qdpem.events.tables import Tables
from qdpem.events.words import RequestOutcome
from qdpem.metrics.metrics import measured_requests
from qdpem.scenario.words import Application


@dataclass(frozen=True)
class Delivery:
    """Measured requests of one kind and how many of them were delivered."""

    requests: int
    delivered: int

    @property
    def ratio(self) -> float:
        """Delivered / requests; NaN without any."""
        return self.delivered / self.requests if self.requests else math.nan


def delivery_by(
    tables: Tables, key: Literal["application", "source", "distance"], *, start_s: float, end_s: float
) -> dict[str, Delivery]:
    """Delivery of the measured requests by application, source node or hop distance of the two ends.

    Keys are words: the application, the node's index, or the least number of links between the ends (from
    the `links` table, so that it is the same for every arm). Only keys with a request occur, ascending.
    """
    requests = tables["requests"]
    measured = measured_requests(requests, start_s=start_s, end_s=end_s)
    if key == "application":
        groups, words = requests["application"][measured], list(Application)
    elif key == "source":
        groups, words = requests["source"][measured], None
    elif key == "distance":
        groups, words = _hop_distances(tables)[measured], None
    else:
        raise ValueError(f"requests cannot be told apart by {key!r}; by application, source or distance")
    delivered = requests["outcome"][measured] == RequestOutcome.DELIVERED.code
    return {
        words[group] if words else str(group): Delivery(
            int((groups == group).sum()), int(delivered[groups == group].sum())
        )
        for group in np.unique(groups).tolist()
    }


def _hop_distances(tables: Tables) -> NDArray[np.int64]:
    """Least number of links between the ends of every request, -1 where there is no way."""
    links, requests = tables["links"], tables["requests"]
    ends = (links["first"], links["second"], requests["source"], requests["destination"])
    nodes = 1 + max(int(nodes.max(initial=0)) for nodes in ends)
    adjacent = np.zeros((nodes, nodes), dtype=np.float32)
    adjacent[links["first"], links["second"]] = adjacent[links["second"], links["first"]] = 1.0
    distance = np.where(np.eye(nodes, dtype=bool), 0, -1)
    frontier = np.eye(nodes, dtype=np.float32)
    for hops in range(1, nodes):
        new = (frontier @ adjacent > 0.0) & (distance < 0)
        if not new.any():
            break
        distance[new] = hops
        frontier = new.astype(np.float32)
    return np.asarray(distance[requests["source"], requests["destination"]])

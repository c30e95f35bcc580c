"""Metrics told apart: delivery by kind of request, curves over time, what each repeater did.

From the event tables alone, over the windows and measured requests of `metrics`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qdpem.events.tables import Tables
from qdpem.events.words import ClaimKind, ClaimOutcome, RequestOutcome
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


def series(tables: Tables, *, start_s: float, end_s: float, bin_s: float) -> dict[str, NDArray[Any]]:
    """Curves over time, one value per bin of `bin_s` (the last may be shorter).

    `time_s` float64: where each bin starts; int64 `arrivals`; `delivered`: how many of the requests that
    ARRIVED in the bin were delivered, whenever; `contended`: contended claims made in it. Without a
    `claims` table `contended` is left out.
    """
    if not bin_s > 0.0:
        raise ValueError(f"bin_s is {bin_s:g}; it must be above 0")
    starts = start_s + bin_s * np.arange(max(math.ceil((end_s - start_s) / bin_s - 1e-9), 1))

    def count(times_s: NDArray[Any]) -> NDArray[np.int64]:
        kept = times_s[(times_s >= start_s) & (times_s < end_s)]
        places = np.searchsorted(starts, kept, side="right") - 1
        return np.bincount(places, minlength=len(starts))

    requests = tables["requests"]
    curves: dict[str, NDArray[Any]] = {
        "time_s": starts,
        "arrivals": count(requests["time_s"]),
        "delivered": count(requests["time_s"][requests["outcome"] == RequestOutcome.DELIVERED.code]),
    }
    if claims := tables.get("claims"):
        curves["contended"] = count(claims["time_s"][claims["contended"] == 1])
    return curves


def repeater_use(
    tables: Tables, nodes: int, *, start_s: float = 0.0, end_s: float = math.inf
) -> dict[str, NDArray[Any]]:
    """What each repeater did for token claims made in [start_s, end_s).

    `tokens` int64 [nodes]: swap tokens granted; `claims` int64 [nodes]: asked; `wait_s` float64 [nodes]:
    from asking to the claim's end, summed over all claims.
    """
    claims = tables["claims"]
    inside = (claims["time_s"] >= start_s) & (claims["time_s"] < end_s)
    chosen = (claims["kind"] == ClaimKind.TOKEN.code) & inside
    node = claims["node"][chosen]
    granted = claims["outcome"][chosen] == ClaimOutcome.GRANTED.code
    wait_s = claims["end_s"][chosen] - claims["time_s"][chosen]
    return {
        "tokens": np.bincount(node[granted], minlength=nodes),
        "claims": np.bincount(node, minlength=nodes),
        "wait_s": np.bincount(node, weights=wait_s, minlength=nodes),
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

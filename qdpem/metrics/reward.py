"""The reward of every node, from the event tables only. "Delivered" means the same as in the metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qdpem.events.tables import Columns, Tables
from qdpem.events.words import AllocationOutcome, PairOutcome, RequestOutcome

if TYPE_CHECKING:
    from qdpem.scenario.schema import Reward


@dataclass(frozen=True, eq=False)
class Rewards:
    """E rewards, ascending in time: `time_s` float64 [E], `site` int64 [E] (a node), `amount` float64 [E]."""

    time_s: NDArray[np.float64]
    site: NDArray[np.int64]
    amount: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.time_s)


def rewards(tables: Tables, *, weights: Reward) -> Rewards:
    """The rewards and penalties of each node, with their times, over all of `tables`.

    - Every delivered request gives `weights.delivered` at its end: half to its source, and half in equal
      parts to the nodes of the path that delivered it, both ends included. Without a recorded path the two
      ends share it.
    - Every contended claim costs `weights.contended` at its end: for its own source, and again for the source
      of the claim that took the resource, unless the two are the same.
    - Every stocked pair that expires unused, or that its owner drops, costs its owner `weights.expired` at
      its end.

    Needs the tables requests, allocations, path_steps, claims and pairs. Ties in time are ordered by site, so
    the result does not depend on the order of rows.
    """
    parts = [
        *_delivered(tables, weights.delivered),
        *_contended(tables["claims"], weights.contended),
        _expired(tables["pairs"], weights.expired),
    ]
    time_s = np.concatenate([part.time_s for part in parts])
    site = np.concatenate([part.site for part in parts])
    amount = np.concatenate([part.amount for part in parts])
    # The last key sorts first: by time, then site, then amount.
    order = np.lexsort((amount, site, time_s))
    return Rewards(time_s[order], site[order], amount[order])


def _part(time_s: NDArray[Any], site: NDArray[Any], amount: float | NDArray[Any]) -> Rewards:
    """Rewards of nodes only; the controller and "unknown" (both -1) get none."""
    known = site >= 0
    amounts = np.broadcast_to(np.asarray(amount, dtype=np.float64), site.shape)
    return Rewards(
        time_s[known].astype(np.float64), site[known].astype(np.int64), amounts[known].astype(np.float64)
    )


def _delivered(tables: Tables, weight: float) -> list[Rewards]:
    requests = tables["requests"]
    chosen = requests["outcome"] == RequestOutcome.DELIVERED.code
    end_s, source = requests["end_s"][chosen], requests["source"][chosen]
    paths = _paths(tables)
    ends = zip(source.tolist(), requests["destination"][chosen].tolist(), strict=True)
    nodes = [
        # A path without recorded steps is empty, so the two ends stand in for it as well.
        paths.get(request) or pair
        for request, pair in zip(requests["request"][chosen].tolist(), ends, strict=True)
    ]
    counts = np.array([len(path) for path in nodes], dtype=np.int64)
    shared = np.array([node for path in nodes for node in path], dtype=np.int64)
    fraction = np.repeat(0.5 * weight / np.maximum(counts, 1), counts)
    return [_part(end_s, source, 0.5 * weight), _part(np.repeat(end_s, counts), shared, fraction)]


def _paths(tables: Tables) -> dict[int, tuple[int, ...]]:
    """For each request, the nodes of the path of its last allocation that ended "done"."""
    allocations, steps = tables["allocations"], tables["path_steps"]
    done = np.flatnonzero(
        (allocations["outcome"] == AllocationOutcome.DONE.code) & (allocations["request"] >= 0)
    )
    order = done[np.lexsort((allocations["allocation"][done], allocations["end_s"][done]))]
    # Ascending in time, so the last allocation of a request overwrites the earlier ones.
    last = dict(
        zip(allocations["request"][order].tolist(), allocations["allocation"][order].tolist(), strict=True)
    )
    wanted = np.isin(steps["allocation"], list(last.values()))
    nodes_of: dict[int, list[int]] = {}
    for allocation, node in zip(
        steps["allocation"][wanted].tolist(), steps["node"][wanted].tolist(), strict=True
    ):
        nodes_of.setdefault(allocation, []).append(node)
    return {request: tuple(nodes_of.get(allocation, ())) for request, allocation in last.items()}


def _contended(claims: Columns, weight: float) -> list[Rewards]:
    chosen = claims["contended"] == 1
    end_s, site, rival = (claims[name][chosen] for name in ("end_s", "source", "rival"))
    # A source that loses to itself pays once.
    other = rival != site
    return [_part(end_s, site, -weight), _part(end_s[other], rival[other], -weight)]


def _expired(pairs: Columns, weight: float) -> Rewards:
    chosen = (pairs["owner"] >= 0) & (pairs["outcome"] == PairOutcome.EXPIRED.code)
    return _part(pairs["end_s"][chosen], pairs["owner"][chosen], -weight)

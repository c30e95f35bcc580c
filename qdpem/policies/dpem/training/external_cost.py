"""External costs: what the claims of one allocation cost the requests of others.

A node that is credited only with its own requests orders more than is good for all: what it takes, others
lack. Every request that failed therefore charges the claims that took, while its own claims waited, what it
waited for (the congestion externality of Pigou 1920, here to first order; a difference reward in the sense of
Wolpert and Tumer 2002). One failed request costs as much as one delivered request is worth. The charge is
shared equally by the claims of the failed request that lost a resource, and then by those that took it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.events.tables import Columns, Tables
from qdpem.events.words import ClaimKind, ClaimOutcome, Purpose, RequestOutcome


def external_costs(tables: Tables, *, nodes: int, reach_s: float) -> tuple[Ints, Floats, Floats]:
    """What each allocation cost the failed requests of others, in requests.

    A failed request is charged for through its own allocations and through those that were to stock pairs of
    the same two nodes within `reach_s` before it came. Needs the tables requests, allocations and claims.

    Returns: allocation int64 [E], time_s float64 [E] of its claim, cost float64 [E].
    """
    claims = tables["claims"]
    lost = _lost_claims(claims)
    takers = _Takers(tables, nodes=nodes)
    charges: dict[int, float] = defaultdict(float)
    for allocations in _failed(tables, reach_s=reach_s):
        waited = [claim for item in allocations for claim in lost.get(item, ())]
        blamed = [found for claim in waited if (found := takers.during(claim, but=allocations))]
        for found in blamed:
            for claim in found:
                charges[claim] += 1.0 / len(blamed) / len(found)
    rows = np.fromiter(charges, dtype=np.int64, count=len(charges))
    cost = np.fromiter(charges.values(), dtype=np.float64, count=len(charges))
    return claims["allocation"][rows].astype(np.int64), claims["time_s"][rows].astype(np.float64), cost


def _failed(tables: Tables, *, reach_s: float) -> list[set[int]]:
    """For each failed request the allocations that were made for it."""
    requests, allocations = tables["requests"], tables["allocations"]
    served: dict[int, set[int]] = defaultdict(set)
    ordered: dict[tuple[int, int], list[tuple[float, int]]] = defaultdict(list)
    names = ("allocation", "request", "purpose", "source", "destination", "time_s")
    for item, request, purpose, source, destination, time_s in _rows(allocations, names):
        if purpose == Purpose.STOCK.code:
            ordered[source, destination].append((time_s, item))
        else:
            served[request].add(item)
    failed = []
    columns = ("request", "source", "destination", "time_s", "outcome")
    for request, source, destination, time_s, outcome in _rows(requests, columns):
        if outcome in (RequestOutcome.OPEN.code, RequestOutcome.DELIVERED.code):
            continue
        stock = {
            item for made_s, item in ordered[source, destination] if time_s - reach_s <= made_s <= time_s
        }
        failed.append(served[request] | stock)
    return failed


def _rows(columns: Columns, names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    return zip(*(columns[name].tolist() for name in names), strict=True)


def _lost_claims(claims: Columns) -> Mapping[int, list[int]]:
    """Rows of the contended claims of each allocation."""
    lost: dict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(claims["contended"] == 1).tolist():
        lost[int(claims["allocation"][row])].append(row)
    return lost


class _Takers:
    """The claims that were granted a resource, by resource and time.

    Resources are numbered: node n has the repeater n and, at the nodes' number + n, the source n.
    """

    def __init__(self, tables: Tables, *, nodes: int) -> None:
        claims, links = tables["claims"], tables["links"]
        self._allocation = claims["allocation"].tolist()
        self._from_s, self._until_s = claims["time_s"].tolist(), claims["end_s"]
        ends = np.stack([links["first"], links["second"]], axis=1).tolist()
        emission = claims["kind"] == ClaimKind.EMISSION.code
        # An emission for a link may come from the source of either end.
        self._resources = [
            tuple(nodes + end for end in ends[link]) if emits else (node,)
            for emits, link, node in zip(
                emission.tolist(), claims["link"].tolist(), claims["node"].tolist(), strict=True
            )
        ]
        granted = np.flatnonzero(claims["outcome"] == ClaimOutcome.GRANTED.code)
        order = granted[np.argsort(self._until_s[granted], kind="stable")]
        self._rows: dict[int, list[int]] = defaultdict(list)
        for row in order.tolist():
            for resource in self._resources[row]:
                self._rows[resource].append(row)
        self._times = {resource: self._until_s[rows] for resource, rows in self._rows.items()}

    def during(self, claim: int, *, but: set[int]) -> set[int]:
        """Claims of other allocations that got the resource while this claim waited for it."""
        found: set[int] = set()
        for resource in self._resources[claim]:
            if resource not in self._rows:
                continue
            span = self._from_s[claim], float(self._until_s[claim])
            first, last = np.searchsorted(self._times[resource], span)
            rows = self._rows[resource][first:last]
            found |= {row for row in rows if self._allocation[row] not in but}
        return found

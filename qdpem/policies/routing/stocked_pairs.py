"""What lies on the shelf: which stocked pairs serve a request, and for which links of a path they stand in.

Nodes take the oldest pair that their budget admits: a path must still meet its target with the aged pair in
it after its fresh pairs have waited a share of the time left. Planners believe the same, in
Werner weights w = (4F - 1)/3, which multiply along a path of swapped Werner pairs (Briegel et al. 1998).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from qdpem.network.path import Path
from qdpem.network.path_estimates import ASSUMED_WAIT_FRACTION, Estimates
from qdpem.policies.routing.delay_model import Flags
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Allocation, Observation

StockByEnds: TypeAlias = dict[tuple[int, int], list[float]]
"""Believed fidelities of the pairs that lie ready, by (owner, partner)."""

Taken: TypeAlias = tuple[tuple[tuple[int, int], float], ...]
"""Pairs of a shelf: (owner, partner) and believed fidelity of each."""


def weight_of(fidelity: float) -> float:
    """Werner weight (4F - 1)/3, at least 0."""
    return max((4.0 * fidelity - 1.0) / 3.0, 0.0)


def scaled(fidelity: float, factor: float) -> float:
    """The fidelity of a Werner pair whose weight is `factor` times as large."""
    return 0.25 + (fidelity - 0.25) * factor


def ready_stock(observation: Observation) -> StockByEnds:
    """The shelf that a view of one site shows."""
    found: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    ready = observation.stock_ready[0] == 1
    columns = (observation.stock_owner[0], observation.stock_partner[0], observation.stock_fidelity[0])
    for owner, partner, fidelity in zip(*(column[ready].tolist() for column in columns), strict=True):
        found[owner, partner].append(fidelity)
    return dict(found)


def serve_from_stock(
    request: PendingRequest, shelf: StockByEnds, *, fidelity_margin: float
) -> Allocation | None:
    """Take the worst pairs on the shelf that are good enough for a request; None if there are too few,
    or if the request is a standing one, which asks for more than can lie on a shelf.

    What is taken leaves `shelf`.
    """
    if request.persistent:
        return None
    kept = shelf.get((request.source, request.destination), [])
    good = sorted(value for value in kept if value >= request.target_fidelity + fidelity_margin)[
        : request.pairs
    ]
    if len(good) < request.pairs:
        return None
    take(shelf, tuple(((request.source, request.destination), value) for value in good))
    return request.allocation((request.source, request.destination))


def take(shelf: StockByEnds, taken: Taken) -> None:
    """What an allocation counts on is gone for the next."""
    for ends, fidelity in taken:
        shelf[ends].remove(fidelity)


@dataclass(frozen=True, eq=False, kw_only=True)
class StockedLinks:
    """Of K paths of at most H hops, without distillation: `stocked` [K, H] links with pairs on the shelf
    that the budget admits; by how much they lower the path's weight; which they are.
    """

    stocked: Flags
    factor: tuple[float, ...]
    taken: tuple[Taken, ...]


def stocked_steps(paths: Sequence[Path], shelf: StockByEnds) -> Flags:
    """Steps of K paths of at most H hops for which either end owns a pair on the shelf, [K, H]."""
    shelved = np.zeros((len(paths), max(path.hops for path in paths)), dtype=np.bool_)
    for row, path in enumerate(paths):
        for hop, ends in enumerate(pairwise(path.nodes)):
            if shelf.get(ends) or shelf.get((ends[1], ends[0])):
                shelved[row, hop] = True
    return shelved


def stocked_links(
    paths: Sequence[Path],
    shelf: StockByEnds,
    shelved: Flags,
    *,
    target_fidelity: float,
    pairs: int,
    left_s: float,
    estimates: Estimates,
) -> StockedLinks | None:
    """Where the shelf can stand in on these paths with `left_s` to go; None where nowhere.

    Only the `shelved` steps are looked at. A link counts if there are as many pairs as asked; either of its
    ends may own them.
    """
    stocked = np.zeros_like(shelved)
    factors = [1.0] * len(paths)
    taken: list[Taken] = [()] * len(paths)
    target = weight_of(target_fidelity)
    for row in np.flatnonzero(shelved.any(axis=1)).tolist():
        path = paths[row]
        spare = weight_of(estimates.fidelity(path, age_s=ASSUMED_WAIT_FRACTION * left_s)) / target
        for hop in np.flatnonzero(shelved[row]).tolist():
            ends = path.nodes[hop], path.nodes[hop + 1]
            fresh = weight_of(estimates.link_fidelity(path.links[hop]))
            found = _admitted(ends, shelf, minimum=fresh / spare if spare > 0.0 else np.inf)[:pairs]
            if len(found) == pairs:
                # The lanes of an allocation have a budget each: what the worst of them takes is gone.
                factor = min(weight_of(found[0][1]) / fresh, 1.0)
                stocked[row, hop] = True
                spare *= factor
                factors[row] *= factor
                taken[row] += tuple(found)
    return StockedLinks(stocked=stocked, factor=tuple(factors), taken=tuple(taken)) if any(taken) else None


def _admitted(
    ends: tuple[int, int], shelf: StockByEnds, *, minimum: float
) -> list[tuple[tuple[int, int], float]]:
    """Pairs of either owner whose weight is at least `minimum`, the worst first."""
    found = [
        (owned, fidelity)
        for owned in (ends, (ends[1], ends[0]))
        for fidelity in shelf.get(owned, ())
        if weight_of(fidelity) >= minimum
    ]
    return sorted(found, key=lambda pair: pair[1])

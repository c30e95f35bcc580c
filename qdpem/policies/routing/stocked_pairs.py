"""Pairs in stock: which of them serve a request, and which links of a path they replace.

Nodes use the oldest pair that the fidelity budget of a path admits: with the aged pair, the path must still
meet its target after its fresh pairs have waited a fraction of the remaining time. Planners apply the same
rule to Werner weights w = (4F - 1)/3, which multiply along a path of swapped Werner pairs (Briegel et al.
1998).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from physics.figures_of_merit.werner_figures import werner_weight_unchecked
from qdpem.arrays import Flags
from qdpem.network.path import Path
from qdpem.network.path_estimates import ASSUMED_WAIT_FRACTION, Estimates
from qdpem.policies.routing.route_plan import StockedPair
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Allocation, Observation

StockByEnds: TypeAlias = dict[tuple[int, int], list[float]]
"""Believed fidelities of the ready pairs in stock, by (owner, partner)."""


def weight_of(fidelity: float) -> float:
    """Werner weight (4F - 1)/3, at least 0."""
    return max(werner_weight_unchecked(fidelity), 0.0)


def with_scaled_weight(fidelity: float, factor: float) -> float:
    """The fidelity of a Werner pair after its weight is multiplied by `factor`."""
    return 0.25 + (fidelity - 0.25) * factor


def ready_stock(observation: Observation) -> StockByEnds:
    """The ready pairs that one site observes."""
    stock: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    ready = observation.stock_ready[0] == 1
    columns = (observation.stock_owner[0], observation.stock_partner[0], observation.stock_fidelity[0])
    for owner, partner, fidelity in zip(*(column[ready].tolist() for column in columns), strict=True):
        stock[owner, partner].append(fidelity)
    return dict(stock)


def serve_from_stock(
    request: PendingRequest,
    stock: StockByEnds,
    *,
    fidelity_margin: float,
    reserved: int = 0,
    retry_low_fidelity: bool = False,
) -> Allocation | None:
    """Serve a request with the worst stocked pairs between its ends that exceed its target by the margin.

    The pairs used are removed from `stock`. Returns None if there are too few. A repeating request is never
    served from stock: it asks for more pairs than any stock holds.
    """
    if request.repeats:
        return None
    fidelities = stock.get((request.source, request.destination), [])
    # The worst that suffice go first, so that better pairs remain for stricter requests.
    usable = sorted(value for value in fidelities if value >= request.target_fidelity + fidelity_margin)[
        : request.pairs
    ]
    if len(usable) < request.pairs or len(fidelities) - request.pairs < reserved:
        return None
    remove_pairs(stock, tuple(((request.source, request.destination), value) for value in usable))
    return request.allocation((request.source, request.destination), retry_low_fidelity=retry_low_fidelity)


def usable_pairs(request: PendingRequest, stock: StockByEnds, *, fidelity_margin: float) -> int:
    """The number of stocked pairs between its ends that exceed the request's target by the margin."""
    if request.repeats:
        return 0
    fidelities = stock.get((request.source, request.destination), ())
    return sum(value >= request.target_fidelity + fidelity_margin for value in fidelities)


def stock_after(request: PendingRequest, stock: StockByEnds, *, fidelity_margin: float) -> StockByEnds:
    """The stock that is left once the request has taken its pairs; `stock` is not changed."""
    ends = request.source, request.destination
    left = {**stock, ends: list(stock.get(ends, ()))}
    serve_from_stock(request, left, fidelity_margin=fidelity_margin)
    return left


def remove_pairs(stock: StockByEnds, pairs: tuple[StockedPair, ...]) -> None:
    """Remove the pairs that an allocation relies on, so that no later decision uses them again."""
    for ends, fidelity in pairs:
        stock[ends].remove(fidelity)


@dataclass(frozen=True, eq=False, kw_only=True)
class StockedLinks:
    """The stock that K paths without distillation can use; H is the largest number of hops.

    `stocked` [K, H]: links replaced by stocked pairs. `weight_factor`: the factor by which they lower the
    Werner weight of each path. `pairs`: the stocked pairs of each path.
    """

    stocked: Flags
    weight_factor: tuple[float, ...]
    pairs: tuple[tuple[StockedPair, ...], ...]


def stocked_hops(paths: Sequence[Path], stock: StockByEnds) -> Flags:
    """Hops of K paths for which either end owns a pair in stock, bool [K, H]."""
    stocked = np.zeros((len(paths), max(path.hops for path in paths)), dtype=np.bool_)
    for row, path in enumerate(paths):
        for hop, ends in enumerate(pairwise(path.nodes)):
            if stock.get(ends) or stock.get((ends[1], ends[0])):
                stocked[row, hop] = True
    return stocked


def stocked_links(
    paths: Sequence[Path],
    stock: StockByEnds,
    considered: Flags,
    *,
    target_fidelity: float,
    pairs: int,
    slack_s: float,
    estimates: Estimates,
) -> StockedLinks | None:
    """The links of these paths that pairs in stock replace; None where the fidelity budgets admit none.

    Args:
        paths: K paths between the same two nodes.
        stock: ready pairs; either end of a link may own them.
        considered: bool [K, H], the hops to examine.
        target_fidelity: of the request.
        pairs: pairs that every replaced link must have in stock.
        slack_s: seconds until the allocation expires.
        estimates: believed fidelities of paths and links.
    """
    stocked = np.zeros_like(considered)
    weight_factor = [1.0] * len(paths)
    used: list[tuple[StockedPair, ...]] = [()] * len(paths)
    target = weight_of(target_fidelity)
    for row in np.flatnonzero(considered.any(axis=1)).tolist():
        path = paths[row]
        budget = weight_of(estimates.fidelity(path, age_s=ASSUMED_WAIT_FRACTION * slack_s)) / target
        for hop in np.flatnonzero(considered[row]).tolist():
            ends = path.nodes[hop], path.nodes[hop + 1]
            fresh = weight_of(estimates.link_fidelity(path.links[hop]))
            admitted = _admitted(ends, stock, min_weight=fresh / budget if budget > 0.0 else np.inf)[:pairs]
            if len(admitted) == pairs:
                # Each end-to-end pair has its own budget, which is smallest for the worst stocked pair. One
                # better than a fresh pair must not enlarge the budget of the other links.
                factor = min(weight_of(admitted[0][1]) / fresh, 1.0)
                stocked[row, hop] = True
                budget *= factor
                weight_factor[row] *= factor
                used[row] += tuple(admitted)
    if not any(used):
        return None
    return StockedLinks(stocked=stocked, weight_factor=tuple(weight_factor), pairs=tuple(used))


def _admitted(ends: tuple[int, int], stock: StockByEnds, *, min_weight: float) -> list[StockedPair]:
    """Pairs of either owner whose weight is at least `min_weight`, the worst first."""
    pairs = [
        (owned, fidelity)
        for owned in (ends, (ends[1], ends[0]))
        for fidelity in stock.get(owned, ())
        if weight_of(fidelity) >= min_weight
    ]
    return sorted(pairs, key=lambda pair: pair[1])

"""Virtual links: a stocked end-to-end pair replaces a segment of a longer path.

Source: pre-distribution of entanglement over an overlay (Ghaderibaneh et al. 2022; Pouryousef et al. 2022).

A path that crosses a pair of owner a and partner b runs over links from the source to a, over the pair, and
over links from b to the destination. Only pairs that save at least one link are considered. The believed
weight of such a path is the product of the weights of its link segments, of the swaps that join them, and of
the stocked pair aged by the expected delay.

Knowledge: the map and the stock that a site observes. A node observes its own pairs, which begin its paths.
Work: one scan of the stock for each request, and the features of a few paths, cached by pair and ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from qdpem.network.outages import Unavailable
from qdpem.network.path import VIRTUAL_LINK, Path, path_along
from qdpem.policies.routing.path_features import PathFeatures, path_features
from qdpem.policies.routing.stocked_pairs import StockByEnds, weight_of
from qdpem.policy.interface import Context

Ends = tuple[int, int]

_MAX_PAIRS = 4
_MAX_SEGMENTS = 2
_CACHED_PATHS = 4096
_REFERENCE_FIDELITY = 0.5


@dataclass(frozen=True, eq=False, kw_only=True)
class VirtualPaths:
    """Paths between two nodes over one stocked pair: their features, and the link segments of each.

    `swap_weight`: the factor by which the swaps between the segments and the pair lower each path's weight.
    """

    features: PathFeatures
    segments: tuple[tuple[Path, ...], ...]
    swap_weight: tuple[float, ...]


class VirtualLinks:
    """Finds paths that stocked end-to-end pairs shorten, and believes a weight of each."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._network = context.network
        self._swap_weights: dict[int, float] = {}
        self._decay_hz_by_ends: dict[Ends, float] = {}
        self._paths_over = lru_cache(_CACHED_PATHS)(self._find_paths_over)

    def between(
        self, source: int, destination: int, stock: StockByEnds, unavailable: Unavailable
    ) -> list[tuple[Ends, VirtualPaths]]:
        """(owner, partner) and paths of the up to four stocked pairs that leave the fewest links to make."""
        candidates = []
        for ends in self._shortening(source, destination, stock):
            paths = self._paths_over(source, destination, ends, unavailable)
            if paths is not None:
                candidates.append((ends, paths))
        return candidates

    def weight_without_stock(self, paths: VirtualPaths, row: int, *, age_s: float) -> float:
        """Believed weight of the path in `row` without its stocked pair, its link pairs aged `age_s`."""
        estimates = self._context.estimates
        weight = paths.swap_weight[row]
        for segment in paths.segments[row]:
            weight *= weight_of(estimates.fidelity(segment, age_s=age_s))
        return weight

    def aged_weight(self, ends: Ends, fidelity: float, wait_s: float) -> float:
        """Believed weight of a stocked pair in `wait_s` from now."""
        return weight_of(fidelity) * math.exp(-self._decay_hz(ends) * wait_s)

    def _shortening(self, source: int, destination: int, stock: StockByEnds) -> list[Ends]:
        hops, adjacent = self._network.hop_distance, self._network.adjacent
        owner, partner = np.array(list(stock), dtype=np.int64).reshape(-1, 2).T
        remaining = hops[source, owner] + hops[partner, destination]
        # With no hop remaining the pair serves the request directly, and link pairs replace links.
        useful = (remaining < hops[source, destination]) & (remaining > 0) & ~adjacent[owner, partner]
        columns = useful.nonzero()[0]
        order = columns[np.argsort(remaining[columns], kind="stable")][:_MAX_PAIRS]
        return list(zip(owner[order].tolist(), partner[order].tolist(), strict=True))

    def _find_paths_over(
        self, source: int, destination: int, ends: Ends, unavailable: Unavailable
    ) -> VirtualPaths | None:
        rates = self._network.repeater_rate_hz
        owner, partner = ends
        swapping = {owner, partner} - {source, destination}
        if owner == destination or partner == source or any(rates[node] <= 0.0 for node in swapping):
            return None
        if unavailable.affects((source, owner, partner, destination), ()):
            return None
        before = self._segments(source, owner, unavailable)
        after = self._segments(partner, destination, unavailable)
        whole, segments = [], []
        for first, second in product(before, after):
            nodes = (*first.nodes, *second.nodes)
            # Both segments are simple, but together they may cross.
            if len(set(nodes)) == len(nodes):
                over_s = float(self._network.distance_s[ends])
                links = (*first.links, VIRTUAL_LINK, *second.links)
                hop_delay_s = (*first.hop_delay_s, over_s, *second.hop_delay_s)
                whole.append(Path(nodes, links, hop_delay_s, first.delay_s + over_s + second.delay_s))
                segments.append(tuple(segment for segment in (first, second) if segment.links))
        if not whole:
            return None
        # Sorted: floating-point products depend on their order.
        swap_weight = math.prod(self._swap_weight(node) for node in sorted(swapping))
        return VirtualPaths(
            features=path_features(tuple(whole), self._context),
            segments=tuple(segments),
            swap_weight=(swap_weight,) * len(whole),
        )

    def _segments(self, first: int, last: int, unavailable: Unavailable) -> tuple[Path, ...]:
        """The best paths over links from `first` to `last`; the path of no hops where they are one node."""
        if first == last:
            return (path_along(self._network, (first,)),)
        return self._context.routes.paths(first, last, unavailable)[:_MAX_SEGMENTS]

    def _swap_weight(self, node: int) -> float:
        """Factor of the weight that a swap at a node leaves: two of its links against their product."""
        if node not in self._swap_weights:
            around = self._network.neighbours[node]
            # A node with one neighbour swaps that link with itself, which has the same factor.
            (left, first), (right, second) = around[0], around[-1]
            estimates = self._context.estimates
            both = estimates.fidelity(path_along(self._network, (left, node, right)))
            unswapped = [weight_of(estimates.link_fidelity(link)) for link in (first, second)]
            self._swap_weights[node] = weight_of(both) / math.prod(unswapped)
        return self._swap_weights[node]

    def _decay_hz(self, ends: Ends) -> float:
        """Mean decay rate of the weight of a pair stored at these ends, from fresh to 1/3."""
        if ends not in self._decay_hz_by_ends:
            path = self._context.routes.paths(*ends)[0]
            fresh = weight_of(self._context.estimates.fidelity(path))
            life_s = self._context.estimates.useful_life_s(path, _REFERENCE_FIDELITY)
            lost = math.log(fresh / weight_of(_REFERENCE_FIDELITY)) if life_s > 0.0 else math.inf
            self._decay_hz_by_ends[ends] = lost / life_s if life_s > 0.0 else math.inf
        return self._decay_hz_by_ends[ends]

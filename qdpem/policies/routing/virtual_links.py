"""Virtual links: a stocked remote pair stands in for a stretch of a longer path.

Source: pre-distribution of entanglement over an overlay (Ghaderibaneh et al. 2022; Pouryousef et al. 2022).
A path that crosses a pair of owner a and partner b runs over links from the source to a, over the pair, and
over links from b to the destination; only what is short of links by at least one is looked at. Its believed
weight is that of its stretches, of the swaps that join them, and of the stocked pair as it will have aged by
the expected finish. Knowledge: the map, and the stock a site knows of: a node its own, so that the pair
begins the path.
Work: one look at all stocked pairs for each request, and the features of a few paths, kept by pair and ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from qdpem.network.outages import Unavailable
from qdpem.network.routing import Path
from qdpem.policies.routing.delay_model import PathFeatures, path_features
from qdpem.policies.routing.stocked_pairs import StockByEnds, weight_of
from qdpem.policy.interface import Context

Ends = tuple[int, int]

_MAX_PAIRS = 4
_MAX_STRETCHES = 2
_KEPT_WAYS = 4096
_REFERENCE_FIDELITY = 0.5
_NOWHERE = (Path((), (), 0.0, 0.0),)


@dataclass(frozen=True, eq=False, kw_only=True)
class Ways:
    """Paths between two nodes over one stocked pair: their options, and the link stretches of each.

    `joint_weight`: the factor of the weight that the swaps between stretches and the pair leave.
    """

    options: PathFeatures
    stretches: tuple[tuple[Path, ...], ...]
    joint_weight: tuple[float, ...]


class VirtualLinks:
    """Finds the paths that stocked remote pairs shorten, and says what is believed of them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._network = context.network
        self._joints: dict[int, float] = {}
        self._loss_hz: dict[Ends, float] = {}
        self._ways = lru_cache(_KEPT_WAYS)(self._find)

    def between(
        self, source: int, destination: int, shelf: StockByEnds, unavailable: Unavailable
    ) -> list[tuple[Ends, Ways]]:
        """(owner, partner) and ways of the up to four on the shelf that leave fewest links to be made."""
        found = []
        for ends in self._shortening(source, destination, shelf):
            ways = self._ways(source, destination, ends, unavailable)
            if ways is not None:
                found.append((ends, ways))
        return found

    def weight(self, ways: Ways, row: int, *, age_s: float) -> float:
        """Believed weight of the path in `row` but for its stocked pair, link pairs waiting `age_s`."""
        estimates = self._context.estimates
        found = ways.joint_weight[row]
        for stretch in ways.stretches[row]:
            found *= weight_of(estimates.fidelity(stretch, age_s=age_s))
        return found

    def aged(self, ends: Ends, fidelity: float, wait_s: float) -> float:
        """Believed weight of a stocked pair in `wait_s` from now."""
        return weight_of(fidelity) * math.exp(-self._decay_hz(ends) * wait_s)

    def _shortening(self, source: int, destination: int, shelf: StockByEnds) -> list[Ends]:
        hops, adjacent = self._network.hop_distance, self._network.adjacent
        owner, partner = np.array(list(shelf), dtype=np.int64).reshape(-1, 2).T
        left = hops[source, owner] + hops[partner, destination]
        useful = (left < hops[source, destination]) & (left > 0) & ~adjacent[owner, partner]
        found = useful.nonzero()[0]
        order = found[np.argsort(left[found], kind="stable")][:_MAX_PAIRS]
        return list(zip(owner[order].tolist(), partner[order].tolist(), strict=True))

    def _find(self, source: int, destination: int, ends: Ends, unavailable: Unavailable) -> Ways | None:
        routes, rates = self._context.routes, self._network.repeater_rate_hz
        owner, partner = ends
        inner = {owner, partner} - {source, destination}
        if owner == destination or partner == source or any(rates[node] <= 0.0 for node in inner):
            return None
        if unavailable.affects((source, owner, partner, destination), ()):
            return None
        before = routes.paths(source, owner, unavailable)[:_MAX_STRETCHES] if owner != source else _NOWHERE
        after = (
            routes.paths(partner, destination, unavailable)[:_MAX_STRETCHES]
            if partner != destination
            else _NOWHERE
        )
        whole, stretches = [], []
        for first, second in product(before, after):
            nodes = (*(first.nodes or (owner,)), *(second.nodes or (partner,)))
            if len(set(nodes)) == len(nodes):
                delay_s = first.delay_s + float(self._network.distance_s[ends]) + second.delay_s
                links = (*first.links, -1, *second.links)
                whole.append(Path(nodes, links, first.length_km + second.length_km, delay_s))
                stretches.append(tuple(stretch for stretch in (first, second) if stretch.links))
        if not whole:
            return None
        joint = math.prod(self._joint(node) for node in sorted(inner))
        return Ways(
            options=path_features(tuple(whole), self._context),
            stretches=tuple(stretches),
            joint_weight=(joint,) * len(whole),
        )

    def _joint(self, node: int) -> float:
        """The factor of the weight that a swap at a node leaves: two of its links against their product."""
        if node not in self._joints:
            around = self._network.neighbours[node]
            (left, first), (right, second) = around[0], around[-1]
            estimates = self._context.estimates
            both = estimates.fidelity(Path((left, node, right), (first, second), 0.0, 0.0))
            alone = [weight_of(estimates.link_fidelity(link)) for link in (first, second)]
            self._joints[node] = weight_of(both) / math.prod(alone)
        return self._joints[node]

    def _decay_hz(self, ends: Ends) -> float:
        """Rate at which the weight of a pair kept at these ends falls: a fresh one's until it is 1/3."""
        if ends not in self._loss_hz:
            path = self._context.routes.paths(*ends)[0]
            fresh = weight_of(self._context.estimates.fidelity(path))
            life_s = self._context.estimates.useful_life_s(path, _REFERENCE_FIDELITY)
            lost = math.log(fresh / weight_of(_REFERENCE_FIDELITY)) if life_s > 0.0 else math.inf
            self._loss_hz[ends] = lost / life_s if life_s > 0.0 else math.inf
        return self._loss_hz[ends]

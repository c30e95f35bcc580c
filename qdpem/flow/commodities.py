"""Commodities: node pairs with a request rate, and the distillation options that can serve them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from physics.figures_of_merit.werner_figures import werner_weight
from qdpem.arrays import Floats
from qdpem.errors import QdpemError
from qdpem.network.graph import Network
from qdpem.scenario.schema import RequestClass

_ROUNDING = 1e-12


class DistillationOption(NamedTuple):
    """Serves a commodity over at most `max_hops` links, each of which gives `pairs_per_link` fresh pairs."""

    max_hops: int
    pairs_per_link: float


@dataclass(frozen=True, kw_only=True)
class LinkPlan:
    """Distillation on one link: pairs of `fidelity` from `pairs_per_link` fresh ones.

    `werner`: whether the pairs are Werner states. Fresh ones are; distilled ones in general are not.
    """

    fidelity: float
    pairs_per_link: float = 1.0
    werner: bool = True


@dataclass(frozen=True, kw_only=True)
class Commodity:
    """Requests between two nodes, in either direction, that the same options can serve.

    `rate_hz`: requests per second, each for `pairs` pairs. `options`: any of them may be used, mixed freely.
    With none at all nothing can serve the commodity, and it only counts as offered. Raises QdpemError for
    equal ends, a negative rate, no pairs or an option that costs nothing.
    """

    source: int
    destination: int
    rate_hz: float
    options: tuple[DistillationOption, ...]
    pairs: int = 1

    def __post_init__(self) -> None:
        if self.source == self.destination:
            raise QdpemError(f"a commodity joins node {self.source} with itself; it needs two nodes")
        if not 0.0 <= self.rate_hz < float("inf"):
            raise QdpemError(f"rate_hz of a commodity is {self.rate_hz!r}; it must be 0 or more, and finite")
        if self.pairs < 1:
            raise QdpemError(f"pairs of a commodity is {self.pairs!r}; it must be 1 or more")
        for hops, pairs in self.options:
            if hops < 1 or not 0.0 < pairs < float("inf"):
                raise QdpemError(
                    f"an option of a commodity is {(hops, pairs)!r}; both numbers must be above 0"
                )


def hops_within(target_fidelity: float, plan: LinkPlan, *, limit: int, swap_weight: float = 1.0) -> int:
    """Largest number of links, up to `limit`, over which pairs of age zero meet the target; 0 if none does.

    Werner pairs: the largest h with w^h s^(h-1) >= w_target, where w = (4F - 1)/3 and s = `swap_weight`: the
    product law of swaps (Briegel et al. 1998, PRL 81, 5932, eq. 2). Other Bell-diagonal pairs: the same with
    2F - 1 in place of w, because a swap gives F' = sum_i p_i q_i <= F_p F_q + (1 - F_p)(1 - F_q).

    With F the BEST link's fidelity, no path that could meet the target is forbidden, so a bound built on this
    number stays a bound. That does not hold for states with coherence between Bell states, such as a relaxed
    pair that is swapped: their best outcome may exceed it. Raises ValueError for a fidelity of Werner pairs
    outside [0, 1].

    >>> hops_within(0.9, LinkPlan(fidelity=0.98), limit=10)
    5
    """

    def weight(fidelity: float) -> float:
        return werner_weight(fidelity) if plan.werner else 2.0 * fidelity - 1.0

    target_weight, link_weight = weight(target_fidelity), weight(plan.fidelity)
    path_weight, hops = link_weight, 0
    # A relative tolerance: a path exactly at its target must not be lost to rounding.
    while hops < limit and link_weight > 0.0 and path_weight >= target_weight * (1.0 - _ROUNDING):
        hops += 1
        path_weight *= link_weight * swap_weight
    return hops


def mean_commodities(
    classes: Sequence[RequestClass],
    network: Network,
    weights: Floats,
    *,
    rate_hz: float,
    plans: Sequence[LinkPlan],
    swap_weight: float = 1.0,
) -> tuple[Commodity, ...]:
    """The mean demand as commodities: one per unordered node pair, set of options and number of pairs.

    The flow of these commodities bounds what the plans can carry if every plan is the same on all links.
    Plans that distil only some links of a path may carry more.

    Args:
        classes: the request classes and their fractions of the demand.
        network: the network to serve them.
        weights: float64 [N, N], the fraction of all requests from each node (row) to each other.
        rate_hz: requests per second of the whole network.
        plans: every plan that is the same on all links of a path and that the arms may use, each with the
            BEST link's fidelity and the SMALLEST number of fresh pairs per link.
        swap_weight: Werner weight of a swap.
    """
    total = sum(request_class.fraction for request_class in classes)
    fractions: dict[tuple[tuple[DistillationOption, ...], int], float] = {}
    for request_class in classes:
        options = _options(
            request_class.target_fidelity, plans, limit=network.node_count - 1, swap_weight=swap_weight
        )
        key = options, request_class.pairs
        fractions[key] = fractions.get(key, 0.0) + request_class.fraction / total
    both_ways_hz = rate_hz * np.triu(weights + weights.T, k=1)
    return tuple(
        Commodity(
            source=source,
            destination=destination,
            rate_hz=float(both_ways_hz[source, destination]) * fraction,
            options=options,
            pairs=pairs,
        )
        for source, destination in np.argwhere(both_ways_hz > 0.0).tolist()
        for (options, pairs), fraction in fractions.items()
    )


def merged_commodities(parts: Iterable[tuple[Commodity, ...]]) -> tuple[Commodity, ...]:
    """All commodities, with those that differ in their rate only as one; in the order of their first."""
    rates: dict[tuple[int, int, tuple[DistillationOption, ...], int], float] = {}
    for part in parts:
        for each in part:
            key = each.source, each.destination, each.options, each.pairs
            rates[key] = rates.get(key, 0.0) + each.rate_hz
    return tuple(
        Commodity(source=source, destination=destination, rate_hz=rate_hz, options=options, pairs=pairs)
        for (source, destination, options, pairs), rate_hz in rates.items()
    )


def _options(
    target_fidelity: float, plans: Sequence[LinkPlan], *, limit: int, swap_weight: float
) -> tuple[DistillationOption, ...]:
    """Each plan that allows more hops than every cheaper one, cheapest first."""
    options: list[DistillationOption] = []
    # Ascending cost: a plan that reaches no farther than a cheaper one is dominated.
    for plan in sorted(plans, key=lambda plan: plan.pairs_per_link):
        hops = hops_within(target_fidelity, plan, limit=limit, swap_weight=swap_weight)
        if hops > max((option.max_hops for option in options), default=0):
            options.append(DistillationOption(hops, plan.pairs_per_link))
    return tuple(options)

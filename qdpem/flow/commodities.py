"""What the flow programme is asked to carry: classes of requests and the plans that may serve them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from physics.interface import PhysicsModel
from qdpem.errors import QdpemError
from qdpem.network.graph import Network
from qdpem.scenario.schema import RequestClass

_ROUNDING = 1e-12


class DistillationOption(NamedTuple):
    """A way to serve a class: over at most `max_hops` links, each giving `pairs_per_link` fresh pairs."""

    max_hops: int
    pairs_per_link: float


@dataclass(frozen=True, kw_only=True)
class LinkPlan:
    """What distillation on one link gives: pairs of `fidelity` for `pairs_per_link` fresh ones.

    `werner` says that the pairs are Werner states (fresh ones are; distilled ones in general are not).
    """

    fidelity: float
    pairs_per_link: float = 1.0
    werner: bool = True


@dataclass(frozen=True, kw_only=True)
class Commodity:
    """Requests between two nodes, in either direction, that may be served alike.

    `rate_hz`: requests per second, each for `pairs` pairs. `options`: any of them may be used, mixed
    freely; none at all means that nothing can serve the class, which then only counts as offered.
    Raises QdpemError for equal ends, a negative rate, no pairs or an option that costs nothing.
    """

    source: int
    destination: int
    rate_hz: float
    options: tuple[DistillationOption, ...]
    pairs: int = 1

    def __post_init__(self) -> None:
        if self.source == self.destination:
            raise QdpemError(f"a flow class joins node {self.source} with itself; it needs two nodes")
        if not 0.0 <= self.rate_hz < float("inf"):
            raise QdpemError(f"rate_hz of a flow class is {self.rate_hz!r}; it must be 0 or more, and finite")
        if self.pairs < 1:
            raise QdpemError(f"pairs of a flow class is {self.pairs!r}; it must be 1 or more")
        for hops, pairs in self.options:
            if hops < 1 or not 0.0 < pairs < float("inf"):
                raise QdpemError(f"a flow option is {(hops, pairs)!r}; both numbers must be above 0")


def best_link_fidelity(network: Network, physics: PhysicsModel) -> float:
    """Fidelity of the best fresh pair that any link of the network makes."""
    return max(physics.fidelity(link.fresh) for link in network.links)


def hops_within(target_fidelity: float, plan: LinkPlan, *, limit: int, swap_weight: float = 1.0) -> int:
    """Most links, at most `limit`, that pairs of age zero may cross and still meet the target; 0 if none.

    Werner pairs: largest h with w^h s^(h-1) >= w_target, w = (4F - 1)/3 and s = `swap_weight`, the
    product law of swaps (Briegel et al. 1998, PRL 81, 5932, eq. 2). Other Bell-diagonal pairs: the same
    with 2F - 1 in place of w, because a swap gives F' = sum_i p_i q_i <= F_p F_q + (1 - F_p)(1 - F_q).
    With F the BEST link's fidelity this never forbids a path that could meet the target, so a bound built
    on it stays a bound; it is not one for states with coherence between Bell states, such as a relaxed
    pair that is swapped, whose best outcome may exceed it.

    >>> hops_within(0.9, LinkPlan(fidelity=0.98), limit=10)
    5
    """

    def weight(fidelity: float) -> float:
        return (4.0 * fidelity - 1.0) / 3.0 if plan.werner else 2.0 * fidelity - 1.0

    target, link = weight(target_fidelity), weight(plan.fidelity)
    reached, hops = link, 0
    while hops < limit and link > 0.0 and reached >= target * (1.0 - _ROUNDING):
        hops += 1
        reached *= link * swap_weight
    return hops


def mean_commodities(
    classes: Sequence[RequestClass],
    network: Network,
    weights: NDArray[np.float64],
    *,
    rate_hz: float,
    plans: Sequence[LinkPlan],
    swap_weight: float = 1.0,
) -> tuple[Commodity, ...]:
    """The mean demand as flow classes: one per unordered pair of nodes, set of options and pairs asked.

    `weights` float64 [N, N] is each ordered pair's share of `rate_hz` requests per second. `plans` must
    hold every plan alike on all links that the arms may use, with the BEST link's fidelity and the LEAST
    fresh pairs per link. What comes of it bounds what such plans can carry; plans that distil only some links
    of a path may carry more.
    """
    total = sum(one.fraction for one in classes)
    fractions: dict[tuple[tuple[DistillationOption, ...], int], float] = {}
    for one in classes:
        options = _options(one.target_fidelity, plans, limit=network.node_count - 1, swap_weight=swap_weight)
        fractions[options, one.pairs] = fractions.get((options, one.pairs), 0.0) + one.fraction / total
    both = rate_hz * np.triu(weights + weights.T, k=1)
    return tuple(
        Commodity(
            source=source,
            destination=destination,
            rate_hz=float(both[source, destination]) * fraction,
            options=options,
            pairs=pairs,
        )
        for source, destination in np.argwhere(both > 0.0).tolist()
        for (options, pairs), fraction in fractions.items()
    )


def _options(
    target_fidelity: float, plans: Sequence[LinkPlan], *, limit: int, swap_weight: float
) -> tuple[DistillationOption, ...]:
    """Each plan that reaches further than every cheaper one, cheapest first."""
    options: list[DistillationOption] = []
    for plan in sorted(plans, key=lambda plan: plan.pairs_per_link):
        hops = hops_within(target_fidelity, plan, limit=limit, swap_weight=swap_weight)
        if hops > max((option.max_hops for option in options), default=0):
            options.append(DistillationOption(hops, plan.pairs_per_link))
    return tuple(options)

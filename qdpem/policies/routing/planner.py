"""Path and plan of least expected delay, where stock may replace links or whole segments of a path.

Source: least expected completion time (`path_features`). The loss of fidelity that a path can bear is a
budget of Werner weights, which multiply along swapped Werner pairs (Briegel et al. 1998).
Knowledge: the map, a site's belief about backlogs, and the stock it observes.
Work: O(K x plans x hops) for each request; with stock, one look-up for each hop and end-to-end pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np

from qdpem.arrays import Flags, Floats
from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.network.path import Path
from qdpem.network.path_estimates import ASSUMED_WAIT_FRACTION
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.path_features import PathFeatureCache, PathFeatures
from qdpem.policies.routing.route_plan import RoutePlan, StockedPair
from qdpem.policies.routing.stocked_pairs import (
    StockByEnds,
    StockedLinks,
    stocked_hops,
    stocked_links,
    weight_of,
    with_scaled_weight,
)
from qdpem.policies.routing.virtual_links import VirtualLinks
from qdpem.policy.interface import Context

_CACHED_WAITS = 8192


@dataclass(frozen=True, kw_only=True)
class RouteQuery:
    """A request for a route from `source` to `destination`.

    `pairs`: pairs to deliver, each at `target_fidelity`. `slack_s`: seconds until the allocation expires,
    which bounds how long fresh pairs may wait beside stocked ones. `max_unloaded_delay_s` and
    `max_loaded_delay_s`: the largest admissible expected delay on an idle network and behind the present
    backlog.
    `idle_repeaters_only`: admit only paths whose repeaters have a token and no swap ahead.
    `max_source_backlog`: the largest admissible number of pairs ahead at each source of the path. Paths avoid
    what is `unavailable`.
    """

    source: int
    destination: int
    target_fidelity: float
    pairs: int = 1
    slack_s: float = 0.0
    max_unloaded_delay_s: float = np.inf
    max_loaded_delay_s: float = np.inf
    idle_repeaters_only: bool = False
    max_source_backlog: float = np.inf
    unavailable: Unavailable = ALL_AVAILABLE


class CostedRoute(NamedTuple):
    """A route with the numbers by which it was ranked.

    `cost_s`: expected delay plus weighted work. `unloaded_delay_s`: the expected delay on an idle network.
    `work_s`: source and repeater time of one pair. `fidelity`: believed, of the pairs delivered.
    """

    cost_s: float
    route: RoutePlan
    unloaded_delay_s: float
    work_s: float
    fidelity: float


class Planner:
    """Chooses paths and plans by expected delay; caches the path features of every pair of nodes it meets."""

    def __init__(
        self,
        context: Context,
        *,
        storage_fraction: float,
        resource_weight: float = 0.0,
        end_rounds: bool = False,
    ) -> None:
        """Create a planner for one run.

        Args:
            context: the map and its estimates.
            storage_fraction: assumed age of link pairs when they are swapped, as a fraction of the expected
                delay.
            resource_weight: seconds of delay accepted for each second of source and repeater time saved.
            end_rounds: whether a path may be distilled end to end where its links cannot reach the target.
        """
        self._context = context
        self._resource_weight = resource_weight
        self._storage_fraction = storage_fraction
        self._end_rounds = end_rounds
        idle = Backlog.idle(context.network)
        # Features compare by identity, so they are cheap keys.
        self._idle_waits = lru_cache(_CACHED_WAITS)(lambda features, pairs: features.waits(idle, pairs=pairs))
        self._unstocked_idle_delay_s = lru_cache(_CACHED_WAITS)(
            lambda features, pairs: features.delay_with_waits_s(self._idle_waits(features, pairs))
        )
        self._virtual_links = VirtualLinks(context)
        self._features = PathFeatureCache(context)

    def choose(
        self, query: RouteQuery, backlog: Backlog, *, stock: StockByEnds | None = None
    ) -> RoutePlan | None:
        """The admissible route of least cost that reaches the target, or None.

        The cost is expected delay + `resource_weight` x work. Link pairs are assumed to age
        `storage_fraction` of the expected delay. If no plan meets the target at that age, the cheapest that
        meets it with fresh pairs is taken. If there is none, and end rounds are allowed, the cheapest that
        meets it by distilling two pairs end to end is taken.

        Pairs in `stock` replace links and, with virtual-link pregeneration, a segment of a path, as far as
        their ageing allows within `query.slack_s`.
        """
        best = next(iter(self.alternatives(query, backlog, stock=stock, count=1)), None)
        return best.route if best is not None else None

    def alternatives(
        self, query: RouteQuery, backlog: Backlog, *, stock: StockByEnds | None = None, count: int
    ) -> list[CostedRoute]:
        """Up to `count` admissible routes that reach the target, the first of which `choose` returns.

        The others follow in order of cost: of the same paths with other rounds, and of other paths.
        """
        features = self._features.between(query.source, query.destination, query.unavailable)
        routes: list[CostedRoute] = []
        if features is not None:
            routes = list(islice(self._over_links(features, query, backlog, stock), count))
        if stock and self._context.pregeneration == "virtual-link":
            virtual = self._over_virtual_link(query, backlog, stock)
            if virtual is not None:
                # After routes of equal cost: links alone are the surer ones.
                routes.insert(sum(route.cost_s <= virtual.cost_s for route in routes), virtual)
        return routes[:count]

    def idle_delay_s(self, source: int, destination: int, *, pairs: int) -> float:
        """Expected time to make pairs over the quickest path of an idle network; inf without a path."""
        features = self._features.between(source, destination, ALL_AVAILABLE)
        return float(self._idle_delay_s(features, pairs)[0].min()) if features is not None else np.inf

    def least_work_s(self, source: int, destination: int) -> float:
        """Source and repeater time of one pair over the cheapest path, undistilled; inf without one."""
        features = self._features.between(source, destination, ALL_AVAILABLE)
        return float(features.work_s[0].min()) if features is not None else np.inf

    def _over_links(
        self, features: PathFeatures, query: RouteQuery, backlog: Backlog, stock: StockByEnds | None
    ) -> Iterator[CostedRoute]:
        if query.idle_repeaters_only and not features.repeaters_idle(backlog).any():
            return
        hops_in_stock = stocked_hops(features.paths, stock) if stock else None
        # A lower bound, with all stock used: paths that are too late even so need no budget of fidelity.
        bound_s = self._idle_delay_s(features, query.pairs, hops_in_stock)
        if (bound_s <= query.max_unloaded_delay_s).any():
            usable = None
            if stock and hops_in_stock is not None:
                considered = hops_in_stock & (bound_s[0] <= query.max_unloaded_delay_s)[:, None]
                usable = self._usable_stock(features, query, stock, considered)
            found = False
            for route in self._ranked_over_links(features, query, backlog, usable):
                found = True
                yield route
            if found:
                return
        if self._end_rounds and not query.idle_repeaters_only:
            distilled = self._distilled_end_to_end(features, query, backlog)
            if distilled is not None:
                yield distilled

    def _ranked_over_links(
        self, features: PathFeatures, query: RouteQuery, backlog: Backlog, usable: StockedLinks | None
    ) -> Iterator[CostedRoute]:
        """Routes by cost: those that reach the target at the assumed age, or else with fresh pairs."""
        stocked = usable.stocked if usable is not None else None
        delay_s = features.expected_delay_s(backlog, pairs=query.pairs, stocked=stocked)
        idle_s = self._idle_delay_s(features, query.pairs, stocked)
        work_s = features.work_s if stocked is None else features.work_with_stock_s(stocked)
        allowed = (idle_s <= query.max_unloaded_delay_s) & (delay_s <= query.max_loaded_delay_s)
        if query.idle_repeaters_only:
            allowed &= features.repeaters_idle(backlog)
        if query.max_source_backlog < np.inf:
            allowed &= features.sources_idle(backlog, pairs=query.max_source_backlog)
        if not allowed.any():
            return
        cost_s = np.where(allowed, delay_s + self._resource_weight * query.pairs * work_s, np.inf)
        order = _cheapest_first(cost_s)
        found = False
        for fraction in (self._storage_fraction, 0.0):
            for rounds, row in order:
                path, with_stock = features.paths[row], usable if rounds == 0 else None
                age_s = fraction * float(delay_s[rounds, row])
                fidelity = self._fidelity(path, rounds, age_s, with_stock, row)
                if fidelity < query.target_fidelity:
                    continue
                found = True
                fresh_pairs = features.fresh_pairs[rounds, row, : path.hops]
                stocked_pairs: tuple[StockedPair, ...] = ()
                if with_stock is not None:
                    fresh_pairs = np.where(with_stock.stocked[row, : path.hops], 0.0, fresh_pairs)
                    stocked_pairs = with_stock.pairs[row]
                route = RoutePlan(
                    path=path,
                    rounds=rounds,
                    expected_delay_s=float(delay_s[rounds, row]),
                    fresh_pairs=fresh_pairs,
                    stocked_pairs=stocked_pairs,
                )
                yield CostedRoute(
                    cost_s=float(cost_s[rounds, row]),
                    route=route,
                    unloaded_delay_s=float(idle_s[rounds, row]),
                    work_s=float(work_s[rounds, row]),
                    fidelity=fidelity,
                )
            if found:
                return

    def _idle_delay_s(self, features: PathFeatures, pairs: int, stocked: Flags | None = None) -> Floats:
        """Expected delay in an idle network, [3, K]; read-only, as it may come from a cache."""
        if stocked is None:
            unstocked_s: Floats = self._unstocked_idle_delay_s(features, pairs)
            return unstocked_s
        return features.delay_with_waits_s(self._idle_waits(features, pairs), stocked)

    def _usable_stock(
        self, features: PathFeatures, query: RouteQuery, stock: StockByEnds, considered: Flags
    ) -> StockedLinks | None:
        return stocked_links(
            features.paths,
            stock,
            considered,
            target_fidelity=query.target_fidelity,
            pairs=query.pairs,
            slack_s=query.slack_s,
            estimates=self._context.estimates,
        )

    def _fidelity(
        self, path: Path, rounds: int, age_s: float, usable: StockedLinks | None, row: int
    ) -> float:
        fidelity = self._context.estimates.fidelity(path, rounds=rounds, age_s=age_s)
        return fidelity if usable is None else with_scaled_weight(fidelity, usable.weight_factor[row])

    def _over_virtual_link(
        self, query: RouteQuery, backlog: Backlog, stock: StockByEnds
    ) -> CostedRoute | None:
        """The cheapest path over a stocked end-to-end pair that meets the target by the nodes' own rule."""
        best = None
        source, destination = query.source, query.destination
        for ends, paths in self._virtual_links.between(source, destination, stock, query.unavailable):
            features = paths.features
            idle_s = self._idle_delay_s(features, query.pairs)[0]
            in_time = np.flatnonzero(idle_s <= query.max_unloaded_delay_s).tolist()
            if not in_time:
                continue
            delay_s = features.expected_delay_s(backlog, pairs=query.pairs)[0]
            cost_s = delay_s + self._resource_weight * query.pairs * features.work_s[0]
            for row in in_time:
                # Compared before the fidelity, which is the expensive part.
                if best is not None and cost_s[row] >= best.cost_s:
                    continue
                wait_s = float(delay_s[row])
                age_s = max(ASSUMED_WAIT_FRACTION * query.slack_s, self._storage_fraction * wait_s)
                others = self._virtual_links.weight_without_stock(paths, row, age_s=age_s)
                usable = [
                    fidelity
                    for fidelity in sorted(stock[ends])
                    if others * self._virtual_links.aged_weight(ends, fidelity, wait_s)
                    >= weight_of(query.target_fidelity)
                ][: query.pairs]
                if len(usable) == query.pairs:
                    path = features.paths[row]
                    route = RoutePlan(
                        path=path,
                        expected_delay_s=wait_s,
                        fresh_pairs=features.fresh_pairs[0, row, : path.hops],
                        stocked_pairs=tuple((ends, fidelity) for fidelity in usable),
                    )
                    best = CostedRoute(
                        cost_s=float(cost_s[row]),
                        route=route,
                        unloaded_delay_s=float(idle_s[row]),
                        work_s=float(features.work_s[0, row]),
                        fidelity=query.target_fidelity,
                    )
        return best

    def _distilled_end_to_end(
        self, features: PathFeatures, query: RouteQuery, backlog: Backlog
    ) -> CostedRoute | None:
        """The cheapest plan that meets the target once two of its pairs are distilled end to end."""
        network, estimates = self._context.network, self._context.estimates
        round_s = network.distillation_time_s + np.array([path.delay_s for path in features.paths])
        # Twice the pairs, because one round takes two. `pairs_per_delivery` also counts failed rounds.
        pairs = 2 * query.pairs
        idle_s = self._idle_delay_s(features, pairs) + round_s
        in_time = idle_s <= query.max_unloaded_delay_s
        if not in_time.any():
            return None
        delay_s = features.expected_delay_s(backlog, pairs=pairs) + round_s
        cost_s = delay_s + self._resource_weight * pairs * features.work_s
        allowed = in_time & (delay_s <= query.max_loaded_delay_s)
        if not allowed.any():
            return None
        for rounds, row in _cheapest_first(np.where(allowed, cost_s, np.inf)):
            path, age_s = features.paths[row], self._storage_fraction * float(delay_s[rounds, row])
            fidelity, pairs_per_delivery = estimates.end_to_end(path, rounds=rounds, age_s=age_s)
            if fidelity >= query.target_fidelity:
                route = RoutePlan(
                    path=path,
                    rounds=rounds,
                    end_rounds=1,
                    expected_delay_s=float(delay_s[rounds, row]),
                    fresh_pairs=pairs_per_delivery * features.fresh_pairs[rounds, row, : path.hops],
                )
                return CostedRoute(
                    cost_s=float(cost_s[rounds, row]),
                    route=route,
                    unloaded_delay_s=float(idle_s[rounds, row]),
                    work_s=float(pairs_per_delivery * features.work_s[rounds, row]),
                    fidelity=fidelity,
                )
        return None


def _cheapest_first(cost_s: Floats) -> list[tuple[int, int]]:
    """(rounds, row) of all finite costs, the lowest first."""
    # Stable: of equal costs the fewest rounds, then the first path, comes first.
    order = np.argsort(cost_s.ravel(), kind="stable")[: np.isfinite(cost_s).sum()].tolist()
    return [divmod(index, cost_s.shape[1]) for index in order]

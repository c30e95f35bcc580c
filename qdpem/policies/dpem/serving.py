"""The decision about one pending request: wait, take it from stock, or make it, with what stock holds.

Pairs that are made take one path together, or separate paths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qdpem.arrays import Flags, Floats
from qdpem.network.outages import Unavailable
from qdpem.policies.dpem.feature_names import SERVE_FEATURES, columns
from qdpem.policies.dpem.scales import saturate, share
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.planner import CostedRoute, Planner, RouteQuery
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policies.routing.separate_paths import separate_routes
from qdpem.policies.routing.stocked_pairs import StockByEnds, stock_after, usable_pairs
from qdpem.policy.allocation import PendingRequest

ROUTES = 4
WAIT, STOCK, COMBINED, SEPARATE, FIRST_ROUTE = range(5)
OPTIONS = FIRST_ROUTE + ROUTES

_LARGEST_UNLOADED = 4.0
_LARGEST_LOADED = 8.0
"""Routes whose expected delay is a larger multiple of the time left are not offered."""

_COLUMN = columns(SERVE_FEATURES)


@dataclass(frozen=True, eq=False, kw_only=True)
class Offer:
    """The options of one request.

    `stocked`: pairs of the request that stock holds, for the options that combine stock and links.
    `combined`: the route of the rest. `separate`: routes of the rest over separate paths, and how many pairs
    take each.
    `routes`: those of the whole request.
    """

    features: Floats
    mask: Flags
    stocked: int
    combined: CostedRoute | None
    separate: list[tuple[RoutePlan, int]]
    routes: tuple[CostedRoute, ...]


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What all options of a request share.

    `reserved`: pairs that larger requests between the same nodes need. `ordered`: pairs between them that are
    being made for stock. `own` [3]: tokens, free memories and
    backlog of the site as features; `contention_weight` as a feature.
    """

    request: PendingRequest
    slack_s: float
    reserved: int
    ordered: int
    own: Floats
    contention_weight: float
    unavailable: Unavailable


class ServeOptions:
    """Offers the options of requests; has no memory."""

    def __init__(self, planner: Planner, *, fidelity_margin: float) -> None:
        self._planner = planner
        self._fidelity_margin = fidelity_margin

    def offer(self, situation: Situation, backlog: Backlog, stock: StockByEnds) -> Offer:
        """The options of one request; waiting is always allowed."""
        request = situation.request
        held = len(stock.get((request.source, request.destination), ()))
        usable = usable_pairs(request, stock, fidelity_margin=self._fidelity_margin)
        stocked = min(usable, request.pairs - 1)
        routes = self._routes(situation, request.pairs, backlog, stock, count=ROUTES)
        combined, left = None, stock
        if stocked:
            # Between neighbours a route could rely on the same stocked pairs once more.
            part = replace(request, pairs=stocked)
            left = stock_after(part, stock, fidelity_margin=self._fidelity_margin)
            rest = self._routes(situation, request.pairs - stocked, backlog, left, count=1)
            combined = rest[0] if rest else None
        separate, costed = self._separate(situation, request.pairs - stocked, backlog, left)
        mask = np.zeros(OPTIONS, dtype=np.bool_)
        mask[WAIT] = True
        mask[STOCK] = usable >= request.pairs
        mask[COMBINED] = combined is not None
        mask[SEPARATE] = bool(separate)
        mask[FIRST_ROUTE : FIRST_ROUTE + len(routes)] = True
        table = self._features(situation, held, stocked, combined, routes)
        if costed:
            self._describe_separate(table[SEPARATE], situation, costed)
        return Offer(
            features=np.clip(table, -1.0, 2.0),
            mask=mask,
            stocked=stocked,
            combined=combined,
            separate=separate,
            routes=tuple(routes),
        )

    def _separate(
        self, situation: Situation, pairs: int, backlog: Backlog, stock: StockByEnds
    ) -> tuple[list[tuple[RoutePlan, int]], list[CostedRoute]]:
        """Separate paths for two or more pairs, and what each pair was offered; empty without."""
        costed: list[CostedRoute] = []
        if pairs < 2 or situation.request.repeats:
            return [], costed

        def choose(ahead: Backlog, left: StockByEnds) -> RoutePlan | None:
            found = self._routes(situation, 1, ahead, left, count=1)
            costed.extend(found)
            return found[0].route if found else None

        routes = separate_routes(choose, pairs=pairs, backlog=backlog, stock=stock)
        return (routes, costed) if routes else ([], [])

    def _describe_separate(self, row: Floats, situation: Situation, costed: list[CostedRoute]) -> None:
        """Features of pairs over separate paths: those of the slowest, with the work of all."""
        slowest = max(costed, key=lambda route: route.route.expected_delay_s)
        self._describe(row, situation, slowest, 1, 0.0)
        row[_COLUMN["work"]] = saturate(sum(route.work_s for route in costed))

    def _routes(
        self, situation: Situation, pairs: int, backlog: Backlog, stock: StockByEnds, *, count: int
    ) -> list[CostedRoute]:
        request = situation.request
        query = RouteQuery(
            source=request.source,
            destination=request.destination,
            target_fidelity=request.target_fidelity,
            pairs=pairs,
            slack_s=situation.slack_s,
            max_unloaded_delay_s=_LARGEST_UNLOADED * situation.slack_s,
            max_loaded_delay_s=_LARGEST_LOADED * situation.slack_s,
            unavailable=situation.unavailable,
        )
        usable = None if request.repeats else stock
        return self._planner.alternatives(query, backlog, stock=usable, count=count)

    def _features(
        self,
        situation: Situation,
        held: int,
        stocked: int,
        combined: CostedRoute | None,
        routes: list[CostedRoute],
    ) -> Floats:
        """The features of all options, float64 [OPTIONS, F]."""
        request = situation.request
        table = np.zeros((OPTIONS, len(SERVE_FEATURES)))
        for option, name in zip(range(FIRST_ROUTE), SERVE_FEATURES, strict=False):
            table[option, _COLUMN[name]] = 1.0
        table[FIRST_ROUTE:, _COLUMN["route"]] = 1.0
        for option, taken in ((STOCK, request.pairs), (COMBINED, stocked), (SEPARATE, stocked)):
            left = held - taken
            table[option, _COLUMN["stock_left"]] = max(left, 0) / 4.0
            table[option, _COLUMN["reserved_lack"]] = max(situation.reserved - max(left, 0), 0) / 4.0
        if combined is not None:
            self._describe(table[COMBINED], situation, combined, request.pairs - stocked, 0.0)
        for rank, route in enumerate(routes):
            extra_s = route.cost_s - routes[0].cost_s
            self._describe(table[FIRST_ROUTE + rank], situation, route, request.pairs, extra_s)
            table[FIRST_ROUTE + rank, _COLUMN["rank"]] = rank / ROUTES
        # The time left of a request that waits for the controller's command can be below 0.
        table[:, _COLUMN["slack"]] = saturate(max(situation.slack_s, 0.0))
        table[:, _COLUMN["pairs"]] = request.pairs / 4.0
        table[:, _COLUMN["attempts"]] = min(request.attempts, 8) / 4.0
        table[:, _COLUMN["ordered"]] = min(situation.ordered, 8) / 4.0
        first = _COLUMN["own_tokens"]
        table[:, first : first + 3] = situation.own
        table[:, _COLUMN["contention_weight"]] = situation.contention_weight
        return table

    def _describe(
        self, row: Floats, situation: Situation, costed: CostedRoute, pairs: int, extra_s: float
    ) -> None:
        """Fill in the features of one route for `pairs` pairs, which costs `extra_s` more than the first."""
        route, slack_s = costed.route, max(situation.slack_s, 0.0)
        hops = route.path.hops
        row[_COLUMN["loaded_delay"]] = share(route.expected_delay_s, slack_s)
        row[_COLUMN["unloaded_delay"]] = share(costed.unloaded_delay_s, slack_s)
        row[_COLUMN["extra_cost"]] = share(extra_s, slack_s)
        row[_COLUMN["work"]] = saturate(pairs * costed.work_s)
        row[_COLUMN["hops"]] = hops / 4.0
        row[_COLUMN["rounds"]] = float(np.mean(route.rounds)) / 2.0 + route.end_rounds
        row[_COLUMN["stocked_hops"]] = float((route.fresh_pairs == 0.0).mean())
        margin = costed.fidelity - situation.request.target_fidelity
        row[_COLUMN["fidelity_margin"]] = 5.0 * margin
        waits_s = max(route.expected_delay_s - costed.unloaded_delay_s, 0.0)
        row[_COLUMN["token_wait"]] = share(waits_s, slack_s)

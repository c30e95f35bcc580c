"""The pairs of one request over separate paths: each pair over the path that is best behind the others.

A repeater that stores one token makes one swap at once, so that two pairs over the same path wait for each
other. Over separate paths they do not.
"""

from __future__ import annotations

from collections.abc import Callable

from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policies.routing.stocked_pairs import StockByEnds, remove_pairs

ChooseOne = Callable[[Backlog, StockByEnds], RoutePlan | None]
"""Chooses the route of one pair behind a backlog, with the stock that is left."""


def separate_routes(
    choose: ChooseOne, *, pairs: int, backlog: Backlog, stock: StockByEnds
) -> list[tuple[RoutePlan, int]] | None:
    """Routes and how many pairs take each; None if a pair finds none. Nothing given is changed.

    Args:
        choose: called once for each pair.
        pairs: pairs that are wanted.
        backlog: work ahead of the first pair.
        stock: ready pairs.
    """
    ahead, left = backlog.copy(), {ends: list(held) for ends, held in stock.items()}
    routes: list[tuple[RoutePlan, int]] = []
    for _ in range(pairs):
        route = choose(ahead, left)
        if route is None:
            return None
        # The next pair of the request waits behind this one.
        ahead.add(route)
        remove_pairs(left, route.stocked_pairs)
        same = _place(routes, route)
        if same is None:
            routes.append((route, 1))
        else:
            routes[same] = (_joined(routes[same][0], route), routes[same][1] + 1)
    return routes


def _place(routes: list[tuple[RoutePlan, int]], route: RoutePlan) -> int | None:
    """The place of the routes that has the same path and plan."""
    for place, (other, _) in enumerate(routes):
        if other.path.nodes == route.path.nodes and other.plan == route.plan:
            return place
    return None


def _joined(first: RoutePlan, second: RoutePlan) -> RoutePlan:
    """One route for pairs over the same path: the later delay, and the mean of the fresh pairs."""
    return RoutePlan(
        path=first.path,
        rounds=first.rounds,
        end_rounds=first.end_rounds,
        expected_delay_s=max(first.expected_delay_s, second.expected_delay_s),
        fresh_pairs=0.5 * (first.fresh_pairs + second.fresh_pairs),
        stocked_pairs=first.stocked_pairs + second.stocked_pairs,
    )

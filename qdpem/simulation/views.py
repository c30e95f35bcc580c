"""Views: what the sites asked now may know, as padded arrays, one row a site."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.policy.interface import CONTROLLER, Views
from qdpem.simulation.control import Desk
from qdpem.simulation.knowledge import Knowledge
from qdpem.simulation.outages import Outages
from qdpem.simulation.requests import Request
from qdpem.simulation.world import World

Flags = NDArray[np.bool_]
_REAL = {"target_fidelity", "deadline_s"}


def build_views(
    *, world: World, desk: Desk, knowledge: Knowledge, outages: Outages, awake: dict[int, int]
) -> Views:
    """The views of the sites in `awake` (site -> reason), in ascending order of site."""
    sites = sorted(awake)
    rows = np.array([0 if site == CONTROLLER else site for site in sites], dtype=np.int64)
    now_s = world.clock.now_s
    status, status_age_s = knowledge.status(rows, now_s)
    peer_source, peer_destination, peer_rate_hz = knowledge.peers(rows)
    return Views(
        time_s=now_s,
        site=np.array(sites, dtype=np.int64),
        reason=np.array([awake[site] for site in sites], dtype=np.int64),
        known=knowledge.known[rows],
        status=status,
        status_age_s=status_age_s,
        forecast=knowledge.forecast(rows),
        peer_source=peer_source,
        peer_destination=peer_destination,
        peer_rate_hz=peer_rate_hz,
        **outages.columns(rows),
        **_request_columns(world, sites),
        **_stock_columns(world, desk, sites, now_s),
    )


def _request_columns(world: World, sites: Sequence[int]) -> dict[str, NDArray[Any]]:
    """What waits at each site, in the order of arrival."""
    waiting = [world.requests.waiting.get(site, {}) for site in sites]
    requests = [request for kept in waiting for request in kept.values()]
    filled = _filled([len(kept) for kept in waiting])
    columns = {
        "id": [request.id for request in requests],
        "source": [request.source for request in requests],
        "destination": [request.destination for request in requests],
        "target_fidelity": [request.target_fidelity for request in requests],
        "pairs": [request.pairs - _had(request) for request in requests],
        "deadline_s": [request.deadline_s for request in requests],
        "application": [request.application for request in requests],
        "attempts": [request.attempts for request in requests],
        "standing": [request.standing for request in requests],
    }
    return {
        f"request_{name}": _placed(values, filled, np.nan if name in _REAL else -1)
        for name, values in columns.items()
    }


def _had(request: Request) -> int:
    return 0 if request.standing else len(request.held) + len(request.fidelities)


def _stock_columns(world: World, desk: Desk, sites: Sequence[int], now_s: float) -> dict[str, NDArray[Any]]:
    """What each site knows of its stock: pairs on the shelf, then those on order."""
    seen = world.stock.seen
    shelves = [
        [pair for shelf in (seen if site == CONTROLLER else [seen[site]]) for pair in shelf.values()]
        for site in sites
    ]
    ordered = [_ordered(desk, site) for site in sites]
    pairs = [pair for shelf in shelves for pair in shelf]
    counts = [len(shelf) for shelf in shelves]
    filled = _filled([kept + len(orders) for kept, orders in zip(counts, ordered, strict=True)])
    ready = filled & (np.arange(filled.shape[1]) < np.array(counts)[:, None])
    columns = {
        "id": _placed([pair.id for pair in pairs], ready, -1),
        "owner": _placed([pair.owner for pair in pairs], ready, -1),
        "partner": _placed([pair.first + pair.second - pair.owner for pair in pairs], ready, -1),
        "age_s": now_s - _placed([pair.born_s for pair in pairs], ready, np.nan),
        "fidelity": _placed(world.ledger.fidelities(pairs, now_s), ready, np.nan),
        "ready": ready.astype(np.int64),
    }
    awaited = filled & ~ready
    ends = [order for orders in ordered for order in orders]
    columns["owner"][awaited] = [first for first, _ in ends]
    columns["partner"][awaited] = [last for _, last in ends]
    columns["ready"][~filled] = -1
    return {f"stock_{name}": column for name, column in columns.items()}


def _ordered(desk: Desk, site: int) -> list[tuple[int, int]]:
    """Owner and partner of each pair that is on order."""
    orders = desk.stocking.get(site)
    if not orders:
        return []
    return [(order.path[0], order.path[-1]) for order in orders.values() for _ in range(order.pairs_left)]


def _filled(counts: Sequence[int]) -> Flags:
    """Which places [S, longest] hold something; at least one column wide."""
    return np.arange(max(1, *counts)) < np.array(counts)[:, None]


def _placed(values: Sequence[Any], places: Flags, rest: float) -> NDArray[Any]:
    """The values row by row in their places, float64 if `rest` is NaN and int64 otherwise."""
    kind = np.float64 if math.isnan(rest) else np.int64
    if len(values) == places.size:
        return np.array(values, dtype=kind).reshape(places.shape)
    column = np.full(places.shape, rest, dtype=kind)
    if values:
        column[places] = values
    return column

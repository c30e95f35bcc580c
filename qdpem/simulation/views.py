"""Views: what the sites asked now may know, as padded arrays, one row a site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.policy.interface import CONTROLLER, Views
from qdpem.simulation.control import Desk
from qdpem.simulation.knowledge import Knowledge
from qdpem.simulation.outages import Outages
from qdpem.simulation.pairs import Pair
from qdpem.simulation.requests import Request
from qdpem.simulation.world import World

_REQUEST = (
    "id",
    "source",
    "destination",
    "target_fidelity",
    "pairs",
    "deadline_s",
    "application",
    "attempts",
    "standing",
)
_STOCK = ("id", "owner", "partner", "age_s", "fidelity", "ready")
_REAL = {"target_fidelity", "deadline_s", "age_s", "fidelity"}


def build_views(
    *, world: World, desk: Desk, knowledge: Knowledge, outages: Outages, awake: dict[int, int]
) -> Views:
    """The views of the sites in `awake` (site -> reason), in ascending order of site."""
    sites = sorted(awake)
    rows = np.array([0 if site == CONTROLLER else site for site in sites], dtype=np.int64)
    now_s = world.clock.now_s
    status, status_age_s = knowledge.status(rows, now_s)
    peer_source, peer_destination, peer_rate_hz = knowledge.peers(rows)
    waiting = [_waiting_rows(world, site) for site in sites]
    stock = _stock_rows(world, desk, sites, now_s)
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
        **_padded("request", _REQUEST, waiting),
        **_padded("stock", _STOCK, stock),
    )


def _waiting_rows(world: World, site: int) -> list[tuple[Any, ...]]:
    waiting = world.requests.waiting.get(site)
    return [_request_row(request) for request in waiting.values()] if waiting else []


def _request_row(request: Request) -> tuple[Any, ...]:
    had = 0 if request.standing else len(request.held) + len(request.fidelities)
    return (
        request.id,
        request.source,
        request.destination,
        request.target_fidelity,
        request.pairs - had,
        request.deadline_s,
        request.application,
        request.attempts,
        request.standing,
    )


def _stock_rows(world: World, desk: Desk, sites: Sequence[int], now_s: float) -> list[list[tuple[Any, ...]]]:
    """What each site knows of its stock: pairs on the shelf, then those on order."""
    seen = world.stock.seen
    shelves = [
        [pair for shelf in (seen if site == CONTROLLER else [seen[site]]) for pair in shelf.values()]
        for site in sites
    ]
    fidelity = iter(world.ledger.fidelities([pair for shelf in shelves for pair in shelf], now_s))
    rows = [[_pair_row(pair, next(fidelity), now_s) for pair in shelf] for shelf in shelves]
    for site, kept in zip(sites, rows, strict=True):
        for reservation in desk.stocking.get(site, {}).values():
            path = reservation.path
            kept += [(-1, path[0], path[-1], np.nan, np.nan, 0)] * reservation.pairs_left
    return rows


def _pair_row(pair: Pair, fidelity: float, now_s: float) -> tuple[Any, ...]:
    partner = pair.first + pair.second - pair.owner
    return pair.id, pair.owner, partner, now_s - pair.born_s, fidelity, 1


def _padded(
    prefix: str, names: tuple[str, ...], rows: Sequence[Sequence[tuple[Any, ...]]]
) -> dict[str, NDArray[Any]]:
    """One array [S, longest] per name, padded with -1 or NaN; at least one column wide."""
    width = max(1, max(map(len, rows)))
    if len(rows) == 1 and rows[0]:
        return {
            f"{prefix}_{name}": np.array((values,), dtype=np.float64 if name in _REAL else np.int64)
            for name, values in zip(names, zip(*rows[0], strict=True), strict=True)
        }
    shape = (len(rows), width)
    arrays = {
        name: np.full(shape, np.nan) if name in _REAL else np.full(shape, -1, dtype=np.int64)
        for name in names
    }
    for line, row in enumerate(rows):
        if row:
            for name, values in zip(names, zip(*row, strict=True), strict=True):
                arrays[name][line, : len(row)] = values
    return {f"{prefix}_{name}": array for name, array in arrays.items()}

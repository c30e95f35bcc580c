"""Observation: what the sites asked now may know, as padded arrays, one row a site."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.policy.interface import CONTROLLER, Observation
from qdpem.simulation.control.control_plane import EPOCH, ControlPlane
from qdpem.simulation.control.outages import Outages
from qdpem.simulation.execution.reservations import Reservation
from qdpem.simulation.observation.reports import StateReports
from qdpem.simulation.resources.requests import Request
from qdpem.simulation.resources.state import SimulationState

Flags = NDArray[np.bool_]
_Values = Sequence[Any] | NDArray[Any]


def build_observation(
    *,
    state: SimulationState,
    control_plane: ControlPlane,
    reports: StateReports,
    outages: Outages,
    awake: dict[int, int],
) -> Observation:
    """The views of the sites in `awake` (site -> reason), in ascending order of site."""
    sites = sorted(awake)
    rows = np.array([0 if site == CONTROLLER else site for site in sites], dtype=np.int64)
    now_s = state.clock.now_s
    # Sites are woken for an epoch as its news is taken, and asked before anything else happens.
    status, status_age_s = reports.status(rows, now_s, at_epoch=EPOCH in awake.values())
    top_pair_source, top_pair_destination, top_pair_rate_hz = reports.peers(rows)
    return Observation(
        time_s=now_s,
        site=np.array(sites, dtype=np.int64),
        reason=np.array([awake[site] for site in sites], dtype=np.int64),
        observed_node=reports.known[rows],
        status=status,
        status_age_s=status_age_s,
        forecast=reports.forecast(rows),
        top_pair_source=top_pair_source,
        top_pair_destination=top_pair_destination,
        top_pair_rate_hz=top_pair_rate_hz,
        **outages.columns(rows),
        **_request_columns(state, sites),
        **_stock_columns(state, control_plane, sites, now_s),
    )


def _request_columns(state: SimulationState, sites: Sequence[int]) -> dict[str, NDArray[Any]]:
    """What waits at each site, in the order of arrival."""
    waiting = list(map(state.requests.waiting.get, sites))
    requests = [request for kept in waiting if kept for request in kept.values()]
    filled = _filled([len(kept) if kept else 0 for kept in waiting])
    whole = {
        "request_id": [request.id for request in requests],
        "request_source": [request.source for request in requests],
        "request_destination": [request.destination for request in requests],
        "request_pairs": [request.pairs - _had(request) for request in requests],
        "request_application": [request.application for request in requests],
        "request_attempts": [request.attempts for request in requests],
        "request_persistence": [request.persistence for request in requests],
    }
    real = {
        "request_target_fidelity": [request.target_fidelity for request in requests],
        "request_deadline_s": [request.deadline_s for request in requests],
    }
    return {**_placed(whole, filled, -1), **_placed(real, filled, math.nan)}


def _had(request: Request) -> int:
    return 0 if request.persistence else len(request.held) + len(request.fidelities)


def _stock_columns(
    state: SimulationState, control_plane: ControlPlane, sites: Sequence[int], now_s: float
) -> dict[str, NDArray[Any]]:
    """What each site knows of its stock: pairs on the shelf, then those on order."""
    seen = state.inventory.seen
    owners = range(len(seen)) if sites[0] == CONTROLLER else sites
    shelves = [seen[owner] for owner in owners]
    on_shelf = list(map(len, shelves))
    counts = [sum(on_shelf)] if sites[0] == CONTROLLER else on_shelf
    ordered = [_ordered(orders) if orders else () for orders in map(control_plane.stocking.get, sites)]
    filled = _filled([kept + len(orders) for kept, orders in zip(counts, ordered, strict=True)])
    ready = filled & (np.arange(filled.shape[1]) < np.array(counts)[:, None])
    sightings = chain.from_iterable(map(dict.values, shelves))
    ids, partners, births_s, pairs = zip(*sightings, strict=True) if any(on_shelf) else ((),) * 4
    whole: dict[str, _Values] = {
        "stock_id": ids,
        "stock_owner": np.repeat(owners, on_shelf),
        "stock_partner": partners,
    }
    real: dict[str, _Values] = {
        "stock_age_s": births_s,
        "stock_fidelity": state.ledger.fidelities(pairs, now_s),
    }
    columns = {**_placed(whole, ready, -1), **_placed(real, ready, math.nan)}
    columns["stock_age_s"] = now_s - columns["stock_age_s"]
    columns["stock_ready"] = np.where(filled, ready, -1)
    awaited = filled & ~ready
    ends = [order for orders in ordered for order in orders]
    columns["stock_owner"][awaited] = [first for first, _ in ends]
    columns["stock_partner"][awaited] = [last for _, last in ends]
    return columns


def _ordered(orders: dict[int, Reservation]) -> list[tuple[int, int]]:
    """Owner and partner of each pair that is on order."""
    return [(order.nodes[0], order.nodes[-1]) for order in orders.values() for _ in range(order.pairs_left)]


def _filled(counts: Sequence[int]) -> Flags:
    """Which places [S, longest] hold something; at least one column wide."""
    return np.arange(max(1, *counts)) < np.array(counts)[:, None]


def _placed(columns: Mapping[str, _Values], places: Flags, rest: float) -> dict[str, NDArray[Any]]:
    """The values of each column row by row in their places, float64 if `rest` is NaN and int64 otherwise."""
    kind = np.float64 if math.isnan(rest) else np.int64
    block = np.full((len(columns), places.size), rest, dtype=kind)
    found = places.ravel().nonzero()[0]
    if len(found):
        for row, values in zip(block, columns.values(), strict=True):
            row[found] = np.array(values, dtype=kind)
    return dict(zip(columns, block.reshape(-1, *places.shape), strict=True))

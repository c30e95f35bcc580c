"""Builds observations: what the sites asked now may know, as padded arrays with one row for each site."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags
from qdpem.policy.interface import CONTROLLER, Observation
from qdpem.simulation.control.control_plane import EPOCH, ControlPlane
from qdpem.simulation.control.outages import Outages
from qdpem.simulation.execution.reservations import Reservation
from qdpem.simulation.observation.reports import StateReports
from qdpem.simulation.resources.requests import Request
from qdpem.simulation.resources.state import SimulationState

_Values = Sequence[Any] | NDArray[Any]


def build_observation(
    *,
    state: SimulationState,
    control_plane: ControlPlane,
    reports: StateReports,
    outages: Outages,
    woken: dict[int, int],
) -> Observation:
    """The observation of the sites in `woken`, ascending.

    Args:
        state: the run's state.
        control_plane: orders of stock that are not fulfilled yet.
        reports: status, forecasts and top pairs.
        outages: what each site believes to be unavailable.
        woken: reason why each site is asked, an index into `events.tables.DecisionReason`.
    """
    sites = sorted(woken)
    # The arrays of reports have one row for each node, or one row for the controller.
    rows = np.array([0 if site == CONTROLLER else site for site in sites], dtype=np.int64)
    now_s = state.clock.now_s
    # Sites are woken for an epoch when its status is recorded, and asked before anything else happens.
    status, status_age_s = reports.status(rows, now_s, at_epoch=EPOCH in woken.values())
    top_pair_source, top_pair_destination, top_pair_rate_hz = reports.top_pairs(rows)
    return Observation(
        time_s=now_s,
        site=np.array(sites, dtype=np.int64),
        reason=np.array([woken[site] for site in sites], dtype=np.int64),
        observed_node=reports.known[rows],
        status=status,
        status_age_s=status_age_s,
        carried_count=reports.carried(rows),
        forecast=reports.forecasts.of_nodes(reports.known[rows]),
        **reports.forecasts.columns(rows, now_s),
        top_pair_source=top_pair_source,
        top_pair_destination=top_pair_destination,
        top_pair_rate_hz=top_pair_rate_hz,
        **outages.columns(rows),
        **_request_columns(state, sites),
        **_stock_columns(state, control_plane, sites, now_s),
    )


def _request_columns(state: SimulationState, sites: Sequence[int]) -> dict[str, NDArray[Any]]:
    """The requests that wait at each site, in the order in which they began to wait."""
    waiting = list(map(state.requests.waiting.get, sites))
    requests = [request for at_site in waiting if at_site for request in at_site.values()]
    filled = _filled([len(at_site) if at_site else 0 for at_site in waiting])
    whole = {
        "request_id": [request.id for request in requests],
        "request_source": [request.source for request in requests],
        "request_destination": [request.destination for request in requests],
        "request_pairs": [request.pairs - _obtained(request) for request in requests],
        "request_application": [request.application for request in requests],
        "request_attempts": [request.attempts for request in requests],
        "request_repeat_until_deadline": [request.repeat_until_deadline for request in requests],
    }
    real = {
        "request_target_fidelity": [request.target_fidelity for request in requests],
        "request_deadline_s": [request.deadline_s for request in requests],
    }
    return {**_padded(whole, filled, -1), **_padded(real, filled, math.nan)}


def _obtained(request: Request) -> int:
    """Pairs that need not be asked for again; a repeating request asks for as many each time."""
    return 0 if request.repeat_until_deadline else len(request.held) + len(request.fidelities)


def _stock_columns(
    state: SimulationState, control_plane: ControlPlane, sites: Sequence[int], now_s: float
) -> dict[str, NDArray[Any]]:
    """The stock that each site knows of: pairs in stock, then those on order."""
    reported = state.inventory.reported
    # The controller is the only site, and knows the stock of all owners.
    owners = range(len(reported)) if sites[0] == CONTROLLER else sites
    stocks = [reported[owner] for owner in owners]
    in_stock = list(map(len, stocks))
    counts = [sum(in_stock)] if sites[0] == CONTROLLER else in_stock
    ordered = [
        _ordered(orders) if orders else () for orders in map(control_plane.orders.stock_orders.get, sites)
    ]
    filled = _filled([count + len(orders) for count, orders in zip(counts, ordered, strict=True)])
    ready = filled & (np.arange(filled.shape[1]) < np.array(counts)[:, None])
    reported_pairs = chain.from_iterable(map(dict.values, stocks))
    ids, partners, births_s, pairs = zip(*reported_pairs, strict=True) if any(in_stock) else ((),) * 4
    whole: dict[str, _Values] = {
        "stock_id": ids,
        "stock_owner": np.repeat(owners, in_stock),
        "stock_partner": partners,
    }
    real: dict[str, _Values] = {
        "stock_age_s": births_s,
        "stock_fidelity": state.ledger.fidelities(pairs, now_s),
    }
    columns = {**_padded(whole, ready, -1), **_padded(real, ready, math.nan)}
    # Births were put in place of ages, to subtract all of them at once.
    columns["stock_age_s"] = now_s - columns["stock_age_s"]
    columns["stock_ready"] = np.where(filled, ready, -1)
    on_order = filled & ~ready
    ends = [pair for orders in ordered for pair in orders]
    # In row-major order, as `ends` lists them.
    columns["stock_owner"][on_order] = [first for first, _ in ends]
    columns["stock_partner"][on_order] = [last for _, last in ends]
    return columns


def _ordered(orders: dict[int, Reservation]) -> list[tuple[int, int]]:
    """Owner and partner of each pair that is on order."""
    return [
        (reservation.nodes[0], reservation.nodes[-1])
        for reservation in orders.values()
        for _ in range(reservation.pairs_left)
    ]


def _filled(counts: Sequence[int]) -> Flags:
    """Mask [S, width] whose row has `counts` true entries, then padding; at least one column wide."""
    return np.arange(max(1, *counts)) < np.array(counts)[:, None]


def _padded(columns: Mapping[str, _Values], filled: Flags, padding: float) -> dict[str, NDArray[Any]]:
    """The values of each column, row by row where `filled`; float64 if `padding` is NaN, else int64."""
    dtype = np.float64 if math.isnan(padding) else np.int64
    block = np.full((len(columns), filled.size), padding, dtype=dtype)
    indices = filled.ravel().nonzero()[0]
    if len(indices):
        for row, values in zip(block, columns.values(), strict=True):
            # All columns of a kind share one block and one index of the filled places.
            row[indices] = np.array(values, dtype=dtype)
    return dict(zip(columns, block.reshape(-1, *filled.shape), strict=True))

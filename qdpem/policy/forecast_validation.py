"""The rules that every forecast must keep, checked at each step of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qdpem.arrays import Floats
from qdpem.demand.peers import Peers
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.errors import ForecastError


def valid_forecast(
    forecast: Any, *, forecaster: str, time_s: float, names: Sequence[str], peers: Peers, steps: int
) -> ExpectedDemand:
    """A copy of `forecast`; ForecastError unless it keeps the rules of `Forecaster`.

    Args:
        forecast: the answer of the forecaster.
        forecaster: its name.
        time_s: now.
        names: of the N nodes.
        peers: of these nodes.
        steps: the horizon H.
    """
    where = f"forecaster {forecaster!r} at {time_s:.6g} s"
    if not isinstance(forecast, ExpectedDemand):
        raise ForecastError(f"{where} forecast {forecast!r:.60}; a forecast is an ExpectedDemand")
    shape = (*peers.destination.shape, steps)
    parts = {
        name: _numbers(getattr(forecast, name), where, name, shape) for name in ("scheduled", "unscheduled")
    }
    if not np.isnan(np.stack(list(parts.values()))).all():
        for name, values in parts.items():
            _require_sound(values, where, name, names, peers)
    return ExpectedDemand(**parts)


def _numbers(values: Any, where: str, name: str, shape: tuple[int, ...]) -> Floats:
    """The values as float64 of this shape."""
    try:
        # A copy, because the forecaster may go on working in its own array.
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if array.ndim == 0:
        raise ForecastError(
            f"{where} forecast {name} {values!r:.60}; it must be numbers of the shape {shape}"
        )
    if array.shape != shape:
        raise ForecastError(
            f"{where} forecast {name} of the shape {array.shape}; it must be {shape}: nodes, peers, steps"
        )
    return array


def _require_sound(values: Floats, where: str, name: str, names: Sequence[str], peers: Peers) -> None:
    """Raise ForecastError for a value that is not finite, negative, or for a peer that is not listed."""
    sound = np.isfinite(values) & (values >= 0.0)
    if not sound.all():
        node, place, step = np.argwhere(~sound)[0].tolist()
        raise ForecastError(
            f"{where} forecast {values[node, place, step]:g} {name} requests of node {names[node]!r} for its"
            f" peer {place} in step {step + 1}; a forecast must be finite and 0 or more, or NaN throughout"
        )
    nobody = (values > 0.0).any(axis=2) & ~peers.known
    if nobody.any():
        node, place = np.argwhere(nobody)[0].tolist()
        raise ForecastError(
            f"{where} forecast {name} requests of node {names[node]!r} for place {place}, which holds"
            " no peer; a forecast must be 0 there"
        )

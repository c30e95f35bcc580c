"""Forecasts during a run: the peers known so far, the forecaster's steps, and what sites see of them.

A forecast is made where decisions are made. With central control the controller forecasts the demand of every
node from the requests that have reached it, so that no message carries a forecast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.demand.arrivals import Arrivals
from qdpem.demand.peers import Peers, PeerTable
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.demand.requests import Requests
from qdpem.policy.forecast_validation import valid_forecast
from qdpem.policy.forecaster import Forecaster
from qdpem.policy.interface import Context


class Forecasts:
    """The forecaster of a run, its peers, and its latest forecast.

    Args:
        forecaster: reset for the run, and not yet fitted.
        context: of the policy: control and forecasting settings.
        arrivals: the requests before t = 0, to which the forecaster is fitted, and those of the run.
    """

    def __init__(self, forecaster: Forecaster, *, context: Context, arrivals: Arrivals) -> None:
        self._forecaster = forecaster
        self._name = str(getattr(forecaster, "name", type(forecaster).__name__))
        self._names = context.network.graph.node_names
        self._local = context.control == "local"
        self._horizon = context.forecasting.horizon_steps
        self._requests = arrivals.requests
        self._heard: list[int] = []
        self._table = PeerTable(nodes=context.network.node_count, max_peers=context.forecasting.max_peers)
        self._table.begin(arrivals.history)
        self._history_steps = arrivals.history_s / context.forecasting.step_s
        self._steps = 0
        self._unlisted = np.zeros(context.network.node_count)
        self._count_unlisted(arrivals.history)
        forecaster.fit(arrivals.history, self._table.peers)

    def count_request(self, request: int) -> None:
        """The site that decides has heard of one more request."""
        # Ids of a run count its requests from 0, so the id is the row.
        self._heard.append(request)

    def next_step(self, now_s: float) -> None:
        """A forecast step has ended: update the forecaster with what was heard in it, and ask it anew."""
        heard = self._requests.at(np.array(sorted(self._heard), dtype=np.int64))
        self._heard.clear()
        self._table.add(heard)
        self._steps += 1
        self._count_unlisted(heard)
        self._forecaster.update(heard, self._table.peers)
        self.ask(now_s)

    def ask(self, now_s: float) -> None:
        """Ask the forecaster now. Raises ForecastError for a forecast that breaks a rule."""
        peers = self._table.peers
        self.latest: ExpectedDemand = valid_forecast(
            self._forecaster.forecast(),
            forecaster=self._name,
            time_s=now_s,
            names=self._names,
            peers=peers,
            steps=self._horizon,
        )
        self.peers: Peers = peers
        self._made_s = now_s
        # A node may ask more peers than are listed: their requests are expected at their mean rate so far.
        unlisted = self._unlisted / max(self._history_steps + self._steps, 1.0)
        self.node_mean: NDArray[np.float64] = self.latest.mean.sum(axis=1) + unlisted[:, None]
        self._columns = self._peer_columns()

    def _count_unlisted(self, requests: Requests) -> None:
        """Count the requests of each node to peers that are not listed."""
        unlisted = self._table.peers.places(requests) < 0
        np.add.at(self._unlisted, requests.source[unlisted], 1.0)

    def of_nodes(self, known: NDArray[np.int64]) -> NDArray[np.float64]:
        """Expected requests per step [S, W, H] of the `known` nodes: a local site has its own only."""
        if not self._local:
            return self.node_mean[known]
        forecast = np.full((*known.shape, self._horizon), np.nan)
        forecast[:, 0] = self.node_mean[known[:, 0]]
        return forecast

    def columns(self, rows: NDArray[np.int64], now_s: float) -> dict[str, NDArray[Any]]:
        """The columns of an observation that hold the peers and forecasts of the sites in `rows`."""
        whole = self._local and len(rows) == len(self._names)
        # All sites in their order at every epoch: the same arrays serve all policies, which may only read.
        columns = {
            name: array if whole or not self._local else array[rows] for name, array in self._columns.items()
        }
        columns["forecast_age_s"] = np.where(columns["peer_destination"] >= 0, now_s - self._made_s, np.nan)
        return columns

    def _peer_columns(self) -> dict[str, NDArray[Any]]:
        """One row for each node, or one row of all their peers for the controller."""
        peers, latest = self.peers, self.latest
        nodes = np.arange(len(self._names))[:, None]
        columns = {
            "peer_source": np.where(peers.known, nodes, -1),
            "peer_destination": peers.destination,
            "peer_target_fidelity": peers.target_fidelity,
            "peer_pairs": peers.pairs,
            "peer_scheduled": latest.scheduled,
            "peer_unscheduled": latest.unscheduled,
        }
        if not self._local:
            known = peers.known
            columns = {name: array[known][None] for name, array in columns.items()}
        for array in columns.values():
            array.setflags(write=False)
        return columns

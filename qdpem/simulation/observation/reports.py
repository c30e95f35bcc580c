"""What sites may know: news in a ring by epoch read as old as its delay, forecasts, and who asks for whom.

Periodic news is no event: every epoch one row of status per node goes into a ring, and a reader finds
there the newest row whose message has had time to reach it. Its messages are counted arithmetically.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qdpem.demand.requests import Arrivals
from qdpem.policy.interface import ORDERED_PAIRS, STATUS_WIDTH, Context, Forecaster
from qdpem.simulation.control.control_plane import ControlPlane
from qdpem.simulation.observation.top_pairs import TopPairs, TopPairTable
from qdpem.simulation.resources.requests import Request
from qdpem.simulation.resources.state import SimulationState


class StateReports:
    """Status news, forecasts and demand counts, each only as far as a site may know them."""

    def __init__(
        self,
        *,
        state: SimulationState,
        control_plane: ControlPlane,
        context: Context,
        forecaster: Forecaster,
        arrivals: Arrivals,
        message_width: int,
    ) -> None:
        self._state = state
        self._control_plane = control_plane
        self._forecaster = forecaster
        self._epoch_s = context.plane.decision_epoch_s
        self._instant = context.plane.zero_delay and not control_plane.local
        nodes = state.network.node_count
        self.known, delay_s = _known(state, control_plane)
        self._own_attempts = [
            [state.attempts[link] for _, link in around if link in state.attempts]
            for around in state.network.neighbours
        ]
        self._unknown = self.known < 0
        # Where the book of each site's orders, laid flat, tells of the nodes it has news of.
        self._book_place = nodes * np.arange(len(self.known))[:, None] + np.maximum(self.known, 0)
        self._delay_s = delay_s
        depth = int(np.ceil(delay_s.max() / self._epoch_s - 1e-9)) + 2
        self._ring = np.zeros((depth, nodes, STATUS_WIDTH + message_width))
        self._epoch = -1
        self._said = np.zeros((nodes, message_width))
        self._peers = TopPairs(
            arrivals.history,
            nodes=nodes,
            started_s=-arrivals.history_s,
            min_s=self._epoch_s,
            local=control_plane.local,
        )
        self._step_counts = np.zeros(nodes, dtype=np.int64)
        horizon = context.forecasting.horizon_steps
        self._forecast = np.full((nodes, horizon), np.nan)

    def heard(self, request: Request) -> None:
        """The site that decides on it has heard of a request."""
        self._peers.heard(request.source, request.destination)
        self._step_counts[request.source] += 1

    def next_step(self) -> NDArray[np.float64]:
        """A forecast step has ended: update the forecaster and return its forecast [N, H]."""
        self._forecaster.update(self._step_counts.copy())
        self._step_counts[:] = 0
        return self.refresh_forecast()

    def refresh_forecast(self) -> NDArray[np.float64]:
        """Ask the forecaster now."""
        self._forecast = np.asarray(self._forecaster.forecast(), dtype=np.float64)
        self._peers.refresh(self._state.clock.now_s)
        return self._forecast

    def next_epoch(self) -> None:
        """Put every node's status of now into the ring, and count the messages that carry it."""
        self._epoch += 1
        row = self._ring[self._epoch % len(self._ring)]
        row[:, :ORDERED_PAIRS] = self._status_now()
        row[:, STATUS_WIDTH:] = self._said
        self._state.message_counter.send("report", hops=self._news_hops, extra_bytes=8 * self._said.shape[1])

    def say(self, sites: NDArray[np.int64], news: NDArray[np.float64]) -> None:
        """What sites want known of them from the next epoch on."""
        if self._control_plane.local:
            self._said[sites] = news

    def status(
        self, rows: NDArray[np.int64], now_s: float, *, at_epoch: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Status [S, W, width] known at site `rows`, and its age in seconds [S, W].

        A site knows itself as it is now; `at_epoch` nothing has happened since its status went into the ring.
        """
        known = self.known[rows]
        if self._instant:
            status = np.zeros((*known.shape, self._ring.shape[2]))
            status[:, :, :ORDERED_PAIRS] = self._status_now()[known]
            age_s = np.zeros(known.shape)
        else:
            delay_s = self._delay_s[rows]
            newest = np.floor((now_s - delay_s) / self._epoch_s + 1e-9).astype(np.int64)
            np.maximum(newest, max(self._epoch - len(self._ring) + 1, 0), out=newest)
            np.minimum(newest, max(self._epoch, 0), out=newest)
            depth, nodes, width = self._ring.shape
            status = self._ring.reshape(-1, width).take(newest % depth * nodes + known, axis=0)
            age_s = np.maximum(now_s - newest * self._epoch_s, 0.0)
            if self._control_plane.local and not at_epoch:
                status[:, 0, :ORDERED_PAIRS] = self._status_of(rows.tolist())
                age_s[:, 0] = 0.0
        ordered = self._control_plane.ordered.reshape(-1, 2).take(self._book_place[rows], axis=0)
        status[:, :, ORDERED_PAIRS:STATUS_WIDTH] = ordered
        unknown = self._unknown[rows]
        np.copyto(status, np.nan, where=unknown[:, :, None])
        np.copyto(age_s, np.nan, where=unknown)
        return status, age_s

    def forecast(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Forecast [S, W, H]: a local site's own demand, the controller's of all nodes."""
        known = self.known[rows]
        forecast = np.full((*known.shape, self._forecast.shape[1]), np.nan)
        if self._control_plane.local:
            forecast[:, 0] = self._forecast[known[:, 0]]
        else:
            forecast[:] = self._forecast[known]
        return forecast

    def peers(self, rows: NDArray[np.int64]) -> TopPairTable:
        """The pairs most asked for at site `rows`."""
        return self._peers.of(rows)

    @property
    def _news_hops(self) -> int:
        """Of the status of all nodes but those that are away."""
        network, silent = self._state.network, self._state.availability.nodes
        if self._control_plane.local:
            return 2 * network.link_count - sum(len(network.neighbours[node]) for node in silent)
        hops = network.hop_distance[self._control_plane.controller]
        return int(hops.sum() - hops[silent].sum())

    def _status_now(self) -> NDArray[np.float64]:
        status = self._status_of(range(self._state.network.node_count))
        status[self._state.availability.nodes] = np.nan
        return status

    def _status_of(self, nodes: Sequence[int]) -> NDArray[np.float64]:
        """What these nodes know of themselves now, [S, 4]."""
        state, now_s = self._state, self._state.clock.now_s
        free_at = state.memories.free_at
        repeaters = [state.repeaters[node] for node in nodes]
        queues = [len(state.sources[node].claims) for node in nodes]
        for place, node in enumerate(nodes):
            if self._own_attempts[node]:
                queues[place] += sum(len(link.claims) for link in self._own_attempts[node])
        columns = (
            [free_at[node] for node in nodes],
            [repeater.tokens(now_s) for repeater in repeaters],
            queues,
            [len(repeater.waiting) for repeater in repeaters],
        )
        return np.array(columns, dtype=np.float64).T


def _known(
    state: SimulationState, control_plane: ControlPlane
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Nodes each site has news of [sites, W], -1 where none, and the delay of that news in seconds."""
    network = state.network
    nodes = network.node_count
    if not control_plane.local:
        delays = np.array([control_plane.delay_to_controller_s(node) for node in range(nodes)])
        return np.arange(nodes)[None, :], delays[None, :]
    width = 1 + max((len(around) for around in network.neighbours), default=0)
    known = np.full((nodes, width), -1, dtype=np.int64)
    delay_s = np.zeros((nodes, width))
    for node, around in enumerate(network.neighbours):
        known[node, 0] = node
        for place, (neighbour, link) in enumerate(around, start=1):
            known[node, place] = neighbour
            delay_s[node, place] = network.delay_s[link]
    return known, delay_s

"""State reports: the status of nodes as others have heard it, forecasts, and the pairs most asked for.

Periodic reports are not simulated message by message. In every epoch, the status of each node goes into a
ring buffer. A reader takes from there the newest status whose report has had time to reach it. The messages
are counted, not scheduled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qdpem.demand.arrivals import Arrivals
from qdpem.policy.forecaster import Forecaster
from qdpem.policy.interface import ORDERED_PAIRS, STATUS_WIDTH, Context
from qdpem.simulation.control.control_plane import ControlPlane
from qdpem.simulation.observation.forecasts import Forecasts
from qdpem.simulation.observation.top_pairs import TopPairs, TopPairTable
from qdpem.simulation.resources.requests import Request
from qdpem.simulation.resources.state import SimulationState


class StateReports:
    """Status, forecasts and demand counts, each only as far as a site may know them.

    `known`, int64 [sites, W]: the nodes whose reports each site hears, itself first under local control, -1
    for padding.

    Args:
        state: the run's state.
        control_plane: knows which sites decide, and what they have ordered.
        context: of the policy: control settings and forecast horizon.
        forecaster: reset for the run; it is fitted to its history here.
        arrivals: the requests before t = 0 and those of the run.
        message_width: numbers that a policy adds to each report.
    """

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
        self._epoch_s = context.control_settings.decision_epoch_s
        # Only the controller is spared delays; under local control neighbours hear each other after theirs.
        self._instant = context.control_settings.zero_delay and not control_plane.local
        nodes = state.network.node_count
        self.known, delay_s = _report_delays(state, control_plane)
        self._own_attempts = [
            [state.attempts[link] for _, link in around if link in state.attempts]
            for around in state.network.neighbours
        ]
        self._unknown = self.known < 0
        # `OrderBook.ordered` is [sites, N, 2]. Flattened to [sites x N, 2], the row of a site and one of
        # its known nodes is N x site + node. Padding reads node 0 here, and is overwritten by NaN later.
        self._ordered_index = nodes * np.arange(len(self.known))[:, None] + np.maximum(self.known, 0)
        self._delay_s = delay_s
        # As many epochs as the longest delay spans, one for the present epoch, and one for rounding.
        depth = int(np.ceil(delay_s.max() / self._epoch_s - 1e-9)) + 2
        self._ring = np.zeros((depth, nodes, STATUS_WIDTH + message_width))
        self._epoch = -1
        self._messages = np.zeros((nodes, message_width))
        self._top_pairs = TopPairs(
            arrivals.history,
            nodes=nodes,
            started_s=-arrivals.history_s,
            min_s=self._epoch_s,
            local=control_plane.local,
        )
        self.forecasts = Forecasts(forecaster, context=context, arrivals=arrivals)

    def count_request(self, request: Request) -> None:
        """The site that decides on a request has heard of it."""
        self._top_pairs.count_request(request.source, request.destination)
        self.forecasts.count_request(request.id)

    def next_step(self) -> None:
        """A forecast step has ended: forecast anew, and rank the pairs most asked for anew.

        Raises ForecastError for a forecast that breaks a rule.
        """
        now_s = self._state.clock.now_s
        self.forecasts.next_step(now_s)
        self._top_pairs.refresh(now_s)

    def next_epoch(self) -> None:
        """Put the present status of every node into the ring, and count the messages that carry it."""
        self._epoch += 1
        row = self._ring[self._epoch % len(self._ring)]
        # The columns before ORDERED_PAIRS are what a node reports of itself. Those from there to
        # STATUS_WIDTH are the reader's own orders, filled in when it reads; messages of the policy follow.
        row[:, :ORDERED_PAIRS] = self._status_now()
        row[:, STATUS_WIDTH:] = self._messages
        self._state.message_counter.send(
            "report", hops=self._report_hops, extra_bytes=8 * self._messages.shape[1]
        )

    def set_messages(self, sites: NDArray[np.int64], messages: NDArray[np.float64]) -> None:
        """The numbers that these sites add to their reports from the next epoch on."""
        if self._control_plane.local:
            self._messages[sites] = messages

    def status(
        self, rows: NDArray[np.int64], now_s: float, *, at_epoch: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Status [S, W, width] as known at the sites in `rows`, and its age in seconds [S, W].

        A site knows its own present status. `at_epoch`: nothing has happened since it went into the ring.
        """
        known = self.known[rows]
        if self._instant:
            status = np.zeros((*known.shape, self._ring.shape[2]))
            status[:, :, :ORDERED_PAIRS] = self._status_now()[known]
            age_s = np.zeros(known.shape)
        else:
            delay_s = self._delay_s[rows]
            # Of the epochs whose reports have arrived by now, the newest that the ring still holds.
            newest = np.floor((now_s - delay_s) / self._epoch_s + 1e-9).astype(np.int64)
            np.maximum(newest, max(self._epoch - len(self._ring) + 1, 0), out=newest)
            np.minimum(newest, max(self._epoch, 0), out=newest)
            depth, nodes, width = self._ring.shape
            status = self._ring.reshape(-1, width).take(newest % depth * nodes + known, axis=0)
            age_s = np.maximum(now_s - newest * self._epoch_s, 0.0)
            if self._control_plane.local and not at_epoch:
                status[:, 0, :ORDERED_PAIRS] = self._status_of(rows.tolist())
                age_s[:, 0] = 0.0
        ordered = self._control_plane.orders.ordered.reshape(-1, 2).take(self._ordered_index[rows], axis=0)
        status[:, :, ORDERED_PAIRS:STATUS_WIDTH] = ordered
        unknown = self._unknown[rows]
        np.copyto(status, np.nan, where=unknown[:, :, None])
        np.copyto(age_s, np.nan, where=unknown)
        return status, age_s

    def carried(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Reservations of others that each local site has granted, by observed node, [S, W].

        -1 at the controller: it knows all reservations as its own orders.
        """
        if not self._control_plane.local:
            return np.full(self.known[rows].shape, -1)
        # `known` lists the node itself and then its neighbours, as the columns of `count` do.
        return self._state.carried.count.take(rows, axis=0)

    def top_pairs(self, rows: NDArray[np.int64]) -> TopPairTable:
        """The pairs most asked for at the sites in `rows`."""
        return self._top_pairs.of(rows)

    @property
    def _report_hops(self) -> int:
        """Links that the reports of one epoch travel; unavailable nodes send none."""
        network, unavailable = self._state.network, self._state.availability.unavailable_nodes
        if self._control_plane.local:
            return 2 * network.link_count - sum(len(network.neighbours[node]) for node in unavailable)
        hops = network.hop_distance[self._control_plane.controller]
        return int(hops.sum() - hops[unavailable].sum())

    def _status_now(self) -> NDArray[np.float64]:
        """The present status of all nodes, [N, 4]; NaN for those that are unavailable."""
        status = self._status_of(range(self._state.network.node_count))
        status[self._state.availability.unavailable_nodes] = np.nan
        return status

    def _status_of(self, nodes: Sequence[int]) -> NDArray[np.float64]:
        """The present status of these nodes, [S, 4]: the first columns of `Observation.status`."""
        state, now_s = self._state, self._state.clock.now_s
        free_at = state.memories.free_at
        repeaters = [state.repeaters[node] for node in nodes]
        queues = [len(state.sources[node].claims) for node in nodes]
        for row, node in enumerate(nodes):
            if self._own_attempts[node]:
                queues[row] += sum(len(link.claims) for link in self._own_attempts[node])
        columns = (
            [free_at[node] for node in nodes],
            [repeater.tokens(now_s) for repeater in repeaters],
            queues,
            [len(repeater.waiting) for repeater in repeaters],
        )
        return np.array(columns, dtype=np.float64).T


def _report_delays(
    state: SimulationState, control_plane: ControlPlane
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Nodes whose reports each site hears [sites, W], -1 for padding, and the delay of these in seconds."""
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
        for column, (neighbour, link) in enumerate(around, start=1):
            known[node, column] = neighbour
            delay_s[node, column] = network.delay_s[link]
    return known, delay_s

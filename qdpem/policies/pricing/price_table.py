"""The prices that nodes charge for a job at their repeater and source, and what other nodes know of them.

Source: price-based rate control of Gauthier, Vardoyan and Wehner (2023, arXiv:2309.02098), there for one
switch, here for all sources and repeaters of a network. A price that follows the queue as well as the rate,
against a target below capacity so that queues stay short, is that of Athuraliya, Low, Li and Yin (2001).
Work: O(N) for each site.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags, Floats
from qdpem.network.graph import Network
from qdpem.policy.interface import EMISSION_BACKLOG, STATUS_WIDTH, TOKEN_BACKLOG, TOKENS, Observation

REPEATER, SOURCE = range(2)
"""Columns of a price."""

_COUNT_TOLERANCE = 1e-6


class PriceTable:
    """Prices of all nodes: the own ones of each node, and its belief about those of all others.

    `own` float64 [N, 2]: price of a job at a node's repeater and source. `believed` [N, N, 2]: the first
    node's belief about the prices of the second. `last_seen` [N, 4]: for each node the time it last observed
    itself, and its tokens, waiting swaps and waiting pairs then; NaN before the first observation.
    """

    def __init__(
        self, network: Network, *, step_size: float, target_utilization: float, max_node_price: float
    ) -> None:
        """Start with all prices at 0.

        Args:
            network: the map.
            step_size: price for each second of work ahead.
            target_utilization: fraction of capacity up to which prices fall to 0.
            max_node_price: upper bound of every price.
        """
        nodes = network.node_count
        self._step_size, self._target_utilization, self._max_price = (
            step_size,
            target_utilization,
            max_node_price,
        )
        self._rate_hz = network.repeater_rate_hz
        self._burst = network.repeater_burst
        self._pair_time_s = network.pair_time_s
        self._hops = network.hop_distance
        self._around = [[node for node, _ in around] for around in network.neighbours]
        self._via = np.stack([self._nearest(site, None) for site in range(nodes)])
        self.own = np.zeros((nodes, 2))
        self.believed = np.zeros((nodes, nodes, 2))
        self.last_seen = np.full((nodes, 4), np.nan)

    def update(self, observations: Observation) -> Floats:
        """Update own and believed prices of the observing sites; their messages to neighbours, [S, 2 N]."""
        sites = observations.site
        self._update_own(observations)
        self._update_believed(observations)
        # Last, so that a neighbour's old message never replaces a node's knowledge of itself.
        self.believed[sites, sites] = self.own[sites]
        return self.believed[sites].reshape(len(sites), -1)

    def state(self) -> dict[str, NDArray[Any]]:
        """All prices and the last observations."""
        return {name: getattr(self, name).copy() for name in ("own", "believed", "last_seen")}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        for name in ("own", "believed", "last_seen"):
            setattr(self, name, np.array(state[name]))

    def _update_own(self, observations: Observation) -> None:
        """Price += step size x (seconds of work that arrived - target utilization x seconds that passed)."""
        sites, status = observations.site, observations.status[:, 0]
        tokens, swaps, pairs = status[:, TOKENS], status[:, TOKEN_BACKLOG], status[:, EMISSION_BACKLOG]
        last = self.last_seen[sites]
        # The first observation has no predecessor: NaN becomes 0, and prices stay at 0.
        elapsed_s = np.nan_to_num(observations.time_s - last[:, 0])
        rate_hz, job_s = self._rate_hz[sites], self._pair_time_s[sites]
        with np.errstate(divide="ignore", invalid="ignore"):
            # Refilled tokens that are not in the bucket were used, or overflowed a bucket that is full.
            used = np.floor(last[:, 1] + rate_hz * elapsed_s - tokens + _COUNT_TOLERANCE)
            used = np.where(
                (tokens >= self._burst) & (rate_hz * elapsed_s >= 1.0), 0.0, np.maximum(used, 0.0)
            )
            swap_work_s = (used + swaps - last[:, 2]) / rate_hz
            was_busy = 0.5 * ((pairs >= 1.0).astype(float) + (last[:, 3] >= 1.0))
            pair_work_s = (pairs - last[:, 3]) * job_s + was_busy * elapsed_s
        # Withdrawn claims lower the queue and with it the price. Without that the price would oscillate.
        arrived_s = np.stack([np.where(rate_hz > 0.0, swap_work_s, 0.0), pair_work_s], axis=1)
        excess_s = np.nan_to_num(arrived_s - self._target_utilization * elapsed_s[:, None])
        self.own[sites] = np.clip(self.own[sites] + self._step_size * excess_s, 0.0, self._max_price)
        self.last_seen[sites] = np.stack(
            [np.full(len(sites), observations.time_s), tokens, swaps, pairs], axis=1
        )

    def _update_believed(self, observations: Observation) -> None:
        """Take each node's price from the message of the neighbour nearest to it."""
        sites = observations.site
        via = self._via[sites]
        without_report = np.isnan(observations.status[:, :, TOKENS]) & (observations.observed_node >= 0)
        # An unavailable neighbour sends nothing, so the next nearest takes its place.
        for row in np.flatnonzero(without_report.any(axis=1)).tolist():
            via[row] = self._nearest(int(sites[row]), without_report[row])
        # Selected column by column: the messages are large, and one row of each is needed for a node.
        rows, columns = np.arange(len(sites))[:, None], STATUS_WIDTH + 2 * np.arange(via.shape[1])
        received = np.stack(
            [observations.status[rows, via, columns + kind] for kind in (REPEATER, SOURCE)], axis=2
        )
        known = (via > 0) & np.isfinite(received).all(axis=2)
        self.believed[sites] = np.where(
            known[:, :, None], np.clip(received, 0.0, self._max_price), self.believed[sites]
        )

    def _nearest(self, site: int, without_report: Flags | None) -> NDArray[np.int64]:
        """Column of `Observation.observed_node` of the neighbour nearest to each node, [N]; 0 without any."""
        around = self._around[site]
        distance = self._hops[around].astype(np.float64)
        if without_report is not None:
            distance[without_report[1 : len(around) + 1]] = np.inf
        if not np.isfinite(distance).any():
            return np.zeros(len(self._hops), dtype=np.int64)
        return np.asarray(distance.argmin(axis=0) + 1)

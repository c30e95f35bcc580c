"""A base for forecasters that read requests as counts per step and peer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats, Ints
from qdpem.demand.peers import Peers
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.demand.requests import Requests
from qdpem.policy.forecaster import ForecastContext

Counts = NDArray[np.int64]


class CountForecaster(ABC):
    """Turns the lists of requests into counts, and the means of a subclass into Poisson demand.

    A subclass writes `begin`, `fit_counts`, `update_counts` and `means`. A peer that becomes known during the
    run has counts of 0 before.
    """

    name: ClassVar[str]
    oracle: ClassVar[bool] = False
    context: ForecastContext

    def reset(self, context: ForecastContext) -> None:
        """Begin a run."""
        self.context = context
        self.begin()

    def fit(self, history: Requests, peers: Peers) -> None:
        """Learn from the counts of the history."""
        self.fit_counts(history_counts(history, peers, self.context))

    def update(self, requests: Requests, peers: Peers) -> None:
        """Count the requests of the step that just ended, whatever their times."""
        self.update_counts(step_counts(requests, peers))

    def forecast(self) -> ExpectedDemand:
        """A Poisson number of requests in each step, of the subclass's mean."""
        means = self.means()
        # NaN, no forecast, stays NaN.
        return ExpectedDemand(scheduled=0.0 * means, unscheduled=means)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Nodes, peers and steps of a forecast."""
        return self.context.node_count, self.context.max_peers, self.context.horizon_steps

    @abstractmethod
    def begin(self) -> None:
        """Forget everything; `context` is set."""

    @abstractmethod
    def fit_counts(self, history: Counts) -> None:
        """Learn from counts int64 [T, N, P]; the last row ends at t = 0 and T may be 0."""

    @abstractmethod
    def update_counts(self, counts: Counts) -> None:
        """Receive the counts [N, P] of the step that just ended."""

    @abstractmethod
    def means(self) -> Floats:
        """Expected requests of the next steps, float64 [N, P, H], 0 or more; NaN throughout for none."""


def history_counts(history: Requests, peers: Peers, context: ForecastContext) -> Counts:
    """Requests per step and peer before t = 0, int64 [T, N, P]; T is 0 for an empty history."""
    steps = context.history_steps if len(history) else 0
    return peers.counts(history, start_s=-steps * context.step_s, step_s=context.step_s, steps=steps)


def step_counts(requests: Requests, peers: Peers) -> Counts:
    """Requests per peer, int64 [N, P], whatever their times."""
    place = peers.places(requests)
    table = np.zeros(peers.destination.shape, dtype=np.int64)
    np.add.at(table, (requests.source[place >= 0], place[place >= 0]), 1)
    return table


def peer_events(requests: Requests, peers: Peers, context: ForecastContext) -> tuple[Ints, Floats]:
    """Row of the peer of each listed request among all N x P, and its time in steps."""
    place = peers.places(requests)
    listed = place >= 0
    row = requests.source[listed] * context.max_peers + place[listed]
    return row, requests.time_s[listed] / context.step_s

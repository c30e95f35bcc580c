"""The demand of one seed: its requests, the history before them, and the processes behind both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Floats
from qdpem.demand.peers import Peers
from qdpem.demand.processes.process import DemandProcess, ExpectedDemand
from qdpem.demand.requests import Requests


@dataclass(frozen=True, eq=False, kw_only=True)
class Arrivals:
    """The demand of one seed.

    `history` has time_s in [-history_s, 0), `requests` in [0, end_s). `Requests.process` counts `processes`.
    Only oracles may ask the processes.
    """

    requests: Requests
    history: Requests
    history_s: float
    processes: tuple[DemandProcess, ...]

    def expected(self, peers: Peers, *, now_s: float, edges_s: Floats) -> ExpectedDemand:
        """The demand of the mixture between `edges_s` [H + 1], for one who knows the processes at `now_s`."""
        return _sum(
            [process.expected(peers, now_s=now_s, edges_s=edges_s) for process in self.processes],
            shape=(*peers.destination.shape, len(edges_s) - 1),
        )

    def realised(self, peers: Peers, *, edges_s: Floats) -> ExpectedDemand:
        """The demand between `edges_s` [H + 1] given all but the Poisson draws."""
        return _sum(
            [process.realised(peers, edges_s=edges_s) for process in self.processes],
            shape=(*peers.destination.shape, len(edges_s) - 1),
        )


def _sum(parts: Sequence[ExpectedDemand], *, shape: tuple[int, ...]) -> ExpectedDemand:
    """The demand of all parts together, with the least spread that their scheduled means allow."""
    scheduled, unscheduled = np.zeros(shape), np.zeros(shape)
    for part in parts:
        scheduled += part.scheduled
        unscheduled += part.unscheduled
    return ExpectedDemand(scheduled=scheduled, unscheduled=unscheduled)

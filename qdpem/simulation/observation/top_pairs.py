"""Top pairs: the pairs of nodes that were requested most so far, as far as each site has heard."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdpem.demand.requests import Requests

_LOCAL_PAIRS = 6


class TopPairTable(NamedTuple):
    """Source, destination and mean rate [S, P], most requested first; -1 and NaN for padding."""

    source: NDArray[np.int64]
    destination: NDArray[np.int64]
    rate_hz: NDArray[np.float64]


class TopPairs:
    """Counts of requests by their ends since `started_s`, published by `refresh` and ranked when read.

    A local site knows of its own requests; the controller knows of all.

    Args:
        history: requests before t = 0, which count as well.
        nodes: number of nodes.
        started_s: when the history begins.
        min_s: shortest time over which rates are averaged.
        local: whether nodes decide, not the controller.
    """

    def __init__(self, history: Requests, *, nodes: int, started_s: float, min_s: float, local: bool) -> None:
        self._nodes = nodes
        self._started_s = started_s
        self._min_s = min_s
        self._local = local
        self._count = np.zeros((nodes, nodes))
        # `+=` with index arrays would count a pair that occurs several times only once.
        np.add.at(self._count, (history.source, history.destination), 1.0)
        self._published = np.empty_like(self._count)
        width = min(_LOCAL_PAIRS, nodes - 1) * (1 if local else nodes)
        shape = (nodes if local else 1, width)
        self._ranked = TopPairTable(
            np.full(shape, -1, dtype=np.int64), np.full(shape, -1, dtype=np.int64), np.full(shape, np.nan)
        )
        self._stale = np.ones(shape[0], dtype=np.bool_)
        self.refresh(0.0)

    def count_request(self, source: int, destination: int) -> None:
        """The site that decides has heard of one more request."""
        self._count[source, destination] += 1.0

    def refresh(self, now_s: float) -> None:
        """Sites see the counts of now until the next refresh."""
        np.copyto(self._published, self._count)
        self._elapsed_s = max(now_s - self._started_s, self._min_s)
        # Ranking is left to the first reader: a site that is not asked until the next refresh needs none.
        self._stale[:] = True

    def of(self, rows: NDArray[np.int64]) -> TopPairTable:
        """The pairs most requested at the sites in `rows`."""
        stale = rows[self._stale[rows]]
        if len(stale):
            self._rank(stale)
        ranked = self._ranked
        return TopPairTable(ranked.source[rows], ranked.destination[rows], ranked.rate_hz[rows])

    def _rank(self, rows: NDArray[np.int64]) -> None:
        """Rank anew for these sites; the others keep an old ranking until they are asked."""
        ranked = self._ranked
        table = self._published.reshape(len(self._stale), -1)[rows] / self._elapsed_s
        # Descending. The sort is stable, so equal rates keep the order of nodes on every machine.
        order = np.argsort(-table, axis=1, kind="stable")[:, : ranked.source.shape[1]]
        rate_hz = np.take_along_axis(table, order, axis=1)
        # The controller's table is flattened, with index N x source + destination.
        source = np.broadcast_to(rows[:, None], order.shape) if self._local else order // self._nodes
        requested = rate_hz > 0.0
        ranked.source[rows] = np.where(requested, source, -1)
        ranked.destination[rows] = np.where(requested, order % self._nodes, -1)
        ranked.rate_hz[rows] = np.where(requested, rate_hz, np.nan)
        self._stale[rows] = False

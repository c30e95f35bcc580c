"""What is remembered of the requests of each peer: the latest times, the number, and moving averages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats, Ints
from qdpem.forecasting.features.starts import REMEMBERED

SMOOTHING = np.array([0.25, 0.06, 0.015])
"""Weights of the last step in three moving averages of the counts."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RememberedRequests:
    """What is remembered of M peers.

    `times` [M, 32]: the last requests, NaN before the first one. `total`, `age` [M]: requests, and steps
    since the history began. `levels` [M, 3]: moving averages. `gap_variation` [M]: logarithm of the
    coefficient of variation of the gaps between `times`; 0 for random times, and for too few.
    """

    times: Floats
    total: Floats
    age: Floats
    levels: Floats
    gap_variation: Floats

    @classmethod
    def nothing(cls, peers: int) -> RememberedRequests:
        """The past of peers that have not asked."""
        return cls(
            times=np.full((peers, REMEMBERED), np.nan),
            total=np.zeros(peers),
            age=np.zeros(peers),
            levels=np.zeros((peers, len(SMOOTHING))),
            gap_variation=np.zeros(peers),
        )

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which peers have asked so far, bool [M]."""
        return np.asarray(self.total > 0.0)

    def with_step(self, peer: Ints, time: Floats) -> RememberedRequests:
        """The past one step later, with the requests of these peers at these ascending times."""
        counts = np.bincount(peer, minlength=len(self.total)).astype(np.float64)
        times, gap_variation = self.times, self.gap_variation
        if len(peer):
            times, gap_variation = _shifted(times, peer, time), gap_variation.copy()
            asked = np.flatnonzero(counts)
            gap_variation[asked] = _gap_variation(times[asked])
        levels = self.levels + SMOOTHING * (counts[:, None] - self.levels)
        # Until the first request the averages stand at the mean, which then is that of this step.
        total, age = self.total + counts, self.age + 1.0
        fresh = ~self.known & (counts > 0.0)
        levels[fresh] = np.maximum(SMOOTHING * counts[fresh, None], (total / age)[fresh, None])
        return RememberedRequests(
            times=times, total=total, age=age, levels=levels, gap_variation=gap_variation
        )


def _shifted(times: Floats, peer: Ints, time: Floats) -> Floats:
    """A copy of `times` [M, 32] with new times at the end of the rows of these peers."""
    times = times.copy()
    # Stable: the requests of one peer keep their order.
    order = np.argsort(peer, kind="stable")
    ranks = np.arange(len(peer)) - np.searchsorted(peer[order], peer[order])
    for rank in range(int(ranks.max()) + 1):
        rows = peer[order][ranks == rank]
        # A request that was heard of late keeps the order.
        latest = np.fmax(time[order][ranks == rank], times[rows, -1])
        times[rows, :-1] = times[rows, 1:]
        times[rows, -1] = latest
    return times


def _gap_variation(times: Floats) -> Floats:
    gaps = np.diff(times, axis=1)
    known = np.isfinite(gaps)
    count = known.sum(axis=1)
    gaps = np.where(known, gaps, 0.0)
    mean = gaps.sum(axis=1) / np.maximum(count, 1)
    square = np.where(known, (gaps - mean[:, None]) ** 2, 0.0).sum(axis=1) / np.maximum(count - 1, 1)
    variation = np.log(np.clip(np.sqrt(square) / np.maximum(mean, 1e-9), 0.02, 10.0))
    return np.where(count > 2, variation, 0.0)

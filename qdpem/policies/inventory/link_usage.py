"""What continuous generation learns of its neighbours' use, and what every node keeps with them.

Source: the update of Kolar et al. (2022, arXiv:2212.08806): at the end of every period each neighbour on a
path that was used gains a fixed step, "none" if none was, and all are divided by their sum.
What a node may learn of use is only this: the first links of the paths that its own requests were given, and
pairs of its own stock that are gone before their time. Those some path has taken, or they were given up to
make room for a live request or lost to an outage, which the node cannot tell apart. It is not told what runs
through it otherwise, nor of a pair that came and went between two looks.
Work: O(degree x quota) array elements for each site asked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdpem.network.graph import Network
from qdpem.policy.interface import Observation

Ints = NDArray[np.int64]
_EARLY_S = 1e-6


class LinkUsage:
    """What every node learns of the use of its neighbours, and what it keeps with them.

    D is the largest degree; a neighbour's place is its rank. `probability` float64 [N, D + 1]: of each neighbour,
    "none" last. `used` bool [N, D] in this period. `ordered_until_s` [N, D]: until when the pair on order
    would be kept, NaN without one; `barred_until_s` [N, D]: until when the neighbour is left alone.
    `kept_id`, `kept_place` int64 [N, Q], `kept_until_s` [N, Q]: pairs seen on the shelf. `period`, `epoch`
    int64 [N]: those last begun.
    """

    ARRAYS = (
        "probability",
        "used",
        "ordered_until_s",
        "barred_until_s",
        "kept_id",
        "kept_place",
        "kept_until_s",
        "period",
        "epoch",
    )

    def __init__(self, network: Network, *, learning_rate: float, back_off_s: float, quota: Ints) -> None:
        self._learning_rate, self._back_off_s = learning_rate, back_off_s
        nodes = network.node_count
        degree = [len(around) for around in network.neighbours]
        self.degree = max(1, *degree)
        self.place = np.full((nodes, nodes), -1)
        self.neighbour = np.full((nodes, self.degree), -1)
        self.probability = np.zeros((nodes, self.degree + 1))
        for node, around in enumerate(network.neighbours):
            for place, (other, _) in enumerate(around):
                self.place[node, other], self.neighbour[node, place] = place, other
            self.probability[node, : degree[node]] = self.probability[node, -1] = 1.0 / (degree[node] + 1)
        maximum = int(quota.max())
        self.used = np.zeros((nodes, self.degree), dtype=np.bool_)
        self.ordered_until_s = np.full((nodes, self.degree), np.nan)
        self.barred_until_s = np.full((nodes, self.degree), -np.inf)
        self.kept_id, self.kept_place = np.full((2, nodes, maximum), -1)
        self.kept_until_s = np.full((nodes, maximum), np.nan)
        self.period, self.epoch = np.full((2, nodes), -1)

    def look(self, observations: Observation) -> None:
        """What is new on the shelf, and what is gone from it before its time, which was of use."""
        sites = observations.site
        mine = observations.stock_owner == sites[:, None]
        place = np.where(mine, self.place[sites[:, None], np.maximum(observations.stock_partner, 0)], -1)
        ids = np.where((place >= 0) & (observations.stock_ready == 1), observations.stock_id, -1)
        kept = self.kept_id[sites]
        gone = (kept >= 0) & ~(kept[:, :, None] == ids[:, None, :]).any(axis=2)
        early = gone & (observations.time_s < self.kept_until_s[sites] - _EARLY_S)
        rows, columns = np.nonzero(early)
        self.used[sites[rows], self.kept_place[sites[rows], columns]] = True
        rows, columns = np.nonzero(gone)
        self.kept_id[sites[rows], columns] = -1
        new = (ids >= 0) & ~(ids[:, :, None] == kept[:, None, :]).any(axis=2)
        for row, column in np.argwhere(new).tolist():
            self._keep(int(sites[row]), int(place[row, column]), int(ids[row, column]))
        made = (place >= 0) & (observations.stock_ready == 0)
        pending = (np.where(made, place, -1)[:, :, None] == np.arange(self.degree)).any(axis=1)
        failed = ~pending & ~np.isnan(self.ordered_until_s[sites])
        rows, columns = np.nonzero(failed)
        self.barred_until_s[sites[rows], columns] = observations.time_s + self._back_off_s
        self.ordered_until_s[sites[rows], columns] = np.nan

    def may_order(self, site: int, place: int, now_s: float) -> bool:
        """Whether nothing is on order with a neighbour, and nothing has failed just now."""
        return bool(np.isnan(self.ordered_until_s[site, place]) and now_s >= self.barred_until_s[site, place])

    def _keep(self, site: int, place: int, pair: int) -> None:
        """The pair on order with a neighbour has come; there is one at most, so it is this one."""
        until_s = self.ordered_until_s[site, place]
        free = np.flatnonzero(self.kept_id[site] < 0)
        if np.isnan(until_s) or not len(free):
            return
        self.kept_id[site, free[0]], self.kept_place[site, free[0]] = pair, place
        self.kept_until_s[site, free[0]] = until_s
        self.ordered_until_s[site, place] = np.nan

    def learn(self, sites: Ints, period: int) -> None:
        """A period has ended: neighbours of use learning_rate, "none" if none was, and all are normalised."""
        sites = sites[self.period[sites] < period]
        gains = np.zeros((len(sites), self.degree + 1))
        gains[:, :-1] = self.used[sites]
        gains[:, -1] = ~self.used[sites].any(axis=1)
        probability = self.probability[sites] + self._learning_rate * gains
        started = self.period[sites] >= 0
        self.probability[sites] = np.where(
            started[:, None], probability / probability.sum(axis=1, keepdims=True), self.probability[sites]
        )
        self.used[sites] = False
        self.period[sites] = period

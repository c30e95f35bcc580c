"""Use of links and stock with each neighbour, as continuous generation learns them.

Source: the update of Kolar et al. (2022, arXiv:2212.08806). At the end of every period each neighbour on a
used path gains a fixed step, "none" gains it if none was used, and all are divided by their sum.

A node observes use in three ways: the first links of the paths that its own requests were given, the links of
other nodes' paths that run through it or end at it, and pairs of its own stock that disappear before they
expire. Such a pair was taken by some path, given up to make room for a request, or lost to an outage; the
node cannot distinguish these.

Work: O(degree x quota) array elements for each site.
"""

from __future__ import annotations

import numpy as np

from qdpem.arrays import Ints
from qdpem.network.graph import Network
from qdpem.policy.interface import Observation

_EARLY_S = 1e-6


class LinkUsage:
    """Probabilities, use, orders and stock of every node for each of its neighbours.

    D is the largest degree, Q the largest quota; a neighbour is identified by its rank among a node's
    neighbours. `probability` float64 [N, D + 1]: of each neighbour, "none" last. `used` bool [N, D]: in this
    period. `order_expires_s` [N, D]: expiry of the pair on order, NaN without an order. `backed_off_until_s`
    [N, D]: no order before this time. `stocked_id`, `stocked_rank` int64 [N, Q], `stocked_until_s` [N, Q]:
    pairs observed in stock. `carried` int64 [N, D]: other nodes' reservations over each link that were
    observed. `period`, `epoch` int64 [N]: the last ones that began.
    """

    ARRAYS = (
        "probability",
        "used",
        "order_expires_s",
        "backed_off_until_s",
        "stocked_id",
        "stocked_rank",
        "stocked_until_s",
        "carried",
        "period",
        "epoch",
    )

    def __init__(self, network: Network, *, learning_rate: float, back_off_s: float, quota: Ints) -> None:
        self._learning_rate, self._back_off_s = learning_rate, back_off_s
        nodes = network.node_count
        degree = [len(around) for around in network.neighbours]
        self.degree = max(1, *degree)
        self.rank = np.full((nodes, nodes), -1)
        self.neighbour = np.full((nodes, self.degree), -1)
        self.probability = np.zeros((nodes, self.degree + 1))
        for node, around in enumerate(network.neighbours):
            for rank, (other, _) in enumerate(around):
                self.rank[node, other], self.neighbour[node, rank] = rank, other
            self.probability[node, : degree[node]] = self.probability[node, -1] = 1.0 / (degree[node] + 1)
        max_quota = int(quota.max())
        self.used = np.zeros((nodes, self.degree), dtype=np.bool_)
        self.order_expires_s = np.full((nodes, self.degree), np.nan)
        self.backed_off_until_s = np.full((nodes, self.degree), -np.inf)
        self.stocked_id, self.stocked_rank = np.full((2, nodes, max_quota), -1)
        self.stocked_until_s = np.full((nodes, max_quota), np.nan)
        self.carried = np.zeros((nodes, self.degree), dtype=np.int64)
        self.period, self.epoch = np.full((2, nodes), -1)

    def observe(self, observations: Observation) -> None:
        """Find used pairs, new pairs and failed orders since each site's last observation."""
        sites = observations.site
        # The columns of neighbours follow that of the site itself, in the order of ranks.
        carried = np.maximum(observations.carried_count[:, 1:], 0)
        self.used[sites] |= carried > self.carried[sites]
        self.carried[sites] = carried
        own = observations.stock_owner == sites[:, None]
        # Padding of -1 is read as node 0 and masked by `own`.
        rank = np.where(own, self.rank[sites[:, None], np.maximum(observations.stock_partner, 0)], -1)
        ids = np.where((rank >= 0) & (observations.stock_ready == 1), observations.stock_id, -1)
        stocked = self.stocked_id[sites]
        self._remove_gone(observations, ids, stocked)
        new = (ids >= 0) & ~(ids[:, :, None] == stocked[:, None, :]).any(axis=2)
        for row, column in np.argwhere(new).tolist():
            self._add(int(sites[row]), int(rank[row, column]), int(ids[row, column]))
        # Last, because `_add` ends the orders that succeeded: the others have failed or are being made.
        self._pause_failed_orders(observations, np.where(observations.stock_ready == 0, rank, -1))

    def may_order(self, site: int, rank: int, now_s: float) -> bool:
        """Whether nothing is on order with a neighbour, and no order has just failed."""
        return bool(
            np.isnan(self.order_expires_s[site, rank]) and now_s >= self.backed_off_until_s[site, rank]
        )

    def end_period(self, sites: Ints, period: int) -> None:
        """Update the probabilities of sites that have not begun `period`, and begin it.

        Used neighbours gain `learning_rate`, "none" gains it if none was used, and all are normalised.
        """
        sites = sites[self.period[sites] < period]
        gains = np.zeros((len(sites), self.degree + 1))
        gains[:, :-1] = self.used[sites]
        gains[:, -1] = ~self.used[sites].any(axis=1)
        probability = self.probability[sites] + self._learning_rate * gains
        # A site's first period has no predecessor to learn from.
        started = self.period[sites] >= 0
        self.probability[sites] = np.where(
            started[:, None], probability / probability.sum(axis=1, keepdims=True), self.probability[sites]
        )
        # A new period begins: its use is counted from zero.
        self.used[sites] = False
        self.period[sites] = period

    def _remove_gone(self, observations: Observation, ids: Ints, stocked: Ints) -> None:
        """Remove pairs that are no longer in stock; those that left before their expiry were used."""
        sites = observations.site
        gone = (stocked >= 0) & ~(stocked[:, :, None] == ids[:, None, :]).any(axis=2)
        # Expiry events and observations may differ by rounding.
        early = gone & (observations.time_s < self.stocked_until_s[sites] - _EARLY_S)
        rows, columns = np.nonzero(early)
        self.used[sites[rows], self.stocked_rank[sites[rows], columns]] = True
        rows, columns = np.nonzero(gone)
        self.stocked_id[sites[rows], columns] = -1

    def _add(self, site: int, rank: int, pair: int) -> None:
        """The pair on order with a neighbour is ready. There is at most one order, so it is this pair."""
        expires_s = self.order_expires_s[site, rank]
        free = np.flatnonzero(self.stocked_id[site] < 0)
        if np.isnan(expires_s) or not len(free):
            return
        self.stocked_id[site, free[0]], self.stocked_rank[site, free[0]] = pair, rank
        self.stocked_until_s[site, free[0]] = expires_s
        # On order becomes in stock: the neighbour may be ordered from again.
        self.order_expires_s[site, rank] = np.nan

    def _pause_failed_orders(self, observations: Observation, ordered_rank: Ints) -> None:
        """Orders that are neither ready nor being made have failed: pause before the next one."""
        sites = observations.site
        pending = (ordered_rank[:, :, None] == np.arange(self.degree)).any(axis=1)
        failed = ~pending & ~np.isnan(self.order_expires_s[sites])
        rows, columns = np.nonzero(failed)
        self.backed_off_until_s[sites[rows], columns] = observations.time_s + self._back_off_s
        # On order becomes failed.
        self.order_expires_s[sites[rows], columns] = np.nan

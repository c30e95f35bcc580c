"""Base stock of link pairs: emissions that no request needs are kept for the next path over the link.

Source: aged link stock, as in continuous generation (Kolar et al. 2022; Inesta and Wehner 2023), here
order-up-to a constant level for each link. A pair is ordered only while both its sources have nothing else to
do and both ends have free memories to spare, and it yields to any pending request. The map assigns one owner
to every link, so that neighbours that order for each other do not exceed their quotas for remote storage. Of
the links below their level, the one with least stock is ordered first.
Knowledge: the map, own (local) or all (central) stock and status, reports of outages.
Work: O(links x stock) array elements an epoch; one order for each node and call.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats, Ints
from qdpem.network.graph import Network
from qdpem.network.outages import Unavailable
from qdpem.network.path import path_along
from qdpem.policies.inventory.parameters import StockParameters
from qdpem.policies.inventory.stock_levels import MAX_STORAGE_S
from qdpem.policy.interface import (
    CONTROLLER,
    EMISSION_BACKLOG,
    FREE_MEMORIES,
    ORDERED_PAIRS,
    Allocation,
    Context,
    Observation,
)

_ABOVE_ANY_STOCK = 1_000_000


def link_stock_levels(network: Network, *, max_level: int, quota_fraction: float = 1.0) -> Ints:
    """Order-up-to levels of link pairs, int64 [N, N] owner by partner; at most one end owns those of a link.

    Each link gets up to `max_level`, and every link gets its first pair before any gets a second. Links are
    assigned one after the other to the end whose partner has more of its quota for remote storage left for
    each of its links that is not yet assigned. A link whose ends have no quota left gets none.
    """
    quota = np.floor(quota_fraction * network.remote_storage_quota * network.memories).astype(np.int64)
    level = np.zeros((network.node_count, network.node_count), dtype=np.int64)
    if max_level < 1:
        return level
    unassigned = np.bincount(network.graph.link_ends.ravel(), minlength=network.node_count)
    owners = []
    for first, second in network.graph.link_ends.tolist():
        owner, partner = first, second
        # quota / unassigned compared by cross-multiplication, in exact integers and without division by 0.
        if quota[first] * unassigned[second] > quota[second] * unassigned[first]:
            owner, partner = second, first
        owners.append((owner, partner))
        level[owner, partner] = min(1, quota[partner])
        quota[partner] -= level[owner, partner]
        unassigned[[first, second]] -= 1
    for _ in range(1, max_level):
        for owner, partner in owners:
            if quota[partner] > 0:
                level[owner, partner] += 1
                quota[partner] -= 1
    return level


class LinkStock:
    """Orders link pairs up to the levels of their owners.

    `ordered_s` float64 [N, N], owner by partner, is the time of each last order. `level` int64 [N, N]: pairs
    kept or on order; a policy may lower and raise it up to `max_level`.
    """

    def __init__(self, context: Context, *, parameters: StockParameters) -> None:
        self._context = context
        self._parameters = parameters
        nodes = context.network.node_count
        self.ordered_s = np.full((nodes, nodes), -np.inf)
        self.max_level = link_stock_levels(
            context.network,
            max_level=parameters.link_base_stock_level,
            quota_fraction=parameters.link_quota_fraction,
        )
        self.level = self.max_level.copy()
        self._owner, self._partner = self.max_level.nonzero()
        self._lives_s = np.full(context.network.link_count, np.nan)

    def orders(self, observations: Observation) -> list[Allocation]:
        """Orders of the observing sites, at most one for each node."""
        if not len(self._owner):
            return []
        wanted = (
            self._wanted_by_controller(observations)
            if observations.site[0] == CONTROLLER
            else self._wanted_by_sites(observations)
        )
        orders = [
            self._order(owner, partner, observations.time_s, unavailable)
            for owner, partner, unavailable in wanted
        ]
        return [order for order in orders if order is not None]

    def _wanted_by_sites(self, observations: Observation) -> Iterator[tuple[int, int, Unavailable]]:
        """Of each site its link with least stock among those that it may order, as owner and partner."""
        neighbours, idle = observations.observed_node[:, 1:], self._is_idle(observations.status)
        rows, columns = ((neighbours >= 0) & idle[:, :1] & idle[:, 1:]).nonzero()
        owner, partner = observations.site[rows], neighbours[rows, columns]
        on_hand = (observations.stock_partner[rows] == partner[:, None]).sum(axis=1)
        allowed = self._may_order(owner, partner, on_hand, observations.time_s)
        # Links that may not be ordered never win the argmin.
        stock = np.full(neighbours.shape, _ABOVE_ANY_STOCK)
        stock[rows[allowed], columns[allowed]] = on_hand[allowed]
        lowest = stock.argmin(axis=1)
        for row in np.unique(rows[allowed]).tolist():
            site, neighbour = int(observations.site[row]), int(neighbours[row, lowest[row]])
            yield site, neighbour, observations.unavailable(row)

    def _wanted_by_controller(self, observations: Observation) -> Iterator[tuple[int, int, Unavailable]]:
        """Links in order of stock, as owner and partner, each node at most once."""
        nodes, owner, partner = self._context.network.node_count, self._owner, self._partner
        owned = observations.stock_owner[0] >= 0
        pairs = observations.stock_owner[0][owned] * nodes + observations.stock_partner[0][owned]
        on_hand = np.bincount(pairs, minlength=nodes * nodes)[owner * nodes + partner]
        idle = np.zeros(nodes, dtype=np.bool_)
        idle[observations.observed_node[0]] = self._is_idle(observations.status)[0]
        allowed = self._may_order(owner, partner, on_hand, observations.time_s) & idle[owner] & idle[partner]
        links = np.flatnonzero(allowed)
        unavailable = observations.unavailable()
        # Stable: links with equal stock keep the order of the map.
        for link in links[np.argsort(on_hand[links], kind="stable")].tolist():
            ends = int(owner[link]), int(partner[link])
            if idle[list(ends)].all():
                # The order occupies both sources, so neither takes part in another one.
                idle[list(ends)] = False
                yield (*ends, unavailable)

    def _may_order(self, owner: Ints, partner: Ints, on_hand: Ints, now_s: float) -> NDArray[np.bool_]:
        since_s = self.ordered_s[owner, partner] + self._parameters.min_reorder_interval_s
        return np.asarray((on_hand < self.level[owner, partner]) & (now_s >= since_s))

    def _is_idle(self, status: Floats) -> NDArray[np.bool_]:
        """Nodes with memories to spare and no backlog at the source; False without a report."""
        # fmax ignores one NaN; if both are NaN the comparison below is False.
        backlog = np.fmax(status[:, :, EMISSION_BACKLOG], status[:, :, ORDERED_PAIRS])
        return (backlog <= self._parameters.max_link_backlog) & (
            status[:, :, FREE_MEMORIES] >= self._parameters.min_free_memories
        )

    def _order(self, owner: int, partner: int, now_s: float, unavailable: Unavailable) -> Allocation | None:
        network, parameters = self._context.network, self._parameters
        link = network.link_between[owner, partner]
        life_s, rate_hz = self.life_s(link), float(network.link_rate_hz[link])
        if life_s < parameters.min_lifetime_s or not rate_hz > 0.0:
            return None
        if unavailable.affects((owner, partner), (link,)):
            return None
        # The interval runs from here even if the order is refused.
        self.ordered_s[owner, partner] = now_s
        return Allocation(
            source=owner,
            destination=partner,
            target_fidelity=parameters.link_fidelity,
            path=(owner, partner),
            expires_s=now_s + 1.0 / rate_hz + life_s,
            purpose="stock",
        )

    def life_s(self, link: int) -> float:
        """Seconds for which a pair of this link is kept."""
        if np.isnan(self._lives_s[link]):
            network = self._context.network
            path = path_along(network, tuple(network.graph.link_ends[link].tolist()))
            life_s = self._context.estimates.useful_life_s(path, self._parameters.link_fidelity)
            self._lives_s[link] = min(life_s, MAX_STORAGE_S)
        return float(self._lives_s[link])

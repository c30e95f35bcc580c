"""Base stock of link pairs: what a source would emit for nobody is kept for the next path over the link.

Source: aged elementary stock, as in continuous generation (Kolar et al. 2022; Inesta and Wehner 2023), here
order-up-to a constant per link. A pair is ordered only while both its sources have nothing else to do and
both ends have qubits to spare, and it yields to any live request. Every link has one keeper, by the map
alone, so that what two neighbours order for each other does not exceed their quotas for foreign stock. Of
what is short, the link with least stock goes first.
Knowledge: the map, own (local) or all (central) stock and status, news of outages.
Work: O(links x stock) array elements an epoch; one order a node and call.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qdpem.network.graph import Network
from qdpem.network.outages import Unavailable
from qdpem.network.routing import Path
from qdpem.policies.inventory.base_stock import BaseStockParameters
from qdpem.policy.interface import (
    CONTROLLER,
    EMISSION_BACKLOG,
    FREE_MEMORIES,
    ORDERED_PAIRS,
    Allocation,
    Context,
    Floats,
    Ints,
    Observation,
)

_LONGEST_LIFE_S = 3600.0
_MANY = 1_000_000


def keepers(network: Network, *, maximum: int) -> Ints:
    """Who keeps how many link pairs of whom: int64 [N, N], owner by partner, 0 where none.

    Up to `maximum` for each link; the first of each is given before a second of any. One after another the
    links go to the end whose partner has more of its quota for foreign stock left for each link that is yet
    to be given; a link for which neither has room has no keeper.
    """
    spare = np.floor(network.remote_storage_quota * network.memories).astype(np.int64)
    kept = np.zeros((network.node_count, network.node_count), dtype=np.int64)
    if maximum < 1:
        return kept
    waiting = np.bincount(network.graph.link_ends.ravel(), minlength=network.node_count)
    owners = []
    for first, second in network.graph.link_ends.tolist():
        owner, partner = first, second
        if spare[first] * waiting[second] > spare[second] * waiting[first]:
            owner, partner = second, first
        owners.append((owner, partner))
        kept[owner, partner] = min(1, spare[partner])
        spare[partner] -= kept[owner, partner]
        waiting[[first, second]] -= 1
    for _ in range(1, maximum):
        for owner, partner in owners:
            if spare[partner] > 0:
                kept[owner, partner] += 1
                spare[partner] -= 1
    return kept


class LinkStock:
    """Orders link pairs; remembers when it last did so, float64 [N, N], owner by partner."""

    def __init__(self, context: Context, *, rule: BaseStockParameters) -> None:
        self._context = context
        self._rule = rule
        nodes = context.network.node_count
        self.ordered_s = np.full((nodes, nodes), -np.inf)
        self._level = keepers(context.network, maximum=rule.link_base_stock_level)
        self._owner, self._partner = self._level.nonzero()
        self._lives_s = np.full(context.network.link_count, np.nan)

    def orders(self, observations: Observation) -> list[Allocation]:
        """Orders of the sites asked now, at most one for each node that takes part."""
        if not len(self._owner):
            return []
        wanted = (
            self._of_controller(observations)
            if observations.site[0] == CONTROLLER
            else self._of_sites(observations)
        )
        made = [
            self._order(owner, partner, observations.time_s, unavailable)
            for owner, partner, unavailable in wanted
        ]
        return [order for order in made if order is not None]

    def _of_sites(self, observations: Observation) -> Iterator[tuple[int, int, Unavailable]]:
        near, quiet = observations.known[:, 1:], self._quiet(observations.status)
        rows, places = ((near >= 0) & quiet[:, :1] & quiet[:, 1:]).nonzero()
        owner, partner = observations.site[rows], near[rows, places]
        on_hand = (observations.stock_partner[rows] == partner[:, None]).sum(axis=1)
        may = on_hand < self._level[owner, partner]
        may &= observations.time_s >= self.ordered_s[owner, partner] + self._rule.min_reorder_interval_s
        minimum = np.full(near.shape, _MANY)
        minimum[rows[may], places[may]] = on_hand[may]
        place = minimum.argmin(axis=1)
        for row in np.unique(rows[may]).tolist():
            yield int(observations.site[row]), int(near[row, place[row]]), observations.unavailable(row)

    def _of_controller(self, observations: Observation) -> Iterator[tuple[int, int, Unavailable]]:
        nodes, owner, partner = self._context.network.node_count, self._owner, self._partner
        owned = observations.stock_owner[0] >= 0
        pairs = observations.stock_owner[0][owned] * nodes + observations.stock_partner[0][owned]
        on_hand = np.bincount(pairs, minlength=nodes * nodes)[owner * nodes + partner]
        quiet = np.zeros(nodes, dtype=np.bool_)
        quiet[observations.known[0]] = self._quiet(observations.status)[0]
        may = (on_hand < self._level[owner, partner]) & quiet[owner] & quiet[partner]
        may &= observations.time_s >= self.ordered_s[owner, partner] + self._rule.min_reorder_interval_s
        wanted = np.flatnonzero(may)
        unavailable = observations.unavailable()
        for kept in wanted[np.argsort(on_hand[wanted], kind="stable")].tolist():
            ends = int(owner[kept]), int(partner[kept])
            if quiet[list(ends)].all():
                quiet[list(ends)] = False
                yield (*ends, unavailable)

    def _quiet(self, status: Floats) -> NDArray[np.bool_]:
        """Nodes with qubits to spare and nothing ahead at the source; not those that say nothing."""
        ahead = np.fmax(status[:, :, EMISSION_BACKLOG], status[:, :, ORDERED_PAIRS])
        return (ahead <= self._rule.max_link_backlog) & (
            status[:, :, FREE_MEMORIES] >= self._rule.min_free_memories
        )

    def _order(self, owner: int, partner: int, now_s: float, unavailable: Unavailable) -> Allocation | None:
        network, rule = self._context.network, self._rule
        link = network.link_between[owner, partner]
        life_s, rate_hz = self._life_s(link), float(network.link_rate_hz[link])
        if (
            life_s < rule.min_lifetime_s
            or not rate_hz > 0.0
            or unavailable.affects((owner, partner), (link,))
        ):
            return None
        self.ordered_s[owner, partner] = now_s
        return Allocation(
            source=owner,
            destination=partner,
            target_fidelity=rule.link_fidelity,
            path=(owner, partner),
            expires_s=now_s + 1.0 / rate_hz + life_s,
            purpose="stock",
        )

    def _life_s(self, link: int) -> float:
        """How long a pair of this link is kept."""
        if np.isnan(self._lives_s[link]):
            ends = self._context.network.graph.link_ends[link]
            path = Path(tuple(ends.tolist()), (link,), 0.0, 0.0)
            life_s = self._context.estimates.useful_life_s(path, self._rule.link_fidelity)
            self._lives_s[link] = min(life_s, _LONGEST_LIFE_S)
        return float(self._lives_s[link])

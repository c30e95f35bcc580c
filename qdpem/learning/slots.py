"""The slots of a site: its oldest waiting requests and, at an epoch, the pairs most asked for there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdpem.events.tables import REASONS
from qdpem.learning.paths import PathTable
from qdpem.policy.interface import Context, Floats, Views
from qdpem.scenario.schema import RIGHTS

REQUEST_SLOTS = 4
PEER_SLOTS = 3
SLOTS = REQUEST_SLOTS + PEER_SLOTS

BASE_STOCK = 2
"""Pairs kept or ordered per peer before a site may order no more."""

_EPOCH = REASONS.index("epoch")
_ARRIVAL = REASONS.index("arrival")


@dataclass(frozen=True)
class Slot:
    """One slot in use: the row of its site, its place there, and whom it is about.

    `request` is -1 for a peer. `held`: pairs stocked or ordered with the destination; `on_hand`: ready
    ones good enough for the request, not promised to an older one; `way_free`: whether an elementary pair
    with the next hop may be ordered. `margin`: of the worst pair on hand that would be used.
    """

    row: int
    place: int
    source: int
    destination: int
    request: int
    target_fidelity: float
    pairs: int
    expires_s: float
    share: float
    held: int
    on_hand: int
    margin: float
    way_free: bool


class SlotFinder:
    """Finds the slots in use; remembers per site only which targets were asked of that site."""

    def __init__(self, context: Context, paths: PathTable) -> None:
        self._paths = paths
        self._may_stock = RIGHTS.index(context.rights) >= RIGHTS.index("elementary")
        self._asked: dict[int, dict[float, int]] = {}

    def slots(self, views: Views, row: int) -> list[Slot]:
        """Slots in use at one site: oldest deadlines first, then at an epoch its peers."""
        found = self._request_slots(views, row)
        if views.reason[row] == _EPOCH and self._may_stock:
            found += self._peer_slots(views, row)
        return found

    def _request_slots(self, views: Views, row: int) -> list[Slot]:
        ids = views.request_id[row]
        waiting = np.flatnonzero((ids >= 0) & (views.request_deadline_s[row] > views.time_s))
        if not len(waiting):
            return []
        site = int(views.site[row])
        if views.reason[row] == _ARRIVAL:
            counts = self._asked.setdefault(site, {})
            target = float(views.request_target_fidelity[row, waiting[-1]])
            counts[target] = counts.get(target, 0) + 1
        order = waiting[np.argsort(views.request_deadline_s[row, waiting], kind="stable")]
        promised: dict[int, int] = {}
        found = []
        for place, column in enumerate(order[:REQUEST_SLOTS].tolist()):
            partner = int(views.request_destination[row, column])
            target = float(views.request_target_fidelity[row, column])
            pairs = int(views.request_pairs[row, column])
            fidelities = _ready(views, row, partner, target)[promised.get(partner, 0) :]
            margin = 0.0
            if len(fidelities) >= pairs:
                promised[partner] = promised.get(partner, 0) + pairs
                margin = float(fidelities[0]) - target
            found.append(
                Slot(
                    row=row,
                    place=place,
                    source=int(views.request_source[row, column]),
                    destination=partner,
                    request=int(ids[column]),
                    target_fidelity=target,
                    pairs=pairs,
                    expires_s=float(views.request_deadline_s[row, column]),
                    share=_peer_share(views, row, partner),
                    held=_held(views, row, partner),
                    on_hand=len(fidelities),
                    margin=margin,
                    way_free=False,
                )
            )
        return found

    def _peer_slots(self, views: Views, row: int) -> list[Slot]:
        target = self._typical_target(int(views.site[row]))
        ways: set[int] = set()
        found = []
        for place in range(min(PEER_SLOTS, views.peer_source.shape[1])):
            source, partner = int(views.peer_source[row, place]), int(views.peer_destination[row, place])
            if source < 0:
                break
            way = self._paths.next_hop(source, partner)
            way_free = way not in ways and _held(views, row, way) < BASE_STOCK
            ways.add(way)
            found.append(
                Slot(
                    row=row,
                    place=REQUEST_SLOTS + place,
                    source=source,
                    destination=partner,
                    request=-1,
                    target_fidelity=target,
                    pairs=1,
                    expires_s=np.inf,
                    share=_peer_share(views, row, partner),
                    held=_held(views, row, partner),
                    on_hand=0,
                    margin=0.0,
                    way_free=way_free,
                )
            )
        return found

    def _typical_target(self, site: int) -> float:
        """The target most often asked at this site so far, the higher of equals; 0.8 before any."""
        counts = self._asked.get(site)
        return max(counts, key=lambda target: (counts[target], target)) if counts else 0.8


def _held(views: Views, row: int, partner: int) -> int:
    """Pairs this site keeps or has on order with `partner`."""
    return int(np.count_nonzero(views.stock_partner[row] == partner))


def _ready(views: Views, row: int, partner: int, target: float) -> Floats:
    """Believed fidelities of ready pairs with `partner` that meet the target, worst first: as used."""
    good = (views.stock_partner[row] == partner) & (views.stock_ready[row] > 0)
    fidelities = views.stock_fidelity[row, good]
    return np.sort(fidelities[fidelities >= target])


def _peer_share(views: Views, row: int, partner: int) -> float:
    """The part of this site's requests so far that asked for `partner`; 0 if it is not among its peers."""
    rates = np.nan_to_num(views.peer_rate_hz[row])
    total = float(rates.sum())
    mine = float(rates[views.peer_destination[row] == partner].sum())
    return mine / total if total > 0.0 else 0.0

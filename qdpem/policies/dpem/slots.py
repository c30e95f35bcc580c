"""The slots of a site: its oldest waiting requests and, at an epoch, the pairs most asked for there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from qdpem.events.words import DecisionReason
from qdpem.network.outages import Unavailable
from qdpem.policies.dpem.paths import PathTable
from qdpem.policy.interface import EMISSION_BACKLOG, TOKEN_BACKLOG, TOKENS, Context, Floats, Observation
from qdpem.scenario.words import Pregeneration

REQUEST_SLOTS = 4
PEER_SLOTS = 3
SLOTS = REQUEST_SLOTS + PEER_SLOTS

BASE_STOCK = 1
"""Pairs kept or ordered per peer before a site may order no more."""

_EPOCH = DecisionReason.EPOCH.code
_ARRIVAL = DecisionReason.ARRIVAL.code


@dataclass(frozen=True)
class Slot:
    """One slot in use: the row of its site, its place there, and whom it is about.

    `request` is -1 for a peer. `held`: pairs stocked or ordered with the destination; `on_hand`: ready
    ones good enough for the request, not promised to an older one, and `margin` the spare fidelity of the
    worst of them. `way_free`, `may_order`: whether a pair with the next hop, or with the destination, may
    be ordered for stock. `unavailable`: what the site has heard is away.
    """

    row: int
    place: int
    source: int
    destination: int
    request: int
    target_fidelity: float
    pairs: int
    expires_s: float
    fraction: float
    held: int
    on_hand: int
    margin: float
    way_free: bool
    may_order: bool
    unavailable: Unavailable


class SlotFinder:
    """Finds the slots in use; remembers per site which targets were asked there and when it ordered stock.

    A site orders stock only while it is idle itself: a whole token in hand, and nothing waits for its
    source or its tokens. It does so with one partner at most once per forecast step, for that is
    how often what it knows of demand changes; without this rest a refused order comes back at every epoch.
    """

    def __init__(self, context: Context, paths: PathTable) -> None:
        self._paths = paths
        self._may_stock = context.pregeneration.at_least(Pregeneration.LINK)
        self._rest_s = context.forecasting.step_s
        self._asked: dict[int, dict[float, int]] = {}
        self._ordered_s: dict[tuple[int, int], float] = {}

    def ordered(self, site: int, partner: int, *, now_s: float) -> None:
        """Remember that `site` orders stock with `partner` now."""
        self._ordered_s[site, partner] = now_s

    def state(self) -> dict[str, Floats]:
        """What is remembered: `asked` [n, 3], site, target, count; `ordered` [m, 3], site, partner, time."""
        asked = [(site, *pair) for site, counts in self._asked.items() for pair in counts.items()]
        ordered = [(*pair, time_s) for pair, time_s in self._ordered_s.items()]
        return {
            "asked": np.array(asked, dtype=np.float64).reshape(-1, 3),
            "ordered": np.array(ordered, dtype=np.float64).reshape(-1, 3),
        }

    def load_state(self, state: Mapping[str, Floats]) -> None:
        """Take up what `state` gave."""
        self._asked, self._ordered_s = {}, {}
        for site, target, count in state["asked"].tolist():
            self._asked.setdefault(int(site), {})[target] = int(count)
        for site, partner, time_s in state["ordered"].tolist():
            self._ordered_s[int(site), int(partner)] = time_s

    def _may_order(self, site: int, partner: int, shelf: _Shelf, now_s: float) -> bool:
        rested = now_s - self._ordered_s.get((site, partner), -math.inf) >= self._rest_s
        return rested and shelf.partners.count(partner) < BASE_STOCK

    def slots(self, observations: Observation) -> list[Slot]:
        """Slots in use at every site asked: oldest deadlines first, then at an epoch its peers."""
        waits: list[bool] = np.asarray((observations.request_id >= 0).any(axis=1)).tolist()
        at_epoch: list[bool] = np.asarray((observations.reason == _EPOCH) & _idle(observations)).tolist()
        found: list[Slot] = []
        for row, waiting in enumerate(waits):
            peers = self._may_stock and at_epoch[row]
            if not (waiting or peers):
                continue
            shelf = _Shelf.of(observations, row)
            if waiting:
                found += self._request_slots(observations, row, shelf)
            if peers:
                found += self._peer_slots(observations, row, shelf)
        return found

    def _request_slots(self, observations: Observation, row: int, shelf: _Shelf) -> list[Slot]:
        waiting = observations.requests(row)
        if observations.reason[row] == _ARRIVAL:
            counts = self._asked.setdefault(int(observations.site[row]), {})
            newest = waiting[-1].target_fidelity
            counts[newest] = counts.get(newest, 0) + 1
        timely = [item for item in waiting if item.deadline_s > observations.time_s and item.pairs > 0]
        timely.sort(key=attrgetter("deadline_s"))
        promised: dict[int, int] = {}
        unavailable = observations.unavailable(row)
        found = []
        for place, request in enumerate(timely[:REQUEST_SLOTS]):
            partner, target, pairs = request.destination, request.target_fidelity, request.pairs
            # A standing request is served over links alone: it asks for more than can lie on a shelf.
            kept = [] if request.persistent else shelf.ready(partner, target)
            good = kept[promised.get(partner, 0) :]
            if len(good) >= pairs:
                promised[partner] = promised.get(partner, 0) + pairs
            found.append(
                Slot(
                    row=row,
                    place=place,
                    source=request.source,
                    destination=partner,
                    request=request.id,
                    target_fidelity=target,
                    pairs=pairs,
                    expires_s=request.deadline_s,
                    fraction=shelf.fraction(partner),
                    held=shelf.partners.count(partner),
                    on_hand=len(good),
                    margin=good[0] - target if len(good) >= pairs else 0.0,
                    way_free=False,
                    may_order=False,
                    unavailable=unavailable,
                )
            )
        return found

    def _peer_slots(self, observations: Observation, row: int, shelf: _Shelf) -> list[Slot]:
        target = self._typical_target(int(observations.site[row]))
        sources = observations.top_pair_source[row].tolist()
        ways = set(shelf.peers[:PEER_SLOTS])
        unavailable = observations.unavailable(row)
        found = []
        for place, (source, partner) in enumerate(zip(sources, shelf.peers, strict=True)):
            if source < 0 or place == PEER_SLOTS:
                break
            way = self._paths.next_hop(source, partner, unavailable)
            way_free = way not in ways and self._may_order(source, way, shelf, observations.time_s)
            ways.add(way)
            may_order = self._may_order(source, partner, shelf, observations.time_s)
            if not (way_free or may_order):
                continue
            found.append(
                Slot(
                    row=row,
                    place=REQUEST_SLOTS + place,
                    source=source,
                    destination=partner,
                    request=-1,
                    target_fidelity=target,
                    pairs=1,
                    expires_s=math.inf,
                    fraction=shelf.fraction(partner),
                    held=shelf.partners.count(partner),
                    on_hand=0,
                    margin=0.0,
                    way_free=way_free,
                    may_order=may_order,
                    unavailable=unavailable,
                )
            )
        return found

    def _typical_target(self, site: int) -> float:
        """The target most often asked at this site so far, the higher of equals; 0.8 before any."""
        counts = self._asked.get(site)
        return max(counts, key=lambda target: (counts[target], target)) if counts else 0.8


def _idle(observations: Observation) -> NDArray[np.bool_]:
    """Sites [S] with a whole token in hand and nothing waiting for their source or their tokens."""
    own = observations.status[:, 0]
    idle: NDArray[np.bool_] = (
        (own[:, TOKENS] >= 1.0) & (own[:, EMISSION_BACKLOG] == 0.0) & (own[:, TOKEN_BACKLOG] == 0.0)
    )
    return idle


@dataclass(frozen=True)
class _Shelf:
    """One site's stock and peers as plain lists, which beat small arrays."""

    partners: list[int]
    is_ready: list[int]
    fidelities: list[float]
    peers: list[int]
    rates_hz: list[float]
    total_hz: float

    @classmethod
    def of(cls, observations: Observation, row: int) -> _Shelf:
        rates_hz = [rate if rate > 0.0 else 0.0 for rate in observations.top_pair_rate_hz[row].tolist()]
        return cls(
            observations.stock_partner[row].tolist(),
            observations.stock_ready[row].tolist(),
            observations.stock_fidelity[row].tolist(),
            observations.top_pair_destination[row].tolist(),
            rates_hz,
            math.fsum(rates_hz),
        )

    def ready(self, partner: int, target: float) -> list[float]:
        """Believed fidelities of ready pairs with `partner` that meet the target, worst first: as used."""
        shelf = zip(self.partners, self.is_ready, self.fidelities, strict=True)
        return sorted(
            fidelity
            for who, is_ready, fidelity in shelf
            if who == partner and is_ready > 0 and fidelity >= target
        )

    def fraction(self, partner: int) -> float:
        """The part of this site's requests so far that asked for `partner`; 0 if not among its peers."""
        if partner not in self.peers or self.total_hz <= 0.0:
            return 0.0
        return self.rates_hz[self.peers.index(partner)] / self.total_hz

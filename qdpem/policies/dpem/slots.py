"""The slots of a site: its most urgent pending requests and, at an epoch, its top pairs.

A site's top pairs are the node pairs that most of its requests so far asked for; `Observation` lists them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.events.words import DecisionReason
from qdpem.network.outages import Unavailable
from qdpem.policies.dpem.paths import PathTable
from qdpem.policy.interface import EMISSION_BACKLOG, TOKEN_BACKLOG, TOKENS, Context, Observation
from qdpem.scenario.words import Pregeneration

REQUEST_SLOTS = 4
TOP_PAIR_SLOTS = 3
SLOTS = REQUEST_SLOTS + TOP_PAIR_SLOTS

BASE_STOCK = 1
"""Pairs stocked or ordered with one destination at which a site orders no more."""

_DEFAULT_TARGET_FIDELITY = 0.8
"""Target of stock at a site that no request has reached yet."""

_EPOCH = DecisionReason.EPOCH.code
_ARRIVAL = DecisionReason.ARRIVAL.code


@dataclass(frozen=True)
class Slot:
    """One slot in use: a pending request to serve, or a top pair to stock.

    - `row`: the row of its site in the observation; `number`: the slot's number at that site.
    - `request`: the request's id, -1 for a top pair.
    - `request_fraction`: the fraction of the site's requests so far with this destination.
    - `stock`: pairs stocked or ordered with the destination.
    - `ready`: of these, ready pairs that meet the target and are not promised to a more urgent request.
    - `fidelity_margin`: believed fidelity minus target of the worst of the ready pairs.
    - `may_order_first_hop`, `may_order_destination`: whether stock may be ordered with the next hop, or with
      the destination.
    - `unavailable`: the nodes and links that the site has heard are unavailable.
    """

    row: int
    number: int
    source: int
    destination: int
    request: int
    target_fidelity: float
    pairs: int
    expires_s: float
    request_fraction: float
    stock: int
    ready: int
    fidelity_margin: float
    may_order_first_hop: bool
    may_order_destination: bool
    unavailable: Unavailable


class SlotFinder:
    """Finds the slots in use.

    It remembers, per site, the targets of past requests and the times of stock orders.

    A site orders stock only while it is idle: it has a whole token, and nothing waits for its source or its
    tokens. It orders with one partner at most once per forecast step, because its knowledge of demand changes
    only that often. Without this interval a refused order would return at every epoch.
    """

    def __init__(self, context: Context, paths: PathTable) -> None:
        self._paths = paths
        self._may_stock = context.pregeneration.at_least(Pregeneration.LINK)
        self._min_order_interval_s = context.forecasting.step_s
        self._target_counts: dict[int, dict[float, int]] = {}
        self._ordered_s: dict[tuple[int, int], float] = {}

    def note_order(self, site: int, partner: int, *, now_s: float) -> None:
        """Remember that `site` orders stock with `partner` now."""
        self._ordered_s[site, partner] = now_s

    def state(self) -> dict[str, Floats]:
        """`target_counts` [n, 3]: site, target, count; `stock_orders` [m, 3]: site, partner, time."""
        counts = [(site, *item) for site, targets in self._target_counts.items() for item in targets.items()]
        orders = [(*ends, time_s) for ends, time_s in self._ordered_s.items()]
        return {
            "target_counts": np.array(counts, dtype=np.float64).reshape(-1, 3),
            "stock_orders": np.array(orders, dtype=np.float64).reshape(-1, 3),
        }

    def load_state(self, state: Mapping[str, Floats]) -> None:
        """Restore what `state` returned."""
        self._target_counts, self._ordered_s = {}, {}
        for site, target, count in state["target_counts"].tolist():
            self._target_counts.setdefault(int(site), {})[target] = int(count)
        for site, partner, time_s in state["stock_orders"].tolist():
            self._ordered_s[int(site), int(partner)] = time_s

    def _may_order(self, site: int, partner: int, lists: _SiteLists, now_s: float) -> bool:
        since_order_s = now_s - self._ordered_s.get((site, partner), -math.inf)
        return since_order_s >= self._min_order_interval_s and lists.partners.count(partner) < BASE_STOCK

    def slots(self, observations: Observation) -> list[Slot]:
        """Slots in use at all sites: requests by deadline, earliest first, then at an epoch the top pairs."""
        has_requests: list[bool] = np.asarray((observations.request_id >= 0).any(axis=1)).tolist()
        at_epoch: list[bool] = np.asarray((observations.reason == _EPOCH) & _idle(observations)).tolist()
        slots: list[Slot] = []
        for row, waiting in enumerate(has_requests):
            stocking = self._may_stock and at_epoch[row]
            if not (waiting or stocking):
                continue
            lists = _SiteLists.of(observations, row)
            if waiting:
                slots += self._request_slots(observations, row, lists)
            if stocking:
                slots += self._top_pair_slots(observations, row, lists)
        return slots

    def _request_slots(self, observations: Observation, row: int, lists: _SiteLists) -> list[Slot]:
        waiting = observations.requests(row)
        if observations.reason[row] == _ARRIVAL:
            counts = self._target_counts.setdefault(int(observations.site[row]), {})
            # An arrival is observed once, as the newest request, so each request counts once.
            newest = waiting[-1].target_fidelity
            counts[newest] = counts.get(newest, 0) + 1
        timely = [item for item in waiting if item.deadline_s > observations.time_s and item.pairs > 0]
        timely.sort(key=attrgetter("deadline_s"))
        promised: dict[int, int] = {}
        unavailable = observations.unavailable(row)
        slots = []
        for number, request in enumerate(timely[:REQUEST_SLOTS]):
            partner, target, pairs = request.destination, request.target_fidelity, request.pairs
            # A repeating request is served over links only: it asks for more pairs than any stock holds.
            ready = [] if request.repeats else lists.ready(partner, target)
            # The worst pairs go first, to the more urgent requests; this request sees the rest.
            unpromised = ready[promised.get(partner, 0) :]
            if len(unpromised) >= pairs:
                promised[partner] = promised.get(partner, 0) + pairs
            slots.append(
                Slot(
                    row=row,
                    number=number,
                    source=request.source,
                    destination=partner,
                    request=request.id,
                    target_fidelity=target,
                    pairs=pairs,
                    expires_s=request.deadline_s,
                    request_fraction=lists.request_fraction(partner),
                    stock=lists.partners.count(partner),
                    ready=len(unpromised),
                    fidelity_margin=unpromised[0] - target if len(unpromised) >= pairs else 0.0,
                    may_order_first_hop=False,
                    may_order_destination=False,
                    unavailable=unavailable,
                )
            )
        return slots

    def _top_pair_slots(self, observations: Observation, row: int, lists: _SiteLists) -> list[Slot]:
        target = self._typical_target(int(observations.site[row]))
        sources = observations.top_pair_source[row].tolist()
        # Link stock with one neighbour is offered once, although several paths may begin there.
        offered = set(lists.top_destinations[:TOP_PAIR_SLOTS])
        unavailable = observations.unavailable(row)
        slots = []
        for number, (source, partner) in enumerate(zip(sources, lists.top_destinations, strict=True)):
            if source < 0 or number == TOP_PAIR_SLOTS:
                break
            next_hop = self._paths.next_hop(source, partner, unavailable)
            may_order_first_hop = next_hop not in offered and self._may_order(
                source, next_hop, lists, observations.time_s
            )
            offered.add(next_hop)
            may_order_destination = self._may_order(source, partner, lists, observations.time_s)
            if not (may_order_first_hop or may_order_destination):
                continue
            slots.append(
                Slot(
                    row=row,
                    number=REQUEST_SLOTS + number,
                    source=source,
                    destination=partner,
                    request=-1,
                    target_fidelity=target,
                    pairs=1,
                    expires_s=math.inf,
                    request_fraction=lists.request_fraction(partner),
                    stock=lists.partners.count(partner),
                    ready=0,
                    fidelity_margin=0.0,
                    may_order_first_hop=may_order_first_hop,
                    may_order_destination=may_order_destination,
                    unavailable=unavailable,
                )
            )
        return slots

    def _typical_target(self, site: int) -> float:
        """The most frequent target of this site's requests so far; of equally frequent ones the higher."""
        counts = self._target_counts.get(site)
        if not counts:
            return _DEFAULT_TARGET_FIDELITY
        return max(counts, key=lambda target: (counts[target], target))


def _idle(observations: Observation) -> NDArray[np.bool_]:
    """Sites [S] with a whole token, and nothing waiting for their source or their tokens."""
    own = observations.status[:, 0]
    idle: NDArray[np.bool_] = (
        (own[:, TOKENS] >= 1.0) & (own[:, EMISSION_BACKLOG] == 0.0) & (own[:, TOKEN_BACKLOG] == 0.0)
    )
    return idle


@dataclass(frozen=True)
class _SiteLists:
    """The stock and the top pairs of one site as plain lists, which are faster than arrays this small."""

    partners: list[int]
    is_ready: list[int]
    fidelities: list[float]
    top_destinations: list[int]
    rates_hz: list[float]
    total_hz: float

    @classmethod
    def of(cls, observations: Observation, row: int) -> _SiteLists:
        # Also turns the NaN of padding into 0, because comparisons with NaN are false.
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
        """Believed fidelities of ready pairs with `partner` that meet the target, worst first, as in use."""
        stock = zip(self.partners, self.is_ready, self.fidelities, strict=True)
        return sorted(
            fidelity
            for other, is_ready, fidelity in stock
            if other == partner and is_ready > 0 and fidelity >= target
        )

    def request_fraction(self, partner: int) -> float:
        """The fraction of this site's requests so far for `partner`; 0 if it is in no top pair."""
        if partner not in self.top_destinations or self.total_hz <= 0.0:
            return 0.0
        return self.rates_hz[self.top_destinations.index(partner)] / self.total_hz

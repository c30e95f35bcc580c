"""Constant base stock: keep so many remote pairs for each of the pairs of nodes most asked for.

Source: base-stock (order-up-to) control of perishable goods (Nahmias 2011), with entangled pairs that
expire when they no longer meet a target. What is missing is ordered only where it disturbs nobody:
tokens that lie idle are lost anyway, an emission or qubit that a live request wants is not touched.
Knowledge: how often each pair was asked for so far. Work: one choice of path for each pair that is short.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics.plans import Plan
from qdpem.baselines.expected_finish import Choice, Load, Planner
from qdpem.baselines.waiting import Waiting
from qdpem.network.outages import NOTHING_AWAY, Away
from qdpem.policy.interface import FREE_MEMORIES, Allocation, Context, Views

_LONGEST_LIFE_S = 3600.0
_MANY = 1e9


@dataclass(frozen=True, kw_only=True)
class BaseStockRule:
    """How much is kept, for whom, at what quality, and how far it yields."""

    base: int = 1
    """Pairs kept or on order for each peer."""
    peers: int = 6
    """For how many of the peers most asked for at a site; central: times the number of nodes."""
    target_fidelity: float = 0.7
    """Stock is kept while it is believed to meet this."""
    margin: float = 0.01
    """A stocked pair serves a request if believed this much above its target."""
    least_life_s: float = 1.0
    """No pair is stocked that would be useful for less."""
    backlog: float = 1.0
    """Pairs that may be ahead at the sources of the path's ends when stock is ordered."""
    free_memories: int = 4
    """Free qubits that the ends must have, known or believed."""
    least_use: float = 0.3
    """Stock is kept only for peers expected to ask this often within its useful life."""
    reorder_s: float = 1.0
    """The same stock is ordered again no sooner than this, so that refusals do not flood the network."""


def ready_stock(view: Views) -> dict[tuple[int, int], list[float]]:
    """Believed fidelities of the pairs on the shelf of a view of one site, by (owner, partner)."""
    found: dict[tuple[int, int], list[float]] = {}
    columns = (view.stock_owner[0], view.stock_partner[0], view.stock_ready[0], view.stock_fidelity[0])
    for owner, partner, ready, fidelity in zip(*(column.tolist() for column in columns), strict=True):
        if owner >= 0 and ready == 1:
            found.setdefault((owner, partner), []).append(fidelity)
    return found


def serve_from_stock(
    request: Waiting, shelf: dict[tuple[int, int], list[float]], *, margin: float
) -> Allocation | None:
    """Take the worst pairs on the shelf that are good enough for a request; None if there are too few,
    or if the request is a standing one, which asks for more than can lie on a shelf.

    What is taken leaves `shelf`.
    """
    if request.standing:
        return None
    kept = shelf.get((request.source, request.destination), [])
    good = sorted(value for value in kept if value >= request.target_fidelity + margin)[: request.pairs]
    if len(good) < request.pairs:
        return None
    for value in good:
        kept.remove(value)
    return request.allocation((request.source, request.destination))


class BaseStock:
    """Orders what is missing; remembers when it last ordered for each pair of nodes.

    `ordered_s` float64 [N, N], owner by partner, -inf where nothing was ordered yet.
    """

    def __init__(self, context: Context, planner: Planner, *, rule: BaseStockRule) -> None:
        self._context = context
        self._planner = planner
        self._rule = rule
        network = context.network
        self.ordered_s = np.full((network.node_count, network.node_count), -np.inf)
        self._lives_s = np.full_like(self.ordered_s, np.nan)
        self._quota = np.floor(network.foreign_stock_share * network.memories)

    def may_miss(self, views: Views) -> NDArray[np.bool_]:
        """Sites at which `missing` can find anything, [S]: all that it cannot is left out, in one go."""
        if self._context.control == "central":
            return np.ones(len(views), dtype=np.bool_)
        rule, width = self._rule, self._rule.peers
        source, destination = views.peer_source[:, :width], views.peer_destination[:, :width]
        kept = (views.stock_partner[:, None, :] == destination[:, :, None]).sum(axis=2)
        may = (source >= 0) & (kept < rule.base) & (kept < self._quota[destination])
        if self._context.rights == "elementary":
            may &= self._context.network.adjacent[source, destination]
        may &= views.time_s >= self.ordered_s[source, destination] + rule.reorder_s
        may &= self._has_room(views, destination)
        if not (views.away_node.shape[1] or views.away_link.shape[1]):
            may &= self._is_used(source, destination, views.peer_rate_hz[:, :width], may)
        return np.asarray(may.any(axis=1))

    def _has_room(self, views: Views, destination: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether neither end is known to have too few free qubits, [S, P]."""
        few = views.status[:, :, FREE_MEMORIES] < self._rule.free_memories
        there = views.known[:, None, :] == destination[:, :, None]
        return np.asarray(~few[:, :1] & ~(there & few[:, None, :]).any(axis=2))

    def _is_used(
        self,
        source: NDArray[np.int64],
        destination: NDArray[np.int64],
        rate_hz: NDArray[np.float64],
        asked: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Whether stock for a peer is asked for often enough within its life, [S, P]; only where `asked`."""
        new = asked & np.isnan(self._lives_s[source, destination])
        for first, second in zip(source[new].tolist(), destination[new].tolist(), strict=True):
            self._lives_s[first, second] = self._life_s(first, second, NOTHING_AWAY)
        with np.errstate(invalid="ignore"):
            return np.asarray(rate_hz * self._lives_s[source, destination] >= self._rule.least_use)

    def missing(self, view: Views) -> list[tuple[int, int]]:
        """Peers whose stock is below the base and worth an order now, most asked for first."""
        rule = self._rule
        partners = view.stock_partner[0].tolist()
        on_hand = Counter(zip(view.stock_owner[0].tolist(), partners, strict=True))
        foreign = Counter(partners)
        free = _free_memories(view)
        away = view.away()
        return [
            (source, destination)
            for source, destination, rate_hz in self._top_peers(view)
            if on_hand[source, destination] < rule.base
            and view.time_s >= self.ordered_s[source, destination] + rule.reorder_s
            and foreign[destination] < self._quota[destination]
            and min(free.get(source, _MANY), free.get(destination, _MANY)) >= rule.free_memories
            and rate_hz * self._life_s(source, destination, away) >= rule.least_use
        ]

    def replenish(
        self, missing: list[tuple[int, int]], load: Load, *, now_s: float, away: Away = NOTHING_AWAY
    ) -> Iterator[Allocation]:
        """Orders for what is missing, each over the quickest path whose repeaters are idle and not away."""
        for source, destination in missing:
            choice = self._quiet_choice(source, destination, load, away)
            order = self._order(choice, now_s) if choice else None
            if choice is not None and order is not None:
                self.ordered_s[source, destination] = now_s
                load.add(choice)
                yield order

    def _life_s(self, source: int, destination: int, away: Away) -> float:
        """Useful life of stock over the path with fewest hops; 0 without a path."""
        paths = self._context.routes.paths(source, destination, away)
        if not paths:
            return 0.0
        return self._context.estimates.useful_life_s(paths[0], self._rule.target_fidelity)

    def _top_peers(self, view: Views) -> Iterator[tuple[int, int, float]]:
        nodes = 1 if self._context.control == "local" else self._context.network.node_count
        columns = (view.peer_source[0], view.peer_destination[0], view.peer_rate_hz[0])
        rows = zip(*(column[: self._rule.peers * nodes].tolist() for column in columns), strict=True)
        near_only = self._context.rights == "elementary"
        for source, destination, rate_hz in rows:
            if source < 0 or (near_only and (source, destination) not in self._context.network.link_between):
                continue
            yield source, destination, rate_hz

    def _quiet_choice(self, source: int, destination: int, load: Load, away: Away) -> Choice | None:
        backlog = self._rule.backlog
        if not (load.source_idle(source, pairs=backlog) and load.source_idle(destination, pairs=backlog)):
            return None
        return self._planner.choose(
            source,
            destination,
            load,
            target_fidelity=self._rule.target_fidelity,
            within_s=np.inf,
            quiet=True,
            away=away,
        )

    def _order(self, choice: Choice, now_s: float) -> Allocation | None:
        path, rule = choice.path, self._rule
        if self._context.rights == "elementary" and path.hops > 1:
            return None
        life_s = self._context.estimates.useful_life_s(path, rule.target_fidelity, rounds=choice.rounds)
        life_s = min(life_s, _LONGEST_LIFE_S)
        if life_s < rule.least_life_s:
            return None
        return Allocation(
            source=path.nodes[0],
            destination=path.nodes[-1],
            target_fidelity=rule.target_fidelity,
            path=path.nodes,
            expires_s=now_s + choice.finish_s + life_s,
            plan=Plan(rounds_per_link=choice.rounds),
            purpose="stock",
        )


def _free_memories(view: Views) -> dict[int, float]:
    known, free = view.known[0].tolist(), view.status[0, :, FREE_MEMORIES].tolist()
    return {node: count for node, count in zip(known, free, strict=True) if node >= 0}

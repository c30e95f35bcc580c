"""Base stock of remote pairs: keep so many for each of the pairs of nodes most asked for.

Source: base-stock (order-up-to) control of perishable goods (Nahmias 2011), with entangled pairs that
expire when they no longer meet a target. What is missing is ordered only where it disturbs nobody:
tokens that lie idle are lost anyway, an emission or qubit that a live request wants is not touched.
How much is kept follows from the demand expected in a pair's useful life (`demand_levels`), at most `base_stock_level`.
Knowledge: how often each pair was asked for so far, and forecasts where the arm has any.
Work: one choice of path for each pair that is short.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.policies.inventory.stock_levels import DemandFactor, stocking_means
from qdpem.policies.routing.delay_model import Backlog, Floats
from qdpem.policies.routing.planner import Choice, Planner
from qdpem.policy.interface import FREE_MEMORIES, Allocation, Context, Ints, Observation
from qdpem.policy.tuning import tunable

_LONGEST_LIFE_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class BaseStockParameters:
    """How much is kept, for whom, at what quality, and how far it yields."""

    base_stock_level: int = tunable(1, low=0, high=4, pregeneration="end-to-end")
    """Remote pairs kept or on order for each peer at most."""
    link_base_stock_level: int = tunable(2, low=0, high=6, pregeneration="link")
    """Link pairs that a site keeps or has on order with each neighbour at most; central: for each link."""
    stocking_threshold: float = tunable(0.3, low=0.05, high=2.0, log=True, pregeneration="end-to-end")
    """Requests expected within its useful life from which the first remote pair is worth keeping; the n-th is
    where n or more come as likely as then one or more."""
    tracked_pairs: int = 6
    """For how many of the peers most asked for at a site; central: times the number of nodes."""
    target_fidelity: float = 0.7
    """Remote pairs are kept while they are believed to meet this."""
    link_fidelity: float = 0.85
    """Link pairs are kept while they are believed to meet this."""
    max_link_backlog: float = 0.0
    """Pairs that may be ahead at the sources of a link's ends when a pair of it is ordered for stock."""
    fidelity_margin: float = 0.01
    """A stocked pair serves a request if believed this much above its target."""
    min_lifetime_s: float = 1.0
    """No pair is stocked that would be useful for less."""
    max_source_backlog: float = 1.0
    """Pairs that may be ahead at the sources of the path's ends when stock is ordered."""
    min_free_memories: int = 4
    """Free qubits that the ends must have, known or believed."""
    min_reorder_interval_s: float = 1.0
    """The same stock is ordered again no sooner than this, so that refusals do not flood the network."""

    def __post_init__(self) -> None:
        for name in (
            "base_stock_level",
            "link_base_stock_level",
            "stocking_threshold",
            "tracked_pairs",
            "min_free_memories",
            "min_reorder_interval_s",
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be 0 or more")


class BaseStock:
    """Orders what is missing; remembers when it last ordered for each pair of nodes.

    `ordered_s` float64 [N, N], owner by partner, -inf where nothing was ordered yet.
    """

    def __init__(
        self, context: Context, planner: Planner, *, rule: BaseStockParameters, surge: DemandFactor
    ) -> None:
        self._context = context
        self._planner = planner
        self._rule = rule
        self._surge = surge
        network = context.network
        self.ordered_s = np.full((network.node_count, network.node_count), -np.inf)
        self._lives_s = np.full_like(self.ordered_s, np.nan)
        self._quota = np.floor(network.remote_storage_quota * network.memories)
        self._min_means = stocking_means(rule.stocking_threshold, rule.base_stock_level)

    def missing(self, observations: Observation) -> list[list[tuple[int, int]]]:
        """Of each site asked, peers whose stock is below its level and worth an order now, most asked for
        first."""
        short: list[list[tuple[int, int]]] = [[] for _ in range(len(observations))]
        if self._context.pregeneration == "link" or not self._rule.base_stock_level:
            return short
        rows, source, destination, level = self._wanted(observations)
        on_hand, foreign = self._held(observations, rows, source, destination)
        may = (on_hand < level) & (foreign < self._quota[destination])
        may &= observations.time_s >= self.ordered_s[source, destination] + self._rule.min_reorder_interval_s
        may &= self._has_room(observations, rows, source, destination)
        ends = zip(source[may].tolist(), destination[may].tolist(), strict=True)
        for row, pair in zip(rows[may].tolist(), ends, strict=True):
            short[row].append(pair)
        return short

    def _wanted(self, observations: Observation) -> tuple[Ints, Ints, Ints, Ints]:
        """TopPairs of which something is worth keeping: row of the site, source, destination and level of each.

        RequestKind first, because they are few.
        """
        local = self._context.control == "local"
        width = self._rule.tracked_pairs * (1 if local else self._context.network.node_count)
        rows, places = (observations.top_pair_source[:, :width] >= 0).nonzero()
        source, destination = (
            observations.top_pair_source[rows, places],
            observations.top_pair_destination[rows, places],
        )
        life_s = self._lives(observations, rows, source, destination)
        level = self._levels(source, observations.top_pair_rate_hz[rows, places], life_s)
        some = level > 0
        return rows[some], source[some], destination[some], level[some]

    def _held(
        self, observations: Observation, rows: Ints, source: Ints, destination: Ints
    ) -> tuple[Ints, Ints]:
        """Pairs kept or on order for each peer, and all that the site knows of at the peer's."""
        if self._context.control == "local":
            partner = np.where(observations.stock_owner >= 0, observations.stock_partner, -1)
            kept = (partner[rows] == destination[:, None]).sum(axis=1)
            return kept, kept
        nodes = self._context.network.node_count
        owned = observations.stock_owner[0] >= 0
        owner, partner = observations.stock_owner[0][owned], observations.stock_partner[0][owned]
        on_hand = np.bincount(owner * nodes + partner, minlength=nodes * nodes)
        return on_hand[source * nodes + destination], np.bincount(partner, minlength=nodes)[destination]

    def _has_room(
        self, observations: Observation, rows: Ints, source: Ints, destination: Ints
    ) -> NDArray[np.bool_]:
        """Whether both ends have qubits to spare; peers that a node has no news of are believed to."""
        enough = observations.status[:, :, FREE_MEMORIES] >= self._rule.min_free_memories
        if self._context.control == "central":
            spare = np.zeros(self._context.network.node_count, dtype=np.bool_)
            spare[observations.observed_node[0]] = enough[0]
            return np.asarray(spare[source] & spare[destination])
        full = (observations.observed_node[rows] == destination[:, None]) & ~enough[rows]
        return np.asarray(enough[rows, 0] & ~full.any(axis=1))

    def _levels(self, source: Ints, rate_hz: Floats, life_s: Floats) -> Ints:
        """How many pairs are worth keeping of what is asked for at this rate."""
        with np.errstate(invalid="ignore"):
            mean = rate_hz * life_s * self._surge.factor(source, life_s)
        return np.searchsorted(self._min_means, np.where(np.isnan(mean), 0.0, mean), side="right")

    def _lives(self, observations: Observation, rows: Ints, source: Ints, destination: Ints) -> Floats:
        """Useful life of stock over the path with fewest hops, 0 without a path."""
        if observations.unavailable_node.shape[1] or observations.unavailable_link.shape[1]:
            unavailable = [observations.unavailable(row) for row in range(len(observations))]
            asked = zip(source.tolist(), destination.tolist(), rows.tolist(), strict=True)
            return np.array([self._life_s(first, second, unavailable[row]) for first, second, row in asked])
        new = np.isnan(self._lives_s[source, destination])
        for first, second in zip(source[new].tolist(), destination[new].tolist(), strict=True):
            self._lives_s[first, second] = self._life_s(first, second, ALL_AVAILABLE)
        return self._lives_s[source, destination]

    def replenish(
        self,
        missing: list[tuple[int, int]],
        load: Backlog,
        *,
        now_s: float,
        unavailable: Unavailable = ALL_AVAILABLE,
    ) -> Iterator[Allocation]:
        """Orders for what is missing, each over the quickest path whose repeaters are idle and not away."""
        idle = load.sources_idle(pairs=self._rule.max_source_backlog)
        for source, destination in missing:
            if not (idle[source] and idle[destination]):
                continue
            choice = self._quiet_choice(source, destination, load, unavailable)
            order = self._order(choice, now_s) if choice else None
            if choice is not None and order is not None:
                self.ordered_s[source, destination] = now_s
                load.add(choice)
                idle = load.sources_idle(pairs=self._rule.max_source_backlog)
                yield order

    def _life_s(self, source: int, destination: int, unavailable: Unavailable) -> float:
        paths = self._context.routes.paths(source, destination, unavailable)
        if not paths:
            return 0.0
        return self._context.estimates.useful_life_s(paths[0], self._rule.target_fidelity)

    def _quiet_choice(
        self, source: int, destination: int, load: Backlog, unavailable: Unavailable
    ) -> Choice | None:
        return self._planner.choose(
            source,
            destination,
            load,
            target_fidelity=self._rule.target_fidelity,
            within_s=np.inf,
            quiet=True,
            unavailable=unavailable,
        )

    def _order(self, choice: Choice, now_s: float) -> Allocation | None:
        path, rule = choice.path, self._rule
        life_s = self._context.estimates.useful_life_s(path, rule.target_fidelity, rounds=choice.rounds)
        life_s = min(life_s, _LONGEST_LIFE_S)
        if life_s < rule.min_lifetime_s:
            return None
        return Allocation(
            source=path.nodes[0],
            destination=path.nodes[-1],
            target_fidelity=rule.target_fidelity,
            path=path.nodes,
            expires_s=now_s + choice.finish_s + life_s,
            plan=choice.plan,
            purpose="stock",
        )

"""Adaptive continuous generation: elementary pairs all the time, with the neighbours that were of use.

Source: Kolar, Zang, Chung, Suchara and Kettimuthu (2022, arXiv:2212.08806); Zhan et al. (2025,
arXiv:2502.01964). Every epoch each node draws a neighbour or "none", from its own stream, by probabilities
that `link_usage` adapts to use. It orders a pair with the neighbour drawn if its quota, its source and the free
qubits known of both allow, one order at a time with each. The pair is kept for as long as a fresh one meets
`min_fidelity`.
A request takes the path and plan of best believed chance in time, links with a pair on the shelf counting as
made; the plane then takes the oldest pair that lets the path meet its target. A node knows its own shelf, and
those of its neighbours from their news, one number a link.
Knowledge: the map, its own and its neighbours' status and shelves, its own book. It never forecasts.
Work: O(degree x quota) for each site asked, O(K x plans x hops) for each waiting request, some 0.5 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.network.outages import Unavailable
from qdpem.network.routing import Path
from qdpem.policies.inventory.link_usage import LinkUsage
from qdpem.policies.routing.delay_model import Backlog, PathFeatures
from qdpem.policies.routing.delivery_probability import DeliveryOffers, delivery_probability
from qdpem.policies.routing.pending_requests import pending_requests
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import (
    EMISSION_BACKLOG,
    FREE_MEMORIES,
    STATUS_WIDTH,
    Allocation,
    Context,
    Decisions,
    Observation,
)
from qdpem.policy.tuning import tunable
from qdpem.rng import move_to, position
from qdpem.scenario.schema import Control, Pregeneration

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_LONGEST_LIFE_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class ContinuousParameters:
    """What can be set of adaptive continuous generation."""

    learning_rate: float = tunable(0.05, low=0.01, high=0.5, log=True, pregeneration="link")
    """What the probability of a neighbour that was of use gains in a period, before all are normalised."""
    period_s: float = tunable(1.0, low=0.2, high=10.0, log=True, pregeneration="link")
    """How often probabilities are changed."""
    memory_quota: float = tunable(0.25, low=0.05, high=0.5, pregeneration="link")
    """Share of a node's qubits that pairs it owns or has ordered may hold; one at least."""
    min_fidelity: float = tunable(0.9, low=0.7, high=0.96, pregeneration="link")
    """A pair is kept while it is believed to meet this."""
    delay_weight_per_s: float = tunable(0.1, low=0.01, high=1.0, log=True)
    """Chance given up, where there is a choice, for each second of finish and of nodes' time saved."""
    max_source_backlog: float = 0.0
    """Pairs that may be ahead at the node's source when it orders. On seeds 0 and 1 of the paper's set-up 1
    delivered .007 more, with half as much contention again."""
    back_off_s: float = 2.0
    """After a refusal, or an order that came to nothing, the neighbour is left alone for so long."""
    min_free_memories: int = 4
    """Free qubits that both ends must have, known or believed."""
    storage_fraction: float = 0.15
    """Believed age of link pairs when they are swapped, as a share of the expected finish."""
    min_success_probability: float = 0.05
    """A request waits while no path is believed to deliver it in time with more than this chance."""

    def __post_init__(self) -> None:
        if not (self.learning_rate > 0.0 and self.period_s > 0.0):
            raise ValueError(
                f"learning_rate is {self.learning_rate!r} and period_s {self.period_s!r}; both must be above 0"
            )
        if not 0.0 <= self.storage_fraction <= 1.0:
            raise ValueError(f"storage_fraction is {self.storage_fraction!r}; it must be between 0 and 1")
        if not 0.25 < self.min_fidelity < 1.0:
            raise ValueError(f"min_fidelity is {self.min_fidelity!r}; it must be above 1/4 and below 1")


class LocalContinuous:
    """Every node keeps elementary pairs with the neighbours that were of use, and serves from them."""

    Parameters = ContinuousParameters
    name = "local-continuous"
    control: Control = "local"
    pregeneration: Pregeneration = "link"
    forecaster = "none"
    acts_every_epoch = True
    message_width = 0

    def __init__(self, parameters: ContinuousParameters) -> None:
        self._parameters = parameters

    def reset(self, context: Context) -> None:
        """Begin a run; its news is as wide as the largest degree."""
        network, rule = context.network, self._parameters
        self._context = context
        self._offers = DeliveryOffers(context)
        self._quota = np.maximum(np.floor(rule.memory_quota * network.memories), 1).astype(np.int64)
        self.link_usage = LinkUsage(
            network, learning_rate=rule.learning_rate, back_off_s=rule.back_off_s, quota=self._quota
        )
        self.message_width = self.link_usage.degree
        self._streams = [context.site_stream(site) for site in range(network.node_count)]
        self.acts_every_epoch = context.pregeneration != "none"
        self._lives_s = {(v, u): self._life_s(v, u) for v, u in network.link_between}

    def act(self, observations: Observation) -> Decisions:
        """Learn and order at each epoch; serve what waits; tell neighbours what lies on the shelf."""
        made: list[Allocation] = []
        if self._context.pregeneration != "none":
            self.link_usage.look(observations)
            period = int(observations.time_s / self._parameters.period_s + 1e-9)
            self.link_usage.learn(observations.site, period)
            made = self._orders(observations)
        told = self._shelf(observations)
        for row in np.flatnonzero((observations.request_id >= 0).any(axis=1)).tolist():
            made += self._serve_all(observations[row], told[row])
        return Decisions(allocations=tuple(made), messages=told)

    def state(self) -> dict[str, NDArray[Any]]:
        """Probabilities, shelves, and where each site's stream stands, uint64 [N, 6]."""
        kept = {name: getattr(self.link_usage, name).copy() for name in LinkUsage.ARRAYS}
        return {**kept, "draws": np.stack([position(one) for one in self._streams])}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up a saved state; streams are wound to where they were."""
        for name in LinkUsage.ARRAYS:
            setattr(self.link_usage, name, np.array(state[name]))
        for own, drawn in zip(self._streams, state["draws"], strict=True):
            move_to(own, drawn)

    def _life_s(self, node: int, neighbour: int) -> float:
        network = self._context.network
        link = network.link_between[node, neighbour]
        if not network.link_rate_hz[link] > 0.0:
            return 0.0
        path = Path(
            (node, neighbour), (link,), float(network.graph.length_km[link]), float(network.delay_s[link])
        )
        life_s = self._context.estimates.useful_life_s(path, self._parameters.min_fidelity)
        return min(life_s, _LONGEST_LIFE_S)

    def _orders(self, observations: Observation) -> list[Allocation]:
        """At the first look in an epoch each site draws once; those that may order do."""
        link_usage, rule, sites = self.link_usage, self._parameters, observations.site
        epoch = int(observations.time_s / self._context.plane.decision_epoch_s + 1e-9)
        rows = np.flatnonzero(link_usage.epoch[sites] < epoch)
        link_usage.epoch[sites[rows]] = epoch
        place = self._draw(sites[rows])
        ready = observations.stock_owner[rows] == sites[rows, None]
        status = observations.status[rows]
        may = (place < link_usage.degree) & (ready.sum(axis=1) < self._quota[sites[rows]])
        may &= ~(status[:, 0, EMISSION_BACKLOG] > rule.max_source_backlog)
        free = status[:, :, FREE_MEMORIES]
        there = free[np.arange(len(rows)), np.minimum(place + 1, free.shape[1] - 1)]
        may &= ~(np.fmin(free[:, 0], there) < rule.min_free_memories)
        return [
            order
            for row, chosen in zip(rows[may].tolist(), place[may].tolist(), strict=True)
            if (
                order := self._order(
                    int(sites[row]), chosen, observations.time_s, observations.unavailable(row)
                )
            )
        ]

    def _draw(self, sites: Ints) -> Ints:
        """One place for each site, D for "none"; each from the site's own stream."""
        u = np.array([self._streams[site].random() for site in sites.tolist()])
        passed = u[:, None] >= self.link_usage.probability[sites].cumsum(axis=1)
        return np.asarray(np.minimum(passed.sum(axis=1), self.link_usage.degree))

    def _order(self, site: int, place: int, now_s: float, unavailable: Unavailable) -> Allocation | None:
        neighbour = int(self.link_usage.neighbour[site, place])
        life_s = self._lives_s.get((site, neighbour), 0.0)
        if life_s <= 0.0 or not self.link_usage.may_order(site, place, now_s):
            return None
        link = self._context.network.link_between[site, neighbour]
        if unavailable and unavailable.affects((site, neighbour), (link,)):
            return None
        until_s = now_s + 1.0 / float(self._context.network.link_rate_hz[link]) + life_s
        self.link_usage.ordered_until_s[site, place] = until_s
        return Allocation(
            source=site,
            destination=neighbour,
            target_fidelity=self._parameters.min_fidelity,
            path=(site, neighbour),
            expires_s=until_s,
            purpose="stock",
        )

    def _shelf(self, observations: Observation) -> Floats:
        """How many ready pairs each site owns with each of its neighbours, [S, D]."""
        mine = (observations.stock_owner == observations.site[:, None]) & (observations.stock_ready == 1)
        place = self.link_usage.place[observations.site[:, None], np.maximum(observations.stock_partner, 0)]
        place = np.where(mine, place, -1)
        return np.asarray(
            (place[:, :, None] == np.arange(self.link_usage.degree)).sum(axis=1), dtype=np.float64
        )

    def _serve_all(self, observation: Observation, shelf: Floats) -> list[Allocation]:
        load = Backlog.of_observation(observation, self._context.network, unobserved_tokens=1.0)
        stocked, unavailable = self._stocked(observation, shelf), observation.unavailable()
        waiting = sorted(pending_requests(observation), key=lambda request: (request.deadline_s, request.id))
        return [
            found
            for request in waiting
            if (found := self._serve(request, observation.time_s, load, stocked, unavailable))
        ]

    def _stocked(self, observation: Observation, shelf: Floats) -> NDArray[np.int64]:
        """Pairs believed on the shelf between two nodes, by either, [N, N]."""
        nodes, link_usage = self._context.network.node_count, self.link_usage
        stocked = np.zeros((nodes, nodes), dtype=np.int64)
        told = np.nan_to_num(observation.status[0, :, STATUS_WIDTH:])
        told[0] = shelf
        for node, counts in zip(observation.known[0].tolist(), np.rint(told).astype(np.int64), strict=True):
            if node >= 0:
                around = link_usage.neighbour[node]
                real = around >= 0
                stocked[node, around[real]] += counts[real]
        return stocked + stocked.T

    def _serve(
        self,
        request: PendingRequest,
        now_s: float,
        load: Backlog,
        stocked: NDArray[np.int64],
        unavailable: Unavailable,
    ) -> Allocation | None:
        rule = self._parameters
        options = self._offers.between(request.source, request.destination, unavailable)
        if options is None:
            return None
        there = self._there(options, stocked, request)
        slack_s = request.deadline_s - now_s
        probability = delivery_probability(options, load, pairs=request.pairs, slack_s=slack_s, there=there)
        found = self._offers.first_good(
            request,
            options,
            probability,
            load,
            min_gain=rule.min_success_probability,
            delay_weight_per_s=rule.delay_weight_per_s,
            storage_fraction=rule.storage_fraction,
        )
        if found is None:
            return None
        choice = found[0]
        load.add(choice, pairs=request.pairs)
        self._note_use(choice.path, stocked, request)
        return request.allocation(choice.path.nodes, plan=choice.plan)

    def _there(
        self, options: PathFeatures, stocked: NDArray[np.int64], request: PendingRequest
    ) -> NDArray[np.bool_]:
        if request.persistent:
            return np.zeros_like(options.is_link)
        return options.is_link & (stocked[options.first, options.second] >= request.pairs)

    def _note_use(self, path: Path, stocked: NDArray[np.int64], request: PendingRequest) -> None:
        """The first neighbour was of use; what is taken from the shelves of the path is no more there."""
        self.link_usage.used[path.nodes[0], self.link_usage.place[path.nodes[0], path.nodes[1]]] = True
        for first, second in pairwise(path.nodes):
            left = max(int(stocked[first, second]) - request.pairs, 0)
            stocked[first, second] = stocked[second, first] = left

"""Fidelity-aware routing with distillation on links and what capacity is left.

Source: Q-PATH and Q-LEAP (Li et al. 2022, IEEE Transactions on Communications 70, 6748). A path's fidelity
is found as a product, here of Werner weights w = (4F - 1)/3 of its links and swaps, so that a shortest-path
search on -ln w finds the purest path; links are distilled, each as often as it must, until the path reaches
the target; cheap paths are tried before dear ones; what is granted is taken off the network, and who finds
nothing left is sent another way or waits. Ours differs in three points. Distillation is the project's own,
not the bit-flip map. The target is not split among the hops: as in Q-PATH a round is added to the link where
the path gains most, by estimates of the whole path, which are exact where a split is approximate. And of the
purest paths of no more than h hops, for all h at once (Bellman and Ford), the one of fewest hops that reaches
the target undistilled is taken, else that of fewest pairs: purity is bought only where it is needed.
Knowledge: the map, news of outages, reports of all nodes and the controller's own book. With a right to stock
it serves from and keeps base stock as `live` does.
Work: a search of O(hops x L) array elements for each request, about 0.5 ms, up to four times where capacity
is short; where distillation is needed O(hops) beliefs for each round of each way, some ms more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.flow.pricing import Arcs, CheapestPaths
from qdpem.network.outages import Unavailable
from qdpem.network.path import path_along
from qdpem.policies.earliest_deadline import EarliestDeadlineFirst, QueueModelParameters
from qdpem.policies.routing.delay_model import Backlog, Floats
from qdpem.policies.routing.expiring_set import ExpiringSet
from qdpem.policies.routing.path_evaluation import Fit, PathEvaluator
from qdpem.policies.routing.stocked_pairs import StockByEnds
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Context, Decisions, Observation
from qdpem.policy.tuning import tunable

_EXTRA_HOPS = 4
"""Paths may have so many hops more than the shortest."""

_SEARCHES = 4
"""How often ways are searched for, each time without the links that lacked pairs before."""

_TIE_PER_S = 1e-6
"""Of equally pure ways the one less waited for: a second of waiting counts as so much of -ln w."""


@dataclass(frozen=True, kw_only=True)
class FidelityRoutingParameters(QueueModelParameters):
    """What can be set of fidelity-aware routing, beside the beliefs and base stock of `live`."""

    horizon_s: float = tunable(1.0, low=0.1, high=20.0, log=True)
    """Capacity is what links and repeaters can give within this time, or the time left if that is less."""
    overflow: str = tunable("wait", choices=("wait", "queue"))
    """Who finds no capacity left waits for it ("wait") or queues where it would have gone ("queue")."""
    resource_weight: float = tunable(0.1, low=0.0, high=0.5, pregeneration="end-to-end")
    """Seconds of later finish accepted for each second of work left to others, for remote pairs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.horizon_s > 0.0:
            raise ValueError(f"horizon_s is {self.horizon_s!r}; it must be above 0")
        if self.overflow not in ("wait", "queue"):
            raise ValueError(f"overflow is {self.overflow!r}; it must be 'wait' or 'queue'")


class CentralFidelityRouting(EarliestDeadlineFirst):
    """The controller serves requests in deadline order over short paths pure enough, as capacity lasts."""

    Parameters = FidelityRoutingParameters
    name = "central-qleap"
    _parameters: FidelityRoutingParameters

    def reset(self, context: Context) -> None:
        """Begin a run: weigh links and swaps of the map."""
        super().reset(context)
        self._given = PathEvaluator(context, storage_fraction=self._parameters.storage_fraction)
        self._search = HighestFidelityPaths(context)
        self._asleep = ExpiringSet("asleep")

    def act(self, observations: Observation) -> Decisions:
        """Serve what waits and finds capacity; who found none is looked at again after an epoch."""
        self._now_s = observations.time_s
        return super().act(observations)

    def state(self) -> dict[str, NDArray[Any]]:
        """The stock, and who is not looked at until when."""
        return super().state() | self._asleep.state()

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up a saved state."""
        super().load_state(state)
        self._asleep.load_state(state)

    def _choose(
        self,
        request: PendingRequest,
        load: Backlog,
        *,
        left_s: float,
        shelf: StockByEnds,  # noqa: ARG002  Stock that stands in for links is left to the nodes.
        unavailable: Unavailable,
    ) -> Fit | None:
        if self._asleep.holds(request.id, self._now_s):
            return None
        horizon_s = min(self._parameters.horizon_s, left_s)
        found = self._minimum(request, load, unavailable=unavailable, horizon_s=horizon_s)
        if found is None and self._parameters.overflow == "queue":
            found = self._minimum(request, load, unavailable=unavailable, horizon_s=np.inf)
        if found is None:
            self._asleep.forget(self._now_s)
            self._asleep.note(request.id, self._now_s + self._context.control_settings.decision_epoch_s)
        return found

    def _minimum(
        self, request: PendingRequest, load: Backlog, *, unavailable: Unavailable, horizon_s: float
    ) -> Fit | None:
        """A way without distillation of fewest hops, or else the way of fewest pairs, that reaches the target
        with the capacity left; where links lack pairs to distil, the search goes on without them.
        """
        left = self._search.left(load, horizon_s)
        for _ in range(_SEARCHES):
            found, lacking = self._cheapest(request, load, left, unavailable=unavailable, horizon_s=horizon_s)
            if found is not None or not lacking:
                return found
            left[list(lacking)] = 0.0
        return None

    def _cheapest(
        self,
        request: PendingRequest,
        load: Backlog,
        left: Floats,
        *,
        unavailable: Unavailable,
        horizon_s: float,
    ) -> tuple[Fit | None, set[int]]:
        """The cheapest way that reaches the target, and links that lack the pairs that others would take."""
        best: Fit | None = None
        lacking: set[int] = set()
        for nodes in self._search.ways(
            request, load, left=left, horizon_s=horizon_s, unavailable=unavailable
        ):
            fit = self._given.with_distillation(
                nodes, load, target_fidelity=request.target_fidelity, pairs=request.pairs
            )
            if fit is None:
                continue
            links = np.array(fit.path.links)
            short = request.pairs * fit.need > left[links]
            lacking.update(links[short].tolist())
            if short.any():
                continue
            if fit.rounds == 0:
                # Ways come with ever more hops: of those without distillation the first takes fewest pairs.
                return fit, lacking
            if best is None or fit.need.sum() < best.need.sum():
                best = fit
        return best, lacking


class HighestFidelityPaths:
    """The purest paths of a map by number of hops, over what capacity is left.

    `link_cost` float64 [L] and `node_cost` [N]: -ln of the Werner weight of a link's fresh pair and of a
    swap, inf where there is none.
    """

    def __init__(self, context: Context) -> None:
        network = self._network = context.network
        self._arcs = Arcs.of(network)
        estimates = context.estimates
        self.link_cost = np.array(
            [_cost(estimates.link_fidelity(link)) for link in range(network.link_count)]
        )
        self.link_cost[network.link_rate_hz <= 0.0] = np.inf
        self._end_rate_hz = (
            network.source_rate_hz[network.graph.link_ends] * network.success_probability[:, None]
        )
        self.node_cost = np.full(network.node_count, np.inf)
        for node, around in enumerate(network.neighbours):
            if around and network.repeater_rate_hz[node] > 0.0:
                # There and back over one link: two pairs and the swap between them.
                (other, link), *_ = around
                twice = path_along(network, (other, node, other))
                swap = _cost(estimates.fidelity(twice)) - 2.0 * _cost(estimates.link_fidelity(link))
                self.node_cost[node] = max(swap, 0.0)

    def left(self, load: Backlog, horizon_s: float) -> Floats:
        """Pairs that each link can make within H = `horizon_s` after what is ordered of its ends, [L].

        r_u max(H - T_u, 0) + r_v max(H - T_v, 0), T until a source is free; inf where H is.
        """
        if not np.isfinite(horizon_s):
            return np.full(self._network.link_count, np.inf)
        left_s = np.maximum(horizon_s - load.ready_s[self._network.graph.link_ends], 0.0)
        shared = (left_s * self._end_rate_hz).sum(axis=1)
        own = left_s.max(axis=1) * self._network.link_rate_hz
        return np.asarray(np.where(self._network.source_limited, shared, own))

    def ways(
        self,
        request: PendingRequest,
        load: Backlog,
        *,
        left: Floats,
        horizon_s: float,
        unavailable: Unavailable,
    ) -> Iterator[tuple[int, ...]]:
        """Nodes of the purest path of at most h hops for each h at which a further hop makes it purer.

        Only over links and repeaters that are not `unavailable`, links that have this request's pairs `left` and
        repeaters that have its tokens within `horizon_s`; of equally pure ones the path less waited for.
        """
        source, destination = request.source, request.destination
        fewest = int(self._network.hop_distance[source, destination])
        busy_s = load.ready_s[self._network.graph.link_ends].sum(axis=1)
        link_cost = np.where(left < request.pairs, np.inf, self.link_cost + _TIE_PER_S * busy_s)
        link_cost = _without(link_cost, unavailable.links)
        node_cost = self._nodes(load, request.pairs, horizon_s, unavailable)
        at_best = np.inf
        # Most requests go by the fewest hops: the rest is searched when it is asked for.
        for minimum, maximum in ((fewest, fewest), (fewest + 1, fewest + _EXTRA_HOPS)):
            paths = CheapestPaths(
                self._arcs, np.array([source]), link_cost=link_cost, node_cost=node_cost, max_hops=maximum
            )
            hops = np.arange(minimum, maximum + 1)
            ends = np.full(len(hops), source), np.full(len(hops), destination)
            for limit, cost in zip(hops.tolist(), paths.cost(*ends, hops).tolist(), strict=True):
                if cost < at_best:
                    at_best = cost
                    yield paths.path(source, destination, limit)[0]

    def _nodes(self, load: Backlog, swaps: int, horizon_s: float, unavailable: Unavailable) -> Floats:
        wait_s = load.token_wait_s(swaps)
        cost = self.node_cost + _TIE_PER_S * wait_s
        return _without(np.where(wait_s <= horizon_s, cost, np.inf), unavailable.nodes)


def _without(cost: Floats, gone: frozenset[int]) -> NDArray[np.float64]:
    cost[list(gone)] = np.inf
    return cost


def _cost(fidelity: float) -> float:
    """-ln of the Werner weight; inf where there is none."""
    weight = (4.0 * fidelity - 1.0) / 3.0
    return float(-np.log(weight)) if weight > 0.0 else np.inf

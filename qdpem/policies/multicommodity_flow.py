"""Multicommodity-flow routing: requests over the mix of paths that a flow computes for the estimated demand.

Source: routing by the multicommodity flow of Chakraborty, Elkouss, Rijsman and Wehner 2020
(arXiv:2005.14304), each request over a path drawn from its commodity's mix. The flow is solved again each
period, here by column generation (`flow.path_mix`) and with a price on waiting (Gallager 1977): a flow that
only counts deliveries loads repeaters to their capacity, and under a light load all paths are equal to it. A
commodity is a pair of nodes with what is within its reach: the hops that each number of distillation rounds
allows at the age that an idle network gives, at most 4 more than the fewest.

A flow ignores queues. A drawn path is therefore passed over for the next one drawn while its expected delay
exceeds `max_path_delay` x the slack. A request that the flow excludes, or whose paths are all too slow, takes
the route of least expected delay if that is within `max_fallback_delay` x the slack, and else waits for the
next epoch.

Knowledge: the map, reports of outages, all requests that reached the controller, a forecast where the arm has
one, reports of all nodes and the controller's own book. With pregeneration it serves from stock and keeps
base stock as `expected_delay` does.
Work: each period a linear programme, 0.2 to 1 s for 100 nodes and 500 commodities; about 0.3 ms a request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats, Ints
from qdpem.flow.commodities import Commodity
from qdpem.flow.path_mix import PathMixSolver
from qdpem.network.graph import Network
from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.policies.central_routing.distillation_reach import DistillationReach
from qdpem.policies.central_routing.path_mix import (
    CommodityKey,
    PathMix,
    path_mixes_of_arrays,
    path_mixes_to_arrays,
)
from qdpem.policies.expected_delay import CentralExpectedDelay, ExpectedDelayParameters
from qdpem.policies.inventory.demand_estimate import DemandEstimate, RequestKind
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.expiring_set import ExpiringSet
from qdpem.policies.routing.path_evaluation import PathEvaluator
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policies.routing.stocked_pairs import StockByEnds
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import CONTROLLER, Context, Decisions, Observation
from qdpem.policy.tuning import tunable
from qdpem.rng import move_to, position

_EXTRA_HOPS = 4
_TOLERANCE = 1e-2
"""Relative distance of a flow from its optimum that is accepted: demand is known less precisely than that."""


@dataclass(frozen=True, kw_only=True)
class MulticommodityParameters(ExpectedDelayParameters):
    """Parameters of multicommodity-flow routing, in addition to those of expected-delay routing."""

    update_period_s: float = tunable(20.0, low=1.0, high=20.0, log=True)
    """Seconds (above 0) after which the flow is solved again."""
    demand_time_constant_s: float = tunable(300.0, low=5.0, high=1000.0, log=True)
    """Time constant in seconds (above 0) of the demand estimate: a request this long ago counts 1/e."""
    delay_cost_per_s: float = tunable(0.1, low=0.01, high=1.0, log=True)
    """Cost in the flow of each second of expected waiting (0 or more); a delivery is worth 1."""
    max_path_delay: float = 1.0
    """A drawn path is used if its expected delay is at most this fraction of the slack (0: never)."""
    max_fallback_delay: float = 2.0
    """A request outside the flow is served if its delay is at most this fraction of its slack (0: never)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("update_period_s", "demand_time_constant_s"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be above 0 and finite")
        for name in ("delay_cost_per_s", "max_path_delay", "max_fallback_delay"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be 0 or more")


class CentralMulticommodity(CentralExpectedDelay):
    """The controller draws each request's path from the mix of the flow, and passes over slow paths."""

    Parameters = MulticommodityParameters
    name = "central-multicommodity"
    family = "multicommodity-flow"
    _parameters: MulticommodityParameters

    def reset(self, context: Context) -> None:
        """Begin a run, without an estimate of demand or a solved flow."""
        super().reset(context)
        parameters = self._parameters
        self._evaluator = PathEvaluator(context, storage_fraction=parameters.storage_fraction)
        self._reach = DistillationReach(context, storage_fraction=parameters.storage_fraction)
        self._solver = PathMixSolver(delay_cost_per_s=parameters.delay_cost_per_s, tolerance=_TOLERANCE)
        self._demand = DemandEstimate(
            context,
            demand_time_constant_s=parameters.demand_time_constant_s,
            period_s=parameters.update_period_s,
        )
        self._draws = context.site_stream(CONTROLLER)
        self.path_mixes: dict[CommodityKey, PathMix] = {}
        self._solve_at_s = -np.inf
        self._solved_for = ALL_AVAILABLE
        self._excluded, self._deferred = ExpiringSet("excluded"), ExpiringSet("deferred")

    def act(self, observations: Observation) -> Decisions:
        """Update the demand estimate, solve the flow if it is due, and serve pending requests."""
        self._now_s = observations.time_s
        for observation in observations:
            self._demand.update(observation)
            # An outage changes the capacity that the mix relies on, so the flow is solved without delay.
            if self._demand.kinds and (
                observation.time_s >= self._solve_at_s or observation.unavailable() != self._solved_for
            ):
                self._solve(observation)
        return super().act(observations)

    def state(self) -> dict[str, NDArray[Any]]:
        """Demand, mixes, excluded and deferred requests, the position of the stream and the inventory."""
        return {
            "draws": position(self._draws),
            "solve_at_s": np.array(self._solve_at_s),
            "solved_for_nodes": np.array(sorted(self._solved_for.nodes), dtype=np.int64),
            "solved_for_links": np.array(sorted(self._solved_for.links), dtype=np.int64),
            **path_mixes_to_arrays(self.path_mixes),
            **self._solver.state(),
            **super().state(),
            **self._demand.state(),
            **self._excluded.state(),
            **self._deferred.state(),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        super().load_state(state)
        self._demand.load_state(state)
        self._excluded.load_state(state)
        self._deferred.load_state(state)
        move_to(self._draws, state["draws"])
        self._solver.load_state(state)
        self.path_mixes = path_mixes_of_arrays(state)
        self._solve_at_s = float(state["solve_at_s"])
        nodes, links = (frozenset(state[f"solved_for_{part}"].tolist()) for part in ("nodes", "links"))
        self._solved_for = Unavailable(nodes=nodes, links=links)

    def _solve(self, observation: Observation) -> None:
        """Solve the flow for the present demand, without the unavailable nodes and links."""
        now_s, unavailable = observation.time_s, observation.unavailable()
        if unavailable != self._solved_for:
            # Deferred requests may have a path in the changed network, so they are considered at once.
            self._deferred.clear()
        # The next regular solution is a full period from now, also after one that an outage caused.
        self._solve_at_s, self._solved_for = now_s + self._parameters.update_period_s, unavailable
        self._excluded.remove_expired(now_s)
        self._deferred.remove_expired(now_s)
        # Rates are read as of `updated_s`, so the counts are decayed to now first.
        self._demand.decay(now_s)
        rates: dict[CommodityKey, float] = {}
        for low, high, kind, rate_hz in self._demand.rates(observation):
            key = self._key(low, high, kind)
            rates[key] = rates.get(key, 0.0) + rate_hz
        commodities = [
            Commodity(source=low, destination=high, rate_hz=rate_hz, options=options, pairs=pairs)
            for (low, high, options, pairs), rate_hz in rates.items()
        ]
        solution = self._solver.solve(_without(self._context.network, unavailable), commodities)
        self.path_mixes = {
            key: PathMix(
                tuple(flow.nodes for flow in flows),
                tuple(self._reach.rounds(flow.pairs_per_link) for flow in flows),
                np.array([flow.rate_hz for flow in flows]) / rates[key],
            )
            for key, flows in zip(rates, solution.path_flows, strict=True)
            if flows
        }

    def _key(self, first: int, second: int, kind: RequestKind) -> CommodityKey:
        low, high = min(first, second), max(first, second)
        # The distance of the whole network, so that keys stay the same during outages.
        max_hops = int(self._context.network.hop_distance[low, high]) + _EXTRA_HOPS
        return low, high, self._reach.options(kind.target_fidelity, max_hops), kind.pairs

    def _choose(
        self,
        request: PendingRequest,
        backlog: Backlog,
        *,
        slack_s: float,
        stock: StockByEnds,
        unavailable: Unavailable,
    ) -> RoutePlan | None:
        if self._deferred.contains(request.id, self._now_s):
            return None
        kind = RequestKind(request.target_fidelity, request.pairs)
        mix = self.path_mixes.get(self._key(request.source, request.destination, kind))
        if mix is not None and not self._excluded.contains(request.id, self._now_s):
            route = self._draw_route(request, mix, backlog, slack_s=slack_s, unavailable=unavailable)
            if route is not None:
                return route
        route = super()._choose(request, backlog, slack_s=slack_s, stock=stock, unavailable=unavailable)
        if route is not None and route.expected_delay_s <= self._parameters.max_fallback_delay * slack_s:
            return route
        # A queue may be shorter by the next epoch. Without a fallback the request is not tried again.
        next_epoch_s = self._now_s + self._context.control_settings.decision_epoch_s
        until_s = next_epoch_s if self._parameters.max_fallback_delay else request.deadline_s
        self._deferred.add(request.id, until_s)
        return None

    def _draw_route(
        self,
        request: PendingRequest,
        mix: PathMix,
        backlog: Backlog,
        *,
        slack_s: float,
        unavailable: Unavailable,
    ) -> RoutePlan | None:
        """The first drawn path that is in time, drawn without replacement by the fractions of the mix.

        None if no path is in time, or if the flow excludes the request.
        """
        order = draw_path_order(mix.fractions, self._draws)
        if not len(order):
            # One draw decides for good: drawing again at each epoch would admit more than the flow carries.
            self._excluded.add(request.id, request.deadline_s)
            return None
        is_reversed = request.source > request.destination
        routes = self._evaluator.with_uniform_rounds(
            tuple(nodes[::-1] for nodes in mix.paths) if is_reversed else mix.paths,
            backlog,
            target_fidelity=request.target_fidelity,
            max_unloaded_delay_s=self._parameters.max_unloaded_delay * slack_s,
            pairs=request.pairs,
            min_rounds=mix.rounds,
        )
        indices: list[int] = order.tolist()
        for index in indices:
            route = routes[index]
            if route is None or route.expected_delay_s > self._parameters.max_path_delay * slack_s:
                continue
            if not (unavailable and unavailable.affects(route.path.nodes, route.path.links)):
                return route
        return None


def draw_path_order(fractions: Floats, draws: np.random.Generator) -> Ints:
    """Indices of all paths in drawn order, or none: path i is first with probability fractions[i].

    With the remaining probability the result is empty. Later paths are drawn by their fractions from the rest
    (Efraimidis and Spirakis 2006: exponential times with these rates, in ascending order).
    """
    # The flow may carry only part of the demand: the rest of the probability excludes the request.
    if draws.random() >= fractions.sum():
        return np.zeros(0, dtype=np.int64)
    return np.argsort(draws.exponential(size=len(fractions)) / fractions, kind="stable")


def _without(network: Network, unavailable: Unavailable) -> Network:
    """The network in which unavailable nodes and links make no pairs and no swaps."""
    if not unavailable:
        return network
    nodes = list(unavailable.nodes)
    source_hz, repeater_hz = network.source_rate_hz.copy(), network.repeater_rate_hz.copy()
    source_hz[nodes], repeater_hz[nodes] = 0.0, 0.0
    ends = network.graph.link_ends.tolist()
    links = tuple(
        # Kept with rate 0, so that indices of nodes and links stay those of the map.
        replace(link, success_probability=0.0) if unavailable.affects(ends[index], (index,)) else link
        for index, link in enumerate(network.links)
    )
    return replace(network, source_rate_hz=source_hz, repeater_rate_hz=repeater_hz, links=links)

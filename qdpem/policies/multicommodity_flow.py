"""Requests over the mix of paths that a multicommodity flow makes of the demand.

Source: routing by the multicommodity flow of Chakraborty, Elkouss, Rijsman and Wehner 2020
(arXiv:2005.14304), each request over a path drawn from its class' mix, solved again each period; here by
column generation (`flow.path_mix`) and with a price on waiting (Gallager 1977), for a flow that only counts
deliveries fills repeaters to the brim, and to it all paths of a light load are alike. Classes are pairs of
nodes and what is within their reach: how many hops each number of distillation rounds allows, at the age that
an idle network gives, at most 4 more than the fewest.
A flow knows no queue. So a path drawn is passed over for the next one drawn while it is expected to finish
later than `max_path_delay` x the time left. Requests that the flow leaves out, or whose ways are all too slow, go the
way of least expected finish if that is within `max_fallback_delay` x the time left, and else wait for the next epoch.
Knowledge: the map, news of outages, all requests that reached the controller, a forecast where the arm has
one, reports of all nodes and the controller's own book. With a right to stock it serves from and keeps base
stock as `live` does.
Work: each period a linear programme, 0.2 to 1 s for 100 nodes and 500 classes; about 0.3 ms a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.flow.commodities import Commodity, DistillationOption
from qdpem.flow.path_mix import PathMixSolver
from qdpem.network.graph import Network
from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.network.path_estimates import MAX_ROUNDS
from qdpem.network.routing import Path
from qdpem.policies.expected_delay import CentralExpectedDelay, ExpectedDelayParameters
from qdpem.policies.inventory.demand_estimate import DemandEstimate, RequestKind
from qdpem.policies.routing.delay_model import Backlog
from qdpem.policies.routing.expiring_set import ExpiringSet
from qdpem.policies.routing.path_evaluation import Fit, PathEvaluator
from qdpem.policies.routing.path_mix import Key, PathMix, path_mixes_of_arrays, path_mixes_to_arrays
from qdpem.policies.routing.planner import Choice
from qdpem.policies.routing.stocked_pairs import StockByEnds
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import CONTROLLER, Context, Decisions, Observation
from qdpem.policy.tuning import tunable
from qdpem.rng import move_to, position

_EXTRA_HOPS = 4
_TOLERANCE = 1e-2
"""How far below its optimum a flow may be, relatively: demand is known less well than that."""


@dataclass(frozen=True, kw_only=True)
class MulticommodityParameters(ExpectedDelayParameters):
    """What can be set of the flow's mix, beside the beliefs and base stock of `live`."""

    period_s: float = tunable(20.0, low=1.0, high=20.0, log=True)
    """The flow is solved again after this time."""
    demand_time_constant_s: float = tunable(300.0, low=5.0, high=1000.0, log=True)
    """A request this long ago counts 1/e in the demand that the flow is solved for."""
    delay_cost_per_s: float = tunable(0.1, low=0.01, high=1.0, log=True)
    """What a second of expected waiting costs in the flow, a delivery being worth 1."""
    max_path_delay: float = 1.0
    """A path drawn is taken if expected to finish within this share of the time left; 0: none is."""
    max_fallback_delay: float = 2.0
    """What the flow leaves out is tried if expected to finish within this share of the time left; 0: left."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("period_s", "demand_time_constant_s"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be above 0")
        for name in ("delay_cost_per_s", "max_path_delay", "max_fallback_delay"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be 0 or more")


class CentralMulticommodity(CentralExpectedDelay):
    """The controller draws each request's path from the flow's mix, and minds the queues."""

    Parameters = MulticommodityParameters
    name = "central-multicommodity"
    _parameters: MulticommodityParameters

    def reset(self, context: Context) -> None:
        """Begin a run: no demand seen, nothing solved."""
        super().reset(context)
        rule = self._parameters
        self._given = PathEvaluator(context, storage_fraction=rule.storage_fraction)
        self._distillation_reach = DistillationReach(context, storage_fraction=rule.storage_fraction)
        self._mixer = PathMixSolver(delay_cost_per_s=rule.delay_cost_per_s, tolerance=_TOLERANCE)
        self._seen = DemandEstimate(
            context, demand_time_constant_s=rule.demand_time_constant_s, period_s=rule.period_s
        )
        self._draws = context.site_stream(CONTROLLER)
        self.path_mixes: dict[Key, PathMix] = {}
        self._solve_at_s = -np.inf
        self._solved_for = ALL_AVAILABLE
        self._left_out, self._asleep = ExpiringSet("left_out"), ExpiringSet("asleep")

    def act(self, observations: Observation) -> Decisions:
        """Note who asks, solve the flow if it is time, and serve."""
        self._now_s = observations.time_s
        for observation in observations:
            self._seen.note(observation)
            if self._seen.classes and (
                observation.time_s >= self._solve_at_s or observation.unavailable() != self._solved_for
            ):
                self._solve(observation)
        return super().act(observations)

    def state(self) -> dict[str, NDArray[Any]]:
        """The demand seen, what the flow was solved to and left out, the draws and the stock."""
        return {
            "draws": position(self._draws),
            "solve_at_s": np.array(self._solve_at_s),
            "solved_for_nodes": np.array(sorted(self._solved_for.nodes), dtype=np.int64),
            "solved_for_links": np.array(sorted(self._solved_for.links), dtype=np.int64),
            **path_mixes_to_arrays(self.path_mixes),
            **self._mixer.state(),
            **super().state(),
            **self._seen.state(),
            **self._left_out.state(),
            **self._asleep.state(),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up a saved state."""
        super().load_state(state)
        self._seen.load_state(state)
        self._left_out.load_state(state)
        self._asleep.load_state(state)
        move_to(self._draws, state["draws"])
        self._mixer.load_state(state)
        self.path_mixes = path_mixes_of_arrays(state)
        self._solve_at_s = float(state["solve_at_s"])
        nodes, links = (frozenset(state[f"solved_for_{what}"].tolist()) for what in ("nodes", "links"))
        self._solved_for = Unavailable(nodes=nodes, links=links)

    def _solve(self, observation: Observation) -> None:
        now_s, unavailable = observation.time_s, observation.unavailable()
        if unavailable != self._solved_for:
            self._asleep.forget()
        self._solve_at_s, self._solved_for = now_s + self._parameters.period_s, unavailable
        self._left_out.forget(now_s)
        self._asleep.forget(now_s)
        self._seen.fade(now_s)
        rates: dict[Key, float] = {}
        for low, high, asked, rate_hz in self._seen.rates(observation):
            key = self._key(low, high, asked)
            rates[key] = rates.get(key, 0.0) + rate_hz
        classes = [
            Commodity(source=low, destination=high, rate_hz=rate_hz, options=options, pairs=pairs)
            for (low, high, options, pairs), rate_hz in rates.items()
        ]
        solved = self._mixer.solve(_without(self._context.network, unavailable), classes)
        self.path_mixes = {
            key: PathMix(
                tuple(way.nodes for way in ways),
                tuple(self._distillation_reach.rounds(way.pairs_per_link) for way in ways),
                np.array([way.rate_hz for way in ways]) / rates[key],
            )
            for key, ways in zip(rates, solved.path_flows, strict=True)
            if ways
        }

    def _key(self, first: int, second: int, asked: RequestKind) -> Key:
        low, high = min(first, second), max(first, second)
        maximum = int(self._context.network.hop_distance[low, high]) + _EXTRA_HOPS
        return low, high, self._distillation_reach.options(asked.target_fidelity, maximum), asked.pairs

    def _choose(
        self,
        request: PendingRequest,
        load: Backlog,
        *,
        left_s: float,
        shelf: StockByEnds,
        unavailable: Unavailable,
    ) -> Fit | Choice | None:
        if self._asleep.holds(request.id, self._now_s):
            return None
        asked = RequestKind(request.target_fidelity, request.pairs)
        mix = self.path_mixes.get(self._key(request.source, request.destination, asked))
        if mix is not None and not self._left_out.holds(request.id, self._now_s):
            found = self._drawn(request, mix, load, left_s=left_s, unavailable=unavailable)
            if found is not None:
                return found
        choice = super()._choose(request, load, left_s=left_s, shelf=shelf, unavailable=unavailable)
        if choice is not None and choice.finish_s <= self._parameters.max_fallback_delay * left_s:
            return choice
        # A queue may be shorter by the next epoch.
        again_s = self._now_s + self._context.plane.decision_epoch_s
        self._asleep.note(request.id, again_s if self._parameters.max_fallback_delay else request.deadline_s)
        return None

    def _drawn(
        self, request: PendingRequest, mix: PathMix, load: Backlog, *, left_s: float, unavailable: Unavailable
    ) -> Fit | None:
        """The first path of those drawn, one after the other by their shares, that is in time; None where
        there is none, or where the flow leaves the request out.
        """
        order = draw_order(mix.fractions, self._draws)
        if not len(order):
            self._left_out.note(request.id, request.deadline_s)
            return None
        turned = request.source > request.destination
        fits = self._given.fits(
            tuple(nodes[::-1] for nodes in mix.ways) if turned else mix.ways,
            load,
            target_fidelity=request.target_fidelity,
            within_s=self._parameters.max_unloaded_delay * left_s,
            pairs=request.pairs,
            min_rounds=mix.rounds,
        )
        places: list[int] = order.tolist()
        for place in places:
            fit = fits[place]
            if fit is None or fit.finish_s > self._parameters.max_path_delay * left_s:
                continue
            if not (unavailable and unavailable.affects(fit.path.nodes, fit.path.links)):
                return fit
        return None


def draw_order(fractions: NDArray[np.float64], draws: np.random.Generator) -> NDArray[np.int64]:
    """An order of all ways, or none: the first is way i with probability shares[i], none with the rest.

    Those after it are drawn by their shares from what is left (Efraimidis and Spirakis 2006: exponential
    times of these rates, the least first).
    """
    if draws.random() >= fractions.sum():
        return np.zeros(0, dtype=np.int64)
    return np.argsort(draws.exponential(size=len(fractions)) / fractions, kind="stable")


class DistillationReach:
    """How far each number of distillation rounds reaches, and what it costs, on a link of median fidelity."""

    def __init__(self, context: Context, *, storage_fraction: float) -> None:
        self._context = context
        self._wait_fraction = storage_fraction
        network = context.network
        fresh = [context.estimates.link_fidelity(link) for link in range(network.link_count)]
        self._link = int(np.argsort(fresh, kind="stable")[len(fresh) // 2])
        working_hz = network.link_rate_hz[network.link_rate_hz > 0.0]
        self._pair_s = float(1.0 / np.median(working_hz)) if len(working_hz) else 0.0
        self._costs = [
            context.estimates.pairs_per_link(self._link, rounds=rounds) for rounds in range(MAX_ROUNDS + 1)
        ]
        self._found: dict[tuple[float, int], tuple[DistillationOption, ...]] = {}

    def options(self, target_fidelity: float, max_hops: int) -> tuple[DistillationOption, ...]:
        """Each number of rounds that reaches further than fewer do, within `max_hops`."""
        key = target_fidelity, max_hops
        if key not in self._found:
            found: list[DistillationOption] = []
            for rounds, cost in enumerate(self._costs):
                hops = self._hops(target_fidelity, rounds, max_hops)
                if hops > max((option.max_hops for option in found), default=0):
                    found.append(DistillationOption(hops, cost))
            self._found[key] = tuple(found)
        return self._found[key]

    def rounds(self, pairs_per_link: float) -> int:
        """The rounds that cost so many fresh pairs."""
        return self._costs.index(pairs_per_link)

    def _hops(self, target_fidelity: float, rounds: int, maximum: int) -> int:
        """Most hops, of links like the median one, that still meet the target after the usual wait."""
        hops = 0
        while hops < maximum and self._fidelity(hops + 1, rounds) >= target_fidelity:
            hops += 1
        return hops

    def _fidelity(self, hops: int, rounds: int) -> float:
        """To and fro over the median link, its pairs as old as those of an idle network when swapped."""
        first, second = self._context.network.graph.link_ends[self._link].tolist()
        nodes = tuple((first, second)[hop % 2] for hop in range(hops + 1))
        walk = Path(nodes, (self._link,) * hops, 0.0, 0.0)
        age_s = self._wait_fraction * np.sqrt(hops) * self._costs[rounds] * self._pair_s
        return self._context.estimates.fidelity(walk, rounds=rounds, age_s=float(age_s))


def _without(network: Network, unavailable: Unavailable) -> Network:
    """The network whose nodes and links that are away make and swap nothing."""
    if not unavailable:
        return network
    nodes = list(unavailable.nodes)
    source_hz, repeater_hz = network.source_rate_hz.copy(), network.repeater_rate_hz.copy()
    source_hz[nodes], repeater_hz[nodes] = 0.0, 0.0
    ends = network.graph.link_ends.tolist()
    links = tuple(
        replace(one, success_probability=0.0) if unavailable.affects(ends[link], (link,)) else one
        for link, one in enumerate(network.links)
    )
    return replace(network, source_rate_hz=source_hz, repeater_rate_hz=repeater_hz, links=links)

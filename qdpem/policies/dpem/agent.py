"""The policy `dpem`: every node decides about its requests and its stock with small shared networks.

Source: Distributed Predictive Entanglement Management, the paper whose claim is tested, which leaves most of
the method open; proximal policy optimisation (Schulman et al. 2017).
A node decides about each pending request (`serving`), about the stock for each peer (`peer_levels`) and about
the stock of each of its links (`link_levels`). Options are described by the formulas of the expected-delay
rules. How a level is reached, by which path and when a source is idle, is left to `inventory`.
Knowledge: the map, its own status, aged reports of neighbours, its stock and the forecasts of its peers.
Work: that of `local-planned-stock`, and one pass of a small network over the options of each decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.errors import PolicyError
from qdpem.network.outages import Unavailable
from qdpem.policies.dpem.chooser import Choices, Chooser, Chosen
from qdpem.policies.dpem.explanation import LABELS, explanation
from qdpem.policies.dpem.link_levels import MAX_LEVEL as MAX_LINK_LEVEL
from qdpem.policies.dpem.link_levels import LinkLevels
from qdpem.policies.dpem.networks import ACTOR, Kind, Weights, stacked
from qdpem.policies.dpem.own_state import node_status, weight_feature
from qdpem.policies.dpem.peer_levels import PeerFacts, PeerLevels
from qdpem.policies.dpem.policy_file import RELEASED, load_actor, load_privacy, require_shapes
from qdpem.policies.dpem.serving import (
    COMBINED,
    FIRST_ROUTE,
    STOCK,
    WAIT,
    Offer,
    ServeOptions,
    Situation,
)
from qdpem.policies.dpem.teacher import Teacher
from qdpem.policies.earliest_deadline import EarliestDeadlineFirst, QueueModelParameters
from qdpem.policies.inventory.end_to_end_rule import EndToEndRule
from qdpem.policies.inventory.expected_needs import PeerKind
from qdpem.policies.inventory.parameters import PlannedStockParameters
from qdpem.policies.inventory.planned_stock import PlannedStock
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.route_plan import RoutePlan
from qdpem.policies.routing.stocked_pairs import StockByEnds
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Allocation, Context, Decisions, Observation
from qdpem.policy.tuning import tunable
from qdpem.rng import move_to, position
from qdpem.scenario.words import Control, Pregeneration

_SHOWN_REQUESTS = 8
"""Decisions about requests that a record of level "full" shows of each site and call."""


@dataclass(frozen=True, kw_only=True)
class DpemParameters(PlannedStockParameters, QueueModelParameters):
    """Which trained policy acts, how it chooses, and the parameters of the formulas that describe options.

    Raises ValueError for a value out of range.
    """

    policy_file: str = ""
    """Path of an .npz file that `qdpem train` wrote; "" is the released policy."""
    contention_weight: float = tunable(0.02, low=0.0, high=0.5)
    """Penalty (0 or more) of a contended claim in units of a delivered request. Higher values contend less
    and deliver less: the network was trained for all of them."""
    greedy: bool = False
    """Whether the most probable option is always taken. Otherwise options are drawn."""
    temperature: float = 0.5
    """Temperature of the draw, above 0. Training draws at 1."""
    storage_fraction: float = 0.3
    resource_weight: float = 0.1246
    unobserved_tokens: float = 0.4322
    link_base_stock_level: int = MAX_LINK_LEVEL
    link_quota_fraction: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0.0:
            raise ValueError(f"temperature is {self.temperature!r}; it must be above 0")
        if not self.contention_weight >= 0.0:
            raise ValueError(f"contention_weight is {self.contention_weight!r}; it must be 0 or more")


class Dpem(EarliestDeadlineFirst):
    """Acts at every node with shared networks, trained by proximal policy optimisation.

    The option of each decision is drawn, by the site's own stream, from the softmax of the scores divided by
    `temperature`. If `greedy`, it is the option of the highest score. `reset` raises PolicyError for central
    control and for a policy file that is missing or invalid.
    """

    Parameters: ClassVar[type] = DpemParameters
    name = "dpem"
    family = "dpem"
    control: Control = Control.LOCAL
    pregeneration: Pregeneration = Pregeneration.END_TO_END
    forecaster = "gru"
    acts_every_epoch = True
    output_labels = LABELS
    _parameters: DpemParameters

    def __init__(
        self,
        parameters: DpemParameters | None = None,
        *,
        weights: Weights | None = None,
        teacher: Teacher | None = None,
        log: list[Chosen] | None = None,
    ) -> None:
        """Create the policy.

        Args:
            parameters: which policy file, and how to choose.
            weights: stacked weights [N, ...] to use instead of a file's.
            teacher: do what this rule does instead of what the networks say.
            log: where to append every choice.
        """
        super().__init__(parameters or DpemParameters())
        self._fixed_weights = weights
        self._teacher = teacher
        self._log = log

    def reset(self, context: Context) -> None:
        """Begin a run on the network of `context`; forget the last one."""
        if context.control != "local":
            raise PolicyError(
                f"policy 'dpem' decides at every node; control is {context.control!r}, it must be 'local'"
            )
        nodes = context.network.node_count
        self._streams = [context.site_stream(site) for site in range(nodes)]
        self._chooser = Chooser(
            self._initial_weights(nodes),
            self._streams,
            temperature=self._parameters.temperature,
            greedy=self._parameters.greedy,
            follows_teacher=self._teacher is not None,
            log=self._log,
        )
        self._rule = self._teacher or Teacher()
        self._weight = weight_feature(self._parameters.contention_weight)
        self._own: Floats = np.zeros(3)
        super().reset(context)
        self._links = LinkLevels(
            context,
            self._chooser,
            self._inventory.links,
            contention_weight=self._weight,
            teacher_level=self._rule.link_level,
        )
        self._serving = ServeOptions(self._planner, fidelity_margin=self._parameters.fidelity_margin)
        self.acts_every_epoch = self._inventory.is_active
        degree = max(len(around) for around in context.network.neighbours)
        peers = context.forecasting.max_peers
        self._places = {Kind.SERVE: _SHOWN_REQUESTS, Kind.PEER: peers, Kind.LINK: degree}

    def act(self, observations: Observation) -> Decisions:
        """Decide for all sites of `observations.site`, each from its own row."""
        self._asked = observations.site
        self._chooser.begin_call()
        if self._inventory.is_active:
            self._links.decide(observations)
        return super().act(observations)

    def explain(self) -> dict[str, NDArray[np.float32]]:
        """The options, their probabilities and the choices of the last call (`explanation`)."""
        return explanation(self._chooser.made, self._asked, places=self._places)

    def privacy_spent(self) -> tuple[float, float]:
        """Epsilon and delta of the training of the policy file."""
        return load_privacy(self._parameters.policy_file)

    def files(self) -> dict[str, Path]:
        """The policy file, which every record of a run embeds."""
        return {"policy.npz": Path(self._parameters.policy_file or RELEASED)}

    def state(self) -> dict[str, NDArray[Any]]:
        """The stacked weights, each site's memory of this run, and its stream position, uint64 [N, 6]."""
        return {
            **self._chooser.weights,
            **super().state(),
            **self._chooser.state(),
            "link_levels": self._inventory.links.level.copy(),
            "links_decided_s": self._links.decided_s.copy(),
            "draws": np.stack([position(stream) for stream in self._streams]),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a state, after `reset`. Raises PolicyError for a missing array or one of a wrong shape."""
        self._chooser.weights = _checked({name: state[name] for name in ACTOR if name in state})
        super().load_state(state)
        self._chooser.load_state(state)
        self._inventory.links.level[:] = state["link_levels"]
        self._links.decided_s = np.array(state["links_decided_s"], dtype=np.float64)
        for stream, drawn in zip(self._streams, state["draws"], strict=True):
            move_to(stream, drawn)

    def _initial_weights(self, nodes: int) -> Weights:
        if self._fixed_weights is None:
            return stacked(load_actor(self._parameters.policy_file), nodes=nodes)
        weights = _checked(self._fixed_weights)
        count = len(weights[ACTOR[0]])
        if count != nodes:
            raise PolicyError(f"policy 'dpem' has weights for {count} nodes; the network has {nodes}")
        return weights

    def _build_rule(self, context: Context) -> EndToEndRule:
        """Planned stock whose needs are the decisions about peers."""
        # Its formulas describe a peer before any need of it is known.
        planned = PlannedStock(context, self._planner, parameters=self._parameters)

        def facts(kind: PeerKind) -> PeerFacts:
            ends = kind.source, kind.destination
            return PeerFacts(
                lookahead_s=planned.lookahead_s(kind),
                life_s=planned.useful_life_s(kind),
                unloaded_delay_s=self._planner.idle_delay_s(*ends, pairs=kind.pairs),
                work_s=self._planner.least_work_s(*ends),
            )

        levels = PeerLevels(
            context,
            self._chooser,
            facts=facts,
            contention_weight=self._weight,
            teacher_probability=self._rule.stocking_probability,
            teacher_life_probability=self._rule.life_probability,
        )
        return PlannedStock(context, self._planner, parameters=self._parameters, needs=levels)

    def _decide(self, observation: Observation, understocked: list[Any]) -> list[Allocation]:
        # All requests of one call see the site as it was before the first of them.
        self._own = node_status(observation, self._context.network)[0]
        return super()._decide(observation, understocked)

    def _serve(
        self, request: PendingRequest, observation: Observation, backlog: Backlog, stock: StockByEnds
    ) -> list[Allocation]:
        """What the networks choose for one request; nothing leaves it pending."""
        situation = Situation(
            request=request,
            slack_s=request.deadline_s - observation.time_s,
            reserved=self._inventory.reserved(request.source, request.destination, request.pairs),
            ordered=_ordered(observation, request),
            own=self._own,
            contention_weight=self._weight,
            unavailable=observation.unavailable(),
        )
        offer = self._serving.offer(situation, backlog, stock)
        # A request that can only wait is no decision.
        if offer.mask.sum() == 1:
            return []
        held = len(stock.get((request.source, request.destination), ()))
        choices = Choices(
            kind=Kind.SERVE,
            time_s=observation.time_s,
            site=observation.site,
            # A refused request draws anew: its held number would choose the same route again.
            subject=np.array([[float(request.id), float(request.attempts), 0.0]]),
            features=offer.features[None].astype(np.float32),
            mask=offer.mask[None],
        )
        weight = self._parameters.contention_weight
        teacher = np.array([self._rule.serve(offer, situation, held=held, contention_weight=weight)])
        option = int(self._chooser.choose(choices, teacher)[0])
        return self._allocations(request, option, offer, backlog, stock)

    def _allocations(
        self, request: PendingRequest, option: int, offer: Offer, backlog: Backlog, stock: StockByEnds
    ) -> list[Allocation]:
        """The allocations of an option; the work and the stock that they take are counted."""
        if option == WAIT:
            return []
        if option == STOCK:
            return self._stocked(request, request.pairs, stock)
        if option >= FIRST_ROUTE:
            route = offer.routes[option - FIRST_ROUTE].route
            return [self._over_links(request, request.pairs, route, backlog, stock)]
        routes = offer.separate
        if option == COMBINED:
            assert offer.combined is not None
            routes = [(offer.combined.route, request.pairs - offer.stocked)]
        stocked = self._stocked(request, offer.stocked, stock) if offer.stocked else []
        made = [self._over_links(request, pairs, route, backlog, stock) for route, pairs in routes]
        return [*stocked, *made]

    def _stocked(self, request: PendingRequest, pairs: int, stock: StockByEnds) -> list[Allocation]:
        part = self._from_stock(replace(request, pairs=pairs), stock, reserved=0)
        return [] if part is None else [part]

    def _choose(
        self,
        request: PendingRequest,
        backlog: Backlog,
        *,
        slack_s: float,
        stock: StockByEnds,
        unavailable: Unavailable,
    ) -> RoutePlan | None:
        raise NotImplementedError("dpem serves by `_serve`")


def _checked(weights: Mapping[str, NDArray[Any]]) -> Weights:
    """The stacked actors, float64 [N, ...]; PolicyError for a missing array or one of a wrong shape."""
    require_shapes({name: array[0] for name, array in weights.items()}, origin="the given state")
    return {name: np.asarray(weights[name]) for name in ACTOR}


def _ordered(observation: Observation, request: PendingRequest) -> int:
    """Pairs between the ends of a request that the site is having made for its stock."""
    between = (observation.stock_owner[0] == request.source) & (
        observation.stock_partner[0] == request.destination
    )
    return int((between & (observation.stock_ready[0] == 0)).sum())

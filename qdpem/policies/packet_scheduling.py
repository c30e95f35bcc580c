"""Packet scheduling: a request is a packet with a deadline, which books a window on the links of its path.

Source: earliest deadline first over windows of time on links, with packets that are admitted, deferred,
retried or dropped online (Skrzypczyk and Wehner 2021, arXiv:2111.13124; Beauchamp et al. 2025,
arXiv:2503.12582).

The window of a packet over a path is the time in which every link of an idle path makes its pairs with
`success_probability`, plus the wait for tokens and the messages. In order of deadline, each packet takes the
path and slots on which its window ends first:

- admit: the slots are free now and the window ends by the deadline. The packet starts.
- defer: the window would end by the deadline, but begins later. The slots stay booked against packets of
  later deadlines decided in this call, and the packet is considered again at every event and epoch.
- drop: no window ends by the deadline, and none would on free links. Nothing is started; the request expires.
- retry: a packet that was refused, lost a pair, or brought one below its target is scheduled anew.

Knowledge: the map, reports of outages and aged reports of tokens of all nodes, and its own bookings.
Work: O(K x hops) for each pending request at every epoch, about 0.15 ms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from physics.plans import Plan
from qdpem.arrays import Floats
from qdpem.network.outages import Unavailable
from qdpem.network.path import Path
from qdpem.network.path_estimates import MAX_ROUNDS
from qdpem.policies.policy_defaults import PolicyDefaults, check_storage_fraction
from qdpem.policies.routing.backlog import Backlog
from qdpem.policies.routing.pending_requests import command_delay_s, in_deadline_order, pending_requests
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import ORDERED_PAIRS, Allocation, Context, Decisions, Observation
from qdpem.policy.tuning import tunable
from qdpem.scenario.words import Control

_BISECTIONS = 30


@dataclass(frozen=True, kw_only=True)
class PacketSchedulingParameters:
    """Parameters of packet scheduling. Raises ValueError for a value out of range."""

    success_probability: float = tunable(0.4, low=0.1, high=0.95)
    """Probability (above 0, below 1) with which the links of an idle path make their pairs in a window."""
    slots_per_link: int = tunable(4, low=1, high=8)
    """Number of packets (1 or more) that may have a link booked at one time."""
    storage_fraction: float = tunable(0.15, low=0.0, high=0.5)
    """Assumed age of link pairs when they are swapped, as a fraction (0 to 1) of the window."""
    retry_low_fidelity: bool = True
    """Whether a packet whose pair is found below its target is scheduled anew."""

    def __post_init__(self) -> None:
        check_storage_fraction(self.storage_fraction)
        if not 0.0 < self.success_probability < 1.0:
            raise ValueError(
                f"success_probability is {self.success_probability!r}; it must be above 0 and below 1"
            )
        if self.slots_per_link < 1:
            raise ValueError(f"slots_per_link is {self.slots_per_link!r}; it must be 1 or more")


class _Window(NamedTuple):
    """A path with its rounds of distillation, and the seconds of simulation time at which it is booked."""

    path: Path
    rounds: int
    start_s: float
    end_s: float


class CentralPacketScheduling(PolicyDefaults):
    """The controller books windows on links for requests, earliest deadline first."""

    Parameters = PacketSchedulingParameters
    name = "central-edf"
    family = "packet-scheduling"
    control: Control = Control.CENTRAL
    acts_every_epoch = True

    def __init__(self, parameters: PacketSchedulingParameters) -> None:
        self._parameters = parameters

    def reset(self, context: Context) -> None:
        """Begin a run with no link booked."""
        self._context = context
        # When each slot of each link is free again, [L, slots].
        self._free_s = np.zeros((context.network.link_count, self._parameters.slots_per_link))
        self._lengths_s: dict[tuple[tuple[int, ...], int, int], float] = {}

    def act(self, observations: Observation) -> Decisions:
        """Admit, defer or drop the pending packets."""
        allocations: list[Allocation] = []
        for observation in observations:
            self._free_idle_links(observation)
            requests = in_deadline_order(pending_requests(observation))
            if requests:
                allocations += self._schedule(requests, observation)
        return Decisions(allocations=tuple(allocations))

    def state(self) -> dict[str, NDArray[Any]]:
        """When each slot of each link is free again, float64 [L, slots]."""
        return {"free_s": self._free_s.copy()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore the bookings."""
        self._free_s = np.array(state["free_s"])

    def _free_idle_links(self, observation: Observation) -> None:
        """Packets may be done before their windows end: links of a node without open orders are free."""
        status = observation.status[0]
        idle_node = np.zeros(self._context.network.node_count, dtype=np.bool_)
        idle_node[observation.observed_node[0]] = status[:, ORDERED_PAIRS] == 0.0
        ends = self._context.network.graph.link_ends
        idle_link = idle_node[ends[:, 0]] | idle_node[ends[:, 1]]
        np.minimum(self._free_s, observation.time_s, out=self._free_s, where=idle_link[:, None])

    def _schedule(self, requests: list[PendingRequest], observation: Observation) -> list[Allocation]:
        now_s, admitted = observation.time_s, []
        backlog = Backlog.of_observation(observation, self._context.network, unobserved_tokens=0.0)
        unavailable = observation.unavailable()
        # Bookings of deferred packets hold for this call only: the next one decides again.
        booked_s = self._free_s.copy()
        link_free_s = booked_s.min(axis=1).tolist()
        for request in requests:
            window = self._first_window(request, now_s, link_free_s, backlog, unavailable)
            if window is None:
                continue
            self._book(booked_s, window)
            link_free_s = booked_s.min(axis=1).tolist()
            if window.start_s <= now_s:
                self._book(self._free_s, window)
                admitted.append(
                    request.allocation(
                        window.path.nodes,
                        plan=Plan(rounds_per_link=window.rounds),
                        retry_low_fidelity=self._parameters.retry_low_fidelity,
                    )
                )
        return admitted

    def _first_window(
        self,
        request: PendingRequest,
        now_s: float,
        link_free_s: list[float],
        backlog: Backlog,
        unavailable: Unavailable,
    ) -> _Window | None:
        """The window that ends first among those that end by the deadline; None if there is none."""
        command_s = command_delay_s(self._context, request.source)
        token_wait_s = backlog.token_wait_s(request.pairs).tolist()
        best: _Window | None = None
        for path in self._context.routes.paths(request.source, request.destination, unavailable):
            rounds, length_s = self._packet(path, request)
            if length_s == math.inf:
                continue
            tokens_s = max((token_wait_s[node] for node in path.nodes[1:-1]), default=0.0)
            start_s = max(now_s, *(link_free_s[link] for link in path.links))
            end_s = start_s + command_s + tokens_s + length_s
            if end_s <= request.deadline_s and (best is None or end_s < best.end_s):
                best = _Window(path, rounds, start_s, end_s)
        return best

    def _packet(self, path: Path, request: PendingRequest) -> tuple[int, float]:
        """Fewest rounds that reach the target, and the length of the window; inf if none do."""
        fraction = self._parameters.storage_fraction
        for rounds in range(MAX_ROUNDS + 1):
            length_s = self._length_s(path, rounds, request.pairs)
            if length_s < math.inf:
                age_s = fraction * length_s
                fidelity = self._context.estimates.fidelity(path, rounds=rounds, age_s=age_s)
                if fidelity >= request.target_fidelity:
                    return rounds, length_s
        return 0, math.inf

    def _length_s(self, path: Path, rounds: int, pairs: int) -> float:
        """Seconds in which all links make their pairs with `success_probability`, then the messages.

        The time of a link counts as exponential with the mean that its pairs take, so the probability is the
        product of 1 - exp(-t/mean) over the links. For more pairs than one that is on the safe side.
        """
        key = (path.nodes, rounds, pairs)
        if key not in self._lengths_s:
            network, estimates = self._context.network, self._context.estimates
            fresh = np.array([estimates.pairs_per_link(link, rounds=rounds) for link in path.links])
            rate_hz = network.link_rate_hz[list(path.links)] / (pairs * fresh)
            self._lengths_s[key] = self._quantile_s(rate_hz) + 2.0 * path.delay_s
        return self._lengths_s[key]

    def _quantile_s(self, rate_hz: Floats) -> float:
        if not (rate_hz > 0.0).all():
            return math.inf
        wanted = self._parameters.success_probability
        # All links together take no less than the slowest alone, and no more than if all were as slow.
        low = -math.log1p(-wanted) / float(rate_hz.min())
        high = -math.log1p(-(wanted ** (1.0 / len(rate_hz)))) / float(rate_hz.min())
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            reached = float(np.prod(-np.expm1(-rate_hz * middle))) >= wanted
            low, high = (low, middle) if reached else (middle, high)
        return high

    @staticmethod
    def _book(free_s: Floats, window: _Window) -> None:
        """The window takes the slot of each link that is free first."""
        links = list(window.path.links)
        free_s[links, free_s[links].argmin(axis=1)] = window.end_s

"""The seams `Policy` and `Forecaster`: what may be asked of them, and what they may know.

The VIEW sets what a policy knows, not trust: a local site sees itself and its neighbours' news as old
as the link's delay; the controller sees its own book and every node's report as old as its delay.
Letters: S sites asked now, W nodes a site knows of, R waiting requests, K stock, P peers, H steps ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from qdpem.demand.requests import Arrivals
from qdpem.network.graph import Network
from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.network.path_estimates import Estimates
from qdpem.network.routing import Routes
from qdpem.policy.allocation import Allocation as Allocation
from qdpem.policy.allocation import PendingRequest as PendingRequest
from qdpem.scenario.schema import ControlSettings, Forecasting
from qdpem.scenario.words import Control, Pregeneration

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CONTROLLER = -1
"""The site that is the central controller."""

FREE_MEMORIES, TOKENS, EMISSION_BACKLOG, TOKEN_BACKLOG, ORDERED_PAIRS, ORDERED_SWAPS = range(6)
STATUS_WIDTH = 6
"""Columns of `Observation.status`; a policy's own news follows them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Observation:
    """What the sites asked now may know, one row each. Padding is -1 in ids and nodes, NaN in floats.

    - `site` [S] node or CONTROLLER; `reason` [S] code of a `qdpem.events.words.DecisionReason`.
    - `known` [S, W] nodes this site has news of (itself first if local); `status` [S, W, 6 + news] what
      they said, newest heard; `status_age_s` [S, W]. ORDERED_PAIRS and ORDERED_SWAPS are the site's own
      book: pairs and swaps it ordered at that node and has not yet heard the end of. FREE_MEMORIES counts the
      qubits of all links of a node. TOKENS are those in the bucket; of a server 1 while it is free, else the
      share of its present swap that is done.
    - `forecast` [S, W, H] expected requests per step at `known` nodes, NaN where it has no forecast.
    - `request_*` [S, R] waiting requests, oldest first. A standing one (above 0, an index into
      `scenario.words.Persistence`) asks for `pairs` at a time until its deadline; an allocation for it works
      until it expires.
    - `stock_*` [S, K] pairs it owns (the controller: all it ordered) that are not locked: opaque id,
      owner, partner, age; `stock_fidelity` believed now; `stock_ready` 0 while still being made (NaN age).
    - `peer_*` [S, P] the pairs most asked for here so far, most first: source, destination, mean rate.
    - `unavailable_node`, `unavailable_link` [S, A] nodes and links that it has heard are away; A may be 0. See `unavailable`.
    """

    time_s: float
    site: Ints
    reason: Ints
    known: Ints
    status: Floats
    status_age_s: Floats
    forecast: Floats
    request_id: Ints
    request_source: Ints
    request_destination: Ints
    request_target_fidelity: Floats
    request_pairs: Ints
    request_deadline_s: Floats
    request_application: Ints
    request_attempts: Ints
    request_persistence: Ints
    stock_id: Ints
    stock_owner: Ints
    stock_partner: Ints
    stock_age_s: Floats
    stock_fidelity: Floats
    stock_ready: Ints
    top_pair_source: Ints
    top_pair_destination: Ints
    top_pair_rate_hz: Floats
    unavailable_node: Ints
    unavailable_link: Ints

    def __len__(self) -> int:
        return len(self.site)

    def requests(self, row: int = 0) -> list[PendingRequest]:
        """The requests that wait at the site in `row`, oldest first.

        >>> from qdpem.policy.synthetic import small_context, synthetic_observation
        >>> from qdpem.rng import stream
        >>> observations = synthetic_observation(small_context(), stream(1, "example"))
        >>> [request.id for request in observations.requests(0)] == [
        ...     id for id in observations.request_id[0].tolist() if id >= 0
        ... ]
        True
        """
        columns = (
            self.request_id[row].tolist(),
            self.request_source[row].tolist(),
            self.request_destination[row].tolist(),
            self.request_target_fidelity[row].tolist(),
            self.request_pairs[row].tolist(),
            self.request_deadline_s[row].tolist(),
            self.request_application[row].tolist(),
            self.request_attempts[row].tolist(),
            self.request_persistence[row].tolist(),
        )
        return [
            PendingRequest(
                id=id,
                source=source,
                destination=destination,
                target_fidelity=target_fidelity,
                pairs=pairs,
                deadline_s=deadline_s,
                application=application,
                attempts=attempts,
                persistent=persistence > 0,
            )
            for (
                id, source, destination, target_fidelity, pairs, deadline_s, application, attempts, persistence
            ) in zip(*columns, strict=True)
            if id >= 0
        ]  # fmt: skip

    def unavailable(self, row: int = 0) -> Unavailable:
        """What the site in `row` has heard is away: `context.routes.paths(s, d, observation.unavailable())` go round it."""
        if not (self.unavailable_node.shape[1] or self.unavailable_link.shape[1]):
            return ALL_AVAILABLE
        nodes, links = self.unavailable_node[row].tolist(), self.unavailable_link[row].tolist()
        return Unavailable(frozenset(nodes) - {-1}, frozenset(links) - {-1})

    def __getitem__(self, row: int) -> Observation:
        """The view of the one site in `row`, as `Observation` of length 1."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of views of {len(self)} sites")
        one = slice(row, row + 1 or None)
        # Without the frozen dataclass' __init__: this is called for every site that is asked.
        observation = object.__new__(Observation)
        observation.__dict__.update(
            {name: array[one] for name, array in self.__dict__.items() if name != "time_s"}
        )
        observation.__dict__["time_s"] = self.time_s
        return observation

    def __iter__(self) -> Iterator[Observation]:
        return (self[row] for row in range(len(self)))


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What a policy answers: allocations; ids of stocked pairs to drop; news; and notes for the record.

    `messages` float64 [S, policy.message_width] reaches neighbours (or the controller) with the delay.
    `info`, name -> array with first axis S, is never read by the simulation and goes to the recorder.
    """

    allocations: tuple[Allocation, ...] = ()
    discards: tuple[int, ...] = ()
    messages: Floats | None = None
    info: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Context:
    """What every policy is given at the start of a run: the map, estimates, rights, a stream per site."""

    network: Network
    routes: Routes
    estimates: Estimates
    control: Control
    pregeneration: Pregeneration
    plane: ControlSettings
    forecasting: Forecasting
    site_stream: Callable[[int], np.random.Generator]

    @property
    def sites(self) -> tuple[int, ...]:
        """Who will be asked: every node, or the controller alone."""
        return tuple(range(self.network.node_count)) if self.control == "local" else (CONTROLLER,)


class Policy(Protocol):
    """An allocator. Built as `Factory(Factory.Parameters(...))`, `Parameters` a frozen dataclass.

    A local policy MUST decide for each site from that site's row, its own memory of earlier rows and its
    own stream alone: `conformance` changes all the rest and requires the same decisions.
    """

    Parameters: ClassVar[type]
    name: str
    control: Control
    pregeneration: Pregeneration
    """The rights it takes unless the arm says otherwise."""
    forecaster: str
    """The forecaster it takes unless the arm says otherwise."""
    acts_every_epoch: bool
    """Whether it wants to be asked at every epoch; serve-only rules need not."""
    message_width: int

    def reset(self, context: Context) -> None:
        """Begin a run; forget the last one."""

    def act(self, observations: Observation) -> Decisions:
        """Answer for all sites of `observations.site`."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything learned or remembered, as arrays; where its streams stand too (`qdpem.rng.position`)."""

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up a saved state, and go on as the policy that it was saved from."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ForecastContext:
    """What a forecaster is given: the clock, and for an oracle alone (`oracle = True`) the truth."""

    node_count: int
    step_s: float
    horizon_steps: int
    seed: int
    truth: Arrivals | None = None


class Forecaster(Protocol):
    """Expected requests per step at every node, each node from its OWN counts alone."""

    Parameters: ClassVar[type]
    name: str
    oracle: bool

    def reset(self, context: ForecastContext) -> None:
        """Begin a run."""

    def fit(self, history: NDArray[np.int64]) -> None:
        """Learn from counts before t = 0, int64 [T, N], the last row ending at t = 0."""

    def update(self, counts: NDArray[np.int64]) -> None:
        """Take in the counts [N] of the step that just ended."""

    def forecast(self) -> Floats:
        """Expected counts of the next steps, float64 [N, H]; NaN throughout means no forecast."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything learned, as arrays."""

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up a saved state."""


def per_site(
    rule: Callable[[Observation, Context], tuple[Allocation, ...]],
    observations: Observation,
    context: Context,
) -> Decisions:
    """Lift a rule for one site (`Observation` of length 1) to all sites asked."""
    allocations = tuple(made for observation in observations for made in rule(observation, context))
    return Decisions(allocations=allocations)

"""The interface `Policy`, and the data that pass through it.

A site is a decision maker: a node with local control, the controller with central control. In the words of
reinforcement learning, `Policy.act` maps an `Observation`, a batch with one row per site, to `Decisions`, the
actions of these sites. The observation itself limits what a policy knows: a local site sees its own state and
its neighbours' reports, as old as the delay of the link; the controller sees its own orders and the report of
every node, as old as the delay to it.

Letters in shapes:

- S: sites of the observation, those that must decide now.
- W: nodes that a site has reports of.
- R: pending requests of a site: those that wait for a decision.
- K: stocked pairs of a site.
- P: top pairs of a site, the node pairs that most of its requests so far asked for.
- F: peers in the forecasts that a site has.
- A: unavailable nodes, or links, that a site has heard of.
- H: forecast steps ahead.
- N: nodes of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats, Ints
from qdpem.demand.processes.process import ExpectedDemand as ExpectedDemand
from qdpem.network.graph import Network
from qdpem.network.outages import ALL_AVAILABLE, Unavailable
from qdpem.network.path_estimates import Estimates
from qdpem.network.routing import Routes
from qdpem.policy.allocation import Allocation as Allocation
from qdpem.policy.allocation import PendingRequest as PendingRequest
from qdpem.scenario.schema import ControlSettings, Forecasting
from qdpem.scenario.words import Control, Pregeneration

CONTROLLER = -1
"""The site that is the central controller."""

FREE_MEMORIES, TOKENS, EMISSION_BACKLOG, TOKEN_BACKLOG, ORDERED_PAIRS, ORDERED_SWAPS = range(6)
STATUS_WIDTH = 6
"""Columns of `Observation.status` before those of the policy's own messages."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Observation:
    """The knowledge of the sites that must decide now, one row each.

    Padding is -1 in ids and nodes, NaN in floats. All ages and times are in simulated seconds.

    - `site` [S]: the node, or CONTROLLER. `reason` [S]: index into `events.words.DecisionReason`.
    - `observed_node` [S, W]: the nodes that the site has reports of; with local control itself first.
    - `status` [S, W, 6 + message_width]: the latest report of each of these nodes, `status_age_s` [S, W] old.
      Nodes report once per epoch; a local site sees its own node as it is now. A node that is unavailable
      reports NaN. FREE_MEMORIES counts the qubits of all links of a node. TOKENS are the tokens in a bucket;
      a server has 1 while it is free, else the completed fraction of its present swap. EMISSION_BACKLOG is
      the number of link pairs that wait for the node's source or links, that in work included; a pair counts
      at both ends of its link. TOKEN_BACKLOG is the number of swaps that wait for the repeater. ORDERED_PAIRS
      and ORDERED_SWAPS are the site's own count: link pairs and swaps that it has ordered at that node and
      not yet heard the end of. The columns after them are the node's latest message.
    - `carried_count` [S, W]: reservations for requests of OTHER nodes that a local site has granted since
      t = 0, passing through it or ending at it: those that use its link with each observed node and, in the
      column of the site itself, all of them. -1 under central control, where all orders are the controller's.
    - `forecast` [S, W, H]: expected requests per step at the observed nodes, NaN without a forecast: the sum
      over the listed peers, and the mean rate so far of the requests to others.
    - `peer_*` [S, F]: the peers that the forecast is for, a local site's own or those of all nodes: source,
      destination, target fidelity, pairs of each request. `peer_scheduled`, `peer_unscheduled` [S, F, H]: the
      demand of each in the coming steps (`ExpectedDemand`), NaN without a forecast. `forecast_age_s` [S, F]:
      time since the forecast was made, which is when its first step began.
    - `request_*` [S, R]: pending requests, in the order in which they came to the site. A request is pending
      until an allocation serves it, and again after a refusal. `request_pairs`: those that it does not have
      yet. `request_repeat_until_deadline` is an index into `scenario.words.Repetition`. A repeating request
      (above 0) asks for `pairs` at a time until its deadline, and an allocation for it works until it
      expires.
    - `stock_*` [S, K]: pairs in stock that no reservation has taken, and pairs on order, of the site, or of
      all nodes for the controller: opaque id, owner, partner, age, `stock_fidelity` believed now.
      `stock_ready` is 1 in stock and 0 on order; a pair on order has id -1, and NaN as age and fidelity.
    - `top_pair_*` [S, P]: the site's top pairs, most frequent first: source, destination, mean rate.
    - `unavailable_node`, `unavailable_link` [S, A]: nodes and links that the site has heard are unavailable;
      A may be 0. See `unavailable`.
    """

    time_s: float
    site: Ints
    reason: Ints
    observed_node: Ints
    status: Floats
    status_age_s: Floats
    carried_count: Ints
    forecast: Floats
    peer_source: Ints
    peer_destination: Ints
    peer_target_fidelity: Floats
    peer_pairs: Ints
    peer_scheduled: Floats
    peer_unscheduled: Floats
    forecast_age_s: Floats
    request_id: Ints
    request_source: Ints
    request_destination: Ints
    request_target_fidelity: Floats
    request_pairs: Ints
    request_deadline_s: Floats
    request_application: Ints
    request_attempts: Ints
    request_repeat_until_deadline: Ints
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
        """The pending requests of the site in `row`, in the order in which they came to it.

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
            self.request_repeat_until_deadline[row].tolist(),
        )
        return [
            PendingRequest(
                id=request,
                source=source,
                destination=destination,
                target_fidelity=target_fidelity,
                pairs=pairs,
                deadline_s=deadline_s,
                application=application,
                attempts=attempts,
                repeats=repeat_until_deadline > 0,
            )
            for (
                request, source, destination, target_fidelity, pairs, deadline_s, application, attempts,
                repeat_until_deadline,
            ) in zip(*columns, strict=True)
            if request >= 0
        ]  # fmt: skip

    def unavailable(self, row: int = 0) -> Unavailable:
        """The nodes and links that the site in `row` has heard are unavailable.

        `context.routes.paths(source, destination, observation.unavailable())` avoid them.
        """
        if not (self.unavailable_node.shape[1] or self.unavailable_link.shape[1]):
            return ALL_AVAILABLE
        nodes, links = self.unavailable_node[row].tolist(), self.unavailable_link[row].tolist()
        return Unavailable(frozenset(nodes) - {-1}, frozenset(links) - {-1})

    def __getitem__(self, row: int) -> Observation:
        """The observation of the site in `row`, as an `Observation` of length 1."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of an observation of {len(self)} sites")
        # Row -1 needs the stop None, because a stop of 0 would give an empty slice.
        only_row = slice(row, row + 1 or None)
        # The __init__ of a frozen dataclass is slow, and this runs for every site at every decision.
        observation = object.__new__(Observation)
        observation.__dict__.update(
            {name: array[only_row] for name, array in self.__dict__.items() if name != "time_s"}
        )
        observation.__dict__["time_s"] = self.time_s
        return observation

    def __iter__(self) -> Iterator[Observation]:
        return (self[row] for row in range(len(self)))


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """The answer of a policy to an observation of S sites.

    - `allocations`: the work to begin.
    - `discards`: ids of stocked pairs to discard.
    - `messages`: numbers [S, policy.message_width] that each site adds to its reports from the next epoch on;
      its neighbours read them as the last columns of `Observation.status`. None leaves the last ones, which
      are 0 at first. Nobody receives those of the controller.
    - `info`: arrays with first axis S, by name. The recorder stores them; the simulation never reads them.
    """

    allocations: tuple[Allocation, ...] = ()
    discards: tuple[int, ...] = ()
    messages: Floats | None = None
    info: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Context:
    """The input of `Policy.reset`: network, paths, estimates, settings of the arm, and a stream per site."""

    network: Network
    routes: Routes
    estimates: Estimates
    control: Control
    pregeneration: Pregeneration
    control_settings: ControlSettings
    forecasting: Forecasting
    site_stream: Callable[[int], np.random.Generator]

    @property
    def sites(self) -> tuple[int, ...]:
        """The decision makers: every node with local control, else the controller only."""
        return tuple(range(self.network.node_count)) if self.control == "local" else (CONTROLLER,)


class Policy(Protocol):
    """An allocation policy, built as `Factory(Factory.Parameters(...))`; `Parameters` is a frozen dataclass.

    With local control, the decisions of a site MUST depend only on the site's own row, its memory of its
    earlier rows, and its own stream. `conformance` changes everything else and requires the same decisions.

    A policy may have more, which only records of level "full" ask for:

    - `explain()`: what the last `act` saw and weighed, such as the features of each option and the
      probability of its choice: arrays with first axis S by name, which join `Decisions.info`.
    - `output_labels`: for such an array, or one of `info`, what each place on its last axis means.
    - `privacy_spent()`: epsilon and delta of differential privacy that its training spent.
    """

    Parameters: ClassVar[type]
    name: str
    family: str
    """Policies of one family follow one rule and differ only in control, or in their default pregeneration or
    forecaster. Studies contrast arms within a family. A policy without this attribute is one of its own."""
    control: Control
    pregeneration: Pregeneration
    """The pregeneration of an arm that sets none."""
    forecaster: str
    """The forecaster of an arm that sets none."""
    acts_every_epoch: bool
    """Whether `act` is called at every epoch too; policies without pregeneration need not be."""
    message_width: int
    """Numbers in a site's message; 0 for none."""

    def reset(self, context: Context) -> None:
        """Begin a run; forget the last one."""

    def act(self, observations: Observation) -> Decisions:
        """Decide for all sites of `observations.site`."""

    def state(self) -> dict[str, NDArray[Any]]:
        """All that the policy has learned or remembers, and its stream positions (`qdpem.rng.position`)."""

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state, and continue as the policy it was saved from."""


def per_site(
    rule: Callable[[Observation, Context], Sequence[Allocation]],
    observations: Observation,
    context: Context,
) -> Decisions:
    """Apply a rule for one site to every site of an observation.

    `rule` gets an `Observation` of length 1 and the context, and returns the site's allocations. A policy
    that is built this way is local by construction, as long as the rule remembers nothing across sites.
    Raises TypeError if the rule returns anything but a sequence of allocations.
    """
    allocations: list[Allocation] = []
    for observation in observations:
        given = rule(observation, context)
        if not isinstance(given, Sequence) or not all(isinstance(item, Allocation) for item in given):
            name = getattr(rule, "__qualname__", repr(rule))
            raise TypeError(f"the rule {name} returned {given!r}; should be a sequence of Allocation")
        allocations += given
    return Decisions(allocations=tuple(allocations))

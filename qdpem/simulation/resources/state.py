"""The state that all parts of one running simulation share; nothing in a run is global."""

from __future__ import annotations

from dataclasses import dataclass

from physics.interface import PhysicsModel
from qdpem.draws.outcome_draws import EndDistillationDraws
from qdpem.events.words import ClaimOutcome
from qdpem.network.graph import Network
from qdpem.network.path import Paths
from qdpem.network.path_estimates import Estimates
from qdpem.rng import UniformStream
from qdpem.simulation.resources.availability import Availability
from qdpem.simulation.resources.carried import CarriedReservations
from qdpem.simulation.resources.clock import Clock
from qdpem.simulation.resources.messages import MessageCounter
from qdpem.simulation.resources.pairs.inventory import Inventory
from qdpem.simulation.resources.pairs.ledger import Ledger
from qdpem.simulation.resources.pairs.memories import Memories
from qdpem.simulation.resources.queues.attempts import Attempts
from qdpem.simulation.resources.queues.claims import Claim, ClaimBook
from qdpem.simulation.resources.queues.repeaters import Repeater
from qdpem.simulation.resources.queues.sources import Source
from qdpem.simulation.resources.requests import RequestBook
from qdpem.simulation.resources.swap_order import SwapOrders


@dataclass(frozen=True, eq=False, kw_only=True)
class SimulationState:
    """The clock, the books and the resources of one run.

    `attempts`: of each attempt-limited link, by link. `feeds`, [L]: where the claims on a link wait, which
    is the sources of both its ends or its own attempts. `swap_draws`, [N], and `distillation_draws`, [L]:
    uniforms that decide swaps and distillations.
    """

    network: Network
    physics: PhysicsModel
    estimates: Estimates
    clock: Clock
    availability: Availability
    message_counter: MessageCounter
    ledger: Ledger
    claims: ClaimBook
    memories: Memories
    requests: RequestBook
    carried: CarriedReservations
    inventory: Inventory
    sources: list[Source]
    attempts: dict[int, Attempts]
    feeds: list[tuple[Source | Attempts, ...]]
    repeaters: list[Repeater]
    paths: Paths
    swap_order: SwapOrders
    swap_draws: list[UniformStream]
    distillation_draws: list[UniformStream]
    end_distillation_draws: EndDistillationDraws

    def seek_emission(self, claim: Claim) -> None:
        """The claim joins the queues that feed its link."""
        # The source that first has a success serves it; the claim then leaves the other one too.
        for feed in self.feeds[claim.link]:
            feed.add(claim)

    def leave_feeds(self, claim: Claim, outcome: ClaimOutcome) -> None:
        """The claim is "granted" or "withdrawn", and leaves the queues that feed its link."""
        for feed in self.feeds[claim.link]:
            feed.remove(claim)
        self.claims.end(claim, outcome, self.clock.now_s)

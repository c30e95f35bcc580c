"""What all parts of one running simulation share. Everything hangs on this object; nothing is global."""

from __future__ import annotations

from dataclasses import dataclass

from physics.interface import PhysicsModel
from qdpem.draws.outcome_draws import EndDistillationDraws
from qdpem.events.words import ClaimOutcome
from qdpem.network.graph import Network
from qdpem.network.path import Paths
from qdpem.network.path_estimates import Estimates
from qdpem.rng import UniformStream
from qdpem.simulation.resources.attempts import Attempts
from qdpem.simulation.resources.availability import Availability
from qdpem.simulation.resources.claims import Claim, ClaimBook
from qdpem.simulation.resources.clock import Clock
from qdpem.simulation.resources.inventory import Inventory
from qdpem.simulation.resources.ledger import Ledger
from qdpem.simulation.resources.memories import Memories
from qdpem.simulation.resources.messages import MessageCounter
from qdpem.simulation.resources.repeaters import Repeater
from qdpem.simulation.resources.requests import RequestBook
from qdpem.simulation.resources.sources import Source
from qdpem.simulation.resources.swap_order import SwapOrders


@dataclass(frozen=True, eq=False, kw_only=True)
class SimulationState:
    """The clock, the books and the resources of one run.

    `attempts`: those of each attempt-limited link, by link. `feeds`: where claims on a link wait, [L].
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
        """The claim waits at whatever feeds its link: the sources of both ends, or its own attempts."""
        for feed in self.feeds[claim.link]:
            feed.add(claim)

    def leave_feeds(self, claim: Claim, how: ClaimOutcome) -> None:
        """The claim is granted or withdrawn; nothing works for it any more."""
        for feed in self.feeds[claim.link]:
            feed.remove(claim)
        self.claims.end(claim, how, self.clock.now_s)

"""Builds the state of a run: its clock, books and resources."""

from __future__ import annotations

from physics.interface import PhysicsModel
from qdpem.draws.outcome_draws import EndDistillationDraws, distillation_draws, swap_draws
from qdpem.events.recorder import Recorder
from qdpem.events.tables import CLAIMS, MESSAGES, PAIRS, REQUESTS
from qdpem.network.graph import Network
from qdpem.network.herald_timing import NO_SENDER
from qdpem.network.path import Paths
from qdpem.network.path_estimates import Estimates
from qdpem.rng import pair_key
from qdpem.simulation.resources.availability import Availability
from qdpem.simulation.resources.carried import CarriedReservations
from qdpem.simulation.resources.clock import Clock
from qdpem.simulation.resources.messages import MessageCounter
from qdpem.simulation.resources.pairs.inventory import Inventory
from qdpem.simulation.resources.pairs.ledger import Ledger
from qdpem.simulation.resources.pairs.memories import Memories
from qdpem.simulation.resources.queues.attempts import Attempts
from qdpem.simulation.resources.queues.claims import Claim, ClaimBook
from qdpem.simulation.resources.queues.repeaters import Repeater, Server
from qdpem.simulation.resources.queues.sources import Source
from qdpem.simulation.resources.requests import RequestBook
from qdpem.simulation.resources.state import SimulationState
from qdpem.simulation.resources.swap_order import SwapOrders

_STOCK_HEADROOM = 0.25
"""Fraction of a node's qubits that stock leaves free for live requests."""


def build_state(
    network: Network,
    physics: PhysicsModel,
    *,
    seed: int,
    end_s: float,
    recorder: Recorder,
    estimates: Estimates,
) -> SimulationState:
    """The state at t = 0: no pairs, no requests, all qubits free.

    Args:
        network: nodes and links with their hardware.
        physics: model of pairs, swaps and distillations.
        seed: root seed; every random stream is keyed by the name of a node or link under it.
        end_s: end of the run.
        recorder: takes the rows of claims, pairs, requests and messages.
        estimates: beliefs about paths, as policies have them.
    """
    _compile_swaps(network, physics)
    clock = Clock()
    message_counter = MessageCounter(recorder.appender(MESSAGES))
    ledger = Ledger(network, physics, recorder.appender(PAIRS))
    memories = Memories(network, headroom_fraction=_STOCK_HEADROOM)
    nodes = range(network.node_count)
    sources = [_source(network, node, seed=seed, end_s=end_s, clock=clock) for node in nodes]
    attempts = {
        link: _attempts(network, link, seed=seed, end_s=end_s, clock=clock)
        for link in range(network.link_count)
        if not network.links[link].source_limited
    }
    return SimulationState(
        network=network,
        physics=physics,
        estimates=estimates,
        clock=clock,
        availability=Availability(network),
        message_counter=message_counter,
        ledger=ledger,
        claims=ClaimBook(recorder.appender(CLAIMS)),
        memories=memories,
        requests=RequestBook(clock=clock, ledger=ledger, append=recorder.appender(REQUESTS)),
        carried=CarriedReservations(network),
        inventory=Inventory(
            network=network, clock=clock, ledger=ledger, memories=memories, message_counter=message_counter
        ),
        sources=sources,
        attempts=attempts,
        feeds=_feeds(network, sources, attempts),
        repeaters=[_repeater(network, node, clock=clock) for node in nodes],
        paths=Paths(network),
        swap_order=SwapOrders(network.swap_order),
        swap_draws=swap_draws(network.graph, seed=seed),
        distillation_draws=distillation_draws(network.graph, seed=seed),
        end_distillation_draws=EndDistillationDraws(network.graph, seed=seed),
    )


def _feeds(
    network: Network, sources: list[Source], attempts: dict[int, Attempts]
) -> list[tuple[Source | Attempts, ...]]:
    """Where the claims on each link wait: at the sources of both ends, or for the link's own attempts."""
    return [
        (attempts[link],) if link in attempts else (sources[first], sources[second])
        for link, (first, second) in enumerate(network.graph.link_ends.tolist())
    ]


def _compile_swaps(network: Network, physics: PhysicsModel) -> None:
    """Swap once per kind of hardware, so that a model that compiles on first use does so before the run."""
    fresh = network.links[0].fresh
    for hardware in set(network.hardware):
        physics.swap(fresh, fresh, hardware, 0.0)


def _source(network: Network, node: int, *, seed: int, end_s: float, clock: Clock) -> Source:
    # Links that attempt by themselves take no emissions.
    probability = {
        link: network.links[link].success_probability
        for _, link in network.neighbours[node]
        if network.links[link].source_limited
    }
    return Source(
        name=network.graph.node_names[node],
        seed=seed,
        rate_hz=float(network.source_rate_hz[node]),
        probability=probability,
        end_s=end_s,
        clock=clock,
        succeed=_emitted,
        node=node,
    )


def _attempts(network: Network, link: int, *, seed: int, end_s: float, clock: Clock) -> Attempts:
    compiled, names = network.links[link], network.graph.node_names
    first, second = network.graph.link_ends[link].tolist()
    return Attempts(
        name=pair_key(names[first], names[second]),
        seed=seed,
        probability=compiled.success_probability,
        period_s=compiled.attempt_period_s,
        modes=compiled.modes,
        slotted=network.slotted,
        end_s=end_s,
        clock=clock,
        succeed=_attempted,
    )


def _repeater(network: Network, node: int, *, clock: Clock) -> Repeater:
    rate_hz = float(network.repeater_rate_hz[node])
    if network.repeater_kind == "server":
        return Server(rate_hz=rate_hz, clock=clock, grant=_granted)
    return Repeater(
        rate_hz=rate_hz,
        burst=network.repeater_burst,
        swap_time_s=network.swap_time_s,
        clock=clock,
        grant=_granted,
    )


def _emitted(claim: Claim, node: int, emitted_s: float) -> None:
    claim.owner.emitted(claim, node, emitted_s)


def _attempted(claim: Claim, start_s: float) -> None:
    claim.owner.emitted(claim, NO_SENDER, start_s)


def _granted(claim: Claim) -> None:
    claim.owner.token_granted(claim)

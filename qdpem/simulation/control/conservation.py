"""Conservation: no pair and no qubit may leak during a run."""

from __future__ import annotations

from qdpem.simulation.control.control_plane import ControlPlane
from qdpem.simulation.resources.state import SimulationState


def check_conservation(state: SimulationState, control_plane: ControlPlane) -> None:
    """Assert that pairs are conserved, every qubit in use has a holder, and failed nodes hold none."""
    state.ledger.check()
    state.memories.check()
    now_s, memories, inventory = state.clock.now_s, state.memories, state.inventory
    held = _qubits_held(state, control_plane)
    for pool, count in enumerate(held):
        # Halves whose other end has ended the pair have no holder, but occupy their qubit until word arrives.
        in_use = memories.held(pool) - len(inventory.unreleased[pool])
        assert in_use == count, (pool, in_use, count, now_s)
    for node in state.availability.unavailable_nodes:
        in_use = sum(map(memories.held, memories.pools_at(node)))
        assert in_use == memories.remote[node] == 0, (node, now_s)


def _qubits_held(state: SimulationState, control_plane: ControlPlane) -> list[int]:
    """Qubits by pool that stocked pairs and reservations account for."""
    held = [0] * state.memories.pools
    for stock in state.inventory.owned:
        for pair in stock.values():
            for pool in state.inventory.pools_of(pair):
                held[pool] += 1
    for reservation in control_plane.holding():
        for pool, count in reservation.held:
            held[pool] += count
    return held

"""A look at all that a simulation holds, after its events."""

from __future__ import annotations

from collections import Counter

from qdpem.simulation.simulation import Simulation


def watch(simulation: Simulation, *, every: int = 1) -> None:
    """Look at the whole state after every so many events."""
    clock = simulation._state.clock
    step, seen = clock.step, [0, 0.0]

    def stepped() -> None:
        step()
        assert clock.now_s >= seen[1]
        seen[:] = seen[0] + 1, clock.now_s
        if seen[0] % every == 0:
            look(simulation)

    clock.step = stepped


def look(simulation: Simulation) -> None:
    """Qubits and pairs are conserved, each half has a qubit of its own, each claim somebody to work for."""
    simulation.check()
    state = simulation._state
    active = {reservation.id: reservation for reservation in simulation._control_plane.holding()}
    waiting = {claim.id for feed in (*state.sources, *state.attempts.values()) for claim in feed.claims}
    waiting |= {claim.id for repeater in state.repeaters for claim in repeater.waiting}
    assert waiting == set(state.claims.open)
    for claim in state.claims.open.values():
        assert claim.allocation in active
        assert claim.kind == "token" or not state.availability.link_unavailable[claim.link]
    stocked = {pair for stock in state.inventory.owned for pair in stock}
    halves, qubits = Counter(), Counter()
    for pair in state.ledger.live.values():
        assert not {pair.first, pair.second} & set(state.availability.unavailable_nodes)
        if pair.id not in stocked:
            halves.update(state.inventory.pools_of(pair))
    for reservation in active.values():
        for pool, count in reservation.held:
            assert count >= 0
            qubits[pool] += count
    assert all(count <= qubits[pool] for pool, count in halves.items()), (halves, qubits)

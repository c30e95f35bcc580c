"""A look at all that a simulation holds, after its events."""

from __future__ import annotations

from collections import Counter

from qdpem.simulation.run import Simulation


def watch(simulation: Simulation, *, every: int = 1) -> None:
    """Look at the whole state after every so many events."""
    clock = simulation._world.clock
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
    world = simulation._world
    at_work = {one.id: one for one in simulation._desk.holding()}
    waiting = {claim.id for feed in (*world.sources, *world.attempts.values()) for claim in feed.claims}
    waiting |= {claim.id for repeater in world.repeaters for claim in repeater.waiting}
    assert waiting == set(world.claims.open)
    for claim in world.claims.open.values():
        assert claim.allocation in at_work
        assert claim.kind == "token" or not world.absent.links[claim.link]
    stocked = {pair for shelf in world.stock.owned for pair in shelf}
    halves, qubits = Counter(), Counter()
    for pair in world.ledger.live.values():
        assert not {pair.first, pair.second} & set(world.absent.nodes)
        if pair.id not in stocked:
            halves.update(world.stock.pools_of(pair))
    for reservation in at_work.values():
        for pool, count in reservation.held:
            assert count >= 0
            qubits[pool] += count
    assert all(count <= qubits[pool] for pool, count in halves.items()), (halves, qubits)

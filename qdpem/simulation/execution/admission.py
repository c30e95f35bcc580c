"""Admission: what the nodes along a path have given one allocation, qubits set aside and stocked pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from qdpem.events.words import ClaimKind, ClaimOutcome, RefusalCause
from qdpem.network.path import Path
from qdpem.policy.interface import Allocation
from qdpem.simulation.execution.end_to_end import ONCE, EndToEndGeneration
from qdpem.simulation.execution.fidelity_budget import FidelityBudget
from qdpem.simulation.execution.link_generation import LinkGeneration
from qdpem.simulation.resources.claims import Claimant
from qdpem.simulation.resources.ledger import Pair
from qdpem.simulation.resources.state import SimulationState


class Holder(Claimant, Protocol):
    """The reservation the nodes give to."""

    allocation: Allocation
    path: Path
    persistence: int

    @property
    def generations(self) -> Sequence[EndToEndGeneration]:
        """What makes its pairs."""


class Admission:
    """Qubits held at each position of a path, by pool, and the stocked pairs that stand in for its hops.

    `granted`, `released`: whether the node at each position has given what it must, and taken it back.
    """

    def __init__(self, state: SimulationState, holder: Holder) -> None:
        self._state = state
        self._holder = holder
        self._held: list[dict[int, int]] = [{} for _ in holder.path.nodes]
        self.granted = [False] * len(holder.path.nodes)
        self.released = [False] * len(holder.path.nodes)
        self._foreign = 0
        self._budgets: dict[EndToEndGeneration, FidelityBudget] = {}

    @property
    def held(self) -> list[tuple[int, int]]:
        """(pool, count) of all qubits held along the path."""
        return [item for held in self._held for item in held.items()]

    def grant(self, position: int) -> RefusalCause | None:
        """Take what this node must give. Returns None, or why it cannot; then nothing is taken."""
        chosen: list[tuple[EndToEndGeneration, int, int, Pair]] = []
        cause = self._take_all(position, chosen)
        for generation, hop, side, pair in chosen:
            if cause:
                self._state.inventory.put_back(pair)
            else:
                self._supply(generation, hop, side, pair)
        self.granted[position] = not cause
        return cause

    def take(self, position: int, needs: dict[int, int]) -> bool:
        """Set aside so many qubits of each pool at `position`, all or none."""
        if not self._take(self._holder.path.nodes[position], needs):
            return False
        for pool, count in needs.items():
            self._hold(position, pool, count)
        return True

    def give_back(self, position: int, pool: int, count: int) -> None:
        """Free `count` qubits of `pool` held at `position`, unless all there are free already."""
        if not self.released[position]:
            self._held[position][pool] -= count
            self._state.memories.give(pool, count)

    def hand_over(self, generation: EndToEndGeneration) -> None:
        """The lane's pair is stock now, and the two qubits that hold it are the stock's."""
        self._held[0][generation.hops[0].pools[0]] -= 1
        self._held[-1][generation.hops[-1].pools[1]] -= 1
        self._foreign -= 1

    def release(self, position: int) -> None:
        """The node at `position` takes back all it gave."""
        for pool, count in self._held[position].items():
            self._state.memories.give(pool, count)
        self._held[position] = {}
        self.released[position] = True
        if position == len(self._held) - 1:
            self._state.memories.foreign[self._holder.path.nodes[position]] -= self._foreign
            self._foreign = 0

    def _hold(self, position: int, pool: int, count: int) -> None:
        held = self._held[position]
        held[pool] = held.get(pool, 0) + count

    def _take_all(
        self, position: int, chosen: list[tuple[EndToEndGeneration, int, int, Pair]]
    ) -> RefusalCause | None:
        """Stocked pairs go to `chosen`, qubits are set aside for the rest; None, or why that is impossible."""
        node, last = self._holder.path.nodes[position], self._holder.path.hops
        # A node that is away is silent. Who waits for its answer gives up when that would have come.
        if self._state.availability.sites[node]:
            return RefusalCause.OUTAGE
        needs: dict[int, int] = {}
        for hop, side in ((position - 1, 1), (position, 0)):
            # Of a step over a stocked remote pair only its owner, the first of the two, knows the pair.
            if not 0 <= hop < last or (side == 1 and self._holder.path.links[hop] < 0):
                continue
            for generation in self._holder.generations:
                pair = self._from_stock(generation, hop, side)
                if pair is not None:
                    chosen.append((generation, hop, side, pair))
                elif generation.hops[hop].link < 0:
                    return RefusalCause.STALE
                elif not generation.hops[hop].turn:
                    pool = generation.hops[hop].pools[side]
                    needs[pool] = needs.get(pool, 0) + generation.hops[hop].units
        if self._holder.purpose and position == last:
            if not self._state.memories.admit_foreign(node, self._holder.allocation.pairs):
                return RefusalCause.CAPACITY
            self._foreign = self._holder.allocation.pairs
        return None if not needs or self.take(position, needs) else RefusalCause.MEMORY

    def _take(self, node: int, needs: dict[int, int]) -> bool:
        """Qubits for this node's halves; a live request may have stock make room."""
        memories, inventory = self._state.memories, bool(self._holder.purpose)
        if memories.take_all(needs, inventory=inventory):
            return True
        made_room = not inventory and self._state.inventory.make_room(node, needs)
        taken = made_room and memories.take_all(needs, inventory=inventory)
        self._note_memory(node, granted=taken)
        return taken

    def _note_memory(self, node: int, *, granted: bool) -> None:
        """A memory claim that found the qubits with others; those never contended are not written."""
        state = self._state
        claim = state.claims.make(
            ClaimKind.MEMORY, self._holder, node=node, now_s=state.clock.now_s, owner=self._holder
        )
        claim.lose(state.clock.now_s, -1)
        state.claims.end(claim, ClaimOutcome.GRANTED if granted else ClaimOutcome.REFUSED, state.clock.now_s)

    def _from_stock(self, generation: EndToEndGeneration, hop: int, side: int) -> Pair | None:
        """A pair of the node's own stock that can stand in for the hop, taken off the shelf."""
        step, other = generation.hops[hop], hop + 1 - side
        if step.turn or self.released[other]:
            return None
        # Inventory is not made of the stock of its links, and what is to be distilled is made fresh.
        fresh = self._holder.purpose or step.rounds or self._holder.allocation.plan.end_rounds
        if step.link >= 0 and fresh:
            return None
        state, owner, partner = (
            self._state,
            self._holder.path.nodes[hop + side],
            self._holder.path.nodes[other],
        )
        pair = state.inventory.find(owner, partner, lambda pair: self._fits(generation, step, pair))
        if pair is not None:
            state.inventory.take(pair)
        return pair

    def _fits(self, generation: EndToEndGeneration, step: LinkGeneration, pair: Pair) -> bool:
        """Whether a stocked pair can stand in for a step, and the step be made anew in its place."""
        state, several = self._state, len(generation.hops) > 1
        # In the making it must not reach the cut-off before both ends know that it is taken.
        if several and pair.born_s + state.network.cutoff_s <= state.clock.now_s + step.delay_s:
            return False
        # A pair that came another way has its qubits from other links; what the link makes needs its own.
        again = step.link >= 0 and (several or self._holder.persistence != ONCE)
        if again and set(state.inventory.pools_of(pair)) != set(step.pools):
            return False
        return self._budget_of(generation).admits(pair, step)

    def _budget_of(self, generation: EndToEndGeneration) -> FidelityBudget:
        if generation not in self._budgets:
            self._budgets[generation] = FidelityBudget(
                self._state,
                self._holder.allocation,
                generation.hops,
                persistence=self._holder.persistence != ONCE,
            )
        return self._budgets[generation]

    def _supply(self, generation: EndToEndGeneration, hop: int, side: int, pair: Pair) -> None:
        """The pair stands in for the hop; its two qubits are now this reservation's."""
        step, other = generation.hops[hop], hop + 1 - side
        if side == 1:
            self._state.ledger.turn(pair)
        # The other end may have set qubits aside for this hop; it hears that they are not needed.
        if step.link >= 0 and self.granted[other]:
            self._state.clock.after(step.delay_s, self.give_back, other, step.pools[1 - side], step.units)
        step.pools = self._state.inventory.pools_of(pair)
        self._hold(hop, step.pools[0], 1)
        self._hold(hop + 1, step.pools[1], 1)
        step.supply(pair, side=side)

"""Admission: the qubits and stocked pairs that the nodes of a path grant to one allocation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from qdpem.events.words import ClaimKind, ClaimOutcome, Purpose, RefusalCause
from qdpem.simulation.execution.end_to_end import EndToEndGeneration
from qdpem.simulation.execution.fidelity_budget import FidelityBudget
from qdpem.simulation.execution.link_generation import LinkGeneration
from qdpem.simulation.execution.reservation_view import ONCE, ReservationView
from qdpem.simulation.resources.pairs.ledger import Pair
from qdpem.simulation.resources.state import SimulationState


class _Supply(NamedTuple):
    """A stocked pair for one hop of a generation; the node on `side` of the hop owns it."""

    generation: EndToEndGeneration
    hop: LinkGeneration
    side: int
    pair: Pair


class Admission:
    """Qubits held at each position of a path, by pool, and the stocked pairs that stand in for its hops.

    `granted`, `released`, by position: whether the node there has given what it must, and taken it back.
    """

    def __init__(
        self,
        state: SimulationState,
        reservation: ReservationView,
        generations: Sequence[EndToEndGeneration],
    ) -> None:
        self._state = state
        self._reservation = reservation
        self._generations = generations
        self._nodes = reservation.path.nodes
        self._last = reservation.path.hops
        self._held: list[dict[int, int]] = [{} for _ in self._nodes]
        self.granted = [False] * len(self._nodes)
        self.released = [False] * len(self._nodes)
        # Halves of stock to come that count against the quota of the last node.
        self._remote = 0
        self._budgets: dict[EndToEndGeneration, FidelityBudget] = {}

    @property
    def held(self) -> list[tuple[int, int]]:
        """(pool, count) of all qubits held along the path."""
        return [item for held in self._held for item in held.items()]

    def grant(self, position: int) -> RefusalCause:
        """Take all that this node must give. Returns NONE, or why it cannot; then nothing is taken."""
        supplies: list[_Supply] = []
        cause = self._take_all(position, supplies)
        # Stocked pairs are taken one by one, and only now is it known whether the node can give the rest.
        for supply in supplies:
            if cause is not RefusalCause.NONE:
                self._state.inventory.put_back(supply.pair)
            else:
                self._supply(supply)
        self.granted[position] = cause is RefusalCause.NONE
        return cause

    def take(self, position: int, needs: dict[int, int]) -> bool:
        """Reserve `needs[pool]` qubits of each pool at `position`, all or none."""
        if not self._take(self._nodes[position], needs):
            return False
        for pool, count in needs.items():
            self._hold(position, pool, count)
        return True

    def give_back(self, position: int, pool: int, count: int) -> None:
        """Free `count` qubits of `pool` held at `position`; after a release they are free already."""
        if not self.released[position]:
            self._held[position][pool] -= count
            self._state.memories.give(pool, count)

    def hand_over(self, generation: EndToEndGeneration) -> None:
        """The generation's pair is stock now, and its two qubits belong to the stock."""
        self._held[0][generation.hops[0].pools[0]] -= 1
        self._held[-1][generation.hops[-1].pools[1]] -= 1
        self._remote -= 1

    def release(self, position: int) -> None:
        """The node at `position` takes back all that it gave."""
        for pool, count in self._held[position].items():
            self._state.memories.give(pool, count)
        self._held[position] = {}
        self.released[position] = True
        if position == self._last:
            self._state.memories.remote[self._nodes[position]] -= self._remote
            self._remote = 0

    def _hold(self, position: int, pool: int, count: int) -> None:
        held = self._held[position]
        held[pool] = held.get(pool, 0) + count

    def _take_all(self, position: int, supplies: list[_Supply]) -> RefusalCause:
        """Put stocked pairs into `supplies` and reserve qubits for the rest. Returns NONE or the cause."""
        node = self._nodes[position]
        # An unavailable node does not answer. The refusal stands for the time-out of the waiting node.
        if self._state.availability.site_unavailable[node]:
            return RefusalCause.OUTAGE
        needs: dict[int, int] = {}
        for index, side in ((position - 1, 1), (position, 0)):
            # Only the owner of a stocked remote pair, the first of its two nodes, knows the pair.
            if not 0 <= index < self._last or (side == 1 and self._reservation.path.links[index] < 0):
                continue
            for generation in self._generations:
                hop = generation.hops[index]
                pair = self._from_stock(generation, hop, side)
                if pair is not None:
                    supplies.append(_Supply(generation, hop, side, pair))
                elif hop.link < 0:
                    # The decision counted on a pair that is no longer in stock.
                    return RefusalCause.STALE
                elif not hop.pair_number:
                    needs[hop.pools[side]] = needs.get(hop.pools[side], 0) + hop.qubits
        if self._reservation.purpose is Purpose.STOCK and position == self._last:
            pairs = self._reservation.allocation.pairs
            if not self._state.memories.admit_remote(node, pairs):
                return RefusalCause.CAPACITY
            # Kept also if the qubits are refused below: the release of this position returns it.
            self._remote = pairs
        return RefusalCause.NONE if not needs or self.take(position, needs) else RefusalCause.MEMORY

    def _take(self, node: int, needs: dict[int, int]) -> bool:
        """Reserve qubits for this node's halves; stock makes room for a live request."""
        memories, inventory = self._state.memories, self._reservation.purpose is Purpose.STOCK
        if memories.take_all(needs, inventory=inventory):
            return True
        made_room = not inventory and self._state.inventory.make_room(node, needs)
        taken = made_room and memories.take_all(needs, inventory=inventory)
        self._write_claim(node, granted=taken)
        return taken

    def _write_claim(self, node: int, *, granted: bool) -> None:
        """Record a claim on memory that found the qubits in use; uncontended ones are not recorded."""
        state, now_s = self._state, self._state.clock.now_s
        claim = state.claims.make(ClaimKind.MEMORY, self._reservation, node=node, now_s=now_s, owner=self)
        claim.lose(now_s, -1)
        state.claims.end(claim, ClaimOutcome.GRANTED if granted else ClaimOutcome.REFUSED, now_s)

    def _from_stock(self, generation: EndToEndGeneration, hop: LinkGeneration, side: int) -> Pair | None:
        """Take a pair of the node's own stock that can stand in for the hop; None if there is none."""
        near, far = hop.position + side, hop.position + 1 - side
        # A hop that has had a pair needs no stand-in; a far end that has released would not use it.
        if hop.pair_number or self.released[far]:
            return None
        # Stock is not made from link stock, and pairs to be distilled are fresh.
        needs_fresh = (
            self._reservation.purpose is Purpose.STOCK
            or hop.rounds
            or self._reservation.allocation.plan.end_rounds
        )
        if hop.link >= 0 and needs_fresh:
            return None
        inventory, owner, partner = self._state.inventory, self._nodes[near], self._nodes[far]
        pair = inventory.find(owner, partner, lambda pair: self._fits(generation, hop, pair))
        if pair is not None:
            inventory.take(pair)
        return pair

    def _fits(self, generation: EndToEndGeneration, hop: LinkGeneration, pair: Pair) -> bool:
        """Whether a stocked pair can stand in for a hop, and the hop can be made anew in its place."""
        state, several = self._state, len(generation.hops) > 1
        # On a longer path it must not reach the cut-off before both ends know that it is taken.
        if several and pair.born_s + state.network.cutoff_s <= state.clock.now_s + hop.delay_s:
            return False
        # A pair that came over other links holds qubits of their pools. If it is lost, the hop's link makes
        # the next pair, which needs qubits of its own pools.
        may_repeat = hop.link >= 0 and (several or self._reservation.repeat_until_deadline != ONCE)
        if may_repeat and set(state.inventory.pools_of(pair)) != set(hop.pools):
            return False
        return self._budget_of(generation).admits(pair, hop)

    def _budget_of(self, generation: EndToEndGeneration) -> FidelityBudget:
        if generation not in self._budgets:
            self._budgets[generation] = FidelityBudget(
                self._state,
                self._reservation.allocation,
                generation.hops,
                repeating=self._reservation.repeat_until_deadline != ONCE,
            )
        return self._budgets[generation]

    def _supply(self, supply: _Supply) -> None:
        """The pair stands in for the hop, and its two qubits belong to this reservation."""
        hop, side, pair = supply.hop, supply.side, supply.pair
        left, far = hop.position, hop.position + 1 - side
        if side == 1:
            # Its owner is the right end of the hop, but pairs of a path point from left to right.
            self._state.ledger.flip(pair)
        # The far end may have reserved qubits for this hop; it learns by message that they are not needed.
        if hop.link >= 0 and self.granted[far]:
            self._state.clock.after(hop.delay_s, self.give_back, far, hop.pools[1 - side], hop.qubits)
        hop.pools = self._state.inventory.pools_of(pair)
        self._hold(left, hop.pools[0], 1)
        self._hold(left + 1, hop.pools[1], 1)
        hop.supply(pair, side=side)

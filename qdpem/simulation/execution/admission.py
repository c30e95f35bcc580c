"""Holdings: what the nodes along a path have given one allocation, qubits set aside and stocked pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from qdpem.policy.interface import Allocation
from qdpem.simulation.execution.end_to_end import ONCE, Lane
from qdpem.simulation.execution.fidelity_budget import FidelityBudget
from qdpem.simulation.execution.link_generation import Hop
from qdpem.simulation.resources.claims import Claimant
from qdpem.simulation.resources.ledger import Pair
from qdpem.simulation.resources.path_timing import Track
from qdpem.simulation.resources.state import World


class Holder(Claimant, Protocol):
    """The reservation the nodes give to."""

    allocation: Allocation
    path: tuple[int, ...]
    track: Track
    persistence: int

    @property
    def lanes(self) -> Sequence[Lane]:
        """What makes its pairs."""


class Holdings:
    """Qubits held at each position of a path, by pool, and the stocked pairs that stand in for its hops.

    `granted`, `released`: whether the node at each position has given what it must, and taken it back.
    """

    def __init__(self, world: World, holder: Holder) -> None:
        self._world = world
        self._holder = holder
        self._held: list[dict[int, int]] = [{} for _ in holder.path]
        self.granted = [False] * len(holder.path)
        self.released = [False] * len(holder.path)
        self._foreign = 0
        self._budgets: dict[Lane, FidelityBudget] = {}

    @property
    def held(self) -> list[tuple[int, int]]:
        """(pool, count) of all qubits held along the path."""
        return [item for held in self._held for item in held.items()]

    def grant(self, position: int) -> str:
        """Take what this node must give; "" or why it cannot, and then nothing is taken."""
        chosen: list[tuple[Lane, int, int, Pair]] = []
        cause = self._take_all(position, chosen)
        for lane, hop, side, pair in chosen:
            if cause:
                self._world.stock.put_back(pair)
            else:
                self._supply(lane, hop, side, pair)
        self.granted[position] = not cause
        return cause

    def take(self, position: int, needs: dict[int, int]) -> bool:
        """Set aside so many qubits of each pool at `position`, all or none."""
        if not self._take(self._holder.path[position], needs):
            return False
        for pool, count in needs.items():
            self._hold(position, pool, count)
        return True

    def give_back(self, position: int, pool: int, count: int) -> None:
        """Free `count` qubits of `pool` held at `position`, unless all there are free already."""
        if not self.released[position]:
            self._held[position][pool] -= count
            self._world.memories.give(pool, count)

    def hand_over(self, lane: Lane) -> None:
        """The lane's pair is stock now, and the two qubits that hold it are the stock's."""
        self._held[0][lane.hops[0].pools[0]] -= 1
        self._held[-1][lane.hops[-1].pools[1]] -= 1
        self._foreign -= 1

    def release(self, position: int) -> None:
        """The node at `position` takes back all it gave."""
        for pool, count in self._held[position].items():
            self._world.memories.give(pool, count)
        self._held[position] = {}
        self.released[position] = True
        if position == len(self._held) - 1:
            self._world.memories.foreign[self._holder.path[position]] -= self._foreign
            self._foreign = 0

    def _hold(self, position: int, pool: int, count: int) -> None:
        held = self._held[position]
        held[pool] = held.get(pool, 0) + count

    def _take_all(self, position: int, chosen: list[tuple[Lane, int, int, Pair]]) -> str:
        """Stocked pairs go to `chosen`, for the rest qubits are set aside; "" or why that is not possible."""
        node, last = self._holder.path[position], len(self._holder.path) - 1
        # A node that is away is silent. Who waits for its answer gives up when that would have come.
        if self._world.absent.sites[node]:
            return "outage"
        needs: dict[int, int] = {}
        for hop, side in ((position - 1, 1), (position, 0)):
            # Of a step over a stocked remote pair only its owner, the first of the two, knows the pair.
            if not 0 <= hop < last or (side == 1 and self._holder.track.links[hop] < 0):
                continue
            for lane in self._holder.lanes:
                pair = self._from_stock(lane, hop, side)
                if pair is not None:
                    chosen.append((lane, hop, side, pair))
                elif lane.hops[hop].link < 0:
                    return "stale"
                elif not lane.hops[hop].turn:
                    pool = lane.hops[hop].pools[side]
                    needs[pool] = needs.get(pool, 0) + lane.hops[hop].units
        if self._holder.purpose and position == last:
            if not self._world.memories.admit_foreign(node, self._holder.allocation.pairs):
                return "capacity"
            self._foreign = self._holder.allocation.pairs
        return "" if not needs or self.take(position, needs) else "memory"

    def _take(self, node: int, needs: dict[int, int]) -> bool:
        """Qubits for this node's halves; a live request may have stock make room."""
        memories, stock = self._world.memories, bool(self._holder.purpose)
        if memories.take_all(needs, stock=stock):
            return True
        made_room = not stock and self._world.stock.make_room(node, needs)
        taken = made_room and memories.take_all(needs, stock=stock)
        self._note_memory(node, granted=taken)
        return taken

    def _note_memory(self, node: int, *, granted: bool) -> None:
        """A memory claim that found the qubits with others; those never contended are not written."""
        world = self._world
        claim = world.claims.make(
            "memory", self._holder, node=node, now_s=world.clock.now_s, owner=self._holder
        )
        claim.lose(world.clock.now_s, -1)
        world.claims.end(claim, "granted" if granted else "refused", world.clock.now_s)

    def _from_stock(self, lane: Lane, hop: int, side: int) -> Pair | None:
        """A pair of the node's own stock that can stand in for the hop, taken off the shelf."""
        step, other = lane.hops[hop], hop + 1 - side
        if step.turn or self.released[other]:
            return None
        # Stock is not made of the stock of its links, and what is to be distilled is made fresh.
        fresh = self._holder.purpose or step.rounds or self._holder.allocation.plan.end_rounds
        if step.link >= 0 and fresh:
            return None
        world, owner, partner = self._world, self._holder.path[hop + side], self._holder.path[other]
        pair = world.stock.find(owner, partner, lambda pair: self._fits(lane, step, pair))
        if pair is not None:
            world.stock.take(pair)
        return pair

    def _fits(self, lane: Lane, step: Hop, pair: Pair) -> bool:
        """Whether a stocked pair can stand in for a step, and the step be made anew in its place."""
        world, several = self._world, len(lane.hops) > 1
        # In the making it must not reach the cut-off before both ends know that it is taken.
        if several and pair.born_s + world.network.cutoff_s <= world.clock.now_s + step.delay_s:
            return False
        # A pair that came another way has its qubits from other links; what the link makes needs its own.
        again = step.link >= 0 and (several or self._holder.persistence != ONCE)
        if again and set(world.stock.pools_of(pair)) != set(step.pools):
            return False
        return self._budget_of(lane).admits(pair, step)

    def _budget_of(self, lane: Lane) -> FidelityBudget:
        if lane not in self._budgets:
            self._budgets[lane] = FidelityBudget(
                self._world, self._holder.allocation, lane.hops, persistence=self._holder.persistence != ONCE
            )
        return self._budgets[lane]

    def _supply(self, lane: Lane, hop: int, side: int, pair: Pair) -> None:
        """The pair stands in for the hop; its two qubits are now this reservation's."""
        step, other = lane.hops[hop], hop + 1 - side
        if side == 1:
            self._world.ledger.turn(pair)
        # The other end may have set qubits aside for this hop; it hears that they are not needed.
        if step.link >= 0 and self.granted[other]:
            self._world.clock.after(step.delay_s, self.give_back, other, step.pools[1 - side], step.units)
        step.pools = self._world.stock.pools_of(pair)
        self._hold(hop, step.pools[0], 1)
        self._hold(hop + 1, step.pools[1], 1)
        step.supply(pair, side=side)

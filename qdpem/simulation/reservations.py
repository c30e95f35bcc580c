"""A reservation: one allocation at work, from its first message to the release of its last qubit.

Local control reserves hop by hop from the source: each node grants its qubits or refuses, and tells
its upstream neighbour, whereupon the link between them generates. Central control commands all nodes at
once. A refusal or a failed swap travels, and every node that hears of it releases what it holds.
"""

from __future__ import annotations

from collections.abc import Callable

from physics.interface import PROTOCOLS
from physics.plans import SCHEDULES, Plan
from qdpem.events.tables import ALLOCATION_ENDS, CAUSES, PURPOSES
from qdpem.policy.interface import Allocation
from qdpem.simulation.budget import FidelityBudget
from qdpem.simulation.end_distillation import EndDistillation
from qdpem.simulation.hops import Hop
from qdpem.simulation.lanes import ONCE, Lane
from qdpem.simulation.pairs import Pair
from qdpem.simulation.requests import Request
from qdpem.simulation.world import World

_END_CODE = {word: code for code, word in enumerate(ALLOCATION_ENDS)}
_CAUSE_CODE = {word: code for code, word in enumerate(CAUSES)}


def qubits_per_end(plan: Plan) -> int:
    """Qubits that one lane needs at each end of a link: nested rounds make all pairs at once."""
    if plan.schedule == "pumping":
        return min(plan.rounds_per_link, 1) + 1
    return 1 << plan.rounds_per_link


class Reservation:
    """Holds qubits per position of the path, the lanes that make the pairs, and how it all ends."""

    def __init__(
        self,
        id: int,
        *,
        world: World,
        allocation: Allocation,
        request: Request | None,
        site: int,
        ended: Callable[[Reservation], None],
        returned: Callable[[Reservation, int], None],
        write: Callable[[tuple[object, ...]], None],
    ) -> None:
        self.id = id
        self.allocation = allocation
        self.request = request
        self.site = site
        self.path = allocation.path
        self.track = world.tracks.along(allocation.path)
        self.source = allocation.source
        self.expires_s = allocation.expires_s
        self.rounds = allocation.plan.rounds_per_link
        self.protocol = allocation.plan.protocol
        self.pumping = allocation.plan.schedule == "pumping"
        self.units = qubits_per_end(allocation.plan)
        self.standing = request.standing if request is not None else ONCE
        self.purpose = PURPOSES.index(allocation.purpose)
        self.made_s = world.clock.now_s
        self.open = True
        self.end = "open"
        self._world = world
        self._ended = ended
        self._returned = returned
        self._write = write
        self._held: list[dict[int, int]] = [{} for _ in self.path]
        self._granted = [False] * len(self.path)
        self._released = [False] * len(self.path)
        self._foreign = 0
        self._budgets: dict[Lane, FidelityBudget] = {}
        self.lanes = [Lane(world, self) for _ in range(allocation.pairs << allocation.plan.end_rounds)]
        self._lanes_left = len(self.lanes)
        self._end_distillation = (
            EndDistillation(world, self, self._distilled) if allocation.plan.end_rounds else None
        )
        world.clock.at(allocation.expires_s, self._expire)

    @property
    def pairs_left(self) -> int:
        """Pairs neither delivered nor stocked yet."""
        return self._lanes_left >> self.allocation.plan.end_rounds

    @property
    def held(self) -> list[tuple[int, int]]:
        """(pool, count) of all qubits held along the path."""
        return [item for held in self._held for item in held.items()]

    def reserve(self, position: int = 0) -> None:
        """Local control: the reserve message is at `position`."""
        if self._released[position] or self.end == "done":
            return
        cause = self._grant(position)
        if cause:
            if self.open:
                self._refuse(position, cause)
            return
        if position > 0:
            back_s = self.track.delay_s[position - 1]
            self._world.mail.send("grant")
            self._world.clock.after(back_s, self._generate, position - 1)
        if position < len(self.path) - 1:
            self._world.mail.send("reserve", extra_bytes=4 * len(self.path))
            self._world.clock.after(self.track.delay_s[position], self.reserve, position + 1)

    def command(self, position: int) -> None:
        """Central control: the controller's command is at `position`."""
        if self._released[position]:
            return
        cause = self._grant(position)
        if cause:
            if self.open:
                self._refuse(position, cause)
            return
        for hop in (position - 1, position):
            if 0 <= hop < len(self.path) - 1 and self._granted[hop] and self._granted[hop + 1]:
                self._generate(hop)

    def free(self, position: int, pool: int, count: int) -> None:
        """Give back `count` qubits of `pool` held at `position`; a standing request keeps them all."""
        if not self.standing:
            self._give_back(position, pool, count)

    def _give_back(self, position: int, pool: int, count: int) -> None:
        if not self._released[position]:
            self._held[position][pool] -= count
            self._world.memories.give(pool, count)

    def _hold(self, position: int, pool: int, count: int) -> None:
        held = self._held[position]
        held[pool] = held.get(pool, 0) + count

    def retake(self, position: int, pools: list[int], count: int) -> bool:
        """Take `count` qubits of each pool at `position` again, for what was lost, or give up all."""
        if self._released[position]:
            return False
        if self.standing or not count:
            return True
        needs = {pool: count * pools.count(pool) for pool in pools}
        if not self._take(self.path[position], needs):
            if self.open:
                self._refuse(position, "memory")
            return False
        for pool, taken in needs.items():
            self._hold(position, pool, taken)
        return True

    def completed(self, lane: Lane, pair: Pair, *, ready_s: float, operated_s: float) -> None:
        """A lane's pair is known at both ends: it is distilled with another, delivered or stocked."""
        if self._end_distillation is not None:
            self._end_distillation.arrived(lane, pair)
        else:
            self._settle(lane, pair, ready_s=ready_s, operated_s=operated_s)

    def _distilled(self, lane: Lane, pair: Pair, distilled_s: float) -> None:
        self._settle(lane, pair, ready_s=self._world.clock.now_s, operated_s=distilled_s)

    def _settle(self, lane: Lane, pair: Pair, *, ready_s: float, operated_s: float) -> None:
        if not self.open:
            # Another lane failed and word of it has not reached the ends yet: they release this one too.
            self._world.ledger.end(pair, "lost", self._world.clock.now_s)
            return
        if self.request is not None:
            self._hand_over(self.request, lane, pair, ready_s=ready_s, operated_s=operated_s)
            return
        self._held[0][lane.hops[0].pools[0]] -= 1
        self._held[-1][lane.hops[-1].pools[1]] -= 1
        self._foreign -= 1
        self._world.stock.keep(pair, owner=self.path[0], until_s=self.allocation.expires_s)
        self.lane_done()

    def _hand_over(
        self, request: Request, lane: Lane, pair: Pair, *, ready_s: float, operated_s: float
    ) -> None:
        if request.open:
            self._world.requests.receive(request, lane, pair, ready_s=ready_s, operated_s=operated_s)
        else:
            # Served already, by another allocation: a duplicate is waste.
            self._world.ledger.end(pair, "lost", self._world.clock.now_s)
            lane.consumed()

    def lane_done(self) -> None:
        """One lane needs nothing any more."""
        self._lanes_left -= 1
        if self._lanes_left == 0 and self.open:
            self._finish("done")

    def fail(self, position: int) -> None:
        """What was lost at `position` cannot be made again: all that hear release, the site may try again."""
        if self.open:
            self._give_up(position, "failed_swap", "none")

    def interrupt(self, position: int) -> None:
        """What the allocation needs at `position` is away: all that hear of it release."""
        if self.open:
            self._refuse(position, "outage")

    def _refuse(self, position: int, cause: str) -> None:
        self._world.mail.send("refuse", hops=position)
        self._give_up(position, "refused", cause)

    def _give_up(self, position: int, how: str, cause: str) -> None:
        if self.request is not None:
            self._world.requests.take_back(self.request, self)
        self._finish(how, cause=cause, node=self.path[position])
        self._returned(self, position)

    def release_at(self, position: int, delay_s: float) -> None:
        """The node at `position` hears in `delay_s` that all is over, and releases."""
        if delay_s > 0.0:
            self._world.clock.after(delay_s, self._release, position, "lost")
        else:
            self._release(position, "lost")

    def _expire(self) -> None:
        """Everyone on the path knows the expiry: all release at the same clock time."""
        if self.end == "done":
            return
        if self.open and self.request is not None:
            self._world.requests.take_back(self.request, self)
        # Nodes that have not heard yet of a refusal or a failed swap release as well.
        for position in range(len(self.path)):
            self._release(position, "expired")
        if self.open:
            self._finish("expired")

    def _release(self, position: int, how: str) -> None:
        if self._released[position]:
            return
        for lane in self.lanes:
            lane.release(position, how)
        if self._end_distillation is not None and position in (0, len(self.path) - 1):
            self._end_distillation.release(how)
        node = self.path[position]
        for pool, count in self._held[position].items():
            self._world.memories.give(pool, count)
        self._held[position] = {}
        self._released[position] = True
        if position == len(self.path) - 1:
            self._world.memories.foreign[node] -= self._foreign
            self._foreign = 0

    def _finish(self, how: str, *, cause: str = "none", node: int = -1) -> None:
        self.open = False
        self.end = how
        self._note_end(how, cause=cause, node=node)
        self._ended(self)

    def close(self) -> None:
        """The run is over while this is still open."""
        self._note_end("open")

    def _note_end(self, how: str, *, cause: str = "none", node: int = -1) -> None:
        allocation = self.allocation
        self._write(
            (
                self.id,
                self.made_s,
                self.site,
                allocation.request,
                self.purpose,
                allocation.source,
                allocation.destination,
                allocation.target_fidelity,
                allocation.pairs,
                allocation.plan.rounds_per_link,
                allocation.plan.end_rounds,
                SCHEDULES.index(allocation.plan.schedule),
                PROTOCOLS.index(allocation.plan.protocol),
                len(self.path) - 1,
                allocation.expires_s,
                self._world.clock.now_s,
                _END_CODE[how],
                _CAUSE_CODE[cause],
                node,
            )
        )

    def _generate(self, position: int) -> None:
        for lane in self.lanes:
            hop = lane.hops[position]
            # What a stocked pair stood in for and lost already begins by itself.
            if not hop.turn:
                hop.begin()

    def _grant(self, position: int) -> str:
        """Take what this node must give; "" or why it cannot, and then nothing is taken."""
        chosen: list[tuple[Lane, int, int, Pair]] = []
        cause = self._take_all(position, chosen)
        for lane, hop, side, pair in chosen:
            if cause:
                self._world.stock.put_back(pair)
            else:
                self._supply(lane, hop, side, pair)
        self._granted[position] = not cause
        return cause

    def _take_all(self, position: int, chosen: list[tuple[Lane, int, int, Pair]]) -> str:
        """Stocked pairs go to `chosen`, for the rest qubits are set aside; "" or why that is not possible."""
        node, last = self.path[position], len(self.path) - 1
        # A node that is away is silent. Who waits for its answer gives up when that would have come.
        if self._world.absent.sites[node]:
            return "outage"
        needs: dict[int, int] = {}
        for hop, side in ((position - 1, 1), (position, 0)):
            # Of a step over a stocked remote pair only its owner, the first of the two, knows the pair.
            if not 0 <= hop < last or (side == 1 and self.track.links[hop] < 0):
                continue
            for lane in self.lanes:
                pair = self._from_stock(lane, hop, side)
                if pair is not None:
                    chosen.append((lane, hop, side, pair))
                elif lane.hops[hop].link < 0:
                    return "stale"
                elif not lane.hops[hop].turn:
                    pool = lane.hops[hop].pools[side]
                    needs[pool] = needs.get(pool, 0) + self.units
        if self.purpose and position == last:
            if not self._world.memories.admit_foreign(node, self.allocation.pairs):
                return "capacity"
            self._foreign = self.allocation.pairs
        if needs and not self._take(node, needs):
            return "memory"
        for pool, count in needs.items():
            self._hold(position, pool, count)
        return ""

    def _take(self, node: int, needs: dict[int, int]) -> bool:
        """Qubits for this node's halves; a live request may have stock make room."""
        memories, stock = self._world.memories, bool(self.purpose)
        if memories.take_all(needs, stock=stock):
            return True
        made_room = not stock and self._world.stock.make_room(node, needs)
        taken = made_room and memories.take_all(needs, stock=stock)
        self._note_memory(node, granted=taken)
        return taken

    def _note_memory(self, node: int, *, granted: bool) -> None:
        """A memory claim that found the qubits with others; those never contended are not written."""
        world = self._world
        claim = world.claims.make("memory", self, node=node, now_s=world.clock.now_s, owner=self)
        claim.lose(world.clock.now_s, -1)
        world.claims.end(claim, "granted" if granted else "refused", world.clock.now_s)

    def _from_stock(self, lane: Lane, hop: int, side: int) -> Pair | None:
        """A pair of the node's own stock that can stand in for the hop, taken off the shelf."""
        step, other = lane.hops[hop], hop + 1 - side
        if step.turn or self._released[other]:
            return None
        # Stock is not made of the stock of its links, and what is to be distilled is made fresh.
        plan = self.allocation.plan
        fresh = self.purpose or plan.rounds_per_link or plan.end_rounds
        if step.link >= 0 and fresh:
            return None
        world, owner, partner = self._world, self.path[hop + side], self.path[other]
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
        again = step.link >= 0 and (several or self.standing != ONCE)
        if again and set(world.stock.pools_of(pair)) != set(step.pools):
            return False
        return self._budget_of(lane).admits(pair, step)

    def _budget_of(self, lane: Lane) -> FidelityBudget:
        if lane not in self._budgets:
            self._budgets[lane] = FidelityBudget(
                self._world, self.allocation, lane.hops, standing=self.standing != ONCE
            )
        return self._budgets[lane]

    def _supply(self, lane: Lane, hop: int, side: int, pair: Pair) -> None:
        """The pair stands in for the hop; its two qubits are now this reservation's."""
        step, other = lane.hops[hop], hop + 1 - side
        if side == 1:
            self._world.ledger.turn(pair)
        # The other end may have set qubits aside for this hop; it hears that they are not needed.
        if step.link >= 0 and self._granted[other]:
            self._world.clock.after(step.delay_s, self._give_back, other, step.pools[1 - side], self.units)
        step.pools = self._world.stock.pools_of(pair)
        self._hold(hop, step.pools[0], 1)
        self._hold(hop + 1, step.pools[1], 1)
        step.supply(pair, side=side)

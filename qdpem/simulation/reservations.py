"""A reservation: one allocation at work, from its first message to the release of its last qubit.

Local control reserves hop by hop from the source: each node grants its qubits or refuses, and tells
its upstream neighbour, whereupon the link between them generates. Central control commands all nodes at
once. A refusal or a failed swap travels, and every node that hears of it releases what it holds.
"""

from __future__ import annotations

from collections.abc import Callable

from physics.interface import PROTOCOLS
from qdpem.events.tables import ALLOCATION_ENDS, CAUSES, PURPOSES
from qdpem.policy.interface import Allocation
from qdpem.simulation.budget import FidelityBudget
from qdpem.simulation.lanes import ONCE, Lane
from qdpem.simulation.pairs import Pair
from qdpem.simulation.requests import Request
from qdpem.simulation.world import World

_END_CODE = {word: code for code, word in enumerate(ALLOCATION_ENDS)}
_CAUSE_CODE = {word: code for code, word in enumerate(CAUSES)}


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
        self.standing = request.standing if request is not None else ONCE
        self.purpose = PURPOSES.index(allocation.purpose)
        self.made_s = world.clock.now_s
        self.open = True
        self.end = "open"
        self._world = world
        self._ended = ended
        self._returned = returned
        self._write = write
        self._held = [0] * len(self.path)
        self._granted = [False] * len(self.path)
        self._released = [False] * len(self.path)
        self._foreign = 0
        self._budgets: dict[Lane, FidelityBudget] = {}
        self.lanes = [Lane(world, self) for _ in range(allocation.pairs)]
        self._lanes_left = len(self.lanes)
        world.clock.at(allocation.expires_s, self._expire)

    @property
    def units(self) -> int:
        """Qubits one lane needs at each end of a link."""
        return 1 << self.rounds

    @property
    def lanes_left(self) -> int:
        """Lanes whose pair is neither delivered nor stocked yet."""
        return self._lanes_left

    @property
    def held(self) -> list[int]:
        """Qubits held at each position of the path."""
        return list(self._held)

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

    def free(self, position: int, count: int) -> None:
        """Give back `count` qubits held at `position`; a standing request keeps them for what comes next."""
        if not self.standing:
            self._give_back(position, count)

    def _give_back(self, position: int, count: int) -> None:
        if not self._released[position]:
            self._held[position] -= count
            self._world.memories.give(self.path[position], count)

    def retake(self, position: int, count: int) -> bool:
        """Take `count` qubits at `position` again, for what was lost; if there are none, all is given up."""
        if self._released[position]:
            return False
        if self.standing:
            return True
        if count and not self._take(self.path[position], count):
            if self.open:
                self._refuse(position, "memory")
            return False
        self._held[position] += count
        return True

    def completed(self, lane: Lane, pair: Pair, *, ready_s: float, operated_s: float) -> None:
        """A lane's pair is known at both ends: it is delivered or stocked."""
        if not self.open:
            # Another lane failed and word of it has not reached the ends yet: they release this one too.
            self._world.ledger.end(pair, "lost", self._world.clock.now_s)
            return
        if self.request is not None:
            self._hand_over(self.request, lane, pair, ready_s=ready_s, operated_s=operated_s)
            return
        self._held[0] -= 1
        self._held[-1] -= 1
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
        node = self.path[position]
        self._world.memories.give(node, self._held[position])
        self._held[position] = 0
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
            lane.hops[position].begin()

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
        need = 0
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
                elif not lane.hops[hop].supplied:
                    need += self.units
        if self.purpose and position == last:
            if not self._world.memories.admit_foreign(node, len(self.lanes)):
                return "capacity"
            self._foreign = len(self.lanes)
        if need and not self._take(node, need):
            return "memory"
        self._held[position] += need
        return ""

    def _take(self, node: int, need: int) -> bool:
        """Qubits for this node's halves; a live request may have stock make room."""
        memories, stock = self._world.memories, bool(self.purpose)
        if memories.take(node, need, stock=stock):
            return True
        made_room = not stock and self._world.stock.make_room(node, need)
        taken = made_room and memories.take(node, need, stock=stock)
        self._note_memory(node, granted=taken)
        return taken

    def _note_memory(self, node: int, *, granted: bool) -> None:
        """A memory claim that found the qubits with others; those never contended are not written."""
        world, allocation = self._world, self.allocation
        claim = world.claims.make(
            kind="memory",
            allocation=self.id,
            purpose=self.purpose,
            site=allocation.source,
            node=node,
            link=-1,
            deadline_s=allocation.expires_s,
            made_s=world.clock.now_s,
            owner=self,
            tag=None,
        )
        claim.lose(world.clock.now_s, -1)
        world.claims.end(claim, "granted" if granted else "refused", world.clock.now_s)

    def _from_stock(self, lane: Lane, hop: int, side: int) -> Pair | None:
        """A pair of the node's own stock that can stand in for the hop, taken off the shelf."""
        step, other = lane.hops[hop], hop + 1 - side
        if step.supplied or self._released[other]:
            return None
        # Stock is not made of the stock of its links, and what is to be distilled is made fresh.
        if step.link >= 0 and (self.purpose or self.allocation.plan.rounds_per_link):
            return None
        owner, partner = self.path[hop + side], self.path[other]
        pair = self._world.stock.find(owner, partner, lambda pair: self._budget_of(lane).admits(pair, step))
        if pair is not None:
            self._world.stock.take(pair)
        return pair

    def _budget_of(self, lane: Lane) -> FidelityBudget:
        if lane not in self._budgets:
            self._budgets[lane] = FidelityBudget(self._world, self.allocation, lane.hops)
        return self._budgets[lane]

    def _supply(self, lane: Lane, hop: int, side: int, pair: Pair) -> None:
        """The pair stands in for the hop; its two qubits are now this reservation's."""
        step, other = lane.hops[hop], hop + 1 - side
        if side == 1:
            self._world.ledger.turn(pair)
        # The other end may have set qubits aside for this hop; it hears that they are not needed.
        if step.link >= 0 and self._granted[other]:
            self._world.clock.after(step.delay_s, self._give_back, other, self.units)
        self._held[hop] += 1
        self._held[hop + 1] += 1
        step.supply(pair, side=side)

"""A reservation: one allocation at work, from its first message to the release of its last qubit.

Local control reserves hop by hop from the source: each node grants its qubits or refuses, and tells
its upstream neighbour, whereupon the link between them generates. Central control commands all nodes at
once. A refusal or a failed swap travels, and every node that hears of it releases what it holds.
"""

from __future__ import annotations

from collections.abc import Callable

from physics.interface import PROTOCOLS
from physics.plans import SCHEDULES
from qdpem.events.words import AllocationOutcome, PairOutcome, Purpose, RefusalCause
from qdpem.policy.interface import Allocation
from qdpem.simulation.execution.admission import Admission
from qdpem.simulation.execution.end_distillation import EndDistillation
from qdpem.simulation.execution.end_to_end import ONCE, EndToEndGeneration
from qdpem.simulation.resources.ledger import Pair
from qdpem.simulation.resources.requests import Request
from qdpem.simulation.resources.state import SimulationState

_DONE, _LOST = AllocationOutcome.DONE, PairOutcome.LOST


def qubits_per_end(rounds: int, *, pumping: bool) -> int:
    """Qubits that one lane needs at each end of a link: nested rounds make all pairs at once."""
    return min(rounds, 1) + 1 if pumping else 1 << rounds


class Reservation:
    """Holds qubits per position of the path, the lanes that make the pairs, and how it all ends."""

    def __init__(
        self,
        id: int,
        *,
        state: SimulationState,
        allocation: Allocation,
        request: Request | None,
        deciding_node: int,
        ended: Callable[[Reservation], None],
        returned: Callable[[Reservation, int], None],
        write: Callable[[tuple[object, ...]], None],
    ) -> None:
        self.id = id
        self.allocation = allocation
        self.request = request
        self.deciding_node = deciding_node
        self.path = state.paths.along(allocation.path)
        self.nodes = self.path.nodes
        self.source = allocation.source
        self.expires_s = allocation.expires_s
        # A stocked pair is not distilled again.
        links = enumerate(self.path.links)
        self.rounds = tuple(allocation.plan.rounds_on(hop) if link >= 0 else 0 for hop, link in links)
        self.protocol = allocation.plan.protocol
        self.pumping = allocation.plan.schedule == "pumping"
        self.units = tuple(qubits_per_end(rounds, pumping=self.pumping) for rounds in self.rounds)
        self.persistence = request.persistence if request is not None else ONCE
        self.purpose = Purpose(allocation.purpose).code
        self.made_s = state.clock.now_s
        self.open = True
        self.end = AllocationOutcome.OPEN
        self._state = state
        self._ended = ended
        self._returned = returned
        self._write = write
        self.generations = [
            EndToEndGeneration(state, self) for _ in range(allocation.pairs << allocation.plan.end_rounds)
        ]
        self._lanes_left = len(self.generations)
        self._admission = Admission(state, self)
        self._end_distillation = (
            EndDistillation(state, self, self._distilled) if allocation.plan.end_rounds else None
        )
        state.clock.at(allocation.expires_s, self._expire)

    @property
    def pairs_left(self) -> int:
        """Pairs neither delivered nor stocked yet."""
        return self._lanes_left >> self.allocation.plan.end_rounds

    @property
    def held(self) -> list[tuple[int, int]]:
        """(pool, count) of all qubits held along the path."""
        return self._admission.held

    def reserve(self, position: int = 0) -> None:
        """Local control: the reserve message is at `position`."""
        if self._admission.released[position] or self.end is _DONE:
            return
        cause = self._admission.grant(position)
        if cause:
            if self.open:
                self._refuse(position, cause)
            return
        if position > 0:
            back_s = self.path.hop_delay_s[position - 1]
            self._state.message_counter.send("grant")
            self._state.clock.after(back_s, self._generate, position - 1)
        if position < len(self.nodes) - 1:
            self._state.message_counter.send("reserve", extra_bytes=4 * len(self.nodes))
            self._state.clock.after(self.path.hop_delay_s[position], self.reserve, position + 1)

    def command(self, position: int) -> None:
        """Central control: the controller's command is at `position`."""
        if self._admission.released[position]:
            return
        cause = self._admission.grant(position)
        if cause:
            if self.open:
                self._refuse(position, cause)
            return
        for hop in (position - 1, position):
            if 0 <= hop < len(self.nodes) - 1 and all(self._admission.granted[hop : hop + 2]):
                self._generate(hop)

    def free(self, position: int, pool: int, count: int) -> None:
        """Give back `count` qubits of `pool` held at `position`; a standing request keeps them all."""
        if not self.persistence:
            self._admission.give_back(position, pool, count)

    def retake(self, position: int, needs: dict[int, int]) -> bool:
        """Take so many qubits of each pool at `position` again, for what was lost, or give up all."""
        if self._admission.released[position]:
            return False
        if self.persistence or not needs:
            return True
        taken = self._admission.take(position, needs)
        if not taken and self.open:
            self._refuse(position, RefusalCause.MEMORY)
        return taken

    def completed(
        self, generation: EndToEndGeneration, pair: Pair, *, ready_s: float, operated_s: float
    ) -> None:
        """A lane's pair is known at both ends: it is distilled with another, delivered or stocked."""
        if self._end_distillation is not None:
            self._end_distillation.arrived(generation, pair)
        else:
            self._settle(generation, pair, ready_s=ready_s, operated_s=operated_s)

    def _distilled(self, generation: EndToEndGeneration, pair: Pair, distilled_s: float) -> None:
        self._settle(generation, pair, ready_s=self._state.clock.now_s, operated_s=distilled_s)

    def _settle(
        self, generation: EndToEndGeneration, pair: Pair, *, ready_s: float, operated_s: float
    ) -> None:
        if not self.open:
            # Another lane failed and word of it has not reached the ends yet: they release this one too.
            self._state.ledger.end(pair, _LOST, self._state.clock.now_s)
            return
        if self.request is not None:
            self._hand_over(self.request, generation, pair, ready_s=ready_s, operated_s=operated_s)
            return
        self._admission.hand_over(generation)
        self._state.inventory.keep(pair, owner=self.nodes[0], until_s=self.allocation.expires_s)
        self.generation_done()

    def _hand_over(
        self,
        request: Request,
        generation: EndToEndGeneration,
        pair: Pair,
        *,
        ready_s: float,
        operated_s: float,
    ) -> None:
        if request.open:
            self._state.requests.receive(request, generation, pair, ready_s=ready_s, operated_s=operated_s)
        else:
            # Served already, by another allocation: a duplicate is waste.
            self._state.ledger.end(pair, _LOST, self._state.clock.now_s)
            generation.consumed()

    def generation_done(self) -> None:
        """One lane needs nothing any more."""
        self._lanes_left -= 1
        if self._lanes_left == 0 and self.open:
            self._finish(_DONE)

    def fail(self, position: int) -> None:
        """What was lost at `position` cannot be made again: all that hear release, the site may try again."""
        if self.open:
            self._give_up(position, AllocationOutcome.FAILED_SWAP, RefusalCause.NONE)

    def interrupt(self, position: int) -> None:
        """What the allocation needs at `position` is away: all that hear of it release."""
        if self.open:
            self._refuse(position, RefusalCause.OUTAGE)

    def _refuse(self, position: int, cause: RefusalCause) -> None:
        self._state.message_counter.send("refuse", hops=position)
        self._give_up(position, AllocationOutcome.REFUSED, cause)

    def _give_up(self, position: int, how: AllocationOutcome, cause: RefusalCause) -> None:
        if self.request is not None:
            self._state.requests.take_back(self.request, self)
        self._finish(how, cause=cause, node=self.nodes[position])
        self._returned(self, position)

    def release_at(self, position: int, delay_s: float) -> None:
        """The node at `position` hears in `delay_s` that all is over, and releases."""
        if delay_s > 0.0:
            self._state.clock.after(delay_s, self._release, position, _LOST)
        else:
            self._release(position, _LOST)

    def _expire(self) -> None:
        """Everyone on the path knows the expiry: all release at the same clock time."""
        if self.end is _DONE:
            return
        if self.open and self.request is not None:
            self._state.requests.take_back(self.request, self)
        # Nodes that have not heard yet of a refusal or a failed swap release as well.
        for position in range(len(self.nodes)):
            self._release(position, PairOutcome.EXPIRED)
        if self.open:
            self._finish(AllocationOutcome.EXPIRED)

    def _release(self, position: int, how: PairOutcome) -> None:
        if self._admission.released[position]:
            return
        for generation in self.generations:
            generation.release(position, how)
        if self._end_distillation is not None and position in (0, len(self.nodes) - 1):
            self._end_distillation.release(how)
        self._admission.release(position)

    def _finish(
        self, how: AllocationOutcome, *, cause: RefusalCause = RefusalCause.NONE, node: int = -1
    ) -> None:
        self.open = False
        self.end = how
        self._note_end(how, cause=cause, node=node)
        self._ended(self)

    def close(self) -> None:
        """The run is over while this is still open."""
        self._note_end(AllocationOutcome.OPEN)

    def _note_end(
        self, how: AllocationOutcome, *, cause: RefusalCause = RefusalCause.NONE, node: int = -1
    ) -> None:
        allocation = self.allocation
        self._write(
            (
                self.id,
                self.made_s,
                self.deciding_node,
                allocation.request,
                self.purpose,
                allocation.source,
                allocation.destination,
                allocation.target_fidelity,
                allocation.pairs,
                allocation.plan.end_rounds,
                SCHEDULES.index(allocation.plan.schedule),
                PROTOCOLS.index(allocation.plan.protocol),
                len(self.nodes) - 1,
                allocation.expires_s,
                self._state.clock.now_s,
                how.code,
                cause.code,
                node,
            )
        )

    def _generate(self, position: int) -> None:
        for generation in self.generations:
            hop = generation.hops[position]
            # What a stocked pair stood in for and lost already begins by itself.
            if not hop.turn:
                hop.begin()

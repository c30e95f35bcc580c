"""Reservations: one allocation being carried out, from its first message to the release of its last qubit.

Local control reserves hop by hop from the source. Each node grants its qubits or refuses. When it grants, it
tells its upstream neighbour, and the link between them starts to generate. Central control commands all
nodes at once. A refusal or a failed swap travels along the path, and every node that hears of it releases
what it holds.
"""

from __future__ import annotations

from collections.abc import Callable

from physics.interface import PROTOCOLS
from physics.plans import SCHEDULES
from qdpem.events.recorder import Row, named_row
from qdpem.events.tables import ALLOCATIONS
from qdpem.events.words import AllocationOutcome, PairOutcome, Purpose, RefusalCause
from qdpem.policy.interface import Allocation
from qdpem.simulation.execution.admission import Admission
from qdpem.simulation.execution.end_distillation import EndDistillation
from qdpem.simulation.execution.end_to_end import EndToEndGeneration
from qdpem.simulation.execution.reservation_view import ONCE
from qdpem.simulation.execution.segments import Segment
from qdpem.simulation.resources.pairs.ledger import Pair
from qdpem.simulation.resources.requests import ArrivedPair, Request
from qdpem.simulation.resources.state import SimulationState

_row = named_row(ALLOCATIONS)


def qubits_per_end(rounds: int, *, pumping: bool) -> int:
    """Qubits that one generation needs at either end of a link: nested rounds make all pairs at once."""
    # 2^rounds pairs nest into one. Pumping holds the kept pair and one fresh pair at a time.
    return min(rounds, 1) + 1 if pumping else 1 << rounds


class Reservation:
    """One allocation with the qubits it holds along its path and the generations that make its pairs.

    It is open until all its pairs are delivered, discarded or stocked ("done"), a node refuses it
    ("refused"), a lost pair cannot be made again ("failed_swap"), or it expires ("expired"). After that it
    may still hold qubits: each node releases its own when it hears of the end.

    Args:
        id: number of the allocation.
        state: the run's state.
        allocation: what the policy decided.
        request: the request it serves; None for stock.
        deciding_node: the site that decided, a node or CONTROLLER.
        ended: called once, when the reservation is no longer open.
        returned: called with the position of a refusal or failure, so that word of it can travel.
        write: takes the row of the table `allocations`.
    """

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
        write: Callable[[Row], None],
    ) -> None:
        plan = allocation.plan
        self.id = id
        self.allocation = allocation
        self.request = request
        self.deciding_node = deciding_node
        self.path = state.paths.along(allocation.path)
        self.nodes = self.path.nodes
        self.source = allocation.source
        self.expires_s = allocation.expires_s
        # A stocked remote pair is not distilled again.
        links = enumerate(self.path.links)
        self.rounds = tuple(plan.rounds_on(hop) if link >= 0 else 0 for hop, link in links)
        self.protocol = plan.protocol
        self.pumping = plan.schedule == "pumping"
        self.qubits = tuple(qubits_per_end(rounds, pumping=self.pumping) for rounds in self.rounds)
        self.repeat_until_deadline = request.repeat_until_deadline if request is not None else ONCE
        self.purpose = Purpose(allocation.purpose)
        self.time_s = state.clock.now_s
        self.open = True
        self.outcome = AllocationOutcome.OPEN
        self._state = state
        self._ended = ended
        self._returned = returned
        self._write = write
        # Each end round takes two pairs for one.
        count = allocation.pairs << plan.end_rounds
        self.generations = [EndToEndGeneration(state, self, index, self._completed) for index in range(count)]
        self._generations_left = count
        self._admission = Admission(state, self, self.generations)
        self._end_distillation = EndDistillation(state, self, self._distilled) if plan.end_rounds else None
        state.clock.at(allocation.expires_s, self._expire)

    @property
    def pairs_left(self) -> int:
        """Pairs that are neither delivered, discarded nor stocked yet."""
        return self._generations_left >> self.allocation.plan.end_rounds

    @property
    def held(self) -> list[tuple[int, int]]:
        """(pool, count) of all qubits held along the path."""
        return self._admission.held

    def reserve(self, position: int = 0) -> None:
        """Local control: the reserve message is at `position`."""
        # Word of the end may have overtaken this message, or a stocked pair may have served it already.
        if self._admission.released[position] or self.outcome is AllocationOutcome.DONE:
            return
        cause = self._admission.grant(position)
        if cause is not RefusalCause.NONE:
            if self.open:
                self._refuse(position, cause)
            return
        if position > 0:
            if self.request is not None:
                self._state.carried.add(self.path, position)
            back_s = self.path.hop_delay_s[position - 1]
            self._state.message_counter.send("grant")
            self._state.clock.after(back_s, self._generate, position - 1)
        if position < self.path.hops:
            self._state.message_counter.send("reserve", extra_bytes=4 * len(self.nodes))
            self._state.clock.after(self.path.hop_delay_s[position], self.reserve, position + 1)

    def command(self, position: int) -> None:
        """Central control: the controller's command is at `position`."""
        if self._admission.released[position]:
            return
        cause = self._admission.grant(position)
        if cause is not RefusalCause.NONE:
            if self.open:
                self._refuse(position, cause)
            return
        # The controller has commanded both ends of a hop; the later of them starts it.
        for hop in (position - 1, position):
            if 0 <= hop < self.path.hops and all(self._admission.granted[hop : hop + 2]):
                self._generate(hop)

    def free(self, position: int, pool: int, count: int) -> None:
        """Give back `count` qubits of `pool` held at `position`; a repeating request keeps them all."""
        if not self.repeat_until_deadline:
            self._admission.give_back(position, pool, count)

    def retake(self, position: int, needs: dict[int, int]) -> bool:
        """Take qubits of each pool at `position` again, to remake a lost pair, or refuse the allocation."""
        if self._admission.released[position]:
            return False
        if self.repeat_until_deadline or not needs:
            return True
        taken = self._admission.take(position, needs)
        if not taken and self.open:
            self._refuse(position, RefusalCause.MEMORY)
        return taken

    def _completed(self, generation: EndToEndGeneration, segment: Segment) -> None:
        """A generation's pair is known at both ends: it is distilled with another, delivered or stocked."""
        if self._end_distillation is not None:
            self._end_distillation.add(generation, segment.pair)
        else:
            ready_s = segment.path_known_s[1]
            self._settle(generation, segment.pair, ready_s=ready_s, operated_s=segment.operated_s)

    def _distilled(self, generation: EndToEndGeneration, pair: Pair, distilled_s: float) -> None:
        self._settle(generation, pair, ready_s=self._state.clock.now_s, operated_s=distilled_s)

    def _settle(
        self, generation: EndToEndGeneration, pair: Pair, *, ready_s: float, operated_s: float
    ) -> None:
        """Deliver or stock a finished pair."""
        state = self._state
        if not self.open:
            # Another generation failed. Word of it is on its way to the ends, which will release this one.
            state.ledger.end(pair, PairOutcome.LOST, state.clock.now_s)
        elif self.request is None:
            # The qubits go to the inventory before the pair does, so that each is counted once.
            self._admission.hand_over(generation)
            state.inventory.store(pair, owner=self.nodes[0], until_s=self.allocation.expires_s)
            self.generation_done()
        elif self.request.open:
            arrived = ArrivedPair(
                pair,
                allocation=self.id,
                link_hops=generation.link_hops,
                ready_s=ready_s,
                operated_s=operated_s,
                retry_low_fidelity=self.allocation.retry_low_fidelity,
                release=generation.release_pair,
            )
            state.requests.receive(self.request, arrived)
        else:
            # Another allocation has served the request: a duplicate is waste.
            state.ledger.end(pair, PairOutcome.LOST, state.clock.now_s)
            generation.release_pair()

    def generation_done(self) -> None:
        """One generation needs nothing any more."""
        self._generations_left -= 1
        if self._generations_left == 0 and self.open:
            self._finish(AllocationOutcome.DONE)

    def fail(self, position: int) -> None:
        """A pair lost at `position` cannot be made again: nodes release as they hear; the site may retry."""
        if self.open:
            self._give_up(position, AllocationOutcome.FAILED_SWAP, RefusalCause.NONE)

    def interrupt(self, position: int) -> None:
        """A node or link that is needed at `position` is unavailable: nodes that hear of it release."""
        if self.open:
            self._refuse(position, RefusalCause.OUTAGE)

    def _refuse(self, position: int, cause: RefusalCause) -> None:
        self._state.message_counter.send("refuse", hops=position)
        self._give_up(position, AllocationOutcome.REFUSED, cause)

    def _give_up(self, position: int, outcome: AllocationOutcome, cause: RefusalCause) -> None:
        # Pairs that wait for others at the ends are lost now; all else ends when its node hears of it.
        if self.request is not None:
            self._state.requests.take_back(self.request, self.id)
        self._finish(outcome, cause=cause, node=self.nodes[position])
        self._returned(self, position)

    def release_at(self, position: int, delay_s: float) -> None:
        """The node at `position` hears in `delay_s` that all is over, and releases."""
        if delay_s > 0.0:
            self._state.clock.after(delay_s, self._release, position, PairOutcome.LOST)
        else:
            self._release(position, PairOutcome.LOST)

    def _expire(self) -> None:
        """All nodes of the path know the expiry, so they release at the same clock time."""
        if self.outcome is AllocationOutcome.DONE:
            return
        if self.open and self.request is not None:
            self._state.requests.take_back(self.request, self.id)
        # Nodes that have not heard yet of a refusal or a failed swap release as well.
        for position in range(len(self.nodes)):
            self._release(position, PairOutcome.EXPIRED)
        if self.open:
            self._finish(AllocationOutcome.EXPIRED)

    def _release(self, position: int, outcome: PairOutcome) -> None:
        """The node at `position` releases, once; pairs that end there end with `outcome`."""
        if self._admission.released[position]:
            return
        for generation in self.generations:
            generation.release(position, outcome)
        if self._end_distillation is not None and position in (0, self.path.hops):
            self._end_distillation.release(outcome)
        self._admission.release(position)

    def _finish(
        self, outcome: AllocationOutcome, *, cause: RefusalCause = RefusalCause.NONE, node: int = -1
    ) -> None:
        """The reservation is no longer open: its row is written, and the control plane hears of it."""
        # First, so that all calls that follow from the end find the reservation closed.
        self.open = False
        self.outcome = outcome
        self._write_row(outcome, cause=cause, node=node)
        self._ended(self)

    def close(self) -> None:
        """The run is over while this is still open."""
        self._write_row(AllocationOutcome.OPEN)

    def _write_row(
        self, outcome: AllocationOutcome, *, cause: RefusalCause = RefusalCause.NONE, node: int = -1
    ) -> None:
        allocation = self.allocation
        self._write(
            _row(
                allocation=self.id,
                time_s=self.time_s,
                deciding_node=self.deciding_node,
                request=allocation.request,
                purpose=self.purpose.code,
                source=allocation.source,
                destination=allocation.destination,
                target_fidelity=allocation.target_fidelity,
                pairs=allocation.pairs,
                end_rounds=allocation.plan.end_rounds,
                schedule=SCHEDULES.index(allocation.plan.schedule),
                protocol=PROTOCOLS.index(allocation.plan.protocol),
                hops=self.path.hops,
                expires_s=allocation.expires_s,
                end_s=self._state.clock.now_s,
                outcome=outcome.code,
                cause=cause.code,
                refused_at=node,
            )
        )

    def _generate(self, position: int) -> None:
        """Both nodes of the hop at `position` have granted: its links start."""
        for generation in self.generations:
            hop = generation.hops[position]
            # A hop that had a stocked pair and lost it has started to make the next one by itself.
            if not hop.pair_number:
                hop.begin()

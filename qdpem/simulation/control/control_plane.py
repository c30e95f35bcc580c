"""Control planes: how requests reach a decision and decisions reach the nodes, every message with its delay.

Local: a request is decided at its source, and reservations travel hop by hop. Central: requests travel to
the controller, wait in a queue with a service time, and commands travel to every node of the path.
A refusal or a failed swap returns the request to its site, which may try again after a back-off.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qdpem.events.words import AllocationOutcome, DecisionReason, Purpose
from qdpem.policy.interface import CONTROLLER, Allocation
from qdpem.rng import UniformStream
from qdpem.scenario.schema import ControlSettings
from qdpem.scenario.words import Control
from qdpem.simulation.execution.reservations import Reservation
from qdpem.simulation.resources.requests import Request
from qdpem.simulation.resources.state import SimulationState

_ARRIVAL, _REFUSAL, _PAIR, EPOCH, OUTAGE = range(len(DecisionReason))


class ControlPlane:
    """Sites to be asked, reservations at work, and each site's own book of what it has ordered.

    `ordered` int64 [sites, N, 2]: pairs and swaps a site ordered at each node and has not yet heard the
    end of; `stocking`: the stock reservations among them, by site. `heard` is called with each request
    when the site that decides on it first hears of it.
    """

    def __init__(
        self,
        *,
        state: SimulationState,
        control: Control,
        plane: ControlSettings,
        seed: int,
        heard: Callable[[Request], None],
        write: Callable[[tuple[object, ...]], None],
        write_step: Callable[[tuple[int, int, int, int]], None],
    ) -> None:
        self._state = state
        self._plane = plane
        self._heard = heard
        self._write = write
        self._write_step = write_step
        self.local = control is Control.LOCAL
        nodes = state.network.node_count
        self.controller = state.network.median_node
        self.awake: dict[int, int] = {}
        self.working: dict[int, Reservation] = {}
        self._leaving: dict[int, Reservation] = {}
        self.ordered = np.zeros((nodes if self.local else 1, nodes, 2), dtype=np.int64)
        self.stocking: dict[int, dict[int, Reservation]] = {}
        self._busy_until_s = 0.0
        self._back_off = [UniformStream(seed, f"back-off/{name}") for name in state.network.graph.node_names]
        self._made = 0
        self._held_up: list[tuple[Callable[[Request, int], None], Request, int]] = []
        state.inventory.word_s = self._word_s

    def delay_to_controller_s(self, node: int) -> float:
        """Message delay between a node and the controller, either way."""
        if self._plane.zero_delay:
            return 0.0
        return float(self._state.network.distance_s[node, self.controller])

    def submit(self, request: Request) -> None:
        """A request has arrived at its source; one that is away cannot take it."""
        self._state.requests.arrive(request)
        if self._state.availability.sites[request.source]:
            self._state.requests.reject(request)
            return
        if self.local:
            self._hear(request, request.source)
            return
        hops = int(self._state.network.hop_distance[request.source, self.controller])
        self._state.message_counter.send("request", hops=hops)
        self._state.clock.after(self.delay_to_controller_s(request.source), self._enqueue, request, _ARRIVAL)

    def wake(self, site: int, reason: int) -> None:
        """Ask `deciding_node` at once, unless it is away; the first reason stands."""
        if not self._state.availability.sites[site]:
            self.awake.setdefault(site, reason)

    def resume(self) -> None:
        """The controller is back and takes up what has reached it meanwhile."""
        held_up, self._held_up = self._held_up, []
        for take_up, request, reason in held_up:
            take_up(request, reason)
        if self._state.requests.waiting.get(CONTROLLER):
            self.wake(CONTROLLER, OUTAGE)

    def start(self, allocation: Allocation) -> None:
        """Carry out one allocation."""
        state = self._state
        request = state.requests.open.get(allocation.request)
        if allocation.purpose == Purpose.SERVE:
            if request is None:
                # Refused at its own site, an allocation made just before this one was its last attempt.
                return
            state.requests.commit(request)
        reservation = Reservation(
            self._made,
            state=state,
            allocation=allocation,
            request=request,
            deciding_node=allocation.source if self.local else CONTROLLER,
            ended=self._ended,
            returned=self._returned,
            write=self._write,
        )
        self._made += 1
        for position, node in enumerate(allocation.path):
            rounds = reservation.rounds[position] if position < len(reservation.rounds) else 0
            self._write_step((reservation.id, position, node, rounds))
        self.working[reservation.id] = reservation
        self._book(reservation, +1)
        if self.local:
            reservation.reserve()
            return
        for position, node in enumerate(allocation.path):
            hops = int(state.network.hop_distance[self.controller, node])
            state.message_counter.send("grant", hops=hops, extra_bytes=4 * len(allocation.path))
            self._after(self.delay_to_controller_s(node), reservation.command, position)

    def drop(self, pair_id: int, owner: int) -> None:
        """Carry out the wish to drop a stocked pair of `owner`, where it is heard."""
        delay_s = 0.0 if self.local else self.delay_to_controller_s(owner)
        if not self.local:
            hops = int(self._state.network.hop_distance[self.controller, owner])
            self._state.message_counter.send("stock", hops=hops)
        self._after(delay_s, self._state.inventory.drop, pair_id, owner)

    def holding(self) -> list[Reservation]:
        """Reservations that may still hold qubits: at work, or with nodes that have not heard of the end."""
        return [*self.working.values(), *self._leaving.values()]

    def close(self) -> None:
        """The run is over: write what is still at work."""
        for reservation in self.working.values():
            reservation.close()

    def _hear(self, request: Request, site: int) -> None:
        self._heard(request)
        self._state.requests.wait(request, site)
        self.wake(site, _ARRIVAL)

    def _enqueue(self, request: Request, reason: int) -> None:
        """A request has reached the controller."""
        if self._state.availability.sites[CONTROLLER]:
            self._held_up.append((self._enqueue, request, reason))
            return
        if reason == _ARRIVAL:
            self._heard(request)
        self._queue(request, reason)

    def _queue(self, request: Request, reason: int) -> None:
        """One server at the controller: decisions leave it in order, `service_time_s` each."""
        now_s = self._state.clock.now_s
        service_s = 0.0 if self._plane.zero_delay else self._plane.service_time_s
        self._busy_until_s = max(self._busy_until_s, now_s) + service_s
        self._after(self._busy_until_s - now_s, self._serve, request, reason)

    def _serve(self, request: Request, reason: int) -> None:
        if not request.open:
            return
        if self._state.availability.sites[CONTROLLER]:
            self._held_up.append((self._queue, request, reason))
            return
        self._state.requests.wait(request, CONTROLLER)
        self.wake(CONTROLLER, reason)

    def _ended(self, reservation: Reservation) -> None:
        del self.working[reservation.id]
        source = reservation.nodes[0]
        if reservation.end in (AllocationOutcome.REFUSED, AllocationOutcome.FAILED_SWAP):
            return
        if self.local:
            self._hear_end(reservation)
        else:
            hops = int(self._state.network.hop_distance[source, self.controller])
            self._state.message_counter.send("report", hops=hops)
            self._after(self.delay_to_controller_s(source), self._hear_end, reservation)

    def _hear_end(self, reservation: Reservation) -> None:
        """The site that ordered it hears that it is done or has expired."""
        self._book(reservation, -1)
        site = reservation.deciding_node
        if reservation.purpose and self._state.requests.waiting.get(site):
            self.wake(site, _PAIR)

    def _returned(self, reservation: Reservation, position: int) -> None:
        """A refusal or failed swap at `position`: the nodes hear of it, and so does the site."""
        nodes = reservation.nodes
        delays = list(reservation.path.delays_s[position])
        back_s = delays[0]
        if not self.local:
            back_s = self.delay_to_controller_s(nodes[position])
            # While the controller is away word goes along the path.
            if not self._state.availability.sites[CONTROLLER]:
                delays = [back_s + self.delay_to_controller_s(node) for node in nodes]
                delays[position] = 0.0
        self._state.message_counter.send("release", hops=len(nodes) - 1)
        for place, delay_s in enumerate(delays):
            reservation.release_at(place, delay_s)
        self._leaving[reservation.id] = reservation
        self._state.clock.after(max(delays), self._leaving.pop, reservation.id)
        self._after(back_s, self._book, reservation, -1)
        if reservation.request is not None:
            self._after(back_s, self._try_again, reservation.request)

    def _try_again(self, request: Request) -> None:
        """The site has the request back; after too many attempts it is rejected.

        What else works for it works on until it expires: to stop it would reward splitting a request, which
        is rejected sooner, with less contention.
        """
        if not request.open:
            return
        if request.tries > self._plane.retries:
            self._state.requests.reject(request)
        else:
            limit_s = self._plane.back_off_s * 2.0 ** (request.tries - 1)
            wait_s = limit_s * self._back_off[request.source].next()
            self._state.clock.after(wait_s, self._ask_again, request)

    def _ask_again(self, request: Request) -> None:
        if not request.open:
            return
        if not self.local:
            self._enqueue(request, _REFUSAL)
        else:
            self._state.requests.wait(request, request.source)
            self.wake(request.source, _REFUSAL)

    def _book(self, reservation: Reservation, sign: int) -> None:
        if reservation.purpose:
            orders = self.stocking.setdefault(reservation.deciding_node, {})
            if sign > 0:
                orders[reservation.id] = reservation
            else:
                del orders[reservation.id]
        book = self.ordered[reservation.nodes[0] if self.local else 0]
        nodes, generations = reservation.nodes, len(reservation.generations)
        for hop, units in enumerate(reservation.units):
            pairs = sign * generations * units
            book[nodes[hop], 0] += pairs
            book[nodes[hop + 1], 0] += pairs
        for node in nodes[1:-1]:
            book[node, 1] += sign * generations

    def _word_s(self, node: int, owner: int) -> float:
        """How long word of stock travels from `node` to the site that decides for `owner`."""
        if not self.local:
            return self.delay_to_controller_s(node)
        return float(self._state.network.distance_s[node, owner])

    def _after(self, delay_s: float, function: Callable[..., None], *arguments: object) -> None:
        """Like the clock's `after`, but at once when there is no delay."""
        if delay_s > 0.0:
            self._state.clock.after(delay_s, function, *arguments)
        else:
            function(*arguments)

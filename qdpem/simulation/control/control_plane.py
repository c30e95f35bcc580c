"""Control plane: how requests reach a decision and decisions reach the nodes, every message with its delay.

Local control decides on a request at its source, and reservations travel hop by hop. Under central control
requests travel to the controller and wait there in a queue with a service time; commands travel to every
node of the path. A refusal or a failed swap returns the request to its site, which may try again after a
back-off.
"""

from __future__ import annotations

from collections.abc import Callable

from qdpem.events.recorder import Row, named_row
from qdpem.events.tables import PATH_STEPS
from qdpem.events.words import AllocationOutcome, DecisionReason, Purpose
from qdpem.policy.interface import CONTROLLER, Allocation
from qdpem.rng import UniformStream
from qdpem.scenario.schema import ControlSettings
from qdpem.scenario.words import Control
from qdpem.simulation.control.order_book import OrderBook
from qdpem.simulation.execution.reservations import Reservation
from qdpem.simulation.resources.requests import Request
from qdpem.simulation.resources.state import SimulationState

_ARRIVAL, _REFUSAL, _PAIR, EPOCH, OUTAGE = range(len(DecisionReason))

_step_row = named_row(PATH_STEPS)


class ControlPlane:
    """Sites to be asked, active reservations, and each site's own book of what it has ordered.

    `woken`: sites to be asked at this moment, each with its reason. `active`: open reservations by id.
    `orders`: what each site has ordered.

    Args:
        state: the run's state.
        control: "local" or "central".
        settings: delays, retries and back-off.
        seed: root seed of the run.
        on_request: called with each request when the site that decides on it first hears of it.
        write: takes a row of the table `allocations`.
        write_step: takes a row of the table `path_steps`.
    """

    def __init__(
        self,
        *,
        state: SimulationState,
        control: Control,
        settings: ControlSettings,
        seed: int,
        on_request: Callable[[Request], None],
        write: Callable[[Row], None],
        write_step: Callable[[Row], None],
    ) -> None:
        self._state = state
        self._settings = settings
        self._on_request = on_request
        self._write = write
        self._write_step = write_step
        self.local = control is Control.LOCAL
        self.woken: dict[int, int] = {}
        self.active: dict[int, Reservation] = {}
        self._releasing: dict[int, Reservation] = {}
        self.orders = OrderBook(nodes=state.network.node_count, local=self.local)
        self._busy_until_s = 0.0
        self._back_off = [UniformStream(seed, f"back-off/{name}") for name in state.network.graph.node_names]
        self._next_id = 0
        self._postponed: list[tuple[Callable[[Request, int], None], Request, int]] = []
        # Reports of stock go to the site that decides, which only the control plane knows.
        state.inventory.report_delay_s = self._report_delay_s
        state.requests.retries = settings.retries
        state.requests.ask_again = self._ask_for_missing

    @property
    def controller(self) -> int:
        """The node of the controller. Local control never asks, and is spared the distances of all nodes."""
        return self._state.network.median_node

    def delay_to_controller_s(self, node: int) -> float:
        """Message delay between a node and the controller, either way."""
        if self._settings.zero_delay:
            return 0.0
        return float(self._state.network.distance_s[node, self.controller])

    def submit(self, request: Request) -> None:
        """A request has arrived at its source; an unavailable node rejects it."""
        self._state.requests.arrive(request)
        if self._state.availability.site_unavailable[request.source]:
            self._state.requests.reject(request)
            return
        if self.local:
            self._receive(request, request.source)
            return
        hops = int(self._state.network.hop_distance[request.source, self.controller])
        self._state.message_counter.send("request", hops=hops)
        self._state.clock.after(self.delay_to_controller_s(request.source), self._enqueue, request, _ARRIVAL)

    def wake(self, site: int, reason: int) -> None:
        """Ask `site` at this moment unless it is unavailable; of several reasons the first stands."""
        if not self._state.availability.site_unavailable[site]:
            self.woken.setdefault(site, reason)

    def resume(self) -> None:
        """The controller is available again and takes up the messages that have reached it since."""
        postponed, self._postponed = self._postponed, []
        for take_up, request, reason in postponed:
            take_up(request, reason)
        if self._state.requests.waiting.get(CONTROLLER):
            self.wake(CONTROLLER, OUTAGE)

    def start(self, allocation: Allocation) -> int:
        """Carry out one allocation; returns its id, -1 if its request has ended and it does not begin."""
        state = self._state
        request = state.requests.open.get(allocation.request)
        if allocation.purpose == Purpose.SERVE:
            if request is None:
                # Of several allocations decided together, an earlier one was refused at its own site at
                # once, and that refusal was the request's last.
                return -1
            state.requests.commit(request)
        reservation = Reservation(
            self._next_id,
            state=state,
            allocation=allocation,
            request=request,
            deciding_node=allocation.source if self.local else CONTROLLER,
            ended=self._ended,
            returned=self._returned,
            write=self._write,
        )
        self._next_id += 1
        for position, (node, rounds) in enumerate(
            zip(allocation.path, (*reservation.rounds, 0), strict=True)
        ):
            self._write_step(
                _step_row(allocation=reservation.id, position=position, node=node, rounds=rounds)
            )
        # Before the first message: a node may refuse at once, and the end of an order needs its beginning.
        self.active[reservation.id] = reservation
        self.orders.record(reservation, +1)
        if self.local:
            reservation.reserve()
            return reservation.id
        for position, node in enumerate(allocation.path):
            hops = int(state.network.hop_distance[self.controller, node])
            state.message_counter.send("grant", hops=hops, extra_bytes=4 * len(allocation.path))
            self._after(self.delay_to_controller_s(node), reservation.command, position)
        return reservation.id

    def discard(self, pair_id: int, owner: int) -> None:
        """Discard a stocked pair of `owner` when the owner hears of the decision."""
        delay_s = 0.0 if self.local else self.delay_to_controller_s(owner)
        if not self.local:
            hops = int(self._state.network.hop_distance[self.controller, owner])
            self._state.message_counter.send("stock", hops=hops)
        self._after(delay_s, self._state.inventory.discard, pair_id, owner)

    def holding(self) -> list[Reservation]:
        """Reservations that may hold qubits: active ones, and those whose end has not reached all nodes."""
        return [*self.active.values(), *self._releasing.values()]

    def close(self) -> None:
        """The run is over: write the reservations that are still active."""
        for reservation in self.active.values():
            reservation.close()

    def _receive(self, request: Request, site: int) -> None:
        """Local control: the source has the request and is asked."""
        self._on_request(request)
        self._state.requests.wait(request, site)
        self.wake(site, _ARRIVAL)

    def _enqueue(self, request: Request, reason: int) -> None:
        """A request has reached the controller, which keeps it for later while it is unavailable."""
        if self._state.availability.site_unavailable[CONTROLLER]:
            self._postponed.append((self._enqueue, request, reason))
            return
        if reason == _ARRIVAL:
            self._on_request(request)
        self._queue(request, reason)

    def _queue(self, request: Request, reason: int) -> None:
        """The controller is one server: decisions leave it in order, after `service_time_s` each."""
        now_s = self._state.clock.now_s
        service_s = 0.0 if self._settings.zero_delay else self._settings.service_time_s
        self._busy_until_s = max(self._busy_until_s, now_s) + service_s
        self._after(self._busy_until_s - now_s, self._serve, request, reason)

    def _serve(self, request: Request, reason: int) -> None:
        """The controller's service of the request is over, and it is asked."""
        # Its deadline may have come while it waited in the queue.
        if not request.open:
            return
        if self._state.availability.site_unavailable[CONTROLLER]:
            self._postponed.append((self._queue, request, reason))
            return
        self._state.requests.wait(request, CONTROLLER)
        self.wake(CONTROLLER, reason)

    def _ended(self, reservation: Reservation) -> None:
        """A reservation is no longer open."""
        del self.active[reservation.id]
        source = reservation.nodes[0]
        # Word of these ends starts where they happened, not at the source: `_returned` handles it.
        if reservation.outcome in (AllocationOutcome.REFUSED, AllocationOutcome.FAILED_SWAP):
            return
        if self.local:
            self._end_order(reservation)
        else:
            hops = int(self._state.network.hop_distance[source, self.controller])
            self._state.message_counter.send("report", hops=hops)
            self._after(self.delay_to_controller_s(source), self._end_order, reservation)

    def _end_order(self, reservation: Reservation) -> None:
        """The site that ordered it hears that it is done or has expired."""
        self.orders.record(reservation, -1)
        site = reservation.deciding_node
        # New stock may serve requests that wait.
        if reservation.purpose is Purpose.STOCK and self._state.requests.waiting.get(site):
            self.wake(site, _PAIR)

    def _returned(self, reservation: Reservation, position: int) -> None:
        """A refusal or failed swap at `position`: word of it travels to the nodes and to the site."""
        nodes = reservation.nodes
        delays = list(reservation.path.delays_s[position])
        back_s = delays[0]
        if not self.local:
            back_s = self.delay_to_controller_s(nodes[position])
            # The controller informs the other nodes; while it is unavailable, word goes along the path.
            if not self._state.availability.site_unavailable[CONTROLLER]:
                delays = [back_s + self.delay_to_controller_s(node) for node in nodes]
                delays[position] = 0.0
        self._state.message_counter.send("release", hops=len(nodes) - 1)
        for other, delay_s in enumerate(delays):
            reservation.release_at(other, delay_s)
        # It holds qubits until the last node has heard.
        self._releasing[reservation.id] = reservation
        self._state.clock.after(max(delays), self._releasing.pop, reservation.id)
        self._after(back_s, self.orders.record, reservation, -1)
        if reservation.request is not None:
            self._after(back_s, self._return_request, reservation.request)

    def _return_request(self, request: Request) -> None:
        """The site has the request back, and rejects it after too many attempts.

        Other allocations for it go on until they expire. Stopping them would reward a policy that splits a
        request: it would be rejected sooner, with less contention.
        """
        if not request.open:
            return
        if request.tries > self._settings.retries:
            self._state.requests.reject(request)
        else:
            # Exponential back-off: uniform up to a limit that doubles with every attempt.
            limit_s = self._settings.back_off_s * 2.0 ** (request.tries - 1)
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

    def _ask_for_missing(self, request: Request) -> None:
        """Pairs below the target were discarded: the source asks for them again, at once.

        Without a back-off, which keeps rivals apart that were refused: here no one was in the way.
        """
        if self.local:
            self._state.requests.wait(request, request.source)
            self.wake(request.source, _PAIR)
            return
        hops = int(self._state.network.hop_distance[request.source, self.controller])
        self._state.message_counter.send("request", hops=hops)
        self._after(self.delay_to_controller_s(request.source), self._enqueue, request, _PAIR)

    def _report_delay_s(self, node: int, owner: int) -> float:
        """How long a report of stock travels from `node` to the site that decides for `owner`."""
        if not self.local:
            return self.delay_to_controller_s(node)
        return float(self._state.network.distance_s[node, owner])

    def _after(self, delay_s: float, function: Callable[..., None], *arguments: object) -> None:
        """Call after a delay. Without one, call at once: through the clock it would come after others."""
        if delay_s > 0.0:
            self._state.clock.after(delay_s, function, *arguments)
        else:
            function(*arguments)

"""Outages on the clock: what goes and comes back, what that ends, and who hears of it when.

A link that is away makes no pairs; what is stored stays. A node that is away has lost all it held, and
answers nothing. A controller that is away decides nothing; what it granted runs on. The nodes at the place
of a change notice at once. Classical messages travel in a network of their own, which does not fail.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.events.tables import OUTAGE_KINDS
from qdpem.network.outages import ALL_AVAILABLE, Outage
from qdpem.network.padded_rows import padded
from qdpem.policy.interface import CONTROLLER
from qdpem.simulation.control.control_plane import OUTAGE, ControlPlane
from qdpem.simulation.execution.reservations import Reservation
from qdpem.simulation.resources.state import SimulationState


class Outages:
    """Applies a run's outages at their times; `heard` is what each site believes is away, by row of sites.

    `check` is called after every change. What is away at t = 0 is known to all; later changes are heard by
    each site after the message delay from the nearest end of the place, and it is asked if requests wait
    there.
    """

    def __init__(
        self,
        timeline: tuple[Outage, ...],
        *,
        state: SimulationState,
        control_plane: ControlPlane,
        check: Callable[[], None],
        write: Callable[[tuple[object, ...]], None],
    ) -> None:
        self._state = state
        self._control_plane = control_plane
        self._check = check
        self._write = write
        self._changes = _changes(timeline)
        sites = state.network.node_count if control_plane.local else 1
        self.heard = [ALL_AVAILABLE] * sites
        while self._changes and self._changes[-1][0] <= 0.0:
            self._begin(self._changes.pop()[2])
        self._wait()

    def columns(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """`unavailable_node` and `unavailable_link` of `Observation`, for these rows of sites."""
        heard = [self.heard[row] for row in rows.tolist()]
        return {
            "unavailable_node": padded([sorted(one.nodes) for one in heard]),
            "unavailable_link": padded([sorted(one.links) for one in heard]),
        }

    def _wait(self) -> None:
        """Schedule the next change alone; it schedules the one after it."""
        if self._changes:
            self._state.clock.at(self._changes[-1][0], self._change, *self._changes.pop()[1:])

    def _begin(self, outage: Outage) -> None:
        """Something is not there from the start, as all know."""
        self._mark(outage, goes=True)
        if outage.kind != "controller":
            known = self.heard[0].with_change(outage.kind, outage.place, unavailable=True)
            self.heard = [known] * len(self.heard)

    def _change(self, goes: bool, outage: Outage) -> None:
        self._mark(outage, goes=goes)
        if outage.kind == "controller":
            if not goes:
                self._control_plane.resume()
        else:
            if goes and outage.kind == "link":
                self._cut(outage.place)
            elif goes:
                self._lose(outage.place)
            self._tell(outage, goes=goes)
        self._check()
        self._wait()

    def _mark(self, outage: Outage, *, goes: bool) -> None:
        availability = self._state.availability
        if outage.kind == "link":
            availability.links[outage.place] = goes
        else:
            availability.set_site(CONTROLLER if outage.kind == "controller" else outage.place, goes)
        if goes:
            node = outage.place if outage.kind == "node" else -1
            link = outage.place if outage.kind == "link" else -1
            code = OUTAGE_KINDS.index(outage.kind)
            self._write((code, node, link, outage.from_s, outage.until_s))

    def _cut(self, link: int) -> None:
        """End what waits for pairs of the link: both its ends notice at once."""
        claims = [claim for feed in self._state.feeds[link] for claim in feed.claims if claim.link == link]
        waiting: dict[int, Reservation] = {claim.allocation: claim.owner.order for claim in claims}
        ends = set(self._state.network.graph.link_ends[link].tolist())
        for reservation in waiting.values():
            steps = enumerate(pairwise(reservation.path))
            position = next(place for place, step in steps if set(step) == ends)
            reservation.interrupt(position)
            reservation.release_at(position, 0.0)
            reservation.release_at(position + 1, 0.0)
            if self._control_plane.local:
                # Beyond the cut, word from its far end is ahead of that from its near end.
                delays = reservation.track.delays_s[position + 1]
                for place in range(position + 2, len(delays)):
                    reservation.release_at(place, delays[place])

    def _lose(self, node: int) -> None:
        """All that the node held is lost, and what runs through it ends; its qubits are free."""
        for reservation in self._control_plane.holding():
            if node in reservation.path:
                position = reservation.path.index(node)
                reservation.interrupt(position)
                reservation.release_at(position, 0.0)
        self._state.inventory.abandon(node)
        if self._control_plane.local:
            self._forget_requests(node, self._state.clock.now_s)

    def _tell(self, outage: Outage, *, goes: bool) -> None:
        """News of a change travels from the ends of its place to every site that decides."""
        state, control_plane = self._state, self._control_plane
        network = state.network
        ends = [outage.place] if outage.kind == "node" else network.graph.link_ends[outage.place].tolist()
        if control_plane.local:
            delays_s = network.distance_s[ends].min(axis=0).tolist()
            # Flooded: every node passes it on over each of its links but the one it came by.
            hops = 2 * network.link_count - network.node_count + 1
        else:
            delays_s = [min(control_plane.delay_to_controller_s(end) for end in ends)]
            hops = int(network.hop_distance[control_plane.controller, ends].min())
        state.message_counter.send("outage", hops=hops)
        for row, delay_s in enumerate(delays_s):
            if delay_s > 0.0:
                state.clock.after(delay_s, self._hear, row, outage, goes)
            else:
                self._hear(row, outage, goes)

    def _hear(self, row: int, outage: Outage, goes: bool) -> None:
        self.heard[row] = self.heard[row].with_change(outage.kind, outage.place, unavailable=goes)
        if goes and outage.kind == "node" and not self._control_plane.local:
            self._forget_requests(outage.place, outage.from_s)
        site = row if self._control_plane.local else CONTROLLER
        if self._state.requests.waiting.get(site):
            self._control_plane.wake(site, OUTAGE)

    def _forget_requests(self, node: int, lost_s: float) -> None:
        """Whoever decides on the node's requests knows that it has lost those it had at `lost_s`."""
        requests = self._state.requests
        lost = [one for one in requests.open.values() if one.source == node and one.time_s <= lost_s]
        for request in lost:
            requests.reject(request)


def _changes(timeline: tuple[Outage, ...]) -> list[tuple[float, bool, Outage]]:
    """When something goes or comes back, whether it goes, and which; the first stands last."""
    changes = [(one.from_s, True, one) for one in timeline]
    changes += [(one.until_s, False, one) for one in timeline if one.until_s < float("inf")]
    return sorted(changes, key=lambda change: (change[0], change[1]))[::-1]

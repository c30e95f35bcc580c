"""Outages during a run: what fails and is repaired, what a failure ends, and who hears of it when.

An unavailable link makes no pairs; stored pairs stay. An unavailable node has lost all it held and answers
no message. An unavailable controller decides nothing; allocations that it granted go on. The nodes at the
place of a change notice it at once. Classical messages use a network of their own, which does not fail.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.events.recorder import Row, named_row
from qdpem.events.tables import OUTAGES
from qdpem.network.outages import ALL_AVAILABLE, Outage
from qdpem.network.padded_rows import padded
from qdpem.policy.interface import CONTROLLER
from qdpem.scenario.words import OutageKind
from qdpem.simulation.control.control_plane import OUTAGE, ControlPlane
from qdpem.simulation.execution.reservations import Reservation
from qdpem.simulation.resources.state import SimulationState

_row = named_row(OUTAGES)


class Outages:
    """Applies the outages of a run at their times.

    `believed`: what each site believes to be unavailable, one entry for each node or one for the controller.
    All know what is unavailable at t = 0. Each site hears of a later change after the message delay from the
    nearest end of its place, and is asked if requests wait there.

    Args:
        timeline: the outages of the run.
        state: the run's state.
        control_plane: wakes sites and knows the reservations.
        check: called after every change.
        write: takes a row of the table `outages`.
    """

    def __init__(
        self,
        timeline: tuple[Outage, ...],
        *,
        state: SimulationState,
        control_plane: ControlPlane,
        check: Callable[[], None],
        write: Callable[[Row], None],
    ) -> None:
        self._state = state
        self._control_plane = control_plane
        self._check = check
        self._write = write
        self._changes = _changes(timeline)
        sites = state.network.node_count if control_plane.local else 1
        self.believed = [ALL_AVAILABLE] * sites
        # Outages from the start precede all events, so that the first observations know them.
        while self._changes and self._changes[-1][0] <= 0.0:
            self._begin(self._changes.pop()[2])
        self._schedule_next()

    def columns(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """`unavailable_node` and `unavailable_link` of `Observation`, for these rows of sites."""
        believed = [self.believed[row] for row in rows.tolist()]
        return {
            "unavailable_node": padded([sorted(unavailable.nodes) for unavailable in believed]),
            "unavailable_link": padded([sorted(unavailable.links) for unavailable in believed]),
        }

    def _schedule_next(self) -> None:
        """Schedule the next change, which schedules the one after it."""
        if self._changes:
            self._state.clock.at(self._changes[-1][0], self._change, *self._changes.pop()[1:])

    def _begin(self, outage: Outage) -> None:
        """Something is unavailable from the start, and all sites know it."""
        self._mark(outage, fails=True)
        if outage.kind is not OutageKind.CONTROLLER:
            unavailable = self.believed[0].with_change(outage.kind, outage.place, unavailable=True)
            self.believed = [unavailable] * len(self.believed)

    def _change(self, fails: bool, outage: Outage) -> None:
        """An outage begins or ends now."""
        # First of all, so that nothing that the failure sets off uses the failed part.
        self._mark(outage, fails=fails)
        if outage.kind is OutageKind.CONTROLLER:
            if not fails:
                self._control_plane.resume()
        else:
            if fails and outage.kind is OutageKind.LINK:
                self._cut(outage.place)
            elif fails:
                self._fail_node(outage.place)
            self._spread(outage, fails=fails)
        self._check()
        self._schedule_next()

    def _mark(self, outage: Outage, *, fails: bool) -> None:
        """Set the flags that the other parts of the run look at; write the outage when it begins."""
        availability = self._state.availability
        if outage.kind is OutageKind.LINK:
            availability.mark_link(outage.place, unavailable=fails)
        else:
            site = CONTROLLER if outage.kind is OutageKind.CONTROLLER else outage.place
            availability.mark_site(site, unavailable=fails)
        if fails:
            node = outage.place if outage.kind is OutageKind.NODE else -1
            link = outage.place if outage.kind is OutageKind.LINK else -1
            code = outage.kind.code
            self._write(_row(kind=code, node=node, link=link, from_s=outage.from_s, until_s=outage.until_s))

    def _cut(self, link: int) -> None:
        """End the reservations that wait for pairs of the link: both its ends notice at once."""
        claims = [claim for feed in self._state.feeds[link] for claim in feed.claims if claim.link == link]
        waiting: dict[int, Reservation] = {claim.allocation: claim.owner.reservation for claim in claims}
        ends = set(self._state.network.graph.link_ends[link].tolist())
        for reservation in waiting.values():
            hops = enumerate(pairwise(reservation.nodes))
            position = next(position for position, hop in hops if set(hop) == ends)
            reservation.interrupt(position)
            reservation.release_at(position, 0.0)
            reservation.release_at(position + 1, 0.0)
            if self._control_plane.local:
                # Both ends of the link send word. Beyond the link, word from the far end is the earlier one.
                delays_s = reservation.path.delays_s[position + 1]
                for beyond in range(position + 2, len(delays_s)):
                    reservation.release_at(beyond, delays_s[beyond])

    def _fail_node(self, node: int) -> None:
        """The node loses all it held and frees its qubits; reservations through it end."""
        for reservation in self._control_plane.holding():
            if node in reservation.nodes:
                position = reservation.nodes.index(node)
                reservation.interrupt(position)
                reservation.release_at(position, 0.0)
        self._state.inventory.fail_node(node)
        if self._control_plane.local:
            self._reject_requests(node, self._state.clock.now_s)

    def _spread(self, outage: Outage, *, fails: bool) -> None:
        """Word of a change travels from the ends of its place to every site that decides."""
        state, control_plane = self._state, self._control_plane
        network = state.network
        ends = (
            [outage.place]
            if outage.kind is OutageKind.NODE
            else network.graph.link_ends[outage.place].tolist()
        )
        if control_plane.local:
            delays_s = network.distance_s[ends].min(axis=0).tolist()
            # Flooding: every node passes the message on over all its links except the one it came by.
            hops = 2 * network.link_count - network.node_count + 1
        else:
            delays_s = [min(control_plane.delay_to_controller_s(end) for end in ends)]
            hops = int(network.hop_distance[control_plane.controller, ends].min())
        state.message_counter.send("outage", hops=hops)
        for row, delay_s in enumerate(delays_s):
            if delay_s > 0.0:
                state.clock.after(delay_s, self._hear, row, outage, fails)
            else:
                self._hear(row, outage, fails)

    def _hear(self, row: int, outage: Outage, fails: bool) -> None:
        """One site hears of a change."""
        self.believed[row] = self.believed[row].with_change(outage.kind, outage.place, unavailable=fails)
        # A source under local control has lost its requests itself, when it failed.
        if fails and outage.kind is OutageKind.NODE and not self._control_plane.local:
            self._reject_requests(outage.place, outage.from_s)
        site = row if self._control_plane.local else CONTROLLER
        if self._state.requests.waiting.get(site):
            self._control_plane.wake(site, OUTAGE)

    def _reject_requests(self, node: int, lost_s: float) -> None:
        """The site that decides on the node's requests rejects those it had, and lost, at `lost_s`."""
        requests = self._state.requests
        lost = [
            request
            for request in requests.open.values()
            if request.source == node and request.time_s <= lost_s
        ]
        for request in lost:
            requests.reject(request)


def _changes(timeline: tuple[Outage, ...]) -> list[tuple[float, bool, Outage]]:
    """Time of each change, whether something fails, and the outage; the earliest change is last."""
    changes = [(outage.from_s, True, outage) for outage in timeline]
    changes += [(outage.until_s, False, outage) for outage in timeline if outage.until_s < float("inf")]
    # The list is read from its end. At equal times repairs come first, because False sorts before True.
    return sorted(changes, key=lambda change: (change[0], change[1]))[::-1]

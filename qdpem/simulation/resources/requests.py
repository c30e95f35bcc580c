"""Requests as they live through a run: waiting at a site, being served, and ended once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from qdpem.demand.requests import Requests
from qdpem.events.recorder import Row
from qdpem.events.words import PairOutcome, RequestOutcome
from qdpem.scenario.words import Application
from qdpem.simulation.resources.clock import Clock
from qdpem.simulation.resources.ledger import Ledger, Pair

_DELIVERED = RequestOutcome.DELIVERED
_PAIR_DELIVERED, _PAIR_EXPIRED, _PAIR_LOST = PairOutcome.DELIVERED, PairOutcome.EXPIRED, PairOutcome.LOST
_MEASURED_AT_ONCE = Application.QKD.code


class Supplier(Protocol):
    """What a request needs of the lane that brought it a pair."""

    @property
    def reservation(self) -> object:
        """Whose lane it is."""

    @property
    def link_hops(self) -> int:
        """Links of its path; 0 for a stocked remote pair."""

    def consumed(self) -> None:
        """The pair was delivered or given up: its two qubits are free."""


class Request:
    """One request of the run; `held` are pairs that wait until all asked for are there.

    `attempts` are the allocations made for it, `tries` those that count against `control.retries`: of a
    standing one since it last had a pair.
    """

    __slots__ = (
        "application",
        "attempts",
        "deadline_s",
        "destination",
        "fidelities",
        "held",
        "hops",
        "id",
        "open",
        "pairs",
        "persistence",
        "ready_s",
        "site",
        "source",
        "target_fidelity",
        "time_s",
        "tries",
    )

    def __init__(self, requests: Requests, row: int) -> None:
        self.id = int(requests.id[row])
        self.time_s = float(requests.time_s[row])
        self.source = int(requests.source[row])
        self.destination = int(requests.destination[row])
        self.target_fidelity = float(requests.target_fidelity[row])
        self.pairs = int(requests.pairs[row])
        self.deadline_s = float(requests.deadline_s[row])
        self.application = int(requests.application[row])
        self.persistence = int(requests.persistence[row])
        self.site = self.source
        self.attempts = self.tries = 0
        self.hops = -1
        self.ready_s = 0.0
        self.open = True
        self.fidelities: list[float] = []
        self.held: list[tuple[Supplier, Pair]] = []


class RequestBook:
    """All requests that have arrived; delivers, expires and rejects them, each exactly once."""

    def __init__(self, *, clock: Clock, ledger: Ledger, append: Callable[[Row], None]) -> None:
        self._clock = clock
        self._ledger = ledger
        self._append = append
        self.open: dict[int, Request] = {}
        self.waiting: dict[int, dict[int, Request]] = {}

    def arrive(self, request: Request) -> None:
        """A request enters; at its deadline it has expired unless it ended before."""
        self.open[request.id] = request
        self._clock.at(request.deadline_s, self.expire, request)

    def wait(self, request: Request, site: int) -> None:
        """The request waits for a decision at `site`."""
        request.site = site
        self.waiting.setdefault(site, {})[request.id] = request

    def commit(self, request: Request) -> None:
        """An allocation serves it now; it waits no more."""
        request.attempts += 1
        request.tries += 1
        self._forget(request)

    def receive(
        self, request: Request, generation: Supplier, pair: Pair, *, ready_s: float, operated_s: float
    ) -> None:
        """Both ends know of one more pair for the request.

        Its ageing ended at `ready_s`, when the last correction reached the destination; a pair for key
        distribution was measured at `operated_s`, without waiting for corrections.
        """
        if request.persistence or request.application == _MEASURED_AT_ONCE:
            at_s = operated_s if request.application == _MEASURED_AT_ONCE else ready_s
            request.fidelities.append(self._deliver(generation, pair, at_s))
        else:
            request.held.append((generation, pair))
            request.ready_s = max(request.ready_s, ready_s)
        request.hops = max(request.hops, generation.link_hops)
        if request.persistence:
            request.tries = 1
            return
        if len(request.fidelities) + len(request.held) < request.pairs:
            return
        # Pairs that waited for the last one have aged until it was there.
        for kept_lane, kept in request.held:
            request.fidelities.append(self._deliver(kept_lane, kept, request.ready_s))
        request.held.clear()
        met = all(fidelity >= request.target_fidelity for fidelity in request.fidelities)
        self._end(request, _DELIVERED if met else RequestOutcome.LOW_FIDELITY)

    def take_back(self, request: Request, reservation: object) -> None:
        """The reservation is released: pairs of it that waited for others are gone."""
        for generation, pair in request.held:
            if generation.reservation is reservation:
                self._ledger.end(pair, _PAIR_LOST, self._clock.now_s)
        request.held = [
            (generation, pair)
            for generation, pair in request.held
            if generation.reservation is not reservation
        ]

    def expire(self, request: Request) -> None:
        """The deadline has come."""
        if request.open:
            self._fail(request, RequestOutcome.EXPIRED)

    def reject(self, request: Request) -> None:
        """No more retries."""
        self._fail(request, RequestOutcome.REJECTED)

    def close(self) -> None:
        """Write the requests still open at the end of the run."""
        for request in list(self.open.values()):
            self._write(request, RequestOutcome.OPEN)

    def _fail(self, request: Request, outcome: RequestOutcome) -> None:
        """What it holds is released. A standing request has had what it could get."""
        self._release_held(request)
        if request.persistence and request.fidelities:
            met = max(request.fidelities) >= request.target_fidelity
            outcome = _DELIVERED if met else RequestOutcome.LOW_FIDELITY
        self._end(request, outcome)

    def _deliver(self, generation: Supplier, pair: Pair, ready_s: float) -> float:
        fidelity = self._ledger.end(pair, _PAIR_DELIVERED, self._clock.now_s, fidelity_at_s=ready_s)
        generation.consumed()
        return fidelity

    def _release_held(self, request: Request) -> None:
        for generation, pair in request.held:
            request.fidelities.append(self._ledger.end(pair, _PAIR_EXPIRED, self._clock.now_s))
            generation.consumed()
        request.held.clear()

    def _forget(self, request: Request) -> None:
        self.waiting.get(request.site, {}).pop(request.id, None)

    def _end(self, request: Request, outcome: RequestOutcome) -> None:
        request.open = False
        self._forget(request)
        del self.open[request.id]
        self._write(request, outcome)

    def _write(self, request: Request, outcome: RequestOutcome) -> None:
        good = [value for value in request.fidelities if value >= request.target_fidelity]
        mean = math.fsum(request.fidelities) / len(request.fidelities) if request.fidelities else math.nan
        self._append(
            (
                request.id,
                request.time_s,
                request.source,
                request.destination,
                request.target_fidelity,
                request.pairs,
                request.deadline_s,
                request.application,
                outcome.code,
                self._clock.now_s,
                mean,
                len(good),
                request.attempts,
                request.hops if outcome is _DELIVERED else -1,
                request.persistence,
            )
        )

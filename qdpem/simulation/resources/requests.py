"""Requests during a run: they wait at a site, are served, and end exactly once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from qdpem.demand.requests import Requests
from qdpem.events.recorder import Row, named_row
from qdpem.events.tables import REQUESTS
from qdpem.events.words import PairOutcome, RequestOutcome
from qdpem.scenario.words import Application
from qdpem.simulation.resources.clock import Clock
from qdpem.simulation.resources.pairs.ledger import Ledger, Pair

_MEASURED_AT_ONCE = Application.QKD.code

_row = named_row(REQUESTS)


class ArrivedPair(NamedTuple):
    """A pair that both ends of a request know of.

    `allocation`: id of the allocation that made it. `link_hops`: links of its path; 0 for a stocked remote
    pair. `ready_s`: when its ageing ended, as the last correction reached the destination. `operated_s`:
    when the last operation on it was done. `retry_low_fidelity`: as in its allocation. `release` frees its
    two qubits, once it is delivered or given up.
    """

    pair: Pair
    allocation: int
    link_hops: int
    ready_s: float
    operated_s: float
    retry_low_fidelity: bool
    release: Callable[[], None]


class Request:
    """One request of the run.

    `held`: pairs that wait until all that it asks for are there. `discarded`: pairs found below its target,
    which are to be made again once the others are there. `attempts`: allocations made for it.
    `tries`: those that count against `control.retries`, which for a repeating request are those since its
    last pair. `site`: where it waits for a decision. `hops`: most links of any path that served it.
    """

    __slots__ = (
        "application",
        "attempts",
        "deadline_s",
        "destination",
        "discarded",
        "fidelities",
        "held",
        "hops",
        "id",
        "open",
        "pairs",
        "process",
        "ready_s",
        "repeat_until_deadline",
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
        self.repeat_until_deadline = int(requests.repeat_until_deadline[row])
        self.process = int(requests.process[row])
        self.site = self.source
        self.attempts = self.tries = self.discarded = 0
        self.hops = -1
        self.ready_s = 0.0
        self.open = True
        self.fidelities: list[float] = []
        self.held: list[ArrivedPair] = []


class RequestBook:
    """The requests that have arrived; each is delivered, expires or is rejected exactly once.

    `open`: those that have not ended, by id. `waiting`: those that wait for a decision, by site and id.
    `retries`: a request with more tries keeps pairs below its target. `ask_again` takes a request that
    lacks pairs because such pairs were discarded.
    """

    def __init__(self, *, clock: Clock, ledger: Ledger, append: Callable[[Row], None]) -> None:
        self._clock = clock
        self._ledger = ledger
        self._append = append
        self.open: dict[int, Request] = {}
        self.waiting: dict[int, dict[int, Request]] = {}
        # Both belong to the control plane, which sets them.
        self.retries = 0
        self.ask_again: Callable[[Request], None] = lambda request: self.wait(request, request.source)

    def arrive(self, request: Request) -> None:
        """A request enters. It expires at its deadline unless it has ended before."""
        self.open[request.id] = request
        # Scheduled for every request and never revoked: `expire` looks first whether the request has ended.
        self._clock.at(request.deadline_s, self.expire, request)

    def wait(self, request: Request, site: int) -> None:
        """The request waits for a decision at `site`."""
        request.site = site
        self.waiting.setdefault(site, {})[request.id] = request

    def commit(self, request: Request) -> None:
        """An allocation serves the request now, so it waits no more."""
        request.attempts += 1
        request.tries += 1
        # The site that decided counted these among the pairs that are missing.
        request.discarded = 0
        self._stop_waiting(request)

    def receive(self, request: Request, arrived: ArrivedPair) -> None:
        """Both ends know of one more pair for the request.

        It is delivered at once if the request is repeating or distributes keys. Otherwise it waits until all
        pairs are there. A pair for key distribution is measured at `operated_s`, before corrections arrive.
        Pairs below the target are discarded, and the request asks for them again, as far as it may retry.
        """
        measured_at_once = request.application == _MEASURED_AT_ONCE
        usable_s = arrived.operated_s if measured_at_once else arrived.ready_s
        if request.repeat_until_deadline:
            self._deliver(request, arrived, usable_s)
            # It ends at its deadline only. A delivery shows that its allocation works: retries start anew.
            request.tries = 1
            return
        if self._must_retry(request, arrived, usable_s):
            self._discard(request, arrived, usable_s)
        elif measured_at_once:
            self._deliver(request, arrived, usable_s)
        else:
            request.held.append(arrived)
            request.ready_s = max(request.ready_s, arrived.ready_s)
        if len(request.fidelities) + len(request.held) + request.discarded >= request.pairs:
            self._complete(request)

    def _complete(self, request: Request) -> None:
        """All pairs are there; those that waited for the last one have aged until it was ready."""
        for held in tuple(request.held):
            if self._must_retry(request, held, request.ready_s):
                request.held.remove(held)
                self._discard(request, held, request.ready_s)
        if request.discarded:
            request.discarded = 0
            self.ask_again(request)
            return
        for held in request.held:
            self._deliver(request, held, request.ready_s)
        request.held.clear()
        met = all(fidelity >= request.target_fidelity for fidelity in request.fidelities)
        self._end(request, RequestOutcome.DELIVERED if met else RequestOutcome.LOW_FIDELITY)

    def _must_retry(self, request: Request, arrived: ArrivedPair, usable_s: float) -> bool:
        """Whether a pair is below the target while its request has time and retries left.

        The ends know this: the heralds, readings and corrections that reached them tell how the pair was
        made and when, and the ledger's state is the state given just that. No draw is hidden in it.
        """
        return (
            arrived.retry_low_fidelity
            and request.tries <= self.retries
            and self._clock.now_s < request.deadline_s
            and self._ledger.fidelity(arrived.pair, usable_s) < request.target_fidelity
        )

    def _discard(self, request: Request, arrived: ArrivedPair, usable_s: float) -> None:
        request.discarded += 1
        self._ledger.end(arrived.pair, PairOutcome.EXPIRED, self._clock.now_s, fidelity_at_s=usable_s)
        arrived.release()

    def take_back(self, request: Request, allocation: int) -> None:
        """An allocation is released: those of its pairs that waited for others are lost."""
        for held in request.held:
            if held.allocation == allocation:
                self._ledger.end(held.pair, PairOutcome.LOST, self._clock.now_s)
        request.held = [held for held in request.held if held.allocation != allocation]

    def expire(self, request: Request) -> None:
        """The deadline has come; a request that has ended stays as it is."""
        if request.open:
            self._fail(request, RequestOutcome.EXPIRED)

    def reject(self, request: Request) -> None:
        """End a request without delivery: its retries are used up, or its node has failed."""
        self._fail(request, RequestOutcome.REJECTED)

    def close(self) -> None:
        """Write the requests that are still open at the end of the run."""
        for request in list(self.open.values()):
            self._write(request, RequestOutcome.OPEN)

    def _fail(self, request: Request, outcome: RequestOutcome) -> None:
        """End a request that gets no more pairs. A repeating one that had some counts by the best one."""
        self._release_held(request)
        if request.repeat_until_deadline and request.fidelities:
            met = max(request.fidelities) >= request.target_fidelity
            outcome = RequestOutcome.DELIVERED if met else RequestOutcome.LOW_FIDELITY
        self._end(request, outcome)

    def _deliver(self, request: Request, arrived: ArrivedPair, ready_s: float) -> None:
        fidelity = self._ledger.end(
            arrived.pair, PairOutcome.DELIVERED, self._clock.now_s, fidelity_at_s=ready_s
        )
        # Release after the end: a repeating request's generation makes its next pair at once.
        arrived.release()
        request.fidelities.append(fidelity)
        request.hops = max(request.hops, arrived.link_hops)

    def _release_held(self, request: Request) -> None:
        """The pairs that waited for others will not be delivered; their fidelities still count."""
        for held in request.held:
            request.fidelities.append(self._ledger.end(held.pair, PairOutcome.EXPIRED, self._clock.now_s))
            held.release()
        request.held.clear()

    def _stop_waiting(self, request: Request) -> None:
        self.waiting.get(request.site, {}).pop(request.id, None)

    def _end(self, request: Request, outcome: RequestOutcome) -> None:
        request.open = False
        # Allocations that still work for it find it closed, and count their pairs as lost.
        self._stop_waiting(request)
        del self.open[request.id]
        self._write(request, outcome)

    def _write(self, request: Request, outcome: RequestOutcome) -> None:
        fidelities = request.fidelities
        good = [fidelity for fidelity in fidelities if fidelity >= request.target_fidelity]
        mean = math.fsum(fidelities) / len(fidelities) if fidelities else math.nan
        self._append(
            _row(
                request=request.id,
                time_s=request.time_s,
                source=request.source,
                destination=request.destination,
                target_fidelity=request.target_fidelity,
                pairs=request.pairs,
                deadline_s=request.deadline_s,
                application=request.application,
                outcome=outcome.code,
                end_s=self._clock.now_s,
                fidelity=mean,
                pairs_delivered=len(good),
                attempts=request.attempts,
                hops=request.hops if outcome is RequestOutcome.DELIVERED else -1,
                repeat_until_deadline=request.repeat_until_deadline,
                process=request.process,
            )
        )

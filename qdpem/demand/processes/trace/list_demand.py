"""Requests of a list: all of them, or a part that is drawn.

`demand/process/NAME/class` draws a class for each request of the list, which has what the list does not say,
and `demand/process/NAME/keep` says which are kept. Both have one draw for each request of the list, in its
order, so that no window changes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qdpem.arrays import Flags, Floats, Ints
from qdpem.demand.peers import Peers
from qdpem.demand.processes.process import DrawnRequests, ExpectedDemand, Span, draw_index
from qdpem.demand.processes.trace.trace_file import trace_fault
from qdpem.demand.traces.requests.request_list import RequestList
from qdpem.network.graph import Network
from qdpem.rng import stream
from qdpem.scenario.faults.semantics import KEY_THRESHOLD_FIDELITY
from qdpem.scenario.schema import RequestClass, Trace
from qdpem.scenario.words import Application, Repetition

_RATE_TOLERANCE = 0.01
_MAX_PAIRS = 1e6


@dataclass(frozen=True, eq=False, kw_only=True)
class ListedRequests:
    """R requests between nodes of a network, each with a class; all arrays of length R.

    `time_s`: seconds of the run. `request_class` counts `classes`, whose patience is the mean of theirs and
    whose fractions are those of the requests.
    """

    time_s: Floats
    source: Ints
    destination: Ints
    request_class: Ints
    patience_s: Floats
    classes: tuple[RequestClass, ...]

    @property
    def rate_hz(self) -> float:
        """Requests per second from the first to the last; infinite where all come at once."""
        span_s = float(self.time_s[-1] - self.time_s[0])
        return (len(self.time_s) - 1) / span_s if span_s > 0.0 else np.inf


@dataclass(frozen=True, eq=False, kw_only=True)
class ListDemand:
    """The trace process of a list of requests under one seed, over its `span`; `kept` bool [R]."""

    name: str
    rate_hz: float
    listed: ListedRequests
    kept: Flags
    kept_fraction: float
    span: Span

    @property
    def classes(self) -> tuple[RequestClass, ...]:
        """The classes of its requests."""
        return self.listed.classes

    def draw(self) -> tuple[list[DrawnRequests], list[DrawnRequests]]:
        """The requests before t = 0 and those of the run."""
        time_s = self.listed.time_s
        before = self.kept & (time_s >= -self.span.history_s) & (time_s < 0.0)
        after = self.kept & (time_s >= 0.0) & (time_s < self.span.end_s)
        return [self._requests(before)], [self._requests(after)]

    def expected(self, peers: Peers, *, now_s: float, edges_s: Floats) -> ExpectedDemand:  # noqa: ARG002
        """What one expects who knows the list, and the fraction that is kept, but not which.

        Of n requests in a step, each kept with probability p, come n p on average with variance n p (1 - p):
        n p^2 scheduled ones and a Poisson number of mean n p (1 - p) have both.
        """
        count = self._counts(peers, edges_s, np.ones_like(self.kept))
        part = self.kept_fraction
        return ExpectedDemand(scheduled=part * part * count, unscheduled=part * (1.0 - part) * count)

    def realised(self, peers: Peers, *, edges_s: Floats) -> ExpectedDemand:
        """The requests that come."""
        count = self._counts(peers, edges_s, self.kept)
        return ExpectedDemand(scheduled=count, unscheduled=np.zeros_like(count))

    def _requests(self, chosen: Flags) -> DrawnRequests:
        listed = self.listed
        return DrawnRequests(
            listed.time_s[chosen],
            listed.source[chosen],
            listed.destination[chosen],
            listed.request_class[chosen],
            listed.patience_s[chosen],
        )

    def _counts(self, peers: Peers, edges_s: Floats, chosen: Flags) -> Floats:
        """Requests of each peer in each step, float64 [N, P, H]."""
        listed, table = self.listed, np.zeros((*peers.destination.shape, len(edges_s) - 1))
        # Only those of the steps: a list can be long.
        first, last = np.searchsorted(listed.time_s, [edges_s[0], edges_s[-1]])
        rows = first + np.flatnonzero(chosen[first:last])
        source, kind = listed.source[rows], listed.request_class[rows]
        target = np.array([each.target_fidelity for each in listed.classes])[kind]
        pairs = np.array([each.pairs for each in listed.classes])[kind]
        same = (
            (peers.destination[source] == listed.destination[rows, None])
            & (peers.target_fidelity[source] == target[:, None])
            & (peers.pairs[source] == pairs[:, None])
        )
        step = np.searchsorted(edges_s, listed.time_s[rows], side="right") - 1
        known = same.any(axis=1)
        np.add.at(table, (source[known], same.argmax(axis=1)[known], step[known]), 1.0)
        return table


def list_requests(
    name: str, settings: Trace, requests: RequestList, network: Network, *, seed: int
) -> ListedRequests:
    """The requests of a mapped list with classes, in seconds of the run.

    What the list does not say is that of a class drawn from `settings`. An application that qdpem does not
    know is that of this class too. Raises ScenarioError for a list without requests on this network, and for
    requests of qkd that can have no key.
    """
    if not len(requests):
        raise trace_fault(name, "path", f"{requests.origin} has no request between nodes of the network")
    count, given = len(requests), settings.classes
    drawn = np.zeros(count, dtype=np.int64)
    if len(given) > 1:
        u = stream(seed, f"demand/process/{name}/class").random(count)
        drawn = draw_index(np.array([each.fraction for each in given]), u)
    known = {str(word): word.code for word in Application}
    own = np.array([Application(each.application).code for each in given])[drawn]
    application = np.array(
        [known.get(word or "", code) for word, code in zip(requests.application, own, strict=True)]
    )
    target = _filled(requests.target_fidelity, [each.target_fidelity for each in given], drawn)
    pairs = _filled(requests.pairs, [each.pairs for each in given], drawn)
    patience_s = _filled(requests.patience_s, [each.patience_s for each in given], drawn)
    repetition = np.array([Repetition(each.repeat_until_deadline).code for each in given])[drawn]
    _check_values(name, requests, target, pairs)
    kinds, first, request_class = np.unique(
        np.stack([application, target, pairs, repetition]), axis=1, return_index=True, return_inverse=True
    )
    request_class = request_class.ravel()
    patience_of = np.bincount(request_class, weights=patience_s) / np.bincount(request_class)
    classes = tuple(
        replace(
            given[drawn[first[index]]],
            application=Application.from_code(int(kinds[0, index])),
            target_fidelity=float(kinds[1, index]),
            pairs=int(kinds[2, index]),
            patience_s=float(patience_of[index]),
            fraction=float((request_class == index).mean()),
        )
        for index in range(kinds.shape[1])
    )
    _check_keys(name, classes, requests.origin)
    names = {node: index for index, node in enumerate(network.graph.node_names)}
    return ListedRequests(
        time_s=(requests.time_s - settings.start_s) / settings.time_compression,
        source=np.array([names[node] for node in requests.source], dtype=np.int64),
        destination=np.array([names[node] for node in requests.destination], dtype=np.int64),
        request_class=request_class,
        patience_s=patience_s,
        classes=classes,
    )


def _filled(said: Floats, of_class: Sequence[float], drawn: Ints) -> Floats:
    """What the list says, and where it says nothing what the drawn class has."""
    return np.where(np.isnan(said), np.array(of_class, dtype=np.float64)[drawn], said)


def _check_values(name: str, requests: RequestList, target: Floats, pairs: Floats) -> None:
    """Raise ScenarioError for a request that no scenario could make."""
    for what, wrong, value, should in (
        ("target_fidelity", ~((target > 0.5) & (target < 1.0)), target, "above 0.5 and below 1"),
        ("pairs", pairs > _MAX_PAIRS, pairs, f"at most {_MAX_PAIRS:g}"),
    ):
        if wrong.any():
            row = int(wrong.argmax())
            raise trace_fault(
                name,
                "path",
                f"{what} of request {row + 1} of {requests.origin} is {value[row]:g}; should be {should}",
            )


def _check_keys(name: str, classes: Sequence[RequestClass], origin: str) -> None:
    for each in classes:
        if each.application is Application.QKD and each.target_fidelity <= KEY_THRESHOLD_FIDELITY:
            wrong = (
                f"{origin} asks for qkd at fidelity {each.target_fidelity:g}; should be above"
                f" {KEY_THRESHOLD_FIDELITY}, below which a pair gives no key"
            )
            raise trace_fault(name, "path", wrong)


def build_list_demand(
    name: str, settings: Trace, listed: ListedRequests, *, rate_hz: float, span: Span, seed: int
) -> ListDemand:
    """The process of a list under one seed.

    Raises ScenarioError when the list has fewer requests per second than the process, or another number and
    is not thinned, and when none of its requests lies in the run.

    Args:
        name: of the process.
        settings: its table in the scenario.
        listed: its requests on the network.
        rate_hz: mean requests per second of the process.
        span: the time for which it is drawn.
        seed: the traffic seed.
    """
    own_hz = listed.rate_hz
    kept = np.ones(len(listed.time_s), dtype=np.bool_)
    fraction = rate_hz / own_hz if settings.thinned else 1.0
    off = fraction - 1.0 if settings.thinned else abs(rate_hz / own_hz - 1.0)
    if off > _RATE_TOLERANCE:
        should = "at most as many, or time_compression larger" if settings.thinned else "as many"
        wrong = (
            f"{settings.fraction:g} of the demand is {rate_hz:.6g} requests/s, but the list has"
            f" {own_hz:.6g}/s at time_compression = {settings.time_compression:g}; should be {should}"
        )
        raise trace_fault(name, "fraction", wrong)
    if settings.thinned and fraction < 1.0:
        kept = stream(seed, f"demand/process/{name}/keep").random(len(kept)) < fraction
    if not ((listed.time_s >= 0.0) & (listed.time_s < span.end_s)).any():
        wrong = (
            f"{settings.start_s:g} leaves no request in the run of {span.end_s:g} s: those of the list come"
            f" {listed.time_s[0]:g} s to {listed.time_s[-1]:g} s after its start"
        )
        raise trace_fault(name, "start_s", wrong)
    return ListDemand(
        name=name,
        rate_hz=min(fraction, 1.0) * own_hz,
        listed=listed,
        kept=kept,
        kept_fraction=min(fraction, 1.0),
        span=span,
    )

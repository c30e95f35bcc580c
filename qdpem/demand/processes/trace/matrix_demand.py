"""Requests that follow traffic matrices: a Poisson process for each ordered pair of nodes, with its own rate.

The rate is linear between the middles of intervals. A Poisson process of mean 1 between events, of the stream
`demand/process/NAME/gaps/A/B/after` or `before`, is stretched so that its times are those at which the
integral of the rate is as large (Cinlar 1975): exact for every rate, with no draw for what does not come.
`demand/process/NAME/class/A/B/after` or `before` draws the class of the k-th request from A to B.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Floats
from qdpem.demand.peers import Peers
from qdpem.demand.processes.process import (
    DrawnRequests,
    ExpectedDemand,
    Span,
    class_fractions,
    draw_index,
    poisson_times,
)
from qdpem.demand.processes.trace.linear_rates import LinearRates
from qdpem.demand.processes.trace.trace_file import MatrixTrace, trace_fault
from qdpem.network.graph import Network
from qdpem.rng import name_key, stream
from qdpem.scenario.schema import RequestClass, Trace

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False, kw_only=True)
class MatrixDemand:
    """The trace process of traffic matrices under one seed, over its `span`.

    `rates`: of the pairs of `trace`, in requests per second of the run. `node_names`: of the network.
    """

    name: str
    classes: tuple[RequestClass, ...]
    rate_hz: float
    trace: MatrixTrace
    rates: LinearRates
    node_names: tuple[str, ...]
    span: Span
    seed: int

    def draw(self) -> tuple[list[DrawnRequests], list[DrawnRequests]]:
        """The requests before t = 0 and those of the run, one part for each ordered pair of nodes."""
        begin, zero, end = self.rates.integral(np.array([-self.span.history_s, 0.0, self.span.end_s]))
        sides: tuple[list[DrawnRequests], list[DrawnRequests]] = [], []
        for pair in range(len(self.trace.source)):
            ahead = self._reached(pair, "after", float(end[pair] - zero[pair]))
            back = self._reached(pair, "before", float(zero[pair] - begin[pair]))
            after_s = self.rates.time_of(pair, zero[pair] + ahead)
            before_s = self.rates.time_of(pair, zero[pair] - back)
            # Rounding may put a time on the wrong side of a border.
            inside = (before_s < 0.0) & (before_s >= -self.span.history_s)
            sides[0].append(self._requests(pair, "before", before_s[inside]))
            inside = (after_s >= 0.0) & (after_s < self.span.end_s)
            sides[1].append(self._requests(pair, "after", after_s[inside]))
        return sides

    def expected(self, peers: Peers, *, now_s: float, edges_s: Floats) -> ExpectedDemand:  # noqa: ARG002
        """The integral of the rates over each step: what one expects who knows the traffic to come."""
        return self.realised(peers, edges_s=edges_s)

    def realised(self, peers: Peers, *, edges_s: Floats) -> ExpectedDemand:
        """The integral of the rates over each step."""
        nodes = np.arange(len(self.node_names))
        own = np.zeros((len(nodes), len(nodes), len(edges_s) - 1))
        own[self.trace.source, self.trace.destination] = np.diff(self.rates.integral(edges_s), axis=0).T
        # A free place has destination -1, and its kind fits no class.
        unscheduled = own[nodes[:, None], peers.destination]
        unscheduled *= class_fractions(peers, self.classes)[:, :, None]
        return ExpectedDemand(scheduled=np.zeros_like(unscheduled), unscheduled=unscheduled)

    def _key(self, purpose: str, pair: int, side: str) -> str:
        source, destination = (
            name_key(self.node_names[end[pair]]) for end in (self.trace.source, self.trace.destination)
        )
        return f"demand/process/{self.name}/{purpose}/{source}/{destination}/{side}"

    def _reached(self, pair: int, side: str, mass: float) -> Floats:
        """The integrals of the rate from t = 0 outwards at which requests come; more mass only appends."""
        if not mass > 0.0:
            return np.zeros(0)
        return poisson_times(1.0, mass, stream(self.seed, self._key("gaps", pair, side)))

    def _requests(self, pair: int, side: str, time_s: Floats) -> DrawnRequests:
        request_class = np.zeros(len(time_s), dtype=np.int64)
        if len(self.classes) > 1 and len(time_s):
            u = stream(self.seed, self._key("class", pair, side)).random(len(time_s))
            request_class = draw_index(np.array([each.fraction for each in self.classes]), u)
        ends = (self.trace.source[pair], self.trace.destination[pair])
        source, destination = (np.full(len(time_s), end, dtype=np.int64) for end in ends)
        return DrawnRequests(time_s, source, destination, request_class)


def build_matrix_demand(
    name: str,
    settings: Trace,
    trace: MatrixTrace,
    network: Network,
    *,
    rate_hz: float,
    span: Span,
    seed: int,
) -> MatrixDemand:
    """The process of traffic matrices under one seed.

    Raises ScenarioError when the trace does not cover the history and the run. Beyond its ends, which only
    forecasts past the end of the run see, rates stay as they are there.

    Args:
        name: of the process.
        settings: its table in the scenario.
        trace: its traffic on the network.
        network: gives the names of nodes.
        rate_hz: mean requests per second of the process over the whole trace.
        span: the time for which it is drawn.
        seed: the traffic seed.
    """
    _check_cover(name, settings, trace, span)
    middle_s = (np.arange(len(trace.relative), dtype=np.float64) + 0.5) * trace.step_s
    return MatrixDemand(
        name=name,
        classes=settings.classes,
        rate_hz=rate_hz,
        trace=trace,
        rates=LinearRates(
            time_s=(middle_s - settings.start_s) / settings.time_compression,
            rate_hz=rate_hz * trace.relative,
        ),
        node_names=network.graph.node_names,
        span=span,
        seed=seed,
    )


def _check_cover(name: str, settings: Trace, trace: MatrixTrace, span: Span) -> None:
    """Raise ScenarioError unless the trace reaches from the start of the history to the end of the run."""
    factor, length_s = settings.time_compression, trace.length_s
    before_s, after_s = span.history_s * factor, span.end_s * factor
    tolerance_s = _ROUNDING * length_s
    if settings.start_s - before_s >= -tolerance_s and settings.start_s + after_s <= length_s + tolerance_s:
        return
    needs = (
        f"{settings.start_s:g} is not possible: a history of {span.history_s:g} s and a run of"
        f" {span.end_s:g} s are {before_s:g} s and {after_s:g} s of the trace, which has {length_s:g} s"
    )
    if before_s + after_s > length_s + tolerance_s:
        should = "; the run or forecasting.history_s should be shorter, or time_compression smaller"
    elif before_s + after_s >= length_s - tolerance_s:
        should = f"; should be {before_s:g}"
    else:
        should = f"; should be {before_s:g} to {length_s - after_s:g}"
    raise trace_fault(name, "start_s", needs + should)

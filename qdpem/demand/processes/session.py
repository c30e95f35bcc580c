"""The session process: a demanded pair of nodes is on for a time, and only then asks, as a Poisson process.

On and off times are exponential (`switching`): a session is noticed when it has begun, and not foreseen. Keys
of the random streams of the pair A/B in the process NAME: `demand/process/NAME/pair/A/B` (end that asks,
class), `demand/switching/process/NAME/A/B` and those below it (`switching`), and
`demand/process/NAME/gaps/A/B/after` or `before`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qdpem.arrays import Floats
from qdpem.demand.peers import Peers
from qdpem.demand.processes.demanded_pairs import DemandedPairs, draw_demanded_pairs
from qdpem.demand.processes.process import DrawnRequests, ExpectedDemand, Span, poisson_times
from qdpem.demand.switching import covered_s, expected_on_s, on_spans
from qdpem.network.graph import Network
from qdpem.rng import stream
from qdpem.scenario.schema import RequestClass, Session


@dataclass(frozen=True, eq=False, kw_only=True)
class SessionDemand:
    """Sessions under one seed, over its `span`."""

    name: str
    settings: Session
    demanded: DemandedPairs
    span: Span
    seed: int

    @property
    def classes(self) -> tuple[RequestClass, ...]:
        """The classes of its requests."""
        return self.settings.classes

    @property
    def rate_hz(self) -> float:
        """Requests per second."""
        return float(self.demanded.rate_hz.sum())

    def draw(self) -> tuple[list[DrawnRequests], list[DrawnRequests]]:
        """The requests before t = 0 and those of the run."""
        sides: tuple[list[DrawnRequests], list[DrawnRequests]] = [], []
        for pair, key in enumerate(self.demanded.key):
            for side, requests, span_s, sign in (
                ("before", sides[0], self.span.history_s, -1.0),
                ("after", sides[1], self.span.end_s, 1.0),
            ):
                generator = stream(self.seed, f"demand/process/{self.name}/gaps/{key}/{side}")
                time_s = np.sort(sign * poisson_times(float(self._rate_on_hz[pair]), span_s, generator))
                begun = np.searchsorted(self._spans_s[pair][:, 0], time_s, side="right")
                ended = np.searchsorted(self._spans_s[pair][:, 1], time_s, side="right")
                requests.append(self.demanded.requests(pair, time_s[begun > ended]))
        return sides

    def expected(self, peers: Peers, *, now_s: float, edges_s: Floats) -> ExpectedDemand:
        """What one expects who knows which pairs are on, and the means of on and off times."""
        on_s = np.array(
            [
                expected_on_s(spans_s, now_s, edges_s, on_s=self.settings.on_s, off_s=self.settings.off_s)
                for spans_s in self._spans_s
            ]
        ).reshape(-1, len(edges_s) - 1)
        return self._placed(peers, on_s)

    def realised(self, peers: Peers, *, edges_s: Floats) -> ExpectedDemand:
        """The demand given the times on."""
        on_s = np.array([np.diff(covered_s(spans_s, edges_s)) for spans_s in self._spans_s])
        return self._placed(peers, on_s.reshape(-1, len(edges_s) - 1))

    @property
    def _rate_on_hz(self) -> Floats:
        return self.demanded.rate_hz * self.settings.rate_factor

    @cached_property
    def _spans_s(self) -> tuple[Floats, ...]:
        """The times on of every pair, float64 [B, 2] each."""
        return tuple(
            on_spans(
                on_s=self.settings.on_s,
                off_s=self.settings.off_s,
                name=f"process/{self.name}/{key}",
                start_s=-self.span.history_s - self.span.beyond_s,
                end_s=self.span.end_s + self.span.beyond_s,
                seed=self.seed,
            )
            for key in self.demanded.key
        )

    def _placed(self, peers: Peers, on_s: Floats) -> ExpectedDemand:
        """The demand of seconds on [E, H] at the places of the pairs' peers."""
        node, place, listed = self.demanded.at(peers)
        unscheduled = np.zeros((*peers.destination.shape, on_s.shape[1]))
        unscheduled[node[listed], place[listed]] = (self._rate_on_hz[:, None] * on_s)[listed]
        return ExpectedDemand(scheduled=np.zeros_like(unscheduled), unscheduled=unscheduled)


def build_session(
    name: str,
    settings: Session,
    network: Network,
    weights: Floats,
    *,
    rate_hz: float,
    span: Span,
    seed: int,
) -> SessionDemand:
    """The session process `name` under one seed.

    Args:
        name: of the process.
        settings: its table in the scenario.
        network: gives the names of nodes.
        weights: float64 [N, N], fraction of all requests from each node to each other.
        rate_hz: requests per second of the process.
        span: the time for which it is drawn.
        seed: the traffic seed.
    """
    demanded = draw_demanded_pairs(
        weights, settings.classes, process=name, rate_hz=rate_hz, names=network.graph.node_names, seed=seed
    )
    return SessionDemand(
        name=name,
        settings=settings,
        demanded=demanded,
        span=span,
        seed=seed,
    )

"""The Poisson process: each node asks at random, at a steady rate or with bursts of its region.

Every source node has its own streams, named by their purpose and the node's name V. They run outwards from
t = 0, `after` into the run and `before` into the history:

- `demand/gaps/V/...`: candidate arrivals, a Poisson process at the node's highest rate;
- `demand/keep/V/...`: which candidates stay (Lewis and Shedler 1979, exact for any rate below the highest);
- `demand/destination/V/...`: the destination of the k-th request;
- `demand/class/V/...`: the class of the k-th request.

Other classes do not change times and pairs. Other weights do not change the times of nodes whose total weight
stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.demand.bursts import assign_regions, burst_time_fraction, draw_bursts, draw_phases, in_burst
from qdpem.demand.peers import Peers
from qdpem.demand.processes.burst_filter import expected_burst_fraction
from qdpem.demand.processes.process import (
    DrawnRequests,
    ExpectedDemand,
    Span,
    class_fractions,
    draw_index,
    poisson_times,
)
from qdpem.network.graph import Network
from qdpem.rng import stream
from qdpem.scenario.schema import Bursts, RequestClass
from qdpem.scenario.tables.demand import POISSON


@dataclass(frozen=True, eq=False, kw_only=True)
class PoissonDemand:
    """The Poisson process under one seed, over its `span`.

    Requests of a node in region r are a Poisson process of rate base_rate_hz x high inside the bursts of r
    and base_rate_hz x low outside. Here high = peak, and low = (1 - peak c)/(1 - c), with c the fraction of
    time inside bursts, makes the long-run mean 1.

    `weights` float64 [N, N]: fraction of all requests from each node to each other. `base_rate_hz` [N]: a
    node's long-run mean. `region` int64 [N]. `bursts_s` float64 [B, 3]: region, start and end of every burst,
    sorted and disjoint within a region: bursts that overlap are merged, because they count once. `phase_s`
    [regions], in [0, period_s): with a calendar, bursts of region r nominally start at phase_s[r] + k period.
    """

    classes: tuple[RequestClass, ...]
    node_names: Sequence[str]
    weights: Floats
    base_rate_hz: Floats
    region: Ints
    bursts: Bursts | None
    bursts_s: Floats
    phase_s: Floats
    low: float
    high: float
    span: Span
    seed: int
    name: str = POISSON

    @property
    def rate_hz(self) -> float:
        """Requests per second."""
        return float(self.base_rate_hz.sum())

    def draw(self) -> tuple[list[DrawnRequests], list[DrawnRequests]]:
        """The requests before t = 0 and those of the run, one part for each node."""
        sources = np.flatnonzero(self.base_rate_hz).tolist()
        before = [
            self._draw_requests(source, side="before", span_s=self.span.history_s) for source in sources
        ]
        return before, [
            self._draw_requests(source, side="after", span_s=self.span.end_s) for source in sources
        ]

    def expected(self, peers: Peers, *, now_s: float, edges_s: Floats) -> ExpectedDemand:
        """What one expects who knows the rates, the law of bursts, and those that have started."""
        fraction = np.zeros((self._regions, len(edges_s) - 1))
        if self.bursts is not None:
            fraction = expected_burst_fraction(
                self.bursts, self.bursts_s, self.phase_s, now_s=now_s, edges_s=edges_s
            )
        unscheduled = self._of_peers(peers, self._factor(fraction) * np.diff(edges_s))
        return ExpectedDemand(scheduled=np.zeros_like(unscheduled), unscheduled=unscheduled)

    def realised(self, peers: Peers, *, edges_s: Floats) -> ExpectedDemand:
        """The demand given the bursts."""
        fraction = np.zeros((self._regions, len(edges_s) - 1))
        for region, begin, end in self.bursts_s.tolist():
            overlap_s = np.minimum(edges_s[1:], end) - np.maximum(edges_s[:-1], begin)
            fraction[int(region)] += np.maximum(overlap_s, 0.0) / np.diff(edges_s)
        unscheduled = self._of_peers(peers, self._factor(fraction) * np.diff(edges_s))
        return ExpectedDemand(scheduled=np.zeros_like(unscheduled), unscheduled=unscheduled)

    @property
    def _regions(self) -> int:
        return int(self.region.max(initial=0)) + 1

    def _factor(self, fraction: Floats) -> Floats:
        """Factor on the mean rate at the fraction [regions, H] of a step inside bursts."""
        return self.low + (self.high - self.low) * np.minimum(fraction, 1.0)

    def _of_peers(self, peers: Peers, region_s: Floats) -> Floats:
        """Expected requests of every peer, from the weighted seconds of each region [regions, H]."""
        nodes = np.arange(len(self.base_rate_hz))[:, None]
        row = self.weights / np.maximum(self.weights.sum(axis=1, keepdims=True), 1e-300)
        # A free place has destination -1, and its kind fits no class.
        rate_hz = self.base_rate_hz[:, None] * row[nodes, peers.destination]
        rate_hz = rate_hz * class_fractions(peers, self.classes)
        return np.asarray(rate_hz[:, :, None] * region_s[self.region][:, None, :])

    def _draw_requests(self, source: int, *, side: str, span_s: float) -> DrawnRequests:
        """The requests of one node on one side of t = 0, of the length `span_s`."""
        name = self.node_names[source]

        def uniforms(purpose: str, count: int) -> Floats:
            return stream(self.seed, f"demand/{purpose}/{name}/{side}").random(count)

        gaps = stream(self.seed, f"demand/gaps/{name}/{side}")
        # Thinning needs candidates at the highest rate of the node, which is that inside bursts.
        from_zero_s = poisson_times(float(self.base_rate_hz[source]) * self.high, span_s, gaps)
        time_s = from_zero_s if side == "after" else -from_zero_s
        bursting = in_burst(self.bursts_s, int(self.region[source]), time_s)
        factor = np.where(bursting, self.high, self.low)
        # One uniform for each candidate, kept or not: a change of one rate changes no other candidate's draw.
        time_s = time_s[uniforms("keep", len(time_s)) * self.high < factor]
        count = len(time_s)
        fractions = np.array([request_class.fraction for request_class in self.classes])
        return DrawnRequests(
            time_s,
            np.full(count, source, dtype=np.int64),
            draw_index(self.weights[source], uniforms("destination", count)),
            draw_index(fractions, uniforms("class", count)),
        )


def build_poisson(
    classes: tuple[RequestClass, ...],
    bursts: Bursts | None,
    network: Network,
    weights: Floats,
    *,
    rate_hz: float,
    span: Span,
    topology_seed: int,
    seed: int,
) -> PoissonDemand:
    """The Poisson process under one seed. Regions come from the topology seed, and all else from `seed`.

    Args:
        classes: the classes of its requests.
        bursts: of its regions; None for a steady rate.
        network: gives names and positions of nodes.
        weights: float64 [N, N], fraction of all requests from each node to each other.
        rate_hz: mean requests per second of the process.
        span: the time for which it is drawn.
        topology_seed: draws the regions.
        seed: the traffic seed.
    """
    region, bursts_s, phase_s = np.zeros(network.node_count, dtype=np.int64), np.zeros((0, 3)), np.zeros(0)
    low = high = 1.0
    if bursts is not None:
        region = assign_regions(network, bursts.regions, stream(topology_seed, "demand/regions"))
        phase_s = draw_phases(bursts, seed=seed)
        # A forecast made at the end of the run still needs its true demand, hence the margin at both ends.
        margin_s = bursts.period_s + span.beyond_s
        bursts_s = draw_bursts(
            bursts, phase_s, start_s=-span.history_s - margin_s, end_s=span.end_s + margin_s, seed=seed
        )
        fraction = burst_time_fraction(bursts)
        # The schema keeps peak x fraction at most 1; the maximum only absorbs rounding.
        low, high = max(0.0, (1.0 - bursts.peak * fraction) / (1.0 - fraction)), bursts.peak
    return PoissonDemand(
        classes=classes,
        node_names=network.graph.node_names,
        weights=weights,
        base_rate_hz=rate_hz * weights.sum(axis=1),
        region=region,
        bursts=bursts,
        bursts_s=bursts_s,
        phase_s=phase_s,
        low=low,
        high=high,
        span=span,
        seed=seed,
    )

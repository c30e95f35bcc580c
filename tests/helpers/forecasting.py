"""Requests of known counts and known truth for forecasters, and the walk through their steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qdpem.demand.arrivals import Arrivals
from qdpem.demand.peers import Peers, PeerTable
from qdpem.demand.processes.poisson import PoissonDemand
from qdpem.demand.processes.process import ExpectedDemand, Span
from qdpem.demand.requests import Requests
from qdpem.policy.forecaster import ForecastContext, Forecaster
from qdpem.scenario.schema import Bursts, RequestClass

TARGET = 0.7
CLASS = RequestClass(application="teleportation", fraction=1.0, target_fidelity=TARGET, patience_s=1.0)


def requests_at(time_s: np.ndarray, source: np.ndarray, destination: np.ndarray) -> Requests:
    """One pair of fidelity 0.7 asked for at each time, in their order."""
    order = np.argsort(time_s, kind="stable")
    zeros = np.zeros(len(order), dtype=np.int64)
    return Requests(
        id=zeros,
        time_s=np.asarray(time_s, dtype=np.float64)[order],
        source=np.asarray(source, dtype=np.int64)[order],
        destination=np.asarray(destination, dtype=np.int64)[order],
        target_fidelity=np.full(len(order), TARGET),
        pairs=zeros + 1,
        deadline_s=np.asarray(time_s, dtype=np.float64)[order] + 1.0,
        application=zeros,
        repeat_until_deadline=zeros,
        process=zeros,
    )


def requests_of_counts(counts: np.ndarray, *, first_step: int = 0) -> Requests:
    """Requests with these counts [T, N, P] in steps of a second, evenly in each; peer p is destination p."""
    step, source, place = np.nonzero(counts)
    many = counts[step, source, place]
    within = np.concatenate([(np.arange(each) + 0.5) / each for each in many.tolist()] or [np.zeros(0)])
    time_s = np.repeat(step + first_step, many) + within
    return requests_at(time_s, np.repeat(source, many), np.repeat(place, many))


def peers_of(nodes: int, places: int) -> Peers:
    """Peer p of each node is destination p."""
    destination = np.tile(np.arange(places), (nodes, 1))
    return Peers(
        destination=destination,
        target_fidelity=np.full((nodes, places), TARGET),
        pairs=np.ones((nodes, places), dtype=np.int64),
    )


def context_of(
    nodes: int,
    places: int,
    *,
    history_s: float,
    horizon: int = 8,
    truth: Arrivals | None = None,
    seed: int = 1,
) -> ForecastContext:
    return ForecastContext(
        node_count=nodes,
        max_peers=places,
        step_s=1.0,
        horizon_steps=horizon,
        history_s=history_s,
        seed=seed,
        truth=truth,
    )


def walk(forecaster: Forecaster, steps: Sequence[Requests], table: PeerTable | Peers) -> ExpectedDemand:
    """The forecasts after each step, [T, N, P, H]."""
    made = []
    for requests in steps:
        if isinstance(table, PeerTable):
            table.add(requests)
        forecaster.update(requests, table.peers if isinstance(table, PeerTable) else table)
        made.append(forecaster.forecast())
    return ExpectedDemand(
        scheduled=np.stack([one.scheduled for one in made]),
        unscheduled=np.stack([one.unscheduled for one in made]),
    )


def same(one: ExpectedDemand, other: ExpectedDemand) -> bool:
    """Whether two forecasts are the same to the bit."""
    return np.array_equal(one.scheduled, other.scheduled) and np.array_equal(
        one.unscheduled, other.unscheduled
    )


def bursting(
    *, seed: int, rates_hz: np.ndarray, history_s: float = 600.0, end_s: float = 300.0, jitter_s: float = 1.0
) -> Arrivals:
    """Regional bursts on a calendar, thinned here and not by the generator; node v asks node v + 1 only."""
    bursts = Bursts(regions=min(4, len(rates_hz)), period_s=32.0, duration_s=8.0, jitter_s=jitter_s, peak=3.0)
    generator = np.random.default_rng(seed)
    phase_s = generator.uniform(0.0, bursts.period_s, bursts.regions)
    k = np.arange(-np.ceil(history_s / bursts.period_s) - 2, np.ceil(end_s / bursts.period_s) + 3)
    spans = []
    for region in range(bursts.regions):
        begin = phase_s[region] + k * bursts.period_s + jitter_s * generator.standard_normal(len(k))
        spans += [(region, start, start + bursts.duration_s) for start in np.sort(begin).tolist()]
    low, nodes = 1.0 / 3.0, len(rates_hz)
    region = np.arange(nodes) % bursts.regions
    times, sources = [], []
    for node, rate in enumerate(rates_hz.tolist()):
        span_s = end_s + history_s
        time_s = np.sort(generator.uniform(-history_s, end_s, generator.poisson(rate * bursts.peak * span_s)))
        own = np.array([(start, end) for burst, start, end in spans if burst == region[node]])
        inside = np.searchsorted(own[:, 0], time_s, "right") > np.searchsorted(own[:, 1], time_s, "right")
        kept = time_s[generator.random(len(time_s)) * bursts.peak < np.where(inside, bursts.peak, low)]
        times.append(kept)
        sources.append(np.full(len(kept), node))
    source = np.concatenate(sources)
    asked = requests_at(np.concatenate(times), source, (source + 1) % nodes)
    weights = np.roll(np.diag(rates_hz / rates_hz.sum()), 1, axis=1)
    truth = PoissonDemand(
        classes=(CLASS,),
        node_names=[f"n{node}" for node in range(nodes)],
        weights=weights,
        base_rate_hz=rates_hz.astype(float),
        region=region,
        bursts=bursts,
        bursts_s=np.array(spans),
        phase_s=phase_s,
        low=low,
        high=bursts.peak,
        span=Span(history_s=history_s, end_s=end_s, beyond_s=0.0),
        seed=seed,
    )
    return Arrivals(
        requests=asked.between(0.0, end_s),
        history=asked.between(-history_s, 0.0),
        history_s=history_s,
        processes=(truth,),
    )

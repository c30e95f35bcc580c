"""Arrivals of requests, drawn from keyed random streams.

Every source node has its own streams, named by their purpose and the node's name V. They run outwards from
t = 0, `after` into the run and `before` into the history:

- `demand/gaps/V/...`: candidate arrivals, a Poisson process at the node's highest rate;
- `demand/keep/V/...`: which candidates stay (Lewis and Shedler 1979, exact for any rate below the highest);
- `demand/destination/V/...`: the destination of the k-th request;
- `demand/class/V/...`: the class of the k-th request.

With neighbourhood demand, `demand/peers/V` (topology seed) draws the peers of node V.

A longer window or history therefore adds requests and changes none. Other classes do not change times and
pairs. Other weights do not change the times of nodes whose total weight stays the same.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.demand.bursts import assign_regions, burst_time_fraction, draw_bursts, draw_phases, in_burst
from qdpem.demand.neighbourhood import neighbourhood_weights
from qdpem.demand.requests import Arrivals, Requests
from qdpem.errors import Fault, QdpemError, ScenarioError
from qdpem.network.graph import Network
from qdpem.rng import stream
from qdpem.scenario.schema import Neighbourhood, RequestClass, Scenario
from qdpem.scenario.words import Application, Repetition

_MAX_REQUESTS = 1e8
"""The most requests that a run draws. Each takes about 100 bytes in memory."""


class _NodeRequests(NamedTuple):
    """Requests of one node on one side of t = 0, closest to 0 first; arrays of one length."""

    time_s: Floats
    source: Ints
    destination: Ints
    request_class: Ints


def pair_weights(scenario: Scenario, network: Network, *, seed: int) -> Floats:
    """Fraction of all requests from each source (row) to each destination, float64 [N, N].

    Symmetric with zero diagonal; the sum is 1. An unordered pair's weight is split equally between its two
    directions. Peers are drawn under the scenario's topology seed, or `seed` if it has none. Raises
    ScenarioError when the topology lacks a demand matrix that the scenario asks for, or when no pair has any
    weight.
    """
    if scenario.demand.weights == "matrix":
        matrix = network.graph.demand_weights
        if matrix is None:
            message = f'"matrix" needs a topology with its own demand matrix, which {network.graph.name!r}'
            raise ScenarioError([Fault("demand.weights", message + ' has not; use "uniform"')])
        # Directions are averaged because pairs are undirected, and a request may start at either end.
        weights = 0.5 * (matrix + matrix.T)
    elif scenario.demand.weights == "endpoints":
        weights = np.zeros((network.node_count, network.node_count))
        weights[0, -1] = weights[-1, 0] = 1.0
    elif scenario.demand.weights == "neighbourhood":
        root = seed if scenario.topology_seed is None else scenario.topology_seed
        weights = neighbourhood_weights(network, scenario.demand.neighbourhood or Neighbourhood(), seed=root)
    else:
        weights = np.ones((network.node_count, network.node_count))
    np.fill_diagonal(weights, 0.0)
    total = weights.sum()
    if not (weights >= 0.0).all() or not 0.0 < total < math.inf:
        message = f"the weights of all pairs sum to {total:g}; all must be 0 or more and one above 0"
        raise ScenarioError([Fault("demand.weights", message)])
    return np.asarray(weights / total)


def generate_arrivals(scenario: Scenario, network: Network, *, seed: int) -> Arrivals:
    """All requests of traffic `seed`, from -history_s to the end of the window.

    Requests of a node in region r are a Poisson process of rate base_rate_hz x high inside the bursts of r
    and base_rate_hz x low outside. Here high = peak, and low = (1 - peak c)/(1 - c), with c the fraction
    of time inside bursts, makes the long-run mean 1. Regions come from the topology seed, and all else from
    `seed`. `bursts_s` extends past both ends by the forecast horizon and one period, so that the true demand
    of every forecast step is known. Raises ScenarioError as `pair_weights` and `assign_regions` do, and
    QdpemError for a scenario whose `load_factor` has not been turned into a rate.
    """
    _check_count(scenario)
    weights = pair_weights(scenario, network, seed=seed)
    process = _arrival_process(scenario, network, weights, seed=seed)
    if scenario.demand.arrivals == "batch":
        return replace(process, requests=_batch(scenario.demand.classes, weights))
    sides: dict[str, Requests] = {}
    for side, span_s in (("before", process.history_s), ("after", scenario.window.end_s)):
        drawn = [
            _draw_requests(
                process,
                scenario.demand.classes,
                weights[source],
                source,
                name=network.graph.node_names[source],
                side=side,
                span_s=span_s,
                seed=seed,
            )
            for source in np.flatnonzero(process.base_rate_hz).tolist()
        ]
        sides[side] = _requests(drawn, scenario.demand.classes, history=side == "before")
    return replace(process, history=sides["before"], requests=sides["after"])


def _check_count(scenario: Scenario) -> None:
    """Raise ScenarioError for more requests than the memory of a computer holds."""
    demand, end_s, history_s = scenario.demand, scenario.window.end_s, scenario.forecasting.history_s
    # Before thinning there are candidates at the rate of a burst all the time.
    peak_hz = (demand.rate_hz or 0.0) * (demand.bursts.peak if demand.bursts else 1.0)
    count = peak_hz * (end_s + history_s)
    if count > _MAX_REQUESTS:
        path = "window.measured_s" if end_s >= history_s else "forecasting.history_s"
        wrong = (
            f"{end_s + history_s:g} s at up to {peak_hz:g} requests/s are {count:.3g} requests; should be"
            f" at most {_MAX_REQUESTS:g}: shorten the time or lower the rate"
        )
        raise ScenarioError([Fault(path, wrong)], origin=f"the scenario {scenario.name!r}")


def _arrival_process(scenario: Scenario, network: Network, weights: Floats, *, seed: int) -> Arrivals:
    """The process behind the requests, without requests."""
    demand, history_s = scenario.demand, scenario.forecasting.history_s
    if demand.rate_hz is None and demand.arrivals != "batch":
        raise QdpemError(
            f"demand.load_factor = {demand.load_factor} is not yet a rate;"
            " `qdpem.demand.offered_load` makes it one"
        )
    no_requests = _requests([], demand.classes, history=False)
    region = np.zeros(network.node_count, dtype=np.int64)
    bursts_s, phase_s = np.zeros((0, 3)), np.zeros(0)
    low = high = 1.0
    bursts = demand.bursts
    if bursts is not None:
        topology_seed = seed if scenario.topology_seed is None else scenario.topology_seed
        region = assign_regions(network, bursts.regions, stream(topology_seed, "demand/regions"))
        phase_s = draw_phases(bursts, seed=seed)
        # A forecast made at the end of the run still needs its true demand, hence the margin at both ends.
        beyond_s = bursts.period_s + scenario.forecasting.step_s * (scenario.forecasting.horizon_steps + 1)
        end_s = scenario.window.end_s + beyond_s
        bursts_s = draw_bursts(bursts, phase_s, start_s=-history_s - beyond_s, end_s=end_s, seed=seed)
        fraction = burst_time_fraction(bursts)
        # The schema keeps peak x fraction at most 1; the maximum only absorbs rounding.
        low, high = max(0.0, (1.0 - bursts.peak * fraction) / (1.0 - fraction)), bursts.peak
    return Arrivals(
        requests=no_requests,
        history=no_requests,
        history_s=history_s,
        bursts_s=bursts_s,
        region=region,
        base_rate_hz=(demand.rate_hz or 0.0) * weights.sum(axis=1),
        low=low,
        high=high,
        phase_s=phase_s,
        period_s=bursts.period_s if bursts else 0.0,
        duration_s=bursts.duration_s if bursts else 0.0,
        jitter_s=bursts.jitter_s if bursts else 0.0,
        timing=bursts.timing if bursts else "calendar",
        lag_s=(bursts.lag_s or 0.0) if bursts else 0.0,
    )


def _batch(classes: tuple[RequestClass, ...], weights: Floats) -> Requests:
    """One request of each class for each node pair with any weight, all at t = 0."""
    source, destination = (np.repeat(nodes, len(classes)) for nodes in np.nonzero(np.triu(weights)))
    count = len(source)
    request_class = np.tile(np.arange(len(classes)), count // len(classes))
    return _requests(
        [_NodeRequests(np.zeros(count), source, destination, request_class)], classes, history=False
    )


def _draw_requests(
    process: Arrivals,
    classes: tuple[RequestClass, ...],
    weights: Floats,
    source: int,
    *,
    name: str,
    side: str,
    span_s: float,
    seed: int,
) -> _NodeRequests:
    """The requests of one node on one side of t = 0.

    Args:
        process: rates, regions and bursts.
        classes: the request classes.
        weights: float64 [N], of each destination.
        source: the node.
        name: its name, for the keys of its streams.
        side: "before" or "after" t = 0.
        span_s: length of this side.
        seed: the traffic seed.
    """

    def uniforms(purpose: str, count: int) -> Floats:
        return stream(seed, f"demand/{purpose}/{name}/{side}").random(count)

    gaps = stream(seed, f"demand/gaps/{name}/{side}")
    # Thinning needs candidates at the highest rate of the node, which is that inside bursts.
    from_zero_s = _poisson_times(float(process.base_rate_hz[source]) * process.high, span_s, gaps)
    time_s = from_zero_s if side == "after" else -from_zero_s
    bursting = in_burst(process.bursts_s, int(process.region[source]), time_s)
    factor = np.where(bursting, process.high, process.low)
    # One uniform for each candidate, kept or not: a change of one rate changes no other candidate's draw.
    time_s = time_s[uniforms("keep", len(time_s)) * process.high < factor]
    count = len(time_s)
    fractions = np.array([request_class.fraction for request_class in classes])
    return _NodeRequests(
        time_s,
        np.full(count, source, dtype=np.int64),
        _draw_index(weights, uniforms("destination", count)),
        _draw_index(fractions, uniforms("class", count)),
    )


def _poisson_times(rate_hz: float, span_s: float, generator: np.random.Generator) -> Floats:
    """Ascending times in (0, span_s) of a Poisson process; a longer span only appends."""
    mean = rate_hz * span_s
    # Mean plus six standard deviations: a second block is almost never needed.
    block = int(mean + 6.0 * math.sqrt(mean)) + 16
    gaps = generator.standard_exponential(block)
    while gaps.sum() < mean:
        # Gaps have unit rate, so that another rate rescales the same times.
        gaps = np.concatenate([gaps, generator.standard_exponential(block)])
    time_s = np.cumsum(gaps) / rate_hz
    return np.asarray(time_s[time_s < span_s])


def _draw_index(weights: Floats, u: Floats) -> Ints:
    """An index with probability proportional to its weight for each uniform; never one of weight 0."""
    cumulative = np.cumsum(weights)
    index = np.searchsorted(cumulative, u * cumulative[-1], side="right")
    # u x total may round up to the total itself, which would select an index past the last one with weight.
    return np.asarray(np.minimum(index, np.flatnonzero(weights)[-1]), dtype=np.int64)


def _requests(drawn: list[_NodeRequests], classes: tuple[RequestClass, ...], *, history: bool) -> Requests:
    """All requests in order of time; equal times keep the order of nodes."""
    empty = np.zeros(0, dtype=np.int64)
    none = _NodeRequests(np.zeros(0), empty, empty, empty)
    time_s, source, destination, request_class = (
        np.concatenate(column) for column in zip(none, *drawn, strict=True)
    )
    # Ids follow this order, so ties must not depend on the sorting algorithm.
    order = np.argsort(time_s, kind="stable")
    time_s, request_class = time_s[order], request_class[order]
    count = len(order)
    return Requests(
        # History gets negative ids, so that ids of the run start at 0 however long the history is.
        id=np.arange(count, dtype=np.int64) - (count if history else 0),
        time_s=time_s,
        source=source[order],
        destination=destination[order],
        target_fidelity=np.array([each.target_fidelity for each in classes])[request_class],
        pairs=np.array([each.pairs for each in classes], dtype=np.int64)[request_class],
        deadline_s=time_s + np.array([each.patience_s for each in classes])[request_class],
        application=np.array([Application(each.application).code for each in classes], dtype=np.int64)[
            request_class
        ],
        repeat_until_deadline=np.array(
            [Repetition(each.repeat_until_deadline).code for each in classes], dtype=np.int64
        )[request_class],
    )

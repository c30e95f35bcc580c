"""Who asks for what, when: the keyed streams that requests come from.

Every source has its own streams, each named by what it decides and by the source's name V, and run outwards
from t = 0, `after` into the run and `before` into history:

- `demand/gaps/V/...` candidate arrivals, a Poisson process at the source's highest rate;
- `demand/keep/V/...` which candidates stay (Lewis and Shedler 1979, exact for any rate below the highest);
- `demand/destination/V/...` whom the k-th request is for;
- `demand/class/V/...` of which class the k-th request is.

Where demand is "near", `demand/peers/V` (topology seed) says whom node V picks.

So a longer window or history adds requests and changes none; other classes leave times and pairs as they
are; other weights leave the times of sources whose total weight is the same.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdpem.demand.bursts import covered_fraction, draw_bursts, draw_phases, inside, regions
from qdpem.demand.neighbourhood import neighbourhood_weights
from qdpem.demand.requests import Arrivals, Requests
from qdpem.errors import Fault, QdpemError, ScenarioError
from qdpem.network.graph import Network
from qdpem.rng import stream
from qdpem.scenario.schema import Neighbourhood, RequestClass, Scenario
from qdpem.scenario.words import Application, Persistence


class _Drawn(NamedTuple):
    """Requests of one source on one side of t = 0, nearest to 0 first; arrays of one length."""

    time_s: NDArray[np.float64]
    source: NDArray[np.int64]
    destination: NDArray[np.int64]
    kind: NDArray[np.int64]


def pair_weights(scenario: Scenario, network: Network, *, seed: int) -> NDArray[np.float64]:
    """Share of all requests from each source (row) to each destination, float64 [N, N].

    Symmetric, zero diagonal, sums to 1: an unordered pair's weight is split equally between its two
    directions. TopPairs are drawn under the scenario's topology seed, or `seed` if it has none. Raises
    ScenarioError when the topology brings no demand matrix but one is asked for, or when no pair has any
    weight.
    """
    if scenario.demand.weights == "matrix":
        given = network.graph.demand_weights
        if given is None:
            message = f'"matrix" needs a topology with its own demand matrix, which {network.graph.name!r}'
            raise ScenarioError([Fault("demand.weights", message + ' has not; use "uniform"')])
        weights = 0.5 * (given + given.T)
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

    Requests of a source in region r are a Poisson process of rate base_rate_hz x high inside the bursts
    of r and base_rate_hz x low outside, where high = peak and low makes the long-run mean 1:
    low = (1 - peak c)/(1 - c), c the share of time inside bursts. Regions come from the topology seed, all
    else from `seed`. `bursts_s` reaches past both ends by the forecast horizon and one period, so the
    truth about every forecast step is known. Raises ScenarioError as `pair_weights` and `regions` do, and
    QdpemError for a scenario whose `load_factor` has not been turned into a rate.
    """
    weights = pair_weights(scenario, network, seed=seed)
    truth = _truth(scenario, network, weights, seed=seed)
    if scenario.demand.arrivals == "batch":
        return replace(truth, requests=_once(scenario.demand.classes, weights))
    sides: dict[str, Requests] = {}
    for side, span_s in (("before", truth.history_s), ("after", scenario.window.end_s)):
        drawn = [
            _draw(
                truth,
                scenario.demand.classes,
                weights[source],
                source,
                name=network.graph.node_names[source],
                side=side,
                span_s=span_s,
                seed=seed,
            )
            for source in np.flatnonzero(truth.base_rate_hz).tolist()
        ]
        sides[side] = _requests(drawn, scenario.demand.classes, history=side == "before")
    return replace(truth, history=sides["before"], requests=sides["after"])


def _truth(scenario: Scenario, network: Network, weights: NDArray[np.float64], *, seed: int) -> Arrivals:
    """Everything behind the requests, and no requests yet."""
    demand, history_s = scenario.demand, scenario.forecasting.history_s
    if demand.rate_hz is None and demand.arrivals != "batch":
        raise QdpemError(
            f"demand.load_factor = {demand.load_factor} is not yet a rate; `qdpem.demand.offered_load` makes it one"
        )
    nobody = _requests([], demand.classes, history=False)
    region = np.zeros(network.node_count, dtype=np.int64)
    bursts_s, phase_s = np.zeros((0, 3)), np.zeros(0)
    low = high = 1.0
    bursts = demand.bursts
    if bursts is not None:
        topology_seed = seed if scenario.topology_seed is None else scenario.topology_seed
        region = regions(network, bursts.regions, stream(topology_seed, "demand/regions"))
        phase_s = draw_phases(bursts, seed=seed)
        beyond_s = bursts.period_s + scenario.forecasting.step_s * (scenario.forecasting.horizon_steps + 1)
        end_s = scenario.window.end_s + beyond_s
        bursts_s = draw_bursts(bursts, phase_s, start_s=-history_s - beyond_s, end_s=end_s, seed=seed)
        fraction = covered_fraction(bursts)
        low, high = max(0.0, (1.0 - bursts.peak * fraction) / (1.0 - fraction)), bursts.peak
    return Arrivals(
        requests=nobody,
        history=nobody,
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


def _once(classes: tuple[RequestClass, ...], weights: NDArray[np.float64]) -> Requests:
    """One request of each class for each pair of any weight, all at t = 0."""
    source, destination = (np.repeat(nodes, len(classes)) for nodes in np.nonzero(np.triu(weights)))
    count = len(source)
    kind = np.tile(np.arange(len(classes)), count // len(classes))
    return _requests([_Drawn(np.zeros(count), source, destination, kind)], classes, history=False)


def _draw(
    truth: Arrivals,
    classes: tuple[RequestClass, ...],
    weights: NDArray[np.float64],
    source: int,
    *,
    name: str,
    side: str,
    span_s: float,
    seed: int,
) -> _Drawn:
    """The requests of one source on one side of t = 0."""

    def uniforms(what: str, count: int) -> NDArray[np.float64]:
        return stream(seed, f"demand/{what}/{name}/{side}").random(count)

    gaps = stream(seed, f"demand/gaps/{name}/{side}")
    away_s = _poisson_times(float(truth.base_rate_hz[source]) * truth.high, span_s, gaps)
    time_s = away_s if side == "after" else -away_s
    bursting = inside(truth.bursts_s, int(truth.region[source]), time_s)
    factor = np.where(bursting, truth.high, truth.low)
    time_s = time_s[uniforms("keep", len(time_s)) * truth.high < factor]
    count = len(time_s)
    fractions = np.array([one.fraction for one in classes])
    return _Drawn(
        time_s,
        np.full(count, source, dtype=np.int64),
        _choose(weights, uniforms("destination", count)),
        _choose(fractions, uniforms("class", count)),
    )


def _poisson_times(rate_hz: float, span_s: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Ascending times in (0, span_s) of a Poisson process; a longer span only appends."""
    mean = rate_hz * span_s
    block = int(mean + 6.0 * math.sqrt(mean)) + 16
    gaps = generator.standard_exponential(block)
    while gaps.sum() < mean:
        gaps = np.concatenate([gaps, generator.standard_exponential(block)])
    time_s = np.cumsum(gaps) / rate_hz
    return np.asarray(time_s[time_s < span_s])


def _choose(weights: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index drawn in proportion to `weights` for each uniform; an index of weight 0 is never drawn."""
    summed = np.cumsum(weights)
    index = np.searchsorted(summed, u * summed[-1], side="right")
    return np.asarray(np.minimum(index, np.flatnonzero(weights)[-1]), dtype=np.int64)


def _requests(drawn: list[_Drawn], classes: tuple[RequestClass, ...], *, history: bool) -> Requests:
    """One struct in order of time; equal times keep the order of sources."""
    nobody = np.zeros(0, dtype=np.int64)
    none = _Drawn(np.zeros(0), nobody, nobody, nobody)
    time_s, source, destination, kind = (np.concatenate(column) for column in zip(none, *drawn, strict=True))
    order = np.argsort(time_s, kind="stable")
    time_s, kind = time_s[order], kind[order]
    count = len(order)
    return Requests(
        id=np.arange(count, dtype=np.int64) - (count if history else 0),
        time_s=time_s,
        source=source[order],
        destination=destination[order],
        target_fidelity=np.array([one.target_fidelity for one in classes])[kind],
        pairs=np.array([one.pairs for one in classes], dtype=np.int64)[kind],
        deadline_s=time_s + np.array([one.patience_s for one in classes])[kind],
        application=np.array([Application(one.application).code for one in classes], dtype=np.int64)[kind],
        persistence=np.array([Persistence(one.persistence).code for one in classes], dtype=np.int64)[kind],
    )

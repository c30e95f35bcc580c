"""The demand of a scenario under one seed: totals, places, burstiness, memory, predictability."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Flags, Floats, Ints
from qdpem.demand.arrivals import Arrivals
from qdpem.demand.offered_load import OfferedLoad, find_offered_load, with_rate
from qdpem.demand.processes.timetable import TimetableDemand
from qdpem.demand.processes.trace.list_demand import ListDemand
from qdpem.demand.requests import Requests, joined
from qdpem.demand.streams import generate_arrivals
from qdpem.forecasting.checks.evaluation import ForecastScores
from qdpem.network.build import build_network, build_physics
from qdpem.network.graph import Network
from qdpem.scenario.schema import RequestClass, Scenario
from qdpem.scenario.words import Application
from qdpem.study.analysis.count_statistics import (
    SparseCounts,
    autocorrelation,
    count_events,
    index_of_dispersion,
    interarrival_variation,
    own_lag_correlation,
    peak_over_mean,
)
from qdpem.study.analysis.predictability import (
    ErrorFloor,
    error_floors,
    peer_coverage,
    yardstick_scores,
)

LEVELS = ("network", "node", "node pair")
"""Series of counts: all requests, those from each node, and those between each pair of nodes."""

_MIN_WINDOWS = 10
"""A dispersion from fewer windows says nothing."""


@dataclass(frozen=True, kw_only=True)
class ProcessTotal:
    """One process: its kind, its long-run rate, and the requests and pairs that it asked for."""

    name: str
    kind: str
    mean_rate_hz: float
    requests: int
    requested_pairs: int


@dataclass(frozen=True, kw_only=True)
class ClassTotal:
    """One class of a process, and the requests that it made."""

    process: str
    application: str
    target_fidelity: float
    pairs: int
    patience_s: float
    requests: int


@dataclass(frozen=True, kw_only=True)
class NodeDemand:
    """One node: requests from it and to it, its peers, and how much its interarrival times vary."""

    node: str
    sent: int
    received: int
    peers: int
    interarrival_variation: float


@dataclass(frozen=True, kw_only=True)
class PairDemand:
    """One pair of nodes: requests and pairs asked for between them, and the interarrival times.

    `interarrival_variation`: standard deviation of the interarrival times over their mean; 1 for a Poisson
    process, 0 for a calendar.
    """

    first: str
    second: str
    requests: int
    requested_pairs: int
    mean_interarrival_s: float
    interarrival_variation: float


@dataclass(frozen=True, kw_only=True)
class WindowStatistics:
    """Counts in windows of one length: index of dispersion at each of LEVELS, and peak over mean."""

    window_s: float
    dispersion: tuple[float, ...]
    peak: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class LagCorrelation:
    """Autocorrelation of counts per forecast step at one lag, at each of LEVELS."""

    lag_s: float
    correlation: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class PeriodCorrelation:
    """Autocorrelation of counts of the node pairs of a timetable, each at its own period."""

    process: str
    mean_period_s: float
    correlation: float


@dataclass(frozen=True, eq=False, kw_only=True)
class DemandProfile:
    """The demand of one scenario under one seed.

    Statistics of counts are over `requests`, those of history and run, in steps of `step_s` from `start_s` to
    `end_s`. `nodes`, `node_pairs`: all with requests, busiest first. `peer_coverage`: fraction of the run's
    requests whose peer is among the `forecasting.max_peers` of its node, NaN without requests. `windows`,
    `lags`, `floors` and `forecasts` are empty if all requests come at t = 0, and `forecasts` if the run is
    too short to score any.
    """

    scenario: Scenario
    seed: int
    load: OfferedLoad
    network: Network
    arrivals: Arrivals
    requests: Requests
    start_s: float
    end_s: float
    step_s: float
    processes: tuple[ProcessTotal, ...]
    classes: tuple[ClassTotal, ...]
    nodes: tuple[NodeDemand, ...]
    node_pairs: tuple[PairDemand, ...]
    windows: tuple[WindowStatistics, ...]
    lags: tuple[LagCorrelation, ...]
    periods: tuple[PeriodCorrelation, ...]
    floors: tuple[ErrorFloor, ...]
    peer_coverage: float
    forecasts: tuple[ForecastScores, ...]


def profile_demand(scenario: Scenario, *, seed: int) -> DemandProfile:
    """Draw the demand of `scenario` under `seed`, as a run would see it, and describe it.

    Raises ScenarioError for a scenario whose network or load cannot be built.
    """
    physics = build_physics(scenario)
    network = build_network(scenario, physics, seed=seed)
    load = find_offered_load(scenario, network, physics, seed=seed)
    arrivals = generate_arrivals(with_rate(scenario, load), network, seed=seed)
    batch = scenario.demand.arrivals == "batch"
    requests = joined(arrivals.history, arrivals.requests)
    start_s, end_s, step_s = -arrivals.history_s, scenario.window.end_s, scenario.forecasting.step_s
    levels = () if batch else level_counts(requests, network, start_s=start_s, end_s=end_s, step_s=step_s)
    return DemandProfile(
        scenario=scenario,
        seed=seed,
        load=load,
        network=network,
        arrivals=arrivals,
        requests=requests,
        start_s=start_s,
        end_s=end_s,
        step_s=step_s,
        processes=_process_totals(scenario, arrivals, requests),
        classes=_class_totals(arrivals, requests),
        nodes=_node_demand(requests, network),
        node_pairs=_pair_demand(requests, network),
        windows=_windows(scenario, levels),
        lags=lag_correlations(levels, default_lags(scenario), step_s=step_s) if levels else (),
        periods=_periods(arrivals, network, levels, step_s=step_s) if levels else (),
        floors=() if batch else error_floors(scenario, arrivals, network),
        peer_coverage=peer_coverage(scenario, arrivals, network),
        forecasts=() if batch else yardstick_scores(scenario, arrivals, network, seed=seed),
    )


def level_counts(
    requests: Requests, network: Network, *, start_s: float, end_s: float, step_s: float
) -> tuple[SparseCounts, ...]:
    """Counts per step of the whole network, of each source, and of each pair of nodes."""
    steps = math.floor((end_s - start_s) / step_s + 1e-9)
    step = np.floor((requests.time_s - start_s) / step_s).astype(np.int64)
    inside = step < steps
    pair = _pair_numbers(requests.source, requests.destination, network)
    return tuple(
        count_events(series[inside], step[inside], steps=steps)
        for series in (np.zeros_like(pair), requests.source, pair)
    )


def lag_correlations(
    levels: tuple[SparseCounts, ...], lags: Ints, *, step_s: float
) -> tuple[LagCorrelation, ...]:
    """The autocorrelation of every level at these lags in steps."""
    columns = np.array([autocorrelation(level, lags) for level in levels])
    return tuple(
        LagCorrelation(lag_s=lag * step_s, correlation=tuple(column.tolist()))
        for lag, column in zip(lags.tolist(), columns.T, strict=True)
    )


def default_lags(scenario: Scenario) -> Ints:
    """Lags in steps: one, the horizon and its double, and the season of the demand with its half."""
    forecasting, season_s = scenario.forecasting, scenario.demand.season_s
    horizon = forecasting.horizon_steps
    lags = {1, 2, max(1, horizon // 2), horizon, 2 * horizon}
    if season_s:
        lags |= {max(1, round(factor * season_s / forecasting.step_s)) for factor in (0.5, 1.0)}
    return np.array(sorted(lags), dtype=np.int64)


def _periods(
    arrivals: Arrivals, network: Network, levels: tuple[SparseCounts, ...], *, step_s: float
) -> tuple[PeriodCorrelation, ...]:
    """One row for each timetable. The counts are those of all requests of its pairs of nodes."""
    found = []
    for process in arrivals.processes:
        if isinstance(process, TimetableDemand):
            pairs = process.demanded
            number = _pair_numbers(pairs.source, pairs.destination, network)
            lag = np.zeros(network.node_count**2, dtype=np.int64)
            lag[number] = np.round(process.period_s / step_s).astype(np.int64)
            counts = levels[LEVELS.index("node pair")]
            found.append(
                PeriodCorrelation(
                    process=process.name,
                    mean_period_s=float(process.period_s.mean()),
                    correlation=own_lag_correlation(counts, lag[: len(counts.totals)]),
                )
            )
    return tuple(found)


def _process_totals(scenario: Scenario, arrivals: Arrivals, requests: Requests) -> tuple[ProcessTotal, ...]:
    kinds = scenario.demand.processes
    return tuple(
        ProcessTotal(
            name=process.name,
            kind=kinds[process.name].kind if process.name in kinds else "poisson",
            mean_rate_hz=process.rate_hz,
            requests=int((requests.process == index).sum()),
            requested_pairs=int(requests.pairs[requests.process == index].sum()),
        )
        for index, process in enumerate(arrivals.processes)
    )


def _class_totals(arrivals: Arrivals, requests: Requests) -> tuple[ClassTotal, ...]:
    return tuple(
        ClassTotal(
            process=process.name,
            application=str(each.application),
            target_fidelity=each.target_fidelity,
            pairs=each.pairs,
            patience_s=each.patience_s,
            requests=int(
                _of_class(requests, index, each, any_patience=isinstance(process, ListDemand)).sum()
            ),
        )
        for index, process in enumerate(arrivals.processes)
        for each in process.classes
    )


def _of_class(requests: Requests, process: int, kind: RequestClass, *, any_patience: bool) -> Flags:
    """Which requests are of this class of this process; in a list, each has a patience of its own."""
    return np.asarray(
        (requests.process == process)
        & (requests.application == Application(kind.application).code)
        & (requests.target_fidelity == kind.target_fidelity)
        & (requests.pairs == kind.pairs)
        & (
            any_patience
            | np.isclose(requests.deadline_s - requests.time_s, kind.patience_s, rtol=0.0, atol=1e-6)
        )
    )


def _pair_numbers(source: Ints, destination: Ints, network: Network) -> Ints:
    """A number for each pair of nodes, whatever its direction."""
    low, high = np.minimum(source, destination), np.maximum(source, destination)
    return np.asarray(low * network.node_count + high)


def _node_demand(requests: Requests, network: Network) -> tuple[NodeDemand, ...]:
    count = network.node_count
    sent = np.bincount(requests.source, minlength=count)
    received = np.bincount(requests.destination, minlength=count)
    pairs = np.unique(np.stack([requests.source, requests.destination]), axis=1)
    peers = np.bincount(pairs[0], minlength=count)
    _, variation = interarrival_variation(requests.source, requests.time_s)
    variation = np.append(variation, np.full(count - len(variation), np.nan))
    return tuple(
        NodeDemand(
            node=network.graph.node_names[node],
            sent=int(sent[node]),
            received=int(received[node]),
            peers=int(peers[node]),
            interarrival_variation=float(variation[node]),
        )
        # Stable, so that equal nodes keep the order of the network.
        for node in np.argsort(-(sent + received), kind="stable").tolist()
        if sent[node] + received[node]
    )


def _pair_demand(requests: Requests, network: Network) -> tuple[PairDemand, ...]:
    number, series = np.unique(
        _pair_numbers(requests.source, requests.destination, network), return_inverse=True
    )
    total = np.bincount(series, minlength=len(number))
    pairs = np.bincount(series, weights=requests.pairs, minlength=len(number))
    mean_s, variation = interarrival_variation(series, requests.time_s)
    names = network.graph.node_names
    return tuple(
        PairDemand(
            first=names[number[place] // network.node_count],
            second=names[number[place] % network.node_count],
            requests=int(total[place]),
            requested_pairs=int(pairs[place]),
            mean_interarrival_s=float(mean_s[place]),
            interarrival_variation=float(variation[place]),
        )
        for place in np.argsort(-pairs, kind="stable").tolist()
    )


def _windows(scenario: Scenario, levels: tuple[SparseCounts, ...]) -> tuple[WindowStatistics, ...]:
    """Windows of one step, of the horizon, and of ten and a hundred steps, as far as enough of them fit."""
    factors = sorted({1, 10, 100, scenario.forecasting.horizon_steps})
    return tuple(
        WindowStatistics(
            window_s=factor * scenario.forecasting.step_s,
            dispersion=tuple(index_of_dispersion(level.coarser(factor)) for level in levels),
            peak=tuple(peak_over_mean(level.coarser(factor)) for level in levels),
        )
        for factor in factors
        if levels and levels[0].steps // factor >= _MIN_WINDOWS
    )


def rates_by_process(profile: DemandProfile, edges_s: Floats) -> Floats:
    """Requests per second of every process between `edges_s` [B + 1], float64 [processes, B]."""
    return np.array(
        [
            np.histogram(profile.requests.time_s[profile.requests.process == index], bins=edges_s)[0]
            / np.diff(edges_s)
            for index in range(len(profile.processes))
        ]
    )

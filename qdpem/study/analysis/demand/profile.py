"""The demand of a scenario under one seed: totals, places, burstiness, memory, predictability."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.demand.arrivals import Arrivals
from qdpem.demand.offered_load import OfferedLoad, find_offered_load, with_rate
from qdpem.demand.processes.timetable import TimetableDemand
from qdpem.demand.requests import Requests, joined
from qdpem.demand.streams import generate_arrivals
from qdpem.forecasting.checks.evaluation import ForecastScores
from qdpem.network.build import build_network, build_physics
from qdpem.network.graph import Network
from qdpem.scenario.schema import Scenario
from qdpem.study.analysis.demand.count_statistics import (
    SparseCounts,
    autocorrelation,
    count_events,
    index_of_dispersion,
    own_lag_correlation,
    peak_over_mean,
)
from qdpem.study.analysis.demand.predictability import (
    ErrorFloor,
    error_floors,
    peer_coverage,
    yardstick_scores,
)
from qdpem.study.analysis.demand.totals import (
    ClassTotal,
    NodeDemand,
    PairDemand,
    ProcessTotal,
    class_totals,
    node_demand,
    pair_demand,
    pair_numbers,
    process_totals,
)

LEVELS = ("network", "node", "node pair")
"""Series of counts: all requests, those from each node, and those between each pair of nodes."""

_MIN_WINDOWS = 10
"""A dispersion from fewer windows says nothing."""


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
        processes=process_totals(scenario, arrivals, requests),
        classes=class_totals(arrivals, requests),
        nodes=node_demand(requests, network),
        node_pairs=pair_demand(requests, network),
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
    pair = pair_numbers(requests.source, requests.destination, network)
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
            number = pair_numbers(pairs.source, pairs.destination, network)
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

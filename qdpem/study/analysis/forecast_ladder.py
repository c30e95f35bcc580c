"""The ladder of forecasters: how far each one is on the way from the EWMA to the Bayes filter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Floats
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.demand.requests import Requests
from qdpem.errors import MissingPackagesError, StudyError
from qdpem.forecasting.checks.evaluation import ForecastScores, Rolled, roll, score_rolled
from qdpem.forecasting.checks.reference_demand import forecast_context, scenario_arrivals
from qdpem.forecasting.checks.scores import coverage, crps
from qdpem.network.graph import Network
from qdpem.registry import list_names, load
from qdpem.scenario.schema import Scenario

START, GOAL = "ewma", "bayes-filter"
"""The forecasters at which the share of the way is 0 and 1; every ladder has them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Rung:
    """One forecaster: scores, share of the way, calibration, scores by step ahead, and the shown pair.

    - `share`: (CRPS of the EWMA - its own) / (CRPS of the EWMA - that of the Bayes filter).
    - `coverage_50`, `coverage_90`: the fraction of counts in the central 50 and 90 % (`scores.coverage`).
    - `wape_by_step`, `crps_by_step` [H]: with the median and the distribution of the step ahead h.
    - `node_wape`, `node_wape_by_step` [H]: WAPE of the requests of a node, those of all its peers together.
    - `pair_means` [O]: expected requests between the shown pair of nodes in the next step.
    """

    scores: ForecastScores
    share: float
    coverage_50: float
    coverage_90: float
    wape_by_step: tuple[float, ...]
    crps_by_step: tuple[float, ...]
    node_wape: float
    node_wape_by_step: tuple[float, ...]
    pair_means: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class ForecastLadder:
    """All forecasters of one stream of requests, smallest CRPS first, those without a score last.

    `pair`: the shown pair of nodes; `pair_counts` [O]: the listed requests between them in each step.
    `skipped`: forecasters whose packages are not installed.
    """

    scenario: Scenario
    seed: int
    rungs: tuple[Rung, ...]
    skipped: tuple[str, ...]
    pair: tuple[str, str]
    pair_counts: Floats


def score_ladder(
    scenario: Scenario,
    *,
    seed: int,
    names: Iterable[str] = (),
    pair: tuple[str, str] | None = None,
    begun: Callable[[str], object] = str,
) -> ForecastLadder:
    """Score forecasters on the demand of `scenario`, beside the EWMA and the Bayes filter.

    Raises UnknownNameError for a wrong name, StudyError for a pair that is none, and QdpemError for a run
    shorter than a horizon.

    Args:
        scenario: without a study.
        seed: of the requests, and of the forecasters.
        names: registered names; unless given, all that make a forecast and are no placebo.
        pair: names of two nodes; unless given, the two with most requests in the run.
        begun: called with the name of each forecaster before its turn.
    """
    named = tuple(names)
    factories = {name: load("forecaster", name) for name in (*(named or _usual()), START, GOAL)}
    arrivals, network = scenario_arrivals(scenario, seed=seed)
    ends = _ends(arrivals.requests, network, pair)
    rungs, skipped, counts = [], [], np.zeros(0)
    for name, factory in factories.items():
        begun(name)
        try:
            forecaster = factory(factory.Parameters())
        except MissingPackagesError:
            # A forecaster that is asked for by name is missed; one of all is not.
            if name in named:
                raise
            skipped.append(name)
            continue
        context = forecast_context(
            arrivals, scenario.forecasting, nodes=network.node_count, seed=seed, truth=forecaster.oracle
        )
        end_s = scenario.window.end_s
        rolled = roll(forecaster, arrivals, context=context, end_s=end_s)
        season = _season_steps(scenario)
        scores = score_rolled(rolled, forecaster, arrivals, context=context, end_s=end_s, season_steps=season)
        rungs.append(_rung(rolled, scores, ends))
        counts = _between(rolled, rolled.counts[..., 0].astype(np.float64), ends)
    names_of = network.graph.node_names
    return ForecastLadder(
        scenario=scenario,
        seed=seed,
        rungs=_with_shares(rungs),
        skipped=tuple(skipped),
        pair=(names_of[ends[0]], names_of[ends[1]]),
        pair_counts=counts,
    )


def _usual() -> tuple[str, ...]:
    """Every registered forecaster but `none` and the placebos, which forecast the wrong times on purpose."""
    return tuple(
        name
        for name in list_names("forecaster")
        if name != "none" and not getattr(load("forecaster", name), "placebo", False)
    )


def _season_steps(scenario: Scenario) -> int:
    return max(1, round(scenario.demand.season_s / scenario.forecasting.step_s))


def _ends(requests: Requests, network: Network, pair: tuple[str, str] | None) -> tuple[int, int]:
    """The two nodes of the shown pair."""
    names = list(network.graph.node_names)
    if pair is not None:
        for name in pair:
            if name not in names:
                raise StudyError(f"{name!r} is no node of the network; its nodes are {', '.join(names)}")
        if pair[0] == pair[1]:
            raise StudyError(f"{pair[0]!r} with itself is no pair of nodes")
        return names.index(pair[0]), names.index(pair[1])
    if not len(requests):
        return 0, 1
    first = np.minimum(requests.source, requests.destination)
    second = np.maximum(requests.source, requests.destination)
    busiest = int(np.bincount(first * len(names) + second).argmax())
    return busiest // len(names), busiest % len(names)


def _between(rolled: Rolled, values: Floats, ends: tuple[int, int]) -> Floats:
    """The sum of values [O, N, P] over the known peers between these nodes, either of which may ask."""
    destination = rolled.peers.destination
    chosen = np.zeros(destination.shape, dtype=np.bool_)
    chosen[ends[0]] = destination[ends[0]] == ends[1]
    chosen[ends[1]] = destination[ends[1]] == ends[0]
    return np.asarray(np.where(chosen & rolled.known, values, 0.0).sum(axis=(1, 2)))


def _rung(rolled: Rolled, scores: ForecastScores, ends: tuple[int, int]) -> Rung:
    """The rung of one forecaster; its share is set when all are known."""
    forecast, counts = rolled.scored
    steps = counts.shape[1]
    scored = not math.isnan(scores.crps)
    nothing = (math.nan,) * steps
    error = np.abs(counts - forecast.quantile(0.5)).sum(axis=0) if scored else np.zeros(steps)
    total = counts.sum(axis=0)
    inside = {
        level: float(coverage(forecast, counts, level=level).mean()) if scored else math.nan
        for level in (0.5, 0.9)
    }
    node_error, node_total = _node_errors(rolled) if scored else (np.zeros(steps), np.zeros(steps))
    return Rung(
        scores=scores,
        share=math.nan,
        coverage_50=inside[0.5],
        coverage_90=inside[0.9],
        wape_by_step=tuple((error / np.where(total > 0, total, np.nan)).tolist()) if scored else nothing,
        crps_by_step=tuple(crps(forecast, counts).mean(axis=0).tolist()) if scored else nothing,
        node_wape=_ratio(node_error.sum(), node_total.sum()),
        node_wape_by_step=tuple(map(_ratio, node_error.tolist(), node_total.tolist())),
        pair_means=_between(rolled, rolled.forecast.mean[..., 0], ends),
    )


def _node_errors(rolled: Rolled) -> tuple[Floats, Floats]:
    """Summed absolute errors of nodes' requests by step ahead [H], and the requests themselves.

    The parts of all known peers add up, with the least spread that their scheduled means allow.
    """
    known = rolled.known[..., None]
    forecast = ExpectedDemand(
        scheduled=(rolled.forecast.scheduled * known).sum(axis=2),
        unscheduled=(rolled.forecast.unscheduled * known).sum(axis=2),
    )
    counts = (rolled.counts * known).sum(axis=2)
    error = np.abs(counts - forecast.quantile(0.5))
    return error.sum(axis=(0, 1)), counts.sum(axis=(0, 1)).astype(np.float64)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else math.nan


def _with_shares(rungs: list[Rung]) -> tuple[Rung, ...]:
    """The rungs in the order of their CRPS, with their shares of the way."""
    found = {rung.scores.name: rung.scores.crps for rung in rungs}
    way = found[START] - found[GOAL]
    shared = [
        Rung(**vars(rung) | {"share": (found[START] - rung.scores.crps) / way if way > 0.0 else math.nan})
        for rung in rungs
    ]
    return tuple(sorted(shared, key=lambda rung: (math.isnan(rung.scores.crps), rung.scores.crps)))

"""How well the demand of a scenario can be predicted: floors, the coverage of peers, and yardsticks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qdpem.demand.arrivals import Arrivals
from qdpem.demand.peers import Peers, PeerTable
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.errors import QdpemError
from qdpem.forecasting.checks.evaluation import YARDSTICKS, ForecastScores, compare
from qdpem.forecasting.checks.scores import median_error
from qdpem.network.graph import Network
from qdpem.scenario.schema import Scenario


@dataclass(frozen=True, kw_only=True)
class ErrorFloor:
    """The least expected WAPE of any forecast of counts summed over a level and a window.

    It is that of one who knows all but the Poisson draws: rates, bursts, sessions and scheduled requests.
    """

    level: str
    window_s: float
    wape: float


def error_floors(scenario: Scenario, arrivals: Arrivals, network: Network) -> tuple[ErrorFloor, ...]:
    """The floors for peers, nodes and the whole network, in windows of a step and of the horizon."""
    forecasting = scenario.forecasting
    peers = _listed_peers(scenario, arrivals, network)
    found = []
    for factor in sorted({1, forecasting.horizon_steps}):
        window_s = factor * forecasting.step_s
        edges_s = window_s * np.arange(
            math.floor(scenario.window.end_s / window_s + 1e-9) + 1, dtype=np.float64
        )
        if len(edges_s) < 2:
            continue
        truth = arrivals.realised(peers, edges_s=edges_s)
        for level, axes in (("peer", ()), ("node", (1,)), ("network", (0, 1))):
            found.append(ErrorFloor(level=level, window_s=window_s, wape=_floor(truth, axes)))
    return tuple(found)


def _listed_peers(scenario: Scenario, arrivals: Arrivals, network: Network) -> Peers:
    """The peers that forecasts of the run know at its end."""
    table = PeerTable(nodes=network.node_count, max_peers=scenario.forecasting.max_peers)
    table.begin(arrivals.history)
    table.add(arrivals.requests)
    return table.peers


def peer_coverage(scenario: Scenario, arrivals: Arrivals, network: Network) -> float:
    """Fraction of the run's requests whose peer is listed, NaN without requests."""
    if not len(arrivals.requests):
        return float("nan")
    return float((_listed_peers(scenario, arrivals, network).places(arrivals.requests) >= 0).mean())


def _floor(truth: ExpectedDemand, axes: tuple[int, ...]) -> float:
    """The floor of sums over these axes: scheduled requests and Poisson means both add up."""
    scheduled, unscheduled = (part.sum(axis=axes) for part in (truth.scheduled, truth.unscheduled))
    whole = float((scheduled + unscheduled).sum())
    error = median_error(ExpectedDemand(scheduled=np.zeros_like(unscheduled), unscheduled=unscheduled))
    return float(error.sum()) / whole if whole > 0.0 else float("nan")


def yardstick_scores(
    scenario: Scenario, arrivals: Arrivals, network: Network, *, seed: int
) -> tuple[ForecastScores, ...]:
    """Scores of the forecasters to compare with; none if the run is shorter than a horizon."""
    try:
        return compare(
            arrivals,
            forecasting=scenario.forecasting,
            nodes=network.node_count,
            end_s=scenario.window.end_s,
            seed=seed,
            names=YARDSTICKS,
            season_s=scenario.demand.season_s,
        )
    except QdpemError:
        return ()

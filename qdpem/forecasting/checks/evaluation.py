"""Rolling-origin scores of forecasters, beside the floor that the randomness of the requests sets.

All counts y and forecasts F are pooled over origins, peers and steps ahead; a peer counts from the origin on
at which it is known. The point forecast is the median m, which minimises the expected absolute error.

- WAPE: sum |y - m| / sum y.
- Floor: the expected WAPE of one who knows the rates and all scheduled requests, but not the Poisson draws.
- CRPS: mean ranked probability score, in requests (`scores`).
- MASE (Hyndman and Koehler 2006, pooled): sum |y - m| over the summed errors of the seasonal naive forecast,
  which repeats each peer's counts of one season before.
- Pinball at q: mean max(q (y - k), (q - 1)(y - k)), k the quantile q of F.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags, Ints
from qdpem.demand.arrivals import Arrivals
from qdpem.demand.peers import Peers, PeerTable
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.errors import QdpemError
from qdpem.forecasting.checks.reference_demand import by_step, forecast_context, scenario_arrivals
from qdpem.forecasting.checks.scores import crps, median_error, pinball
from qdpem.forecasting.counts import history_counts, step_counts
from qdpem.policy.forecaster import ForecastContext, Forecaster
from qdpem.registry import list_names, load
from qdpem.scenario.schema import Forecasting, Scenario

YARDSTICKS = ("constant", "ewma", "bayes-filter", "clairvoyant")
"""Forecasters to compare with: two that learn levels only, and the two oracles."""


@dataclass(frozen=True, kw_only=True)
class ForecastScores:
    """Scores of one forecaster; NaN where it made no forecast or a score is undefined.

    `floor` is the same for all forecasters of one stream of requests. `fit_s` and `step_s` are wall-clock
    seconds of the fit and of one update with its forecast; no record contains them.
    """

    name: str
    oracle: bool
    origins: int
    wape: float
    floor: float
    crps: float
    mase: float
    pinball_50: float
    pinball_90: float
    fit_s: float
    step_s: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Rolled:
    """Forecasts from O origins with what came, [O, N, P, H]; `known` [O, N, P]: the peers that count.

    `peers`: those known at the end.
    """

    forecast: ExpectedDemand
    counts: Ints
    known: Flags
    peers: Peers
    fit_s: float
    step_s: float

    @property
    def scored(self) -> tuple[ExpectedDemand, Ints]:
        """Forecasts and counts of the peers that count, [M, H] both."""
        return _at(self.forecast, self.known), self.counts[self.known]


def roll(forecaster: Forecaster, arrivals: Arrivals, *, context: ForecastContext, end_s: float) -> Rolled:
    """Every forecast from t = 0 whose horizon ends by `end_s`, after a fit on the history.

    Forecast k is made before the requests of step k are known. Raises QdpemError when there are fewer steps
    than the horizon.
    """
    steps, horizon = _steps(end_s, context), context.horizon_steps
    if steps < horizon:
        raise QdpemError(f"{steps} steps are too few to score forecasts of {horizon} steps ahead")
    table = PeerTable(nodes=context.node_count, max_peers=context.max_peers)
    table.begin(arrivals.history)
    forecaster.reset(context)
    begun_s = time.perf_counter()
    forecaster.fit(arrivals.history, table.peers)
    fitted_s = time.perf_counter()
    made, known = [forecaster.forecast()], [table.peers.known]
    each = by_step(arrivals.requests, step_s=context.step_s, steps=steps)
    for requests in each[: steps - horizon]:
        table.add(requests)
        forecaster.update(requests, table.peers)
        made.append(forecaster.forecast())
        known.append(table.peers.known)
    step_s = (time.perf_counter() - fitted_s) / len(made)
    # Places are never given away, so the last list places the requests of all steps.
    for requests in each:
        table.add(requests)
    counts = np.stack([step_counts(requests, table.peers) for requests in each])
    return Rolled(
        forecast=ExpectedDemand(
            scheduled=np.stack([one.scheduled for one in made]),
            unscheduled=np.stack([one.unscheduled for one in made]),
        ),
        counts=_windows(counts, horizon),
        known=np.stack(known),
        peers=table.peers,
        fit_s=fitted_s - begun_s,
        step_s=step_s,
    )


def score_forecaster(
    forecaster: Forecaster,
    arrivals: Arrivals,
    *,
    context: ForecastContext,
    end_s: float,
    season_steps: int = 1,
) -> ForecastScores:
    """Rolling-origin scores of one forecaster. Raises QdpemError when there are fewer steps than the horizon.

    Args:
        forecaster: it is reset and fitted here.
        arrivals: history and requests; the truth only for the floor.
        context: passed to `forecaster.reset`.
        end_s: end of the run; the last whole step before it is the last that counts.
        season_steps: the season of MASE's naive forecast. A season shorter than the horizon is multiplied
            until it reaches the horizon, because the counts of one season before must be known.
    """
    rolled = roll(forecaster, arrivals, context=context, end_s=end_s)
    return score_rolled(rolled, forecaster, arrivals, context=context, end_s=end_s, season_steps=season_steps)


def score_rolled(
    rolled: Rolled,
    forecaster: Forecaster,
    arrivals: Arrivals,
    *,
    context: ForecastContext,
    end_s: float,
    season_steps: int = 1,
) -> ForecastScores:
    """The scores of the forecasts that `roll` made of `forecaster` with the same arguments."""
    forecast, counts = rolled.scored
    scores = ForecastScores(
        name=forecaster.name,
        oracle=forecaster.oracle,
        origins=len(rolled.known),
        wape=np.nan,
        floor=_floor(rolled, arrivals, context, end_s=end_s),
        crps=np.nan,
        mase=np.nan,
        pinball_50=np.nan,
        pinball_90=np.nan,
        fit_s=rolled.fit_s,
        step_s=rolled.step_s,
    )
    if np.isnan(forecast.mean).any() or not counts.size:
        return scores
    # The median, not the mean, minimises the absolute error.
    error = float(np.abs(counts - forecast.quantile(0.5)).sum())
    return replace(
        scores,
        wape=_ratio(error, float(counts.sum())),
        crps=float(crps(forecast, counts).mean()),
        mase=_ratio(error, _naive_error(rolled, arrivals, context, season_steps=season_steps)),
        pinball_50=float(pinball(forecast, counts, q=0.5).mean()),
        pinball_90=float(pinball(forecast, counts, q=0.9).mean()),
    )


def compare(
    arrivals: Arrivals,
    *,
    forecasting: Forecasting,
    nodes: int,
    end_s: float,
    seed: int,
    names: Iterable[str] | None = None,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    season_s: float = 0.0,
) -> tuple[ForecastScores, ...]:
    """Scores of every registered forecaster, or of `names`, on the requests of [0, end_s).

    Only oracles are given the truth. A forecaster without a forecast has NaN scores. Raises UnknownNameError
    for a wrong name.

    Args:
        arrivals: history, requests and truth.
        forecasting: length of a step, number of steps ahead, and number of peers.
        nodes: number of nodes.
        end_s: end of the run; the last whole step before it is the last that counts.
        seed: passed to the forecasters.
        names: registered names; all unless given.
        parameters: the parameters of each named forecaster; its defaults unless given.
        season_s: the season of MASE's naive forecast; one step unless given.
    """
    table = []
    for name in list_names("forecaster") if names is None else names:
        factory = load("forecaster", name)
        forecaster = factory(factory.Parameters(**(parameters or {}).get(name, {})))
        scores = score_forecaster(
            forecaster,
            arrivals,
            context=forecast_context(
                arrivals, forecasting, nodes=nodes, seed=seed, truth=bool(forecaster.oracle)
            ),
            end_s=end_s,
            season_steps=max(1, round(season_s / forecasting.step_s)),
        )
        table.append(scores)
    return tuple(table)


def evaluate_forecaster(name: str, scenario: Scenario, *, seed: int) -> tuple[ForecastScores, ...]:
    """Scores of the forecaster registered as `name` on the demand of `scenario`, beside `YARDSTICKS`.

    Raises UnknownNameError for a wrong name, and ScenarioError for a scenario that cannot be built.
    """
    arrivals, network = scenario_arrivals(scenario, seed=seed)
    return compare(
        arrivals,
        forecasting=scenario.forecasting,
        nodes=network.node_count,
        end_s=scenario.window.end_s,
        seed=seed,
        names=dict.fromkeys((name, *YARDSTICKS)),
        season_s=scenario.demand.season_s,
    )


def format_table(table: Iterable[ForecastScores]) -> str:
    """The scores as aligned text, smallest CRPS first."""
    columns = ("oracle", "wape", "floor", "crps", "mase", "pinball_50", "pinball_90", "fit_s")
    ranked = sorted(table, key=lambda scores: (np.isnan(scores.crps), scores.crps))
    rows = [asdict(scores) for scores in ranked]
    width = max(len(scores.name) for scores in ranked)
    lines = [" " * width + "".join(f"{column:>11}" for column in columns)]
    for row in rows:
        cells = [
            f"{row[column]:.4f}" if isinstance(row[column], float) else row[column] for column in columns
        ]
        lines.append(f"{row['name']:<{width}}" + "".join(f"{cell!s:>11}" for cell in cells))
    return "\n".join(lines)


def _steps(end_s: float, context: ForecastContext) -> int:
    return int(end_s / context.step_s + 1e-9)


def _windows(values: NDArray[Any], horizon: int) -> NDArray[Any]:
    """[T - H + 1, N, P, H] from [T, N, P]; row k holds the steps k ... k + H - 1."""
    return np.lib.stride_tricks.sliding_window_view(values, horizon, axis=0)


def _at(demand: ExpectedDemand, known: Flags) -> ExpectedDemand:
    """The demand of the known peers, [M, H]."""
    return ExpectedDemand(scheduled=demand.scheduled[known], unscheduled=demand.unscheduled[known])


def _floor(rolled: Rolled, arrivals: Arrivals, context: ForecastContext, *, end_s: float) -> float:
    edges_s = context.step_s * np.arange(_steps(end_s, context) + 1, dtype=np.float64)
    truth = arrivals.realised(rolled.peers, edges_s=edges_s)

    def windows(part: NDArray[Any]) -> NDArray[Any]:
        return _windows(np.moveaxis(part, -1, 0), context.horizon_steps)

    truth = _at(
        ExpectedDemand(scheduled=windows(truth.scheduled), unscheduled=windows(truth.unscheduled)),
        rolled.known,
    )
    return _ratio(float(median_error(truth).sum()), float(truth.mean.sum()))


def _naive_error(rolled: Rolled, arrivals: Arrivals, context: ForecastContext, *, season_steps: int) -> float:
    """Summed absolute error of the seasonal naive forecast over the same windows; NaN if history is short."""
    horizon = context.horizon_steps
    # Rounded up to whole seasons: the naive forecast of the last step ahead must not use the future.
    lag = season_steps * -(-horizon // season_steps)
    history = history_counts(arrivals.history, rolled.peers, context)
    if len(history) < lag:
        return float("nan")
    counts = np.concatenate([rolled.counts[..., 0], np.moveaxis(rolled.counts[-1, ..., 1:], -1, 0)])
    joined = np.concatenate([history[len(history) - lag :], counts])
    return float(_windows(np.abs(joined[lag:] - joined[:-lag]), horizon)[rolled.known].sum())


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0.0 else float("nan")

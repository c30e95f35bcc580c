"""Rolling-origin scores of forecasters, beside the floor that the randomness of the counts sets.

All counts y and forecasts f are pooled over origins, nodes and steps ahead. A forecast is the mean of a
Poisson count. Its point forecast is the Poisson median m(f), which minimises the expected absolute error. A
mean below `MIN_RATE` is scored as `MIN_RATE`, so that no count is impossible.

- WAPE: sum |y - m(f)| / sum y.
- Floor: sum E|X - median| / sum lambda, X Poisson of the TRUE mean count lambda: the minimum expected WAPE.
- Deviance: mean 2 (y ln(y/f) - y + f), per forecast.
- MASE (Hyndman and Koehler 2006, pooled): sum |y - m(f)| over the summed errors of the seasonal naive
  forecast, which repeats each node's counts of one season before.
- Pinball at q: mean max(q (y - k), (q - 1)(y - k)), k the Poisson quantile q of f.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtr, pdtrik, xlogy

from qdpem.arrays import Floats
from qdpem.demand.requests import Arrivals
from qdpem.errors import QdpemError
from qdpem.forecasting.checks.reference_demand import scenario_arrivals, step_counts
from qdpem.forecasting.simple import MIN_RATE
from qdpem.policy.interface import ForecastContext, Forecaster
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
    deviance: float
    mase: float
    pinball_50: float
    pinball_90: float
    fit_s: float
    step_s: float


def poisson_quantile(mean: Floats, *, q: float) -> Floats:
    """The smallest k with P(X <= k) >= q for X Poisson of each `mean` > 0, as floats.

    >>> poisson_quantile(np.array([0.5, 2.0, 10.0]), q=0.5).tolist()
    [0.0, 2.0, 10.0]
    """
    k = np.ceil(pdtrik(q, mean))
    # Rounding can lift the inverse just above a whole number, so the next smaller one is tried too.
    below = np.maximum(k - 1.0, 0.0)
    return np.asarray(np.where(pdtr(below, mean) >= q, below, k))


def poisson_floor(rates: Floats) -> float:
    """sum E|X - median| / sum lambda over Poisson counts X of these true mean counts, of any shape.

    E|X - m| = lambda - m + 2 (m F(m) - lambda F(m - 1)), F the distribution function. The floor assumes known
    rates; a forecaster that must infer them does worse.

    >>> round(poisson_floor(np.array([0.5])), 6)
    1.0
    """
    lam = np.maximum(rates, MIN_RATE)
    m = poisson_quantile(lam, q=0.5)
    before = np.where(m > 0.0, pdtr(np.maximum(m - 1.0, 0.0), lam), 0.0)
    error = lam - m + 2.0 * (m * pdtr(m, lam) - lam * before)
    return float(error.sum() / lam.sum())


def poisson_deviance(counts: NDArray[Any], forecast: Floats) -> float:
    """Mean Poisson deviance of counts under forecast means of the same shape."""
    mean = np.maximum(forecast, MIN_RATE)
    # xlogy(0, 0) is 0, as the deviance of a zero count needs.
    return float(2.0 * np.mean(xlogy(counts, counts / mean) - counts + mean))


def pinball(counts: NDArray[Any], forecast: Floats, *, q: float) -> float:
    """Mean pinball loss of the Poisson quantile q of each forecast mean."""
    short = counts - poisson_quantile(np.maximum(forecast, MIN_RATE), q=q)
    return float(np.mean(np.maximum(q * short, (q - 1.0) * short)))


def rolling_forecasts(
    forecaster: Forecaster, counts: NDArray[np.int64], *, history: NDArray[np.int64], context: ForecastContext
) -> tuple[Floats, float, float]:
    """Every forecast along `counts` [T, N], float64 [T - H + 1, N, H], after a fit on `history`.

    Forecast k is made before the counts of step k are known. Also returns the wall-clock seconds of the fit
    and of one step. Raises QdpemError when there are fewer steps than the horizon.
    """
    origins = len(counts) - context.horizon_steps + 1
    if origins < 1:
        raise QdpemError(
            f"{len(counts)} steps are too few to score forecasts of {context.horizon_steps} steps ahead"
        )
    forecaster.reset(context)
    begun_s = time.perf_counter()
    forecaster.fit(history)
    fitted_s = time.perf_counter()
    forecasts = []
    for row in counts[:origins]:
        forecasts.append(forecaster.forecast())
        forecaster.update(row)
    return np.stack(forecasts), fitted_s - begun_s, (time.perf_counter() - fitted_s) / origins


def score_forecaster(
    forecaster: Forecaster,
    counts: NDArray[np.int64],
    *,
    history: NDArray[np.int64],
    context: ForecastContext,
    rates: Floats | None = None,
    season_steps: int = 1,
) -> ForecastScores:
    """Rolling-origin scores of one forecaster. Raises QdpemError when there are fewer steps than the horizon.

    Args:
        forecaster: it is reset and fitted here.
        counts: int64 [T, N], from t = 0.
        history: int64 [T', N], ending at t = 0.
        context: passed to `forecaster.reset`.
        rates: the true mean counts, float64 [T, N], for the floor; without them the floor is NaN.
        season_steps: the season of MASE's naive forecast. A season shorter than the horizon is multiplied
            until it reaches the horizon, because the counts of one season before must be known.
    """
    horizon = context.horizon_steps
    forecasts, fit_s, step_s = rolling_forecasts(forecaster, counts, history=history, context=context)
    ahead = _windows(counts, horizon)
    floor = np.nan if rates is None else poisson_floor(_windows(rates, horizon))
    scores = ForecastScores(
        name=forecaster.name,
        oracle=forecaster.oracle,
        origins=len(forecasts),
        wape=np.nan,
        floor=floor,
        deviance=np.nan,
        mase=np.nan,
        pinball_50=np.nan,
        pinball_90=np.nan,
        fit_s=fit_s,
        step_s=step_s,
    )
    if np.isnan(forecasts).any():
        return scores
    # The median, not the mean, minimises the absolute error.
    error = np.abs(ahead - poisson_quantile(np.maximum(forecasts, MIN_RATE), q=0.5)).sum()
    return replace(
        scores,
        wape=_ratio(error, ahead.sum()),
        deviance=poisson_deviance(ahead, forecasts),
        mase=_ratio(error, _naive_error(counts, history, horizon=horizon, season_steps=season_steps)),
        pinball_50=pinball(ahead, forecasts, q=0.5),
        pinball_90=pinball(ahead, forecasts, q=0.9),
    )


def compare(
    arrivals: Arrivals,
    *,
    forecasting: Forecasting,
    end_s: float,
    seed: int,
    names: Iterable[str] | None = None,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[ForecastScores, ...]:
    """Scores of every registered forecaster, or of `names`, on the requests of [0, end_s).

    Only oracles are given the truth. A forecaster without a forecast has NaN scores. Raises UnknownNameError
    for a wrong name.

    Args:
        arrivals: history, requests and truth.
        forecasting: length of a step and number of steps ahead.
        end_s: end of the run; the last whole step before it is the last that counts.
        seed: passed to the forecasters.
        names: registered names; all unless given.
        parameters: the parameters of each named forecaster; its defaults unless given.
    """
    step_s = forecasting.step_s
    counts = step_counts(arrivals, forecasting=forecasting, end_s=end_s)
    rates = arrivals.expected_counts(start_s=0.0, step_s=step_s, steps=len(counts.run))
    season_steps = max(1, round(arrivals.period_s / step_s))
    table = []
    for name in list_names("forecaster") if names is None else names:
        factory = load("forecaster", name)
        forecaster = factory(factory.Parameters(**(parameters or {}).get(name, {})))
        context = ForecastContext(
            node_count=counts.run.shape[1],
            step_s=step_s,
            horizon_steps=forecasting.horizon_steps,
            seed=seed,
            truth=arrivals if forecaster.oracle else None,
        )
        scores = score_forecaster(
            forecaster,
            counts.run,
            history=counts.history,
            context=context,
            rates=rates,
            season_steps=season_steps,
        )
        table.append(scores)
    return tuple(table)


def evaluate_forecaster(name: str, scenario: Scenario, *, seed: int) -> tuple[ForecastScores, ...]:
    """Scores of the forecaster registered as `name` on the demand of `scenario`, beside `YARDSTICKS`.

    Raises UnknownNameError for a wrong name, and ScenarioError for a scenario that cannot be built.
    """
    return compare(
        scenario_arrivals(scenario, seed=seed),
        forecasting=scenario.forecasting,
        end_s=scenario.window.end_s,
        seed=seed,
        names=dict.fromkeys((name, *YARDSTICKS)),
    )


def format_table(table: Iterable[ForecastScores]) -> str:
    """The scores as aligned text, smallest deviance first."""
    columns = ("oracle", "wape", "floor", "deviance", "mase", "pinball_50", "pinball_90", "fit_s")
    ranked = sorted(table, key=lambda scores: (np.isnan(scores.deviance), scores.deviance))
    rows = [asdict(scores) for scores in ranked]
    width = max(len(scores.name) for scores in ranked)
    lines = [" " * width + "".join(f"{column:>11}" for column in columns)]
    for row in rows:
        cells = [
            f"{row[column]:.4f}" if isinstance(row[column], float) else row[column] for column in columns
        ]
        lines.append(f"{row['name']:<{width}}" + "".join(f"{cell!s:>11}" for cell in cells))
    return "\n".join(lines)


def _windows(values: NDArray[Any], horizon: int) -> NDArray[Any]:
    """[T - H + 1, N, H] from [T, N]; row k holds the steps k ... k + H - 1."""
    return np.lib.stride_tricks.sliding_window_view(values, horizon, axis=0)


def _naive_error(
    counts: NDArray[np.int64], history: NDArray[np.int64], *, horizon: int, season_steps: int
) -> float:
    """Summed absolute error of the seasonal naive forecast over the same windows; NaN if history is short."""
    # Rounded up to whole seasons: the naive forecast of the last step ahead must not use the future.
    lag = season_steps * -(-horizon // season_steps)
    if len(history) < lag:
        return float("nan")
    joined = np.concatenate([history[len(history) - lag :], counts])
    return float(_windows(np.abs(joined[lag:] - joined[:-lag]), horizon).sum())


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0.0 else float("nan")

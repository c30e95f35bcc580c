"""The newsvendor's stock level: the number of pairs worth keeping for the demand in a pair's useful life.

Source: the newsvendor rule of perishable goods (Arrow, Harris and Marschak 1951; Nahmias 2011). The n-th pair
is kept while P(demand >= n) is at least the critical ratio, where demand is Poisson.

The mean demand is the rate at which a pair of nodes was requested so far, times its useful life, times a
factor from the forecast of its source: the forecast over its mean since the run began. The factor is 1
without a forecast (NaN), and 1 up to the drift of the mean with a constant one.

Work: O(N H) once for each forecast step, and one look-up for each peer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats, Ints
from qdpem.policy.interface import CONTROLLER, Context, Observation

MAX_STORAGE_S = 3600.0
"""No stocked pair is kept for longer, in seconds."""

_BISECTIONS = 60
_MAX_MEAN = 1e3
_CLOCK_TOLERANCE = 1e-9


def stocking_means(stocking_threshold: float, max_level: int) -> Floats:
    """The mean demand from which the n-th pair is kept, for n = 1 to `max_level`, float64 [max_level].

    The first is `stocking_threshold`, at which P(demand >= 1) = 1 - exp(-stocking_threshold). At the n-th,
    P(demand >= n) has the same value.
    """
    # expm1 keeps the digits for small thresholds.
    critical_ratio = -math.expm1(-stocking_threshold)
    return np.array(
        [stocking_threshold if n == 1 else _poisson_mean(n, critical_ratio) for n in range(1, max_level + 1)]
    )


def _poisson_mean(count: int, probability: float) -> float:
    """The Poisson mean m at which P(demand >= count) is `probability`."""
    low, high = 0.0, _MAX_MEAN
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _tail_probability(count, middle) < probability else (low, middle)
    return high


def _tail_probability(count: int, mean: float) -> float:
    # Terms in logarithms: mean^n and n! overflow for large levels.
    return 1.0 - math.fsum(math.exp(n * math.log(mean) - mean - math.lgamma(n + 1)) for n in range(count))


class DemandFactor:
    """The ratio of the demand forecast at each node to the mean of its forecasts so far.

    `forecast_sum`, `forecast_count` float64 [N]: sum and number of the next-step forecasts so far.
    `forecast_step` [N]: the step of the last one, -1 before the first.
    """

    def __init__(self, context: Context) -> None:
        nodes, horizon = context.network.node_count, context.forecasting.horizon_steps
        self._step_s = context.forecasting.step_s
        self.forecast_sum, self.forecast_count = np.zeros((2, nodes))
        self.forecast_step = np.full(nodes, -1.0)
        self._mean_ahead = np.full((nodes, horizon), np.nan)
        self._factor = np.ones((nodes, horizon))

    def update(self, observations: Observation) -> None:
        """Take in the forecasts of the observing sites, once in each forecast step for each node."""
        step = math.floor(observations.time_s / self._step_s + _CLOCK_TOLERANCE)
        if observations.site[0] == CONTROLLER:
            nodes, forecast = observations.observed_node[0], observations.forecast[0]
        else:
            nodes, forecast = observations.site, observations.forecast[:, 0]
        # A site observes many times in a step, but its forecast changes once.
        new = (self.forecast_step[nodes] < step) & ~np.isnan(forecast[:, 0])
        if not new.any():
            return
        nodes, forecast = nodes[new], forecast[new]
        self.forecast_sum[nodes] += forecast[:, 0]
        self.forecast_count[nodes] += 1.0
        self.forecast_step[nodes] = step
        steps = np.arange(1, forecast.shape[1] + 1)
        self._mean_ahead[nodes] = np.cumsum(forecast, axis=1) / steps
        self._update_factor(nodes)

    def factor(self, nodes: Ints, life_s: Floats) -> Floats:
        """Mean forecast within `life_s` (at most the horizon) over the mean so far; 1 without forecasts."""
        # The horizon stands for longer lives: nothing is known beyond it.
        steps = np.clip(np.ceil(life_s / self._step_s), 1, self._factor.shape[1])
        return self._factor[nodes, steps.astype(np.int64) - 1]

    def state(self) -> dict[str, NDArray[np.float64]]:
        """The statistics of past forecasts, and the mean forecast up to each step ahead [N, H]."""
        return {
            "forecast_sum": self.forecast_sum.copy(),
            "forecast_count": self.forecast_count.copy(),
            "forecast_step": self.forecast_step.copy(),
            "forecast_mean_ahead": self._mean_ahead.copy(),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        self.forecast_sum = np.array(state["forecast_sum"], dtype=np.float64)
        self.forecast_count = np.array(state["forecast_count"], dtype=np.float64)
        self.forecast_step = np.array(state["forecast_step"], dtype=np.float64)
        self._mean_ahead = np.array(state["forecast_mean_ahead"], dtype=np.float64)
        self._update_factor(np.arange(len(self._mean_ahead)))

    def _update_factor(self, nodes: Ints) -> None:
        """Set the factor of these nodes from their last forecast and their mean so far."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self.forecast_sum[nodes] / self.forecast_count[nodes]
            ratio = self._mean_ahead[nodes] / mean[:, None]
        # NaN without a forecast, inf after forecasts of 0: in both cases the past rate is the best estimate.
        self._factor[nodes] = np.where(np.isfinite(ratio), ratio, 1.0)

"""How much stock is worth keeping: the newsvendor's level of the demand expected in a pair's useful life.

Source: the newsvendor rule of perishable goods (Arrow, Harris and Marschak 1951; Nahmias 2011): the n-th
pair is kept while P(demand >= n) is at least what a pair must earn, demand being Poisson. Knowledge: how
often each pair of nodes asked so far, times how much more the forecast expects of its source than it
expected on average since the run began. Without a forecast (NaN) that factor is 1, and with a constant one
it is 1 but for the drift of the mean.
Work: O(N H) once a forecast step, and a look-up for each peer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdpem.policies.routing.delay_model import Floats
from qdpem.policy.interface import CONTROLLER, Context, Ints, Observation

_BISECTIONS = 60
_HIGHEST_MEAN = 1e3


def stocking_means(stocking_threshold: float, maximum: int) -> Floats:
    """The expected demand from which the n-th pair is worth keeping, n = 1 to `maximum`, float64 [most].

    The first is worth it from `stocking_threshold` on, when P(demand >= 1) = 1 - exp(-least_use); the n-th where
    P(demand >= n) is the same.
    """
    wanted = -math.expm1(-stocking_threshold)
    return np.array([stocking_threshold if n == 1 else _mean_with(n, wanted) for n in range(1, maximum + 1)])


def _mean_with(count: int, wanted: float) -> float:
    """The Poisson mean m at which P(demand >= count) is `wanted`."""
    low, high = 0.0, _HIGHEST_MEAN
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _at_least(count, middle) < wanted else (low, middle)
    return high


def _at_least(count: int, mean: float) -> float:
    return 1.0 - math.fsum(math.exp(n * math.log(mean) - mean - math.lgamma(n + 1)) for n in range(count))


class DemandFactor:
    """How much more is expected of each node than on average, from the forecasts heard so far.

    `heard` float64 [3, N]: sum of the next step's forecasts, their number, the step of the last.
    """

    def __init__(self, context: Context) -> None:
        nodes, horizon = context.network.node_count, context.forecasting.horizon_steps
        self._step_s = context.forecasting.step_s
        self.heard = np.zeros((3, nodes))
        self.heard[2] = -1.0
        self._ahead = np.full((nodes, horizon), np.nan)
        self._factor = np.ones((nodes, horizon))

    def hear(self, observations: Observation) -> None:
        """Take in what the sites asked now are forecast, once a step for each node."""
        step = math.floor(observations.time_s / self._step_s + 1e-9)
        if observations.site[0] == CONTROLLER:
            nodes, forecast = observations.observed_node[0], observations.forecast[0]
        else:
            nodes, forecast = observations.site, observations.forecast[:, 0]
        new = (self.heard[2, nodes] < step) & ~np.isnan(forecast[:, 0])
        if not new.any():
            return
        nodes, forecast = nodes[new], forecast[new]
        self.heard[0, nodes] += forecast[:, 0]
        self.heard[1, nodes] += 1.0
        self.heard[2, nodes] = step
        steps = np.arange(1, forecast.shape[1] + 1)
        self._ahead[nodes] = np.cumsum(forecast, axis=1) / steps
        self._compare(nodes)

    def factor(self, nodes: Ints, life_s: Floats) -> Floats:
        """Mean forecast within `life_s`, no farther than forecasts reach, over the mean so far; 1 without."""
        steps = np.clip(np.ceil(life_s / self._step_s), 1, self._factor.shape[1])
        return self._factor[nodes, steps.astype(np.int64) - 1]

    def state(self) -> dict[str, NDArray[np.float64]]:
        """What was heard, and the mean forecast so many steps ahead [N, H]."""
        return {"forecast_heard": self.heard.copy(), "forecast_ahead": self._ahead.copy()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up a saved state."""
        self.heard = np.array(state["forecast_heard"], dtype=np.float64)
        self._ahead = np.array(state["forecast_ahead"], dtype=np.float64)
        self._compare(np.arange(len(self._ahead)))

    def _compare(self, nodes: Ints) -> None:
        """Set what is expected of these nodes against their mean so far."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self.heard[0, nodes] / self.heard[1, nodes]
            found = self._ahead[nodes] / mean[:, None]
        self._factor[nodes] = np.where(np.isfinite(found), found, 1.0)

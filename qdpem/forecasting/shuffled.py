"""Placebos: forecasts shuffled in time and over nodes, with the right levels and the wrong times."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qdpem import registry
from qdpem.arrays import Floats
from qdpem.demand.peers import Peers
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.demand.requests import Requests
from qdpem.forecasting.counts import history_counts, step_counts
from qdpem.policy.forecaster import ForecastContext, Forecaster
from qdpem.rng import stream

_MAX_PAST_STEPS = 1024
_INNER = "inner/"


class ShuffledForecast:
    """The GRU's forecast, shuffled: a placebo that must be worth no more than the constant forecast.

    Every peer i gets the forecast of another peer p(i) from an earlier step s, scaled to its own mean: F_i(t)
    = m_i F_p(i)(s) / m_p(i). Here p is a random cycle through all peers of all nodes with requests before t =
    0, and s is uniform over the last 1,024 steps. The levels are those of the constant forecast and the
    swings are as large as the GRU's, but no swing comes at its time. The stream `forecast/shuffled` draws
    peers and steps. Only a placebo may read other nodes' forecasts; the conformance check exempts it from
    that law.
    """

    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        """None."""

    name: ClassVar[str] = "shuffled"
    oracle: ClassVar[bool] = False
    placebo: ClassVar[bool] = True
    of: ClassVar[str] = "gru"

    _total: Floats
    _steps: int
    _past: deque[Floats]
    _other: NDArray[np.int64]
    _now: Floats

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or self.Parameters()
        factory = registry.load("forecaster", self.of)
        self._inner: Forecaster = factory(factory.Parameters())

    def files(self) -> dict[str, Path]:
        """The files of the forecaster that is shuffled."""
        return dict(getattr(self._inner, "files", dict)())

    def reset(self, context: ForecastContext) -> None:
        """Begin a run; the stream depends on the run's seed only."""
        self._context = context
        self._inner.reset(context)
        self._begin(np.zeros(context.node_count * context.max_peers), steps=0)

    def fit(self, history: Requests, peers: Peers) -> None:
        """Fit the inner forecaster, and every peer's mean on the history."""
        self._inner.fit(history, peers)
        counts = history_counts(history, peers, self._context)
        self._begin(counts.sum(axis=0).ravel().astype(np.float64), steps=len(counts))

    def update(self, requests: Requests, peers: Peers) -> None:
        """Pass on the requests of the step that just ended, and shuffle again."""
        self._inner.update(requests, peers)
        self._total = self._total + step_counts(requests, peers).ravel()
        self._steps += 1
        self._past.append(self._flat_forecast())
        self._shuffle()

    def forecast(self) -> ExpectedDemand:
        """The shuffled forecast."""
        scheduled, unscheduled = self._now.reshape(2, *self._shape).copy()
        return ExpectedDemand(scheduled=scheduled, unscheduled=unscheduled)

    def state(self) -> dict[str, NDArray[Any]]:
        """Sums, past forecasts, and the state of the inner forecaster."""
        inner = {_INNER + name: array for name, array in self._inner.state().items()}
        own = {"total": self._total.copy(), "steps": np.array(self._steps), "past": np.stack(self._past)}
        own["other"] = self._other.copy()
        return own | inner

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        inner = {name: array for name, array in state.items() if name.startswith(_INNER)}
        self._inner.load_state({name.removeprefix(_INNER): array for name, array in inner.items()})
        self._total, self._steps = np.array(state["total"], dtype=np.float64), int(state["steps"])
        self._other = np.array(state["other"], dtype=np.int64)
        self._past = deque(np.array(state["past"], dtype=np.float64), maxlen=_MAX_PAST_STEPS)
        self._shuffle()

    @property
    def _shape(self) -> tuple[int, int, int]:
        context = self._context
        return context.node_count, context.max_peers, context.horizon_steps

    def _flat_forecast(self) -> Floats:
        """The inner forecast, scheduled and unscheduled, float64 [2, N P, H]."""
        made = self._inner.forecast()
        return np.stack([made.scheduled, made.unscheduled]).reshape(2, -1, self._shape[2])

    def _begin(self, total: Floats, *, steps: int) -> None:
        self._total, self._steps = total, steps
        order = stream(self._context.seed, "forecast/shuffled").permutation(len(total))
        # A peer without requests has no mean to scale by, so it neither gives nor gets a forecast.
        order = order[total[order] > 0.0]
        self._other = np.arange(len(total))
        # One cycle, so that no peer gets its own forecast.
        self._other[order] = np.roll(order, 1)
        self._past = deque([self._flat_forecast()], maxlen=_MAX_PAST_STEPS)
        self._shuffle()

    def _shuffle(self) -> None:
        # One stream per step: a restored state draws what the original would have drawn.
        draws = stream(self._context.seed, f"forecast/shuffled/{self._steps}")
        steps = draws.integers(len(self._past), size=len(self._total))
        mean = self._total / max(self._steps, 1)
        other = mean[self._other]
        given = other > 0.0
        flat = np.zeros_like(self._past[0])
        flat[1] = mean[:, None]
        shuffled = (
            np.stack(
                [
                    self._past[step][:, peer]
                    for step, peer in zip(steps[given], self._other[given], strict=True)
                ],
                axis=1,
            )
            if given.any()
            else flat[:, given]
        )
        flat[:, given] = shuffled * (mean[given] / other[given])[:, None]
        self._now = flat


class ShuffledBayesFilterForecast(ShuffledForecast):
    """The same placebo with the oracle `bayes-filter` in place of the GRU."""

    name: ClassVar[str] = "shuffled-bayes-filter"
    oracle: ClassVar[bool] = True
    of: ClassVar[str] = "bayes-filter"

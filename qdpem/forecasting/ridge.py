"""Ridge regression: the linear forecaster that a recurrent one has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats, Ints
from qdpem.demand.peers import Peers
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.demand.requests import Requests
from qdpem.errors import QdpemError
from qdpem.forecasting.counts import history_counts, peer_events, step_counts
from qdpem.forecasting.features.harmonics import Calendar, fit_calendar
from qdpem.forecasting.linear.normal_equations import PENALTIES, NormalEquations, choose_penalty, solve
from qdpem.forecasting.linear.regressors import REGRESSORS, Regressors
from qdpem.policy.forecaster import ForecastContext

_HELD_OUT = 0.2


class RidgeForecast:
    """Ridge regression on lags, moving averages, calendar and regular starts; one set of weights per node.

    For every step ahead h a node has weights w_h, the same for all its peers. It expects of a peer with mean
    count m and regressors x_h (`linear.regressors`) max(0, m + x_h w_h) requests, a Poisson number of them.
    The weights minimise sum (y - m - x_h w_h)^2 / m + penalty sum_k D_k w_hk^2 over the history of the node,
    with y the counts and D the diagonal of the normal equations, so that the unit of a regressor does not
    matter. A large penalty leaves the mean. Each node takes the penalty that does best on the last fifth of
    its history, or `penalty` when that is above 0. It sees what the GRU sees, and does not learn in the run.
    """

    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        """How strongly weights are drawn to 0."""

        penalty: float = 0.0
        """Penalty on the squares of the weights; 0 chooses one per node."""

    name: ClassVar[str] = "ridge"
    oracle: ClassVar[bool] = False

    _weights: Floats
    _latest: Floats
    _mean: Floats

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or self.Parameters()
        if not 0.0 <= self.parameters.penalty < np.inf:
            raise QdpemError(
                f"penalty = {self.parameters.penalty:g} of the ridge forecaster must be above 0, or 0 to be"
                " chosen"
            )

    def reset(self, context: ForecastContext) -> None:
        """Begin a run."""
        self._context = context
        self._begin(Calendar.none(self._peers), step=0)

    def fit(self, history: Requests, peers: Peers) -> None:
        """Solve the normal equations of every node on its own history."""
        counts = history_counts(history, peers, self._context).reshape(-1, self._peers)
        steps = len(counts)
        self._begin(fit_calendar(counts) if steps else Calendar.none(self._peers), step=-steps)
        row, time = peer_events(history, peers, self._context)
        first = np.searchsorted(time, np.arange(-steps, 1, dtype=np.float64))
        split = int(steps * (1.0 - _HELD_OUT))
        parts = [NormalEquations(self._context.node_count, self._context.horizon_steps) for _ in range(2)]
        asked = [(row[begin:end], time[begin:end]) for begin, end in pairwise(first.tolist())]
        seen = self._regressors.advance_all(-steps, asked, counts)
        for step in range(steps):
            # The forecasts of this step, one for each of the ends of the H steps before it.
            parts[int(step >= split)].add(counts[step])
            self._latest, self._mean = next(seen)
            for part in parts:
                part.remember(self._latest, self._mean)
        self._step = 0
        self._weights = self._solved(*parts)

    def update(self, requests: Requests, peers: Peers) -> None:
        """Take in the requests of the step that just ended."""
        row, time = peer_events(requests, peers, self._context)
        self._advance(row, np.minimum(time, self._step + 1.0), step_counts(requests, peers).reshape(-1))

    def forecast(self) -> ExpectedDemand:
        """The Poisson mean of each peer, [N, P, H]."""
        nodes, horizon = self._context.node_count, self._context.horizon_steps
        seen = self._latest.reshape(nodes, -1, horizon, REGRESSORS)
        beyond = np.einsum("nphk,nhk->nph", seen, self._weights)
        mean = self._mean.reshape(nodes, -1, 1)
        # A peer of which nothing is known yet has a mean of 0.
        unscheduled = np.where(mean > 0.0, np.maximum(mean + beyond, 0.0), 0.0)
        return ExpectedDemand(scheduled=np.zeros_like(unscheduled), unscheduled=unscheduled)

    def state(self) -> dict[str, NDArray[Any]]:
        """Weights, regressors of the coming steps, what is remembered of each peer, and the clock."""
        own = {"weights": self._weights, "latest": self._latest, "mean": self._mean}
        inner = {f"regressors/{name}": array for name, array in self._regressors.state().items()}
        return {name: array.copy() for name, array in own.items()} | inner | {"step": np.array(self._step)}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state. Raises QdpemError unless its horizon is the run's."""
        steps_ahead = state["latest"].shape[1]
        if steps_ahead != self._context.horizon_steps:
            raise QdpemError(
                f"this ridge state looks {steps_ahead} steps ahead, but horizon_steps ="
                f" {self._context.horizon_steps}"
            )
        self._begin(Calendar.none(self._peers), step=int(state["step"]))
        kind = "regressors/"
        inner = {name.removeprefix(kind): array for name, array in state.items() if name.startswith(kind)}
        self._regressors.load_state(inner)
        self._weights, self._latest, self._mean = (
            np.array(state[name], dtype=np.float64) for name in ("weights", "latest", "mean")
        )

    @property
    def _peers(self) -> int:
        return self._context.node_count * self._context.max_peers

    def _begin(self, calendar: Calendar, *, step: int) -> None:
        """Know nothing, at the beginning of `step`; weights of 0 leave the mean."""
        horizon = self._context.horizon_steps
        self._regressors = Regressors(self._peers, horizon=horizon, calendar=calendar)
        self._weights = np.zeros((self._context.node_count, horizon, REGRESSORS))
        self._latest = np.zeros((self._peers, horizon, REGRESSORS))
        self._mean = np.zeros(self._peers)
        self._step = step

    def _advance(self, row: Ints, time: Floats, counts: Ints) -> None:
        self._latest, self._mean = self._regressors.advance(self._step, row, time, counts)
        self._step += 1

    def _solved(self, training: NormalEquations, held_out: NormalEquations) -> Floats:
        """The weights [N, H, K] with each node's penalty, on the whole history."""
        given = self.parameters.penalty
        nodes = self._context.node_count
        penalty = np.full(nodes, given) if given else choose_penalty(training, held_out, PENALTIES)
        return solve(training.gram + held_out.gram, training.moment + held_out.moment, penalty)

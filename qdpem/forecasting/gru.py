"""Recurrent forecasters: a gated recurrent unit for each node, or one for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qdpem.demand.peers import Peers
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.demand.requests import Requests
from qdpem.errors import QdpemError
from qdpem.extras import require_packages
from qdpem.forecasting.counts import history_counts, peer_events
from qdpem.forecasting.features.harmonics import Calendar, fit_calendar
from qdpem.forecasting.features.peer_features import PeerFeatures, StepInputs
from qdpem.forecasting.pretrained import RELEASED, UNITS, digest, load_pretrained
from qdpem.forecasting.recurrent.cell import WEIGHTS, CellStack
from qdpem.forecasting.recurrent.fit_cache import cached_fit
from qdpem.forecasting.recurrent.fitting import copy_to_groups, fit_groups
from qdpem.forecasting.recurrent.online import OnlineLearning
from qdpem.forecasting.recurrent.series import STRIDE, RecordedSteps
from qdpem.policy.forecaster import ForecastContext


class GruForecast:
    """A distribution of the requests of each peer from one local GRU per node.

    For each peer a node estimates its regular starts (period, phase and spread, by a line through all starts,
    through the recent ones, and from the last one) and the mean, moving averages and calendar of its counts.
    Its unit says from step to step how far to trust each of these schedules, and at which rate other requests
    come: a request with the probability p of the trusted schedules, plus a Poisson number. All nodes begin
    with the public start, fit their own copy on their own history by maximum likelihood, and go on learning
    during the run. A node whose fit does not beat the public start on the last fifth of its history keeps it.
    Fitting uses torch, forecasting NumPy.
    """

    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        """How each node fits and goes on learning."""

        epochs: int = 4
        """Passes over the history; 0 keeps the public start."""
        learning_rate: float = 1e-3
        """Step size of Adam in the fit."""
        online_learning_rate: float = 0.01
        """Step size of gradient descent during the run, once every 48 steps; 0 learns nothing there."""
        calendar: bool = True
        """Whether a unit sees the period of a peer's counts."""
        cache: str = ""
        """Directory for fitted weights, by hash of history and parameters; "" stores none."""

    name: ClassVar[str] = "gru"
    oracle: ClassVar[bool] = False

    _step: int
    _hidden: NDArray[np.float32]
    _latest: StepInputs

    def __init__(self, parameters: Parameters | None = None) -> None:
        require_packages(["torch"], extra="learning", user=f"the forecaster {self.name!r}")
        self.parameters = given = parameters or self.Parameters()
        if given.epochs < 0 or not given.learning_rate > 0.0 or not given.online_learning_rate >= 0.0:
            raise QdpemError(
                f"epochs = {given.epochs} and online_learning_rate = {given.online_learning_rate:g} must be 0"
                f" or more and learning_rate = {given.learning_rate:g} above 0 in the GRU forecaster"
            )

    def files(self) -> dict[str, Path]:
        """The file of the public start, which every record of a run embeds."""
        return {"gru_start.npz": RELEASED}

    def reset(self, context: ForecastContext) -> None:
        """Begin a run."""
        self._context = context
        self._begin(Calendar.none(self._peers), step=0)
        self._use(self._start())

    def fit(self, history: Requests, peers: Peers) -> None:
        """Fit every unit on its own history, or read the fit from the cache."""
        counts = history_counts(history, peers, self._context).reshape(-1, self._peers)
        steps = len(counts)
        calendar = self.parameters.calendar and steps > 0
        self._begin(fit_calendar(counts) if calendar else Calendar.none(self._peers), step=-steps)
        recorded = RecordedSteps()
        inputs = []
        edges_s = self._context.step_s * np.arange(-steps, 1, dtype=np.float64)
        row, time = peer_events(history, peers, self._context)
        first = np.searchsorted(time * self._context.step_s, edges_s)
        asked = [(row[begin:end], time[begin:end]) for begin, end in pairwise(first.tolist())]
        for now, each in zip(counts, self._features.advance_all(-steps, asked, stride=STRIDE), strict=True):
            inputs.append(each)
            recorded.add(each, now, self._features.known)
        self._step = 0
        self._use(self._fitted(recorded))
        for each in inputs:
            self._hidden = self._next_state(each)
        self._latest = inputs[-1] if inputs else self._latest

    def update(self, requests: Requests, peers: Peers) -> None:
        """Take in the requests of the step that just ended, and learn from it at the cadence."""
        row, time = peer_events(requests, peers, self._context)
        inputs = self._features.advance(self._step, row, np.minimum(time, self._step + 1.0))
        counts = np.bincount(row, minlength=self._peers)
        before, self._hidden = self._hidden, self._next_state(inputs)
        self._step += 1
        self._latest = inputs
        if self.parameters.online_learning_rate > 0.0:
            moved = self._online.learn(inputs, counts, self._features.known, before, self._weights)
            if moved is not None:
                self._use(moved)

    def forecast(self) -> ExpectedDemand:
        """The trusted schedules and the Poisson mean of each peer, [N, P, H]."""
        trust, multiples = (each.reshape(self._peers, -1) for each in self._cells.read(self._hidden))
        latest, known = self._latest, self._features.known[:, None]
        scheduled = np.einsum("ms,msh->mh", trust, latest.schedules)
        return ExpectedDemand(
            scheduled=(scheduled * known).reshape(self._shape),
            unscheduled=(latest.mean[:, None] * multiples * known).reshape(self._shape),
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """Weights, hidden states, what is remembered of each peer, and the clock."""
        plain = {"hidden": self._hidden.copy(), "step": np.array(self._step)}
        latest = {f"latest/{name}": array.copy() for name, array in self._latest._asdict().items()}
        parts: dict[str, PeerFeatures | OnlineLearning] = {
            "features": self._features,
            "online": self._online,
        }
        inner = {
            f"{part}/{name}": array for part, own in parts.items() for name, array in own.state().items()
        }
        return {name: value.copy() for name, value in self._weights.items()} | plain | latest | inner

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state. Raises QdpemError unless its horizon is the run's."""

        def part(name: str) -> dict[str, NDArray[Any]]:
            own = {key: array for key, array in state.items() if key.startswith(name)}
            return {key.removeprefix(name): array for key, array in own.items()}

        steps_ahead = state["latest/schedules"].shape[-1]
        if steps_ahead != self._context.horizon_steps:
            raise QdpemError(
                f"this GRU state looks {steps_ahead} steps ahead, but horizon_steps ="
                f" {self._context.horizon_steps}"
            )
        self._begin(Calendar.none(self._peers), step=int(state["step"]))
        self._features.load_state(part("features/"))
        self._online.load_state(part("online/"))
        self._latest = StepInputs(**{name: np.array(array) for name, array in part("latest/").items()})
        self._use({name: np.array(state[name], dtype=np.float32) for name in WEIGHTS})
        self._hidden = np.array(state["hidden"], dtype=np.float32)

    @property
    def _groups(self) -> int:
        """Units with weights of their own."""
        return self._context.node_count

    @property
    def _peers(self) -> int:
        return self._context.node_count * self._context.max_peers

    @property
    def _shape(self) -> tuple[int, int, int]:
        context = self._context
        return context.node_count, context.max_peers, context.horizon_steps

    def _begin(self, calendar: Calendar, *, step: int) -> None:
        """Know nothing, at the beginning of `step`."""
        horizon = self._context.horizon_steps
        self._features = PeerFeatures(self._peers, horizon=horizon, calendar=calendar)
        self._latest = self._features.nothing()
        shape = (self._groups, self._peers // self._groups, UNITS)
        self._hidden = np.zeros(shape, dtype=np.float32)
        self._online = OnlineLearning(self._groups, learning_rate=self.parameters.online_learning_rate)
        self._step = step

    def _use(self, weights: dict[str, NDArray[np.float32]]) -> None:
        self._weights, self._cells = weights, CellStack(weights)

    def _start(self) -> dict[str, NDArray[np.float32]]:
        return copy_to_groups(load_pretrained(), groups=self._groups, horizon=self._context.horizon_steps)

    def _fitted(self, recorded: RecordedSteps) -> dict[str, NDArray[np.float32]]:
        start, given = self._start(), self.parameters
        if len(recorded) < STRIDE or not given.epochs:
            return start
        series = recorded.series()
        key = (self.name, digest(start), given.epochs, given.learning_rate)
        return cached_fit(
            given.cache,
            series,
            repr(key),
            lambda: fit_groups(series, start, epochs=given.epochs, learning_rate=given.learning_rate),
        )

    def _next_state(self, inputs: StepInputs) -> NDArray[np.float32]:
        return self._cells.step(
            self._hidden, inputs.features.reshape(self._groups, -1, inputs.features.shape[1])
        )


class GlobalGruForecast(GruForecast):
    """The GRU with one set of weights for all nodes, fitted on the requests of all of them.

    An ablation: it needs what no node knows, the histories of the others. It shows what local weights cost or
    gain. It declares `pooled`, and the conformance check exempts it from the law of own requests.
    """

    name: ClassVar[str] = "gru-global"
    pooled: ClassVar[bool] = True

    @property
    def _groups(self) -> int:
        return 1

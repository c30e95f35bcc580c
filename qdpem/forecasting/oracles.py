"""Two oracles: one knows the generator of the demand, the other the demand itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.demand.arrivals import Arrivals
from qdpem.demand.peers import Peers, no_peers
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.demand.requests import Requests
from qdpem.errors import QdpemError
from qdpem.policy.forecaster import ForecastContext


class _Oracle:
    """The common part of both oracles: the truth, the peers, and a clock that counts updates from t = 0."""

    name: ClassVar[str]
    oracle: ClassVar[bool] = True

    @dataclass(frozen=True, kw_only=True)
    class Parameters:
        """None."""

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or self.Parameters()

    def reset(self, context: ForecastContext) -> None:
        """Begin a run at t = 0. Raises QdpemError when the context holds no truth."""
        if context.truth is None:
            raise QdpemError(f"the forecaster {self.name!r} is an oracle and must be given the truth")
        self._context = context
        self._truth: Arrivals = context.truth
        self._peers = no_peers(nodes=context.node_count, max_peers=context.max_peers)
        self._steps = 0

    def fit(self, history: Requests, peers: Peers) -> None:  # noqa: ARG002
        """Set the clock to t = 0, where the history ends; its requests are not used."""
        self._peers = peers
        self._steps = 0

    def update(self, requests: Requests, peers: Peers) -> None:  # noqa: ARG002
        """Advance the clock by one step; the requests are not used."""
        self._peers = peers
        self._steps += 1

    @property
    def edges_s(self) -> Floats:
        """The ends of the coming steps, float64 [H + 1]; the first is now."""
        context = self._context
        steps = np.arange(context.horizon_steps + 1, dtype=np.float64)
        return np.asarray(self._steps * context.step_s + context.step_s * steps)

    def state(self) -> dict[str, NDArray[Any]]:
        """The clock and the peers."""
        peers = self._peers
        return {
            "steps": np.array(self._steps),
            "destination": peers.destination.copy(),
            "target_fidelity": peers.target_fidelity.copy(),
            "pairs": peers.pairs.copy(),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved clock and saved peers."""
        self._steps = int(state["steps"])
        self._peers = Peers(
            destination=np.array(state["destination"], dtype=np.int64),
            target_fidelity=np.array(state["target_fidelity"], dtype=np.float64),
            pairs=np.array(state["pairs"], dtype=np.int64),
        )


class ClairvoyantForecast(_Oracle):
    """The actual requests of the coming steps; 0 after the last request of the run. A bound, not a target."""

    name: ClassVar[str] = "clairvoyant"

    def forecast(self) -> ExpectedDemand:
        """The requests of the next steps, all of them scheduled."""
        edges_s, context = self.edges_s, self._context
        coming = self._truth.requests.between(float(edges_s[0]), float(edges_s[-1]))
        counts = self._peers.counts(
            coming, start_s=float(edges_s[0]), step_s=context.step_s, steps=context.horizon_steps
        )
        scheduled = np.ascontiguousarray(np.moveaxis(counts, 0, -1), dtype=np.float64)
        return ExpectedDemand(scheduled=scheduled, unscheduled=np.zeros_like(scheduled))


class BayesFilterForecast(_Oracle):
    """The true expectation of the coming requests, given the processes and their present state.

    Each process says what one expects who knows its law and what happened so far: `DemandProcess.expected`.
    """

    name: ClassVar[str] = "bayes-filter"

    def forecast(self) -> ExpectedDemand:
        """What one expects of the next steps."""
        edges_s = self.edges_s
        return self._truth.expected(self._peers, now_s=float(edges_s[0]), edges_s=edges_s)

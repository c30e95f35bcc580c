"""The interface `Forecaster`, and the data that pass through it.

Letters in shapes: N nodes of the network, P places for the peers of a node, H forecast steps ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray

from qdpem.demand.arrivals import Arrivals
from qdpem.demand.peers import Peers
from qdpem.demand.processes.process import ExpectedDemand as ExpectedDemand
from qdpem.demand.requests import Requests

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False, kw_only=True)
class ForecastContext:
    """The input of `Forecaster.reset`: the clock of the steps and, only for an oracle, the truth."""

    node_count: int
    max_peers: int
    step_s: float
    horizon_steps: int
    history_s: float
    seed: int
    truth: Arrivals | None = None

    @property
    def history_steps(self) -> int:
        """Whole steps of the history; the last of them ends at t = 0."""
        return int(self.history_s / self.step_s + _ROUNDING)


class Forecaster(Protocol):
    """The demand of every node for each of its peers, each node's from its OWN requests only.

    A peer is a destination with a target fidelity and a number of pairs; `Peers` lists those of all nodes. A
    later list only adds peers in free places. `oracle = True` asks for the truth in `ForecastContext`. A
    forecaster that reads other nodes' requests on purpose declares so: as a control of an experiment
    `placebo = True`, as an ablation with weights fitted on all nodes `pooled = True`. `qdpem check
    forecaster` checks the laws.
    """

    Parameters: ClassVar[type]
    name: str
    oracle: bool

    def reset(self, context: ForecastContext) -> None:
        """Begin a run."""

    def fit(self, history: Requests, peers: Peers) -> None:
        """Learn from the requests before t = 0, of which there may be none."""

    def update(self, requests: Requests, peers: Peers) -> None:
        """Receive the requests of the step that just ended."""

    def forecast(self) -> ExpectedDemand:
        """The demand of the next H steps, [N, P, H], finite and 0 or more.

        It is 0 in places without a peer. NaN throughout means no forecast.
        """

    def state(self) -> dict[str, NDArray[Any]]:
        """All that the forecaster has learned or remembers, as arrays."""

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state, after `reset`, and continue as the forecaster it was saved from."""

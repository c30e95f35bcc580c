"""Who asks for what, as a controller sees it: counts that fade, the mix of classes, and forecasts by node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdpem.policies.routing.expiring_set import ExpiringSet
from qdpem.policies.routing.pending_requests import pending_requests
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Context, Observation

Floats = NDArray[np.float64]
_PSEUDO_REQUESTS = 10.0
"""Requests of the whole network's mix that count beside a pair's own in what it asks for."""


class RequestKind(NamedTuple):
    """What requests that are alike ask for."""

    target_fidelity: float
    pairs: int


class DemandEstimate:
    """Requests per second of each pair of nodes, in either direction, and each class.

    A request `demand_time_constant_s` ago counts 1/e. It begins with the rates of the pairs most asked for in the history,
    which every view tells. A pair's mix of classes is its own, shrunk towards that of the network by 10
    requests. Where views have a forecast, the rates of each source are scaled to the mean of its next
    `period_s`.
    `total` float64 [N, N]: faded requests by source and destination; `of_class` [C, N, N] those whose class
    was seen, `classes` what each class asks.
    """

    def __init__(self, context: Context, *, demand_time_constant_s: float, period_s: float) -> None:
        self._demand_time_constant_s = demand_time_constant_s
        self._steps = max(1, round(period_s / context.forecasting.step_s))
        self._step_s = context.forecasting.step_s
        nodes = context.network.node_count
        self.total = np.zeros((nodes, nodes))
        self.of_class = np.zeros((0, nodes, nodes))
        self.classes: list[RequestKind] = []
        self._seen = ExpiringSet("seen")
        self.last_s = np.nan

    def note(self, observation: Observation) -> None:
        """Take in the requests of a view that were not there before."""
        if np.isnan(self.last_s):
            listed = observation.top_pair_source[0] >= 0
            rate_hz = observation.top_pair_rate_hz[0, listed]
            ends = observation.top_pair_source[0, listed], observation.top_pair_destination[0, listed]
            np.add.at(self.total, ends, self._demand_time_constant_s * rate_hz)
            self.last_s = observation.time_s
        for request in pending_requests(observation):
            if not self._seen.holds(request.id, observation.time_s):
                self._seen.note(request.id, request.deadline_s)
                self._count(request, observation.time_s)

    def fade(self, now_s: float) -> None:
        """Bring the counts to `now_s`, and forget requests that cannot come again."""
        factor = np.exp(-(now_s - self.last_s) / self._demand_time_constant_s)
        self.total *= factor
        self.of_class *= factor
        self.last_s = now_s
        self._seen.forget(now_s)

    def rates(self, observation: Observation) -> Iterator[tuple[int, int, RequestKind, float]]:
        """Lower node, higher node, class and requests per second of all that is asked for."""
        rate_hz = self.total / self._demand_time_constant_s * self._forecast_factor(observation)[:, None]
        pair_hz = np.triu(rate_hz + rate_hz.T, k=1)
        own = self.of_class + self.of_class.transpose(0, 2, 1)
        network = own.sum(axis=(1, 2))
        mix = own + _PSEUDO_REQUESTS * (network / network.sum())[:, None, None]
        fraction = mix / mix.sum(axis=0)
        for low, high in np.argwhere(pair_hz > 0.0).tolist():
            for kind, asked in enumerate(self.classes):
                yield low, high, asked, float(pair_hz[low, high] * fraction[kind, low, high])

    def _forecast_factor(self, observation: Observation) -> Floats:
        """By how much the next requests of each source are expected to exceed what it has asked, [N]."""
        known = observation.observed_node[0] >= 0
        ahead_hz = np.full(len(self.total), np.nan)
        ahead_hz[observation.observed_node[0, known]] = (
            observation.forecast[0, known, : self._steps].mean(axis=1) / self._step_s
        )
        asked_hz = self.total.sum(axis=1) / self._demand_time_constant_s
        factor = np.divide(ahead_hz, asked_hz, out=np.ones_like(asked_hz), where=asked_hz > 0.0)
        return np.where(np.isnan(factor), 1.0, factor)

    def _count(self, request: PendingRequest, now_s: float) -> None:
        asked = RequestKind(request.target_fidelity, request.pairs)
        if asked not in self.classes:
            self.classes.append(asked)
            self.of_class = np.concatenate([self.of_class, np.zeros((1, *self.total.shape))])
        # As if it had come when the counts were last brought up to date.
        weight = np.exp((now_s - self.last_s) / self._demand_time_constant_s)
        self.total[request.source, request.destination] += weight
        self.of_class[self.classes.index(asked), request.source, request.destination] += weight

    def state(self) -> dict[str, NDArray[Any]]:
        """All counts, as arrays."""
        return {
            "total": self.total.copy(),
            "of_class": self.of_class.copy(),
            "class_target_fidelity": np.array([one.target_fidelity for one in self.classes]),
            "class_pairs": np.array([one.pairs for one in self.classes], dtype=np.int64),
            "last_s": np.array(self.last_s),
            **self._seen.state(),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up saved counts."""
        self.total = np.array(state["total"], dtype=np.float64)
        self.of_class = np.array(state["of_class"], dtype=np.float64)
        targets, pairs = state["class_target_fidelity"].tolist(), state["class_pairs"].tolist()
        self.classes = [RequestKind(*one) for one in zip(targets, pairs, strict=True)]
        self._seen.load_state(state)
        self.last_s = float(state["last_s"])

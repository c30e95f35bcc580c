"""A controller's estimate of demand: decaying counts, the mix of request kinds, and forecasts by node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Floats
from qdpem.policies.routing.expiring_set import ExpiringSet
from qdpem.policies.routing.pending_requests import pending_requests
from qdpem.policy.allocation import PendingRequest
from qdpem.policy.interface import Context, Observation

_PSEUDO_REQUESTS = 10.0
"""Requests of the whole network's mix that are added to those of a pair of nodes when its mix is
estimated."""


class RequestKind(NamedTuple):
    """The target fidelity and the number of pairs that equal requests share."""

    target_fidelity: float
    pairs: int


class DemandEstimate:
    """Requests per second of each pair of nodes, in either direction, and of each kind.

    A request counts exp(-age / `demand_time_constant_s`). The estimate starts with the rates of the most
    frequent pairs in the history, which every observation lists. The mix of kinds of a pair of nodes is its
    own, shrunk towards that of the network by 10 requests. Where observations have a forecast, the rates of
    each source are scaled to the mean of its next `period_s`.

    `total` float64 [N, N]: decayed requests by source and destination. `by_kind` [C, N, N]: those of each of
    the observed `kinds`. Both are as of `updated_s`.
    """

    def __init__(self, context: Context, *, demand_time_constant_s: float, period_s: float) -> None:
        self._demand_time_constant_s = demand_time_constant_s
        self._steps = max(1, round(period_s / context.forecasting.step_s))
        self._step_s = context.forecasting.step_s
        nodes = context.network.node_count
        self.total = np.zeros((nodes, nodes))
        self.by_kind = np.zeros((0, nodes, nodes))
        self.kinds: list[RequestKind] = []
        self._counted = ExpiringSet("counted")
        self.updated_s = np.nan

    def update(self, observation: Observation) -> None:
        """Count the pending requests that were not observed before."""
        if np.isnan(self.updated_s):
            # The first observation: begin with the rates of the history instead of an empty network.
            listed = observation.top_pair_source[0] >= 0
            rate_hz = observation.top_pair_rate_hz[0, listed]
            ends = observation.top_pair_source[0, listed], observation.top_pair_destination[0, listed]
            np.add.at(self.total, ends, self._demand_time_constant_s * rate_hz)
            self.updated_s = observation.time_s
        for request in pending_requests(observation):
            # A request stays pending over many observations but counts once.
            if not self._counted.contains(request.id, observation.time_s):
                self._counted.add(request.id, request.deadline_s)
                self._count(request, observation.time_s)

    def decay(self, now_s: float) -> None:
        """Decay the counts to `now_s`, and drop the ids of requests whose deadline has passed."""
        factor = np.exp(-(now_s - self.updated_s) / self._demand_time_constant_s)
        self.total *= factor
        self.by_kind *= factor
        self.updated_s = now_s
        self._counted.remove_expired(now_s)

    def rates(self, observation: Observation) -> Iterator[tuple[int, int, RequestKind, float]]:
        """Lower node, higher node, kind and requests per second of all demand."""
        rate_hz = self.total / self._demand_time_constant_s * self._forecast_factor(observation)[:, None]
        pair_hz = np.triu(rate_hz + rate_hz.T, k=1)
        own = self.by_kind + self.by_kind.transpose(0, 2, 1)
        network = own.sum(axis=(1, 2))
        # Without shrinkage a pair with few requests would have an extreme mix.
        mix = own + _PSEUDO_REQUESTS * (network / network.sum())[:, None, None]
        fraction = mix / mix.sum(axis=0)
        for low, high in np.argwhere(pair_hz > 0.0).tolist():
            for index, kind in enumerate(self.kinds):
                yield low, high, kind, float(pair_hz[low, high] * fraction[index, low, high])

    def _forecast_factor(self, observation: Observation) -> Floats:
        """Ratio of the forecast rate of each source to its estimated rate, 1 without a forecast, [N]."""
        known = observation.observed_node[0] >= 0
        forecast_hz = np.full(len(self.total), np.nan)
        forecast_hz[observation.observed_node[0, known]] = (
            observation.forecast[0, known, : self._steps].mean(axis=1) / self._step_s
        )
        past_hz = self.total.sum(axis=1) / self._demand_time_constant_s
        # A source without past demand keeps factor 1: its rate of 0 cannot be scaled.
        factor = np.divide(forecast_hz, past_hz, out=np.ones_like(past_hz), where=past_hz > 0.0)
        return np.where(np.isnan(factor), 1.0, factor)

    def _count(self, request: PendingRequest, now_s: float) -> None:
        kind = RequestKind(request.target_fidelity, request.pairs)
        if kind not in self.kinds:
            self.kinds.append(kind)
            self.by_kind = np.concatenate([self.by_kind, np.zeros((1, *self.total.shape))])
        # Counts are as of `updated_s`: this weight has decayed to 1 by now.
        weight = np.exp((now_s - self.updated_s) / self._demand_time_constant_s)
        self.total[request.source, request.destination] += weight
        self.by_kind[self.kinds.index(kind), request.source, request.destination] += weight

    def state(self) -> dict[str, NDArray[Any]]:
        """All counts as arrays."""
        return {
            "total": self.total.copy(),
            "by_kind": self.by_kind.copy(),
            "kind_target_fidelity": np.array([kind.target_fidelity for kind in self.kinds]),
            "kind_pairs": np.array([kind.pairs for kind in self.kinds], dtype=np.int64),
            "updated_s": np.array(self.updated_s),
            **self._counted.state(),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore saved counts."""
        self.total = np.array(state["total"], dtype=np.float64)
        self.by_kind = np.array(state["by_kind"], dtype=np.float64)
        targets, pairs = state["kind_target_fidelity"].tolist(), state["kind_pairs"].tolist()
        self.kinds = [RequestKind(*columns) for columns in zip(targets, pairs, strict=True)]
        self._counted.load_state(state)
        self.updated_s = float(state["updated_s"])

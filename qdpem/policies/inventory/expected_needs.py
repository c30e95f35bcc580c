"""The pairs that the requests expected by a forecast will need, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags, Floats, Ints
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.policies.routing.expiring_set import ExpiringSet
from qdpem.policy.interface import CONTROLLER, Observation

_MAX_REQUESTS = 4
"""Requests of one peer for which pairs are kept at most."""


REMEMBERED_S = 60.0
"""A request that was not observed for this long is not waiting any more."""


class PeerKind(NamedTuple):
    """A peer: what its requests have in common."""

    source: int
    destination: int
    target_fidelity: float
    pairs: int


class Need(NamedTuple):
    """Pairs that the requests of one peer need, when the first of them is expected, and the site's row."""

    due_s: float
    row: int
    peer: PeerKind
    pairs: int


class Needs(Protocol):
    """Decides which pairs sites keep for requests to come."""

    def note_requests(self, observations: Observation) -> None:
        """Take in the pending requests of the observing sites."""

    def of(self, observations: Observation) -> list[Need]:
        """The needs of all observing sites, the one that is due first before the others."""

    def state(self) -> dict[str, NDArray[Any]]:
        """All that it remembers."""

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""


class ExpectedNeeds:
    """Turns forecasts into needs: whole requests, as many as are likely enough within a look-ahead.

    A need is k n pairs: k is the number of pairs that one request asks for, because a part of them is worth
    nothing, and n the largest number with P(at least n requests within the look-ahead) >= q.

    Args:
        step_s: length of a forecast step.
        probability: the smallest probability q, for which pairs are made.
        lookahead_s: seconds before a request of a peer from which its pairs are made.
    """

    def __init__(
        self, *, step_s: float, probability: float, lookahead_s: Callable[[PeerKind], float]
    ) -> None:
        self._step_s = step_s
        self._probability = probability
        self._lookahead_s = lookahead_s
        self._known_lookaheads_s: dict[PeerKind, float] = {}
        self._came_s: dict[PeerKind, float] = {}
        self._counted = ExpiringSet("counted")
        # The peers of all sites change rarely, so the look-aheads of one array serve many observations.
        self._last: tuple[Ints, Floats] | None = None

    def note_requests(self, observations: Observation) -> None:
        """Remember when each peer made its last request: until the next forecast it is expected no more."""
        rows, columns = (observations.request_id >= 0).nonzero()
        if not len(rows):
            return
        parts = (
            observations.request_source,
            observations.request_destination,
            observations.request_target_fidelity,
            observations.request_pairs,
        )
        ids = observations.request_id[rows, columns].tolist()
        kinds = zip(*(part[rows, columns].tolist() for part in parts), strict=True)
        for request, kind in zip(ids, kinds, strict=True):
            # A request that waits is observed again and again, but comes once.
            if not self._counted.contains(request, observations.time_s):
                self._came_s[PeerKind(*kind)] = observations.time_s
            self._counted.add(request, observations.time_s + REMEMBERED_S)

    def of(self, observations: Observation) -> list[Need]:
        """The needs of all observing sites, the one that is due first before the others."""
        known = observations.peer_source >= 0
        if not known.any() or np.isnan(observations.peer_scheduled[known]).any():
            return []
        age_s = np.where(known, observations.forecast_age_s, 0.0)
        begin = age_s / self._step_s
        end = begin + self._lookaheads_s(observations) / self._step_s
        scheduled = demand_between(observations.peer_scheduled, begin, end)
        scheduled[self._has_come(observations, age_s)] = 0.0
        expected = ExpectedDemand(
            scheduled=scheduled, unscheduled=demand_between(observations.peer_unscheduled, begin, end)
        )
        level = self._levels(expected, known)
        rows, columns = level.nonzero()
        due_s = due_times_s(observations, (rows, columns), begin, end, step_s=self._step_s)
        needs = [
            Need(due, row, peer, requests * peer.pairs)
            for due, row, peer, requests in zip(
                due_s.tolist(),
                rows.tolist(),
                kinds_at(observations, rows, columns),
                level[rows, columns].tolist(),
                strict=True,
            )
        ]
        return sorted(needs)

    def state(self) -> dict[str, NDArray[Any]]:
        """The peers that made requests lately."""
        kinds = list(self._came_s)
        return {
            "came_peer": np.array(kinds, dtype=np.float64).reshape(-1, 4),
            "came_s": np.array(list(self._came_s.values())),
            **self._counted.state(),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        kinds = [
            PeerKind(int(source), int(destination), target, int(pairs))
            for source, destination, target, pairs in state["came_peer"].tolist()
        ]
        self._came_s = dict(zip(kinds, state["came_s"].tolist(), strict=True))
        self._counted.load_state(state)

    def _levels(self, expected: ExpectedDemand, known: Flags) -> Ints:
        """Requests of each peer that are likely enough, int64 [S, F]."""
        level = np.zeros(known.shape, dtype=np.int64)
        for requests in range(1, _MAX_REQUESTS + 1):
            enough = known & (1.0 - expected.cdf(requests - 1.0) >= self._probability)
            if not enough.any():
                break
            level[enough] = requests
        return level

    def _lookaheads_s(self, observations: Observation) -> Floats:
        """The look-ahead of each peer, float64 [S, F]; 0 in places without one."""
        if self._last is not None and self._last[0] is observations.peer_destination:
            return self._last[1]
        values = np.zeros(observations.peer_source.shape)
        rows, columns = (observations.peer_source >= 0).nonzero()
        values[rows, columns] = [self._of_kind(kind) for kind in kinds_at(observations, rows, columns)]
        self._last = (observations.peer_destination, values)
        return values

    def _of_kind(self, kind: PeerKind) -> float:
        if kind not in self._known_lookaheads_s:
            self._known_lookaheads_s[kind] = self._lookahead_s(kind)
        return self._known_lookaheads_s[kind]

    def _has_come(self, observations: Observation, age_s: Floats) -> Flags:
        """Peers that made a request since the forecast was made, bool [S, F]."""
        come = np.zeros(observations.peer_source.shape, dtype=np.bool_)
        oldest_s = observations.time_s - self._step_s
        self._came_s = {kind: at_s for kind, at_s in self._came_s.items() if at_s > oldest_s}
        self._counted.remove_expired(observations.time_s)
        central = observations.site[0] == CONTROLLER
        row_of = {} if central else {site: row for row, site in enumerate(observations.site.tolist())}
        for kind, at_s in self._came_s.items():
            row = 0 if central else row_of.get(kind.source)
            if row is None:
                continue
            same = (
                (observations.peer_source[row] == kind.source)
                & (observations.peer_destination[row] == kind.destination)
                & (observations.peer_target_fidelity[row] == kind.target_fidelity)
                & (observations.peer_pairs[row] == kind.pairs)
            )
            come[row] |= same & (at_s > observations.time_s - age_s[row])
        return come


def due_times_s(
    observations: Observation, places: tuple[Ints, Ints], begin: Floats, end: Floats, *, step_s: float
) -> Floats:
    """When half of the demand of the peers in these places, between two times in steps, has come.

    `places`: rows and columns [M] of the peers. `begin`, `end` float64 [S, F].
    """
    rows, columns = places
    if not len(rows):
        return np.zeros(0)
    demand = (observations.peer_scheduled + observations.peer_unscheduled)[rows, columns]
    first, last = begin[rows, columns], end[rows, columns]
    cumulative = np.cumsum(demand * _covered(demand.shape[1], first, last), axis=1)
    half = (cumulative >= 0.5 * cumulative[:, -1:]).argmax(axis=1)
    return np.asarray(observations.time_s + step_s * np.maximum(half + 0.5 - first, 0.0))


def kinds_at(observations: Observation, rows: Ints, columns: Ints) -> list[PeerKind]:
    """The peers in these places."""
    parts = (
        observations.peer_source,
        observations.peer_destination,
        observations.peer_target_fidelity,
        observations.peer_pairs,
    )
    return [PeerKind(*kind) for kind in zip(*(part[rows, columns].tolist() for part in parts), strict=True)]


def demand_between(demand: Floats, begin: Floats, end: Floats) -> Floats:
    """Demand [S, F, H] summed between two times in steps [S, F], spread evenly over each step."""
    return np.asarray((demand * _covered(demand.shape[2], begin, end)).sum(axis=2))


def _covered(steps: int, begin: Floats, end: Floats) -> Floats:
    """The fraction of each step between two times in steps, float64 [..., steps]."""
    step = np.arange(steps)
    covered = np.minimum(end[..., None], step + 1.0) - np.maximum(begin[..., None], step)
    return np.asarray(np.clip(covered, 0.0, 1.0))

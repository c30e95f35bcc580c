"""The decision about each peer: for how many of its requests to keep end-to-end pairs.

A site decides once in each forecast step for every peer that may ask soon or that it keeps pairs for. The
level then holds until the next decision, less one for each request that comes. `PlannedStock` makes the pairs
that are missing, those that are due first before the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Flags, Floats, Ints
from qdpem.demand.processes.process import ExpectedDemand
from qdpem.network.graph import Network
from qdpem.policies.dpem.chooser import Choices, Chooser
from qdpem.policies.dpem.feature_names import PEER_FEATURES, columns
from qdpem.policies.dpem.networks import Kind
from qdpem.policies.dpem.own_state import node_status
from qdpem.policies.dpem.reliability import Reliability
from qdpem.policies.dpem.scales import saturate, share
from qdpem.policies.inventory.expected_needs import (
    REMEMBERED_S,
    Need,
    PeerKind,
    demand_between,
    due_times_s,
    kinds_at,
)
from qdpem.policies.routing.expiring_set import ExpiringSet
from qdpem.policy.interface import Context, Observation

MAX_LEVEL = 2
OPTIONS = MAX_LEVEL + 1

_SHORT_S = 2.0
_LEAST_PROBABILITY = 0.05
"""A peer that is less likely to ask within the life of a pair, and has no stock, is not decided about."""

_CLOCK_TOLERANCE = 1e-9
_COLUMN = columns(PEER_FEATURES)


class PeerFacts(NamedTuple):
    """What a peer's pairs take on an idle network, in seconds: see `PlannedStock` and `Planner`."""

    lookahead_s: float
    life_s: float
    unloaded_delay_s: float
    work_s: float


class _Level(NamedTuple):
    """Requests for which pairs are kept, and when the first of them is expected."""

    requests: int
    due_s: float


class PeerLevels:
    """The levels of all sites' peers, as the rule of needs that `PlannedStock` takes.

    Args:
        context: of the run.
        chooser: decides; shared by all kinds of decisions.
        facts: of a peer, computed once for each.
        contention_weight: as a feature.
        teacher_probability: the imitated rule keeps pairs for n requests if n are at least this probable
            within the look-ahead.
        teacher_life_probability: the same within the life of a pair.
    """

    def __init__(
        self,
        context: Context,
        chooser: Chooser,
        *,
        facts: Callable[[PeerKind], PeerFacts],
        contention_weight: float,
        teacher_probability: float,
        teacher_life_probability: float,
    ) -> None:
        self._network: Network = context.network
        self._chooser = chooser
        self._facts_of = facts
        self._weight = contention_weight
        self._teacher_probability = teacher_probability
        self._teacher_life_probability = teacher_life_probability
        self._step_s = context.forecasting.step_s
        self._horizon_s = self._step_s * context.forecasting.horizon_steps
        self._quota = np.floor(self._network.remote_storage_quota * self._network.memories)
        self._facts: dict[PeerKind, PeerFacts] = {}
        self._reliability = Reliability(self._network.node_count)
        self._levels: list[dict[PeerKind, _Level]] = [{} for _ in range(self._network.node_count)]
        self._decided_s = np.full(self._network.node_count, -np.inf)
        self._counted = ExpiringSet("counted")

    def note_requests(self, observations: Observation) -> None:
        """A request that came is expected no more: the level of its peer falls by one."""
        rows, places = (observations.request_id >= 0).nonzero()
        self._counted.remove_expired(observations.time_s)
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            request = int(observations.request_id[row, place])
            # A request that waits is observed again and again, but comes once.
            if not self._counted.contains(request, observations.time_s):
                kind = PeerKind(
                    int(observations.request_source[row, place]),
                    int(observations.request_destination[row, place]),
                    float(observations.request_target_fidelity[row, place]),
                    int(observations.request_pairs[row, place]),
                )
                self._reliability.count(int(observations.site[row]), kind)
                levels = self._levels[int(observations.site[row])]
                if kind in levels:
                    levels[kind] = levels[kind]._replace(requests=max(levels[kind].requests - 1, 0))
            self._counted.add(request, observations.time_s + REMEMBERED_S)

    def of(self, observations: Observation) -> list[Need]:
        """The needs of all observing sites, after those with a new forecast have decided."""
        self._decide(observations)
        needs = [
            Need(level.due_s, row, kind, level.requests * kind.pairs)
            for row, site in enumerate(observations.site.tolist())
            for kind, level in self._levels[site].items()
            if level.requests
        ]
        return sorted(needs)

    def state(self) -> dict[str, NDArray[Any]]:
        """Levels, times of the last decisions, and what the reliability of forecasts is computed from."""
        rows = [
            (*kind, level.requests, level.due_s) for levels in self._levels for kind, level in levels.items()
        ]
        return {
            "peer_levels": np.array(rows, dtype=np.float64).reshape(-1, 6),
            "peers_decided_s": self._decided_s.copy(),
            **self._counted.state(),
            **self._reliability.state(),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        self._levels = [{} for _ in range(self._network.node_count)]
        for source, destination, target, pairs, requests, due_s in state["peer_levels"].tolist():
            kind = PeerKind(int(source), int(destination), target, int(pairs))
            self._levels[kind.source][kind] = _Level(int(requests), due_s)
        self._decided_s = np.array(state["peers_decided_s"], dtype=np.float64)
        self._counted.load_state(state)
        self._reliability.load_state(state)

    def _decide(self, observations: Observation) -> None:
        due = observations.time_s >= self._decided_s[observations.site] + self._step_s - _CLOCK_TOLERANCE
        known = (observations.peer_source >= 0) & np.isfinite(observations.peer_scheduled).all(axis=2)
        # Of each site alone: what one site knows must not decide when another one decides.
        due &= known.any(axis=1)
        if not due.any():
            return
        self._decided_s[observations.site[due]] = observations.time_s
        for row in np.flatnonzero(due).tolist():
            self._levels[int(observations.site[row])] = {}
        self._learn_reliability(observations, due, known)
        known &= due[:, None]
        age = np.where(known, observations.forecast_age_s, 0.0) / self._step_s
        facts = self._facts_at(observations, known)
        probable = self._probable(observations, facts, age)
        on_hand = self._on_hand(observations)
        asked = known & ((probable[2, 1] >= _LEAST_PROBABILITY) | (on_hand > 0))
        rows, places = asked.nonzero()
        if not len(rows):
            return
        kinds = kinds_at(observations, rows, places)
        due_s = due_times_s(
            observations, (rows, places), age, age + facts[0] / self._step_s, step_s=self._step_s
        )
        table = self._features(observations, (rows, places), probable, facts, on_hand, due_s)
        choices = Choices(
            kind=Kind.PEER,
            time_s=observations.time_s,
            site=observations.site[rows],
            subject=np.array([kind[1:] for kind in kinds], dtype=np.float64),
            features=table.astype(np.float32),
            mask=np.ones((len(rows), OPTIONS), dtype=np.bool_),
        )
        soon, ever = (probable[window, 1:, rows, places] for window in (1, 2))
        likely = (soon >= self._teacher_probability) | (ever >= self._teacher_life_probability)
        chosen = self._chooser.choose(choices, teacher=likely.sum(axis=1))
        for kind, level, at_s in zip(kinds, chosen.tolist(), due_s.tolist(), strict=True):
            self._levels[kind.source][kind] = _Level(level, at_s)

    def _learn_reliability(self, observations: Observation, due: Flags, known: Flags) -> None:
        mean = observations.peer_scheduled[:, :, 0] + observations.peer_unscheduled[:, :, 0]
        for row in np.flatnonzero(due).tolist():
            places = np.flatnonzero(known[row])
            kinds = kinds_at(observations, np.full(len(places), row), places)
            expected = dict(zip(kinds, mean[row, places].tolist(), strict=True))
            self._reliability.next_step(int(observations.site[row]), expected)

    def _facts_at(self, observations: Observation, known: Flags) -> Floats:
        """The facts of the peers in each place, float64 [4, S, F]; 0 in places without one."""
        table = np.zeros((len(PeerFacts._fields), *known.shape))
        rows, places = known.nonzero()
        for row, place, kind in zip(
            rows.tolist(), places.tolist(), kinds_at(observations, rows, places), strict=True
        ):
            if kind not in self._facts:
                self._facts[kind] = self._facts_of(kind)
            table[:, row, place] = self._facts[kind]
        return table

    def _probable(self, observations: Observation, facts: Floats, age: Floats) -> Floats:
        """P(at least n requests) within 2 s, the look-ahead, and the life of a pair.

        float64 [3, 1 + MAX_LEVEL, S, F]. Lives longer than the horizon of forecasts end there.
        """
        windows_s = (np.minimum(_SHORT_S, facts[0]), facts[0], np.minimum(facts[1], self._horizon_s))
        table = np.ones((len(windows_s), 1 + MAX_LEVEL, *age.shape))
        for number, window_s in enumerate(windows_s):
            end = age + window_s / self._step_s
            expected = ExpectedDemand(
                scheduled=demand_between(observations.peer_scheduled, age, end),
                unscheduled=demand_between(observations.peer_unscheduled, age, end),
            )
            for level in range(1, 1 + MAX_LEVEL):
                table[number, level] = 1.0 - expected.cdf(level - 1.0)
        return table

    def _on_hand(self, observations: Observation) -> Ints:
        """Pairs with each peer's destination in stock or on order, int64 [S, F]."""
        own = np.where(observations.stock_owner == observations.site[:, None], observations.stock_partner, -2)
        return np.asarray((own[:, None, :] == observations.peer_destination[:, :, None]).sum(axis=2))

    def _features(
        self,
        observations: Observation,
        places: tuple[Ints, Ints],
        probable: Floats,
        facts: Floats,
        on_hand: Ints,
        due_s: Floats,
    ) -> Floats:
        """The features of each level of the peers in these places, float64 [M, OPTIONS, F].

        Args:
            observations: S rows, one per site.
            places: rows and columns of the peers, [M] each.
            probable: the result of `_probable`.
            facts: the result of `_facts_at`.
            on_hand: the result of `_on_hand`.
            due_s: when a request of each peer is expected, [M].
        """
        rows, _ = places
        level = np.arange(OPTIONS)
        table = np.zeros((len(rows), OPTIONS, len(PEER_FEATURES)))

        def fill(name: str, value: Floats) -> None:
            """A column of one value for each peer [M], or for each of its levels [M, OPTIONS]."""
            table[:, :, _COLUMN[name]] = value if value.ndim == 2 else value[:, None]

        pairs = observations.peer_pairs[places]
        wanted = level * pairs[:, None]
        held = on_hand[places][:, None]
        lookahead_s, life_s, unloaded_s, work_s = facts[:, rows, places[1]]
        table[:, 0, _COLUMN["none"]] = 1.0
        fill("level", np.broadcast_to(level / MAX_LEVEL, wanted.shape))
        for name, window in (("probable_short", 0), ("probable_lead", 1), ("probable_life", 2)):
            fill(name, probable[window][:, rows, places[1]].T)
        beyond = np.zeros_like(probable[1])
        beyond[:-1] = probable[1][1:]
        fill("surplus_probability", beyond[:, rows, places[1]].T)
        fill("missing", np.maximum(wanted - held, 0) / 4.0)
        fill("surplus", np.maximum(held - wanted, 0) / 4.0)
        fill("pairs", pairs / 4.0)
        fill("due", share(due_s - observations.time_s, lookahead_s))
        fill("life", share(life_s, np.full_like(life_s, self._horizon_s)))
        fill("unloaded_delay", share(np.minimum(unloaded_s, 1e6), life_s))
        # Work matters only for pairs that are still to be made.
        fill("work", saturate(np.minimum(work_s, 1e6)[:, None] * np.maximum(wanted - held, 0)))
        own = node_status(observations, self._network)[rows]
        for number, name in enumerate(("own_tokens", "own_memories", "own_backlog")):
            fill(name, own[:, number])
        destination = observations.peer_destination[places]
        taken = (observations.stock_partner[rows] == destination[:, None]).sum(axis=1)
        quota = self._quota[destination]
        fill("quota_left", np.maximum(quota - taken, 0.0) / np.maximum(quota, 1.0))
        fill("unscheduled", saturate(np.maximum(observations.peer_unscheduled[places].sum(axis=1), 0.0)))
        sites = observations.site[rows].tolist()
        fill("reliability", np.array([self._reliability.of(site) for site in sites]))
        fill("contention_weight", np.full(len(rows), self._weight))
        return np.clip(table, -1.0, 2.0)

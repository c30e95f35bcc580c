"""The timetable process: every demanded pair of nodes asks at its own regular times.

Start k of a pair of period T and phase p is nominally at p + kT. A start is displaced by J z_k with z_k
standard normal, from its nominal time or, where jitter accumulates, from the start before it plus T. Some
starts are skipped. Unannounced requests are a Poisson process beside them.

Keys of the random streams of the pair A/B in the process NAME: `demand/process/NAME/pair/A/B` (end that asks,
class), `.../period/A/B` (period, phase), and on either side of t = 0 `.../jitter/A/B/after`,
`.../skip/A/B/after` and `.../unannounced/A/B/after`, or `before`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qdpem.arrays import Flags, Floats, Ints
from qdpem.demand.peers import Peers
from qdpem.demand.processes.demanded_pairs import DemandedPairs, draw_demanded_pairs
from qdpem.demand.processes.drift_filter import expected_drifting_starts
from qdpem.demand.processes.process import DrawnRequests, ExpectedDemand, Span, poisson_times
from qdpem.network.graph import Network
from qdpem.rng import stream
from qdpem.scenario.schema import RequestClass, Timetable

_MAX_DEVIATIONS = 8.0
"""A normal draw exceeds this many standard deviations with probability 1.3e-15."""
_MIN_JITTER_S = 1e-9
_OVERDUE = 1e-12


@dataclass(frozen=True, eq=False, kw_only=True)
class _Starts:
    """The starts of one pair, in the order of k from `first_k` on; float64 and bool of one length."""

    first_k: int
    start_s: Floats
    skipped: Flags


@dataclass(frozen=True, eq=False, kw_only=True)
class TimetableDemand:
    """A timetable under one seed, over its `span`.

    `demanded`: its pairs of nodes. `period_s`, `phase_s` float64 [E].
    """

    name: str
    settings: Timetable
    demanded: DemandedPairs
    period_s: Floats
    phase_s: Floats
    span: Span
    seed: int

    @property
    def classes(self) -> tuple[RequestClass, ...]:
        """The classes of its requests."""
        return self.settings.classes

    @property
    def rate_hz(self) -> float:
        """Requests per second."""
        return float(self.demanded.rate_hz.sum())

    def draw(self) -> tuple[list[DrawnRequests], list[DrawnRequests]]:
        """The requests before t = 0 and those of the run."""
        sides: tuple[list[DrawnRequests], list[DrawnRequests]] = [], []
        for pair, starts in enumerate(self._starts):
            start_s = starts.start_s[~starts.skipped]
            before, after = self._unannounced(pair)
            time_s = np.concatenate([start_s, before, after])
            for side, inside in (
                (sides[0], (time_s >= -self.span.history_s) & (time_s < 0.0)),
                (sides[1], (time_s >= 0.0) & (time_s < self.span.end_s)),
            ):
                side.append(self.demanded.requests(pair, np.sort(time_s[inside])))
        return sides

    def expected(self, peers: Peers, *, now_s: float, edges_s: Floats) -> ExpectedDemand:
        """What one expects who knows periods, phases and jitter, and which starts have come.

        A start k that has not been seen by now and is nominally at g comes in [a, b) with the probability

            (1 - q) (F(b) - F(a)) / (q + (1 - q)(1 - F(now))),

        F the normal distribution function of mean g and deviation J, q the fraction skipped. This is exact,
        because starts are independent. Where jitter accumulates, `expected_drifting_starts` says it.
        """
        if self.settings.jitter_accumulates:
            scheduled = expected_drifting_starts(
                now_s - self._last_seen(now_s),
                np.maximum(edges_s - now_s, 0.0),
                period_s=self.period_s,
                jitter_s=self.settings.jitter_s,
                skipped_fraction=self.settings.skipped_fraction,
            )
        else:
            scheduled = self._expected_regular(now_s, edges_s)
        return self._placed(peers, scheduled, edges_s)

    def _expected_regular(self, now_s: float, edges_s: Floats) -> Floats:
        """Expected starts of each pair around its fixed calendar, float64 [E, H]."""
        from scipy.special import ndtr

        nominal_s, unseen = self._ahead(now_s, float(edges_s[-1]))
        spread_s = max(self.settings.jitter_s, _MIN_JITTER_S)
        kept = 1.0 - self.settings.skipped_fraction
        # No start that is still to come lies before now.
        below = ndtr((np.maximum(edges_s, now_s) - nominal_s[..., None]) / spread_s)
        # `edges_s[0]` may lie after now: what a start that is due in between costs is not lost.
        left = 1.0 - kept * ndtr((now_s - nominal_s) / spread_s)
        chance = kept * np.diff(below, axis=-1) / np.maximum(left, _OVERDUE)[..., None]
        # A start overdue beyond any doubt was skipped: it does not come.
        chance[~unseen | (left <= _OVERDUE)] = 0.0
        return np.asarray(np.clip(chance, 0.0, 1.0).sum(axis=1))

    def realised(self, peers: Peers, *, edges_s: Floats) -> ExpectedDemand:
        """The starts that come, and the rate of unannounced requests."""
        counts = np.zeros((len(self.demanded), len(edges_s) - 1))
        for pair, starts in enumerate(self._starts):
            counts[pair] = np.histogram(starts.start_s[~starts.skipped], bins=edges_s)[0]
        return self._placed(peers, counts, edges_s)

    @cached_property
    def _starts(self) -> tuple[_Starts, ...]:
        """All starts of every pair that may fall into the span, with `span.beyond_s` at both ends."""
        draw = self._drifting if self.settings.jitter_accumulates else self._regular
        return tuple(draw(pair) for pair in range(len(self.demanded)))

    def _regular(self, pair: int) -> _Starts:
        """Starts around a fixed calendar."""
        period_s, phase_s = float(self.period_s[pair]), float(self.phase_s[pair])
        reach_s = self.span.beyond_s + _MAX_DEVIATIONS * self.settings.jitter_s
        after = max(0, math.ceil((self.span.end_s + reach_s - phase_s) / period_s) + 1)
        before = max(0, math.ceil((self.span.history_s + reach_s + phase_s) / period_s) + 1)
        z, skipped = self._draws(pair, before, after)
        k = np.arange(-before, after)
        return _Starts(
            first_k=-before,
            start_s=phase_s + k * period_s + self.settings.jitter_s * z,
            skipped=skipped,
        )

    def _drifting(self, pair: int) -> _Starts:
        """Starts each displaced from the one before it, outwards from t = 0."""
        period_s, phase_s = float(self.period_s[pair]), float(self.phase_s[pair])
        jitter_s = self.settings.jitter_s

        def count(span_s: float) -> int:
            # Accumulated jitter grows with the root of the number of starts: draw until it cannot matter.
            steps = max(0.0, span_s) / period_s
            margin = _MAX_DEVIATIONS * jitter_s * math.sqrt(steps + 1.0) / period_s
            return math.ceil(steps + 2.0 * margin + margin * margin) + 2

        after, before = (
            count(self.span.end_s + self.span.beyond_s),
            count(self.span.history_s + self.span.beyond_s),
        )
        z, skipped = self._draws(pair, before, after)
        later_s = phase_s + np.cumsum(period_s + jitter_s * z[before:]) - period_s
        earlier_s = later_s[0] - np.cumsum(period_s + jitter_s * z[before - 1 :: -1])
        return _Starts(first_k=-before, start_s=np.concatenate([earlier_s[::-1], later_s]), skipped=skipped)

    def _draws(self, pair: int, before: int, after: int) -> tuple[Floats, Flags]:
        """Normals and skips of starts -before ... after - 1; one stream per direction, which only appends."""

        def side(purpose: str, side: str) -> np.random.Generator:
            return stream(self.seed, f"demand/process/{self.name}/{purpose}/{self.demanded.key[pair]}/{side}")

        z = np.concatenate(
            [
                side("jitter", "before").standard_normal(before)[::-1],
                side("jitter", "after").standard_normal(after),
            ]
        )
        u = np.concatenate([side("skip", "before").random(before)[::-1], side("skip", "after").random(after)])
        return z, u < self.settings.skipped_fraction

    def _unannounced(self, pair: int) -> tuple[Floats, Floats]:
        """Times of unannounced requests before and after t = 0."""
        rate_hz = self.settings.unannounced_fraction * float(self.demanded.rate_hz[pair])
        if rate_hz == 0.0:
            return np.zeros(0), np.zeros(0)
        before, after = (
            poisson_times(
                rate_hz,
                span_s,
                stream(self.seed, f"demand/process/{self.name}/unannounced/{self.demanded.key[pair]}/{side}"),
            )
            for side, span_s in (("before", self.span.history_s), ("after", self.span.end_s))
        )
        return -before, after

    def _ahead(self, now_s: float, until_s: float) -> tuple[Floats, Flags]:
        """Nominal times of the starts that may still come, and whether they have not: [E, C] both."""
        reach_s = _MAX_DEVIATIONS * self.settings.jitter_s
        first_k = np.floor((now_s - reach_s - self.phase_s) / self.period_s).astype(np.int64)
        last_k = np.ceil((until_s + reach_s - self.phase_s) / self.period_s).astype(np.int64)
        k = first_k[:, None] + np.arange(int((last_k - first_k).max(initial=0)) + 1)
        return self.phase_s[:, None] + k * self.period_s[:, None], ~self._seen(k, now_s)

    def _seen(self, k: Ints, now_s: float) -> Flags:
        """Which of these starts [E, C] have come by now and were not skipped."""
        seen = np.zeros(k.shape, dtype=np.bool_)
        for pair, starts in enumerate(self._starts):
            row = k[pair] - starts.first_k
            drawn = (row >= 0) & (row < len(starts.start_s))
            at = row[drawn]
            seen[pair, drawn] = ~starts.skipped[at] & (starts.start_s[at] <= now_s)
        return seen

    def _last_seen(self, now_s: float) -> Floats:
        """Time of the last start that has come, float64 [E]; the first nominal one where none has."""
        last_s = np.empty(len(self.demanded))
        for pair, starts in enumerate(self._starts):
            come = starts.start_s[~starts.skipped & (starts.start_s <= now_s)]
            last_s[pair] = come.max() if len(come) else starts.start_s[0] - self.period_s[pair]
        return last_s

    def _placed(self, peers: Peers, scheduled: Floats, edges_s: Floats) -> ExpectedDemand:
        """Values [E, H] of the pairs at the places of their peers, with the rate of unannounced requests."""
        shape = (*peers.destination.shape, len(edges_s) - 1)
        node, place, listed = self.demanded.at(peers)
        both = np.zeros((2, *shape))
        both[0][node[listed], place[listed]] = scheduled[listed]
        random_hz = self.settings.unannounced_fraction * self.demanded.rate_hz[listed]
        both[1][node[listed], place[listed]] = random_hz[:, None] * np.diff(edges_s)
        return ExpectedDemand(scheduled=both[0], unscheduled=both[1])


def build_timetable(
    name: str,
    settings: Timetable,
    network: Network,
    weights: Floats,
    *,
    rate_hz: float,
    span: Span,
    seed: int,
) -> TimetableDemand:
    """The timetable `name` under one seed.

    Args:
        name: of the process.
        settings: its table in the scenario.
        network: gives the names of nodes.
        weights: float64 [N, N], fraction of all requests from each node to each other.
        rate_hz: requests per second of the process, skipped ones not counted.
        span: the time for which it is drawn.
        seed: the traffic seed.
    """
    demanded = draw_demanded_pairs(
        weights, settings.classes, process=name, rate_hz=rate_hz, names=network.graph.node_names, seed=seed
    )
    draws = np.array([stream(seed, f"demand/process/{name}/period/{key}").random(2) for key in demanded.key])
    factor = 1.0 + settings.period_spread * (2.0 * draws.reshape(-1, 2)[:, 0] - 1.0)
    # Shorter periods mean more requests: the rates of all pairs are scaled to keep their sum.
    own_hz = demanded.rate_hz / factor
    own_hz *= rate_hz / own_hz.sum()
    period_s = 1.0 / (own_hz * settings.starts_per_request)
    return TimetableDemand(
        name=name,
        settings=settings,
        demanded=demanded.with_rates(own_hz),
        period_s=period_s,
        phase_s=period_s * draws.reshape(-1, 2)[:, 1],
        span=span,
        seed=seed,
    )

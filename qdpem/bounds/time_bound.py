"""The clairvoyant bound of one seed: what is used for a request is made while it can be of use to it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdpem.bounds.constrained_paths import BudgetedPaths, Way
from qdpem.bounds.flow_bound import SeedBound, between, proved, settled
from qdpem.bounds.master import Cut, Groups, Master, Prices, Solution, Span
from qdpem.bounds.seed_supply import SeedSample
from qdpem.flow.pricing import Arcs
from qdpem.network.graph import Network

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Ways = Mapping[tuple[int, int], Sequence[Way]]

_MIN_GAIN = 1e-7
_MIN_EXCESS = 1e-3
_ROWS = 1024
_LENGTH_STEP = 1.1
_MAX_CUTS = 4000
_MAX_IDLE = 4
_SETTLED = 2
"""Rounds for which programme and proof may agree while cuts are broken that cost nothing."""


class Progress(NamedTuple):
    """How far a bound is: rounds made, what is proved, what the programme has, its columns and cuts."""

    rounds: int
    bound: float
    value: float
    columns: int
    cuts: int


def time_bound_of_seed(
    network: Network,
    sample: SeedSample,
    groups: Groups,
    *,
    bin_s: float,
    ways: Ways,
    tolerance: float = 5e-3,
    limit_s: float = math.inf,
    on_progress: Callable[[Progress], None] | None = None,
) -> SeedBound:
    """The most that any policy, knowing all that comes, can deliver of `groups` in time.

    All that a delivery takes, fresh pairs and swaps, is made within the span of its group, in bins of
    `bin_s`, which its caller has rounded outwards: from its arrival (without stock) or before that by the
    longest useful life (with stock), until its deadline. So for every window of time

        sum over spans inside the window of what they use <= the most the window holds,

    which for one resource is Hall's condition for sharing out what is made at known times. It holds in every
    run: uses of different deliveries are different pairs and swaps, all made inside the window. Windows hold
    burst + rate x length tokens at a repeater, the window's emissions, and the attempts that fit; any subset
    of windows is valid, and those that are broken are taken in as cuts, for nodes and for single links; the
    whole run is there from the start, sources shared out exactly, so that the bound never lies above
    `flow_bound_of_seed` of the same groups. What is left out (ages of pairs against each other, memories, the order
    of swaps, deadlines of messages) raises it.

    Columns and cuts are generated; it ends when programme and proof are within `tolerance`, relatively, and
    no cut is broken or none that matters, or at the end of the round in which `limit_s` seconds have passed.
    Whenever it ends, the bound is proved by prices. `ways`, by (source, destination), are the first ones.
    """
    return _Timed(network, sample, groups, bin_s=bin_s, ways=ways).solve(
        tolerance=tolerance, limit_s=limit_s, on_progress=on_progress
    )


class _Timed:
    """The programme with its cuts and columns."""

    def __init__(
        self, network: Network, sample: SeedSample, groups: Groups, *, bin_s: float, ways: Ways
    ) -> None:
        self._network, self._sample, self._bin_s = network, sample, bin_s
        self._master = Master(network, sample.tiers, sample.supply(0.0, sample.end_s), groups)
        self._arcs = Arcs.of(network)
        self._bins = bins_in(sample.end_s, bin_s)
        self._octaves = _octaves(self._bins)
        self._held: dict[tuple[bool, int], tuple[Floats, ...]] = {}
        self._cuts: set[tuple[Span, int, frozenset[int]]] = set()
        self._idle: dict[tuple[Span, int, frozenset[int]], int] = {}
        self._begin(ways)

    def solve(
        self, *, tolerance: float, limit_s: float, on_progress: Callable[[Progress], None] | None
    ) -> SeedBound:
        """Alternate between the best flow, the cuts that it breaks and the ways that pay."""
        master, began_s = self._master, time.monotonic()
        nothing = Prices(np.zeros(self._network.link_count), np.zeros(self._network.node_count), np.zeros(0))
        best, value, rounds, settled_for = SeedBound(bound=math.inf), 0.0, 0, 0
        centre = nothing
        self._price(nothing, None)
        if not master.columns:
            return SeedBound(bound=0.0, converged=True)
        while True:
            solution = master.solve()
            rounds, value = rounds + 1, solution.value
            broken = self._cut(solution)
            added = 0
            for prices in (solution.prices, between(solution.prices, centre)):
                now, new = self._price(prices, solution)
                added += new
                if now.bound < best.bound:
                    best, centre = now, prices
            master.cuts += broken
            if on_progress is not None:
                on_progress(Progress(rounds, best.bound, value, len(master.columns), len(master.cuts)))
            settled_for = settled_for + 1 if settled(best.bound, value, tolerance=tolerance) else 0
            converged = settled_for == _SETTLED or (not broken and bool(settled_for or not added))
            if converged or time.monotonic() - began_s > limit_s:
                break
            centre = self._drop_idle(solution.prices, centre)
        return replace(best, rounds=rounds, converged=converged, found=min(value, best.bound))

    def _drop_idle(self, prices: Prices, centre: Prices) -> Prices:
        """Let go of cuts that have cost nothing for some rounds; the centre's prices without them."""
        cuts, known = self._master.cuts, len(prices.cut)
        worth = prices.cut.copy()
        worth[: len(centre.cut)] += centre.cut
        kept, staying = [], np.ones(len(cuts), dtype=np.bool_)
        for place, cut in enumerate(cuts):
            key = cut[:3]
            idle = self._idle.get(key, 0) + 1 if place < known and worth[place] <= 0.0 else 0
            self._idle[key] = idle
            staying[place] = idle < _MAX_IDLE
            if staying[place]:
                kept.append(cut)
            else:
                self._cuts.discard(key)
                del self._idle[key]
        self._master.cuts = kept
        return centre._replace(cut=centre.cut[staying[: len(centre.cut)]])

    def _begin(self, ways: Ways) -> None:
        """Take in the ways known for each group's ends."""
        groups = self._master.groups
        ends = zip(groups.source.tolist(), groups.destination.tolist(), strict=True)
        for group, pair in enumerate(ends):
            for way in ways.get(pair, ()):
                if way.pairs.count(1) <= groups.max_single[group]:
                    self._add(group, way)

    def _add(self, group: int, way: Way) -> bool:
        groups = self._master.groups
        span = groups.loose[group] if 2 in way.pairs else groups.span[group]
        return self._master.add(group, way, span)

    def _price(self, prices: Prices, solution: Solution | None) -> tuple[SeedBound, int]:
        """The bound that the prices prove, and how many ways that pay were new."""
        master, groups = self._master, self._master.groups
        count = len(groups)
        cost, added = np.full(count, np.inf), 0
        demand = np.zeros(count) if solution is None else solution.demand
        alike = list(groups.span) == list(groups.loose)
        kinds = [(groups.span, True)] if alike else [(groups.span, False), (groups.loose, True)]
        for spans, doubles in kinds:
            for rows, paths, own in self._searches(prices, spans, doubles=doubles):
                found = paths.cost(rows, groups.destination[own], groups.max_single[own])
                pays = np.isfinite(found) & (found < groups.gain[own] - demand[own] - _MIN_GAIN)
                for place in np.flatnonzero(pays).tolist():
                    group = int(own[place])
                    limit = int(groups.max_single[group])
                    way = paths.way(int(rows[place]), int(groups.destination[group]), limit)
                    added += self._add(group, way)
                cost[own] = np.minimum(cost[own], found)
        return proved(master, prices, cost), added

    def _searches(
        self, prices: Prices, spans: object, *, doubles: bool
    ) -> list[tuple[Ints, BudgetedPaths, Ints]]:
        """Searches under the prices of each span: rows, the search, and the groups they belong to."""
        groups, master = self._master.groups, self._master
        keys = np.column_stack([groups.source, np.array(spans, dtype=np.int64).reshape(-1, 2)])
        kinds, row = np.unique(keys, axis=0, return_inverse=True)
        row = row.reshape(-1)
        link, swap = self._span_prices(prices, kinds[:, 1:])
        found = []
        for first in range(0, len(kinds), _ROWS):
            own = np.flatnonzero((row >= first) & (row < first + _ROWS))
            paths = BudgetedPaths(
                self._arcs,
                kinds[first : first + _ROWS, 0],
                link_price=link[first : first + _ROWS],
                node_price=swap[first : first + _ROWS] + master.dead,
                max_single=int(groups.max_single[own].max()),
                doubles=doubles,
            )
            found.append((row[own] - first, paths, own))
        return found

    def _span_prices(self, prices: Prices, spans: Ints) -> tuple[Floats, Floats]:
        """Prices of links [S, L] and swaps [S, N] in each span: of the run and of every window around it."""
        master = self._master
        link = np.tile(prices.link, (len(spans), 1))
        swap = np.tile(prices.swap, (len(spans), 1))
        cuts = [
            (price, cut) for price, cut in zip(prices.cut.tolist(), master.cuts, strict=True) if price > 0
        ]
        if not cuts:
            return link, swap
        from scipy.sparse import csr_matrix

        windows = np.array([cut.window for _, cut in cuts])
        inside = (windows[:, 0] <= spans[:, :1]) & (spans[:, 1:] <= windows[:, 1])
        for table, entries in (
            (swap, [(price, row, cut.node) for row, (price, cut) in enumerate(cuts) if cut.node >= 0]),
            (link, [(price, row, one) for row, (price, cut) in enumerate(cuts) for one in cut.links]),
        ):
            if entries:
                values, rows, places = np.array(entries, dtype=np.float64).T
                shape = (len(cuts), table.shape[1])
                dear = csr_matrix((values, (rows.astype(int), places.astype(int))), shape=shape)
                table += (csr_matrix(inside.astype(np.float64)) @ dear).toarray()
        return link, swap

    @property
    def _spans(self) -> Ints:
        """Of every column, int64 [C, 2]."""
        return np.array([column.span for column in self._master.columns], dtype=np.int64).reshape(-1, 2)

    def _cut(self, solution: Solution) -> list[Cut]:
        """New windows whose nodes or links the flow uses more than they hold."""
        spans = self._spans
        found: list[tuple[float, Cut]] = []
        for is_link, uses in zip((True, False), self._master.uses(), strict=True):
            for place in range(uses.shape[0]):
                found += self._broken(place, uses[place], solution.flow, spans, is_link=is_link)
        found.sort(key=lambda one: -one[0])
        new = [cut for _, cut in found if cut[:3] not in self._cuts][:_MAX_CUTS]
        self._cuts.update(cut[:3] for cut in new)
        return new

    def _broken(
        self, place: int, uses: Any, flow: Floats, spans: Ints, *, is_link: bool
    ) -> list[tuple[float, Cut]]:
        """The worst windows of a link or node: one for each octave of length and stretch of half of it."""
        amounts = uses.data * flow[uses.indices]
        own = amounts > 0.0
        if amounts.sum() < 1.0 + _MIN_EXCESS:
            return []
        spans = spans[uses.indices[own]]
        inside = np.zeros((self._bins + 1, self._bins + 1))
        np.add.at(inside, (spans[:, 0], spans[:, 1]), amounts[own])
        inside = np.cumsum(np.cumsum(inside[::-1], axis=0)[::-1], axis=1)
        starts, found = np.arange(self._bins + 1)[:, None], []
        for lengths in self._octaves:
            ends = np.minimum(starts + lengths, self._bins)
            excess = inside[starts, ends] - self._maximum(place, starts, ends, lengths, is_link=is_link)
            worst, block = excess.max(axis=1), max(int(lengths[0]) // 2, 1)
            for first in range(0, self._bins + 1, block):
                start = first + int(worst[first : first + block].argmax())
                if worst[start] > _MIN_EXCESS:
                    window = (start, int(ends[start, excess[start].argmax()]))
                    cut = self._made(window, place, is_link=is_link)
                    found.append((float(inside[window]) - cut.maximum, cut))
        return found

    def _made(self, window: Span, place: int, *, is_link: bool) -> Cut:
        from_s, until_s = (self._bin_s * edge for edge in window)
        if is_link:
            return Cut(window, -1, frozenset([place]), self._sample.pairs(place, from_s, until_s))
        return Cut(window, place, frozenset(), self._sample.swaps(place, from_s, until_s))

    def _maximum(self, place: int, starts: Ints, ends: Ints, lengths: Ints, *, is_link: bool) -> Floats:
        """What a link or node can give in windows, [starts, lengths], or more."""
        key = (is_link, place)
        if key not in self._held:
            self._held[key] = self._table(place, is_link=is_link)
        table = self._held[key]
        if len(table) == 2:
            return np.asarray(table[1][ends] - table[0][starts])
        return np.asarray(np.broadcast_to(table[0][lengths], ends.shape))

    def _table(self, place: int, *, is_link: bool) -> tuple[Floats, ...]:
        """Emissions before and up to each bin's edge, or the most that a window of each length can hold."""
        sample, bin_s = self._sample, self._bin_s
        if is_link and sample.tiers.of[place, 0] >= 0:
            edges = bin_s * np.arange(self._bins + 1, dtype=np.float64)
            return sample.emitted(place, edges)
        found = np.zeros(self._bins + 1)
        for length in np.unique(np.concatenate(self._octaves)).tolist():
            last = (max(sample.end_s - length * bin_s, 0.0), sample.end_s)
            found[length] = (sample.pairs if is_link else sample.swaps)(place, *last)
        return (found,)


def bins_in(end_s: float, bin_s: float) -> int:
    """Bins of `bin_s` that hold all of [0, end_s]; never one too few, by rounding one too many."""
    return max(math.ceil(end_s / bin_s), 1)


def _octaves(bins: int) -> list[Ints]:
    """Lengths of windows, in whole bins, that grow by a tenth; those between powers of two together."""
    lengths, found = [1], list[Ints]()
    while lengths[-1] < bins:
        lengths.append(min(max(lengths[-1] + 1, int(lengths[-1] * _LENGTH_STEP)), bins))
    kept = np.array(lengths)
    octave = np.floor(np.log2(kept)).astype(int)
    for number in np.unique(octave).tolist():
        found.append(kept[octave == number])
    return found

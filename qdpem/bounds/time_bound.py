"""The clairvoyant bound of one seed: all that a delivery uses is made while it can be of use to it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import numpy as np

from qdpem.arrays import Floats, Ints
from qdpem.bounds.constrained_paths import BudgetedPath, BudgetedPaths
from qdpem.bounds.flow_bound import SeedBound, bound_by_prices, is_close, smoothed
from qdpem.bounds.master import Cut, DualPrices, Master, RequestGroups, Solution, Span
from qdpem.bounds.seed_supply import SeedSample
from qdpem.bounds.windows import Windows
from qdpem.flow.pricing import Arcs
from qdpem.network.graph import Network

KnownPaths: TypeAlias = Mapping[tuple[int, int], Sequence[BudgetedPath]]
"""Paths by source and destination."""

_CutKey: TypeAlias = tuple[Span, int, frozenset[int]]

_MIN_GAIN = 1e-7
_MAX_ROWS = 1024
_MAX_CUTS = 4000
_MAX_IDLE_ROUNDS = 4
_CLOSE_ROUNDS = 2
"""Rounds after which the generation ends although free cuts are violated, if bound and flow stay close."""


class Progress(NamedTuple):
    """How far a bound has got: rounds, the proved bound, the value of the flow, columns and cuts."""

    rounds: int
    bound: float
    value: float
    columns: int
    cuts: int


def time_bound_of_seed(
    network: Network,
    sample: SeedSample,
    groups: RequestGroups,
    *,
    bin_s: float,
    paths: KnownPaths,
    tolerance: float = 5e-3,
    limit_s: float = math.inf,
    on_progress: Callable[[Progress], None] | None = None,
) -> SeedBound:
    """A bound on the deliveries of `groups` in time by any policy, even one that knows all that comes.

    All that a delivery takes, fresh pairs and swaps, is made within the span of its group. It ends at the
    deadline, and it begins with the arrival (without stock) or earlier by the largest useful age (with
    stock), rounded outwards to bins. So for every window of time

        sum over spans inside the window of their use <= the supply of the window,

    which for one resource is Hall's condition for sharing out what is made at known times. It holds in every
    run: different deliveries use different pairs and swaps, all made inside the window. A window supplies
    burst + rate x length tokens at a repeater, its emissions, and the attempts that fit. Any subset of
    windows is valid, and violated ones are added as cuts, for nodes and for single links. The whole run is
    there from the start, with the emissions of sources shared out exactly, so that the bound never lies above
    `flow_bound_of_seed` of the same groups. Ages of pairs against each other, memories, the order of swaps
    and deadlines of messages are left out, which raises the bound.

    Columns and cuts are generated. The generation ends when flow and bound are close and no cut is violated,
    or only cuts that do not matter. Whenever it ends, prices prove the bound. Raises QdpemError when the
    solver fails.

    Args:
        network: the network.
        sample: the random outcomes of the seed.
        groups: the requests, with their spans in bins.
        bin_s: length of a bin.
        paths: the first columns, such as the paths of `flow_bound_of_seed`.
        tolerance: flow and bound are close when they differ by no more, relatively.
        limit_s: the generation ends with the round in which so many seconds of wall time have passed.
        on_progress: called after each round.
    """
    generation = _CutGeneration(network, sample, groups, bin_s=bin_s, paths=paths)
    return generation.run(tolerance=tolerance, limit_s=limit_s, on_progress=on_progress)


class _CutGeneration:
    """The master problem, and the searches for its columns and cuts."""

    def __init__(
        self,
        network: Network,
        sample: SeedSample,
        groups: RequestGroups,
        *,
        bin_s: float,
        paths: KnownPaths,
    ) -> None:
        self._network = network
        self._master = Master(network, sample.levels, sample.supply(0.0, sample.end_s), groups)
        self._arcs = Arcs.of(network)
        self._windows = Windows(sample, bin_s=bin_s)
        self._cuts: set[_CutKey] = set()
        self._idle_rounds: dict[_CutKey, int] = {}
        self._add_known_paths(paths)

    def run(
        self, *, tolerance: float, limit_s: float, on_progress: Callable[[Progress], None] | None
    ) -> SeedBound:
        """Alternate between the best flow, the cuts that it violates and the paths that pay."""
        master, began_s = self._master, time.monotonic()
        free = DualPrices(np.zeros(self._network.link_count), np.zeros(self._network.node_count), np.zeros(0))
        best, value, rounds, close_rounds = SeedBound(bound=math.inf), 0.0, 0, 0
        centre = free
        # Free resources first: a group without a path even now can never be served.
        self._price(free, None)
        if not master.columns:
            return SeedBound(bound=0.0, converged=True)
        while True:
            solution = master.solve()
            rounds, value = rounds + 1, solution.value
            # Searched before pricing adds columns, because the solution has no flow on new columns.
            violated = self._violated_cuts(solution)
            added = 0
            for prices in (solution.prices, smoothed(solution.prices, centre)):
                proved, new = self._price(prices, solution)
                added += new
                if proved.bound < best.bound:
                    best, centre = proved, prices
            # Added only after pricing: the prices of this solution belong to the cuts it was solved with.
            master.cuts += violated
            if on_progress is not None:
                on_progress(Progress(rounds, best.bound, value, len(master.columns), len(master.cuts)))
            close_rounds = close_rounds + 1 if is_close(best.bound, value, tolerance=tolerance) else 0
            converged = close_rounds == _CLOSE_ROUNDS or (not violated and bool(close_rounds or not added))
            if converged or time.monotonic() - began_s > limit_s:
                break
            centre = self._drop_idle_cuts(solution.prices, centre)
        return replace(best, rounds=rounds, converged=converged, flow_value=min(value, best.bound))

    def _drop_idle_cuts(self, prices: DualPrices, centre: DualPrices) -> DualPrices:
        """Drop the cuts that had no price for some rounds; the centre's prices without them."""
        cuts, priced = self._master.cuts, len(prices.cut)
        price = prices.cut.copy()
        # A cut that the centre prices is in use too; dropping it would weaken the smoothed prices.
        price[: len(centre.cut)] += centre.cut
        kept_cuts, kept = [], np.ones(len(cuts), dtype=np.bool_)
        for number, cut in enumerate(cuts):
            key = cut[:3]
            # Cuts added in this round have no price yet and are not idle.
            idle = self._idle_rounds.get(key, 0) + 1 if number < priced and price[number] <= 0.0 else 0
            self._idle_rounds[key] = idle
            kept[number] = idle < _MAX_IDLE_ROUNDS
            if kept[number]:
                kept_cuts.append(cut)
            else:
                self._cuts.discard(key)
                del self._idle_rounds[key]
        self._master.cuts = kept_cuts
        return centre._replace(cut=centre.cut[kept[: len(centre.cut)]])

    def _add_known_paths(self, paths: KnownPaths) -> None:
        """Add the known paths between each group's ends that it may use."""
        groups = self._master.groups
        ends = zip(groups.source.tolist(), groups.destination.tolist(), strict=True)
        for group, pair in enumerate(ends):
            for path in paths.get(pair, ()):
                if path.pairs.count(1) <= groups.max_single[group]:
                    self._add(group, path)

    def _add(self, group: int, path: BudgetedPath) -> bool:
        groups = self._master.groups
        span = groups.distilled_span[group] if 2 in path.pairs else groups.span[group]
        return self._master.add(group, path, span)

    def _price(self, prices: DualPrices, solution: Solution | None) -> tuple[SeedBound, int]:
        """The bound that the prices prove, and the number of new columns that pay."""
        master, groups = self._master, self._master.groups
        count = len(groups)
        min_cost, added = np.full(count, np.inf), 0
        demand_price = np.zeros(count) if solution is None else solution.demand_price
        same_spans = list(groups.span) == list(groups.distilled_span)
        # Paths with a double hop may have a longer span, so they are priced in a search of their own.
        cases = [(groups.span, True)] if same_spans else [(groups.span, False), (groups.distilled_span, True)]
        for spans, doubles in cases:
            for rows, search, own in self._searches(prices, spans, doubles=doubles):
                cost = search.cost(rows, groups.destination[own], groups.max_single[own])
                pays = np.isfinite(cost) & (cost < groups.gain[own] - demand_price[own] - _MIN_GAIN)
                for index in np.flatnonzero(pays).tolist():
                    group = int(own[index])
                    limit = int(groups.max_single[group])
                    path = search.path(int(rows[index]), int(groups.destination[group]), limit)
                    added += self._add(group, path)
                min_cost[own] = np.minimum(min_cost[own], cost)
        return bound_by_prices(master, prices, min_cost), added

    def _searches(
        self, prices: DualPrices, spans: object, *, doubles: bool
    ) -> list[tuple[Ints, BudgetedPaths, Ints]]:
        """Searches under the prices of each span: rows, the search, and the groups they belong to."""
        groups, master = self._master.groups, self._master
        keys = np.column_stack([groups.source, np.array(spans, dtype=np.int64).reshape(-1, 2)])
        rows, row_of_group = np.unique(keys, axis=0, return_inverse=True)
        row_of_group = row_of_group.reshape(-1)
        link, swap = self._span_prices(prices, rows[:, 1:])
        searches = []
        # Blocks of rows bound the memory of one search.
        for first in range(0, len(rows), _MAX_ROWS):
            own = np.flatnonzero((row_of_group >= first) & (row_of_group < first + _MAX_ROWS))
            search = BudgetedPaths(
                self._arcs,
                rows[first : first + _MAX_ROWS, 0],
                link_price=link[first : first + _MAX_ROWS],
                node_price=swap[first : first + _MAX_ROWS] + master.no_swap,
                max_single=int(groups.max_single[own].max()),
                doubles=doubles,
            )
            searches.append((row_of_group[own] - first, search, own))
        return searches

    def _span_prices(self, prices: DualPrices, spans: Ints) -> tuple[Floats, Floats]:
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
            (link, [(price, row, index) for row, (price, cut) in enumerate(cuts) for index in cut.links]),
        ):
            if entries:
                values, rows, columns = np.array(entries, dtype=np.float64).T
                shape = (len(cuts), table.shape[1])
                cut_prices = csr_matrix((values, (rows.astype(int), columns.astype(int))), shape=shape)
                table += (csr_matrix(inside.astype(np.float64)) @ cut_prices).toarray()
        return link, swap

    @property
    def _spans(self) -> Ints:
        """The span of every column, int64 [C, 2]."""
        return np.array([column.span for column in self._master.columns], dtype=np.int64).reshape(-1, 2)

    def _violated_cuts(self, solution: Solution) -> list[Cut]:
        """New cuts of windows in which the flow uses more of a node or a link than it supplies."""
        spans = self._spans
        violated: list[tuple[float, Cut]] = []
        for is_link, uses in zip((True, False), self._master.uses(), strict=True):
            for index in range(uses.shape[0]):
                violated += self._windows.violated(index, uses[index], solution.flow, spans, is_link=is_link)
        # The most violated cuts first, because only `_MAX_CUTS` are added in a round.
        violated.sort(key=lambda pair: -pair[0])
        new = [cut for _, cut in violated if cut[:3] not in self._cuts][:_MAX_CUTS]
        self._cuts.update(cut[:3] for cut in new)
        return new

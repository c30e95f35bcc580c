"""The linear programme behind the bounds on one seed: paths that serve requests, and the limits on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from qdpem.arrays import Flags, Floats, Ints
from qdpem.bounds.constrained_paths import BudgetedPath
from qdpem.bounds.seed_supply import EmissionLevels, Supply
from qdpem.errors import QdpemError
from qdpem.network.graph import Network

Span: TypeAlias = tuple[int, int]
"""Whole bins of time, from the first to before the second; (0, 0) where time plays no part."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RequestGroups:
    """Requests that the same paths can serve, G groups.

    `source`, `destination`, `max_single` int64 [G]: ends, and the largest number of single hops of a path.
    `pairs` float64 [G]: pairs requested, inf without limit; `gain` [G]: the value of a pair. `span`: the bins
    within which a path without double hops takes all it needs; `distilled_span`: those of a path with some.
    """

    source: Ints
    destination: Ints
    max_single: Ints
    pairs: Floats
    gain: Floats
    span: Sequence[Span]
    distilled_span: Sequence[Span]

    def __len__(self) -> int:
        return len(self.source)


class GroupColumn(NamedTuple):
    """A path that serves a group, and the span in which it takes what it needs."""

    group: int
    path: BudgetedPath
    span: Span


class Cut(NamedTuple):
    """A limit on a window: `maximum` swaps at `node`, or pairs of `links` together if `node` is -1."""

    window: Span
    node: int
    links: frozenset[int]
    maximum: float


class DualPrices(NamedTuple):
    """Dual prices of pairs of each link [L] and swaps at each node [N] at any time, and of each cut [K]."""

    link: Floats
    swap: Floats
    cut: Floats


class Solution(NamedTuple):
    """Flow per column [C], its value, and the dual prices of the groups' demand [G] and of resources."""

    flow: Floats
    value: float
    demand_price: Floats
    prices: DualPrices


class Master:
    """max sum gain x over the columns at hand, x >= 0, subject to

    - groups: sum x <= pairs, in chains. Paths that only a group and its predecessors may use, by the number
      of single hops, carry no more than these request (Hall's condition), so that a path is one column for
      all;
    - links, over the whole run: pairs used <= y_eu + y_ev + the link's own successful attempts;
    - emission levels: emissions that links of this or a lower probability use at a node <= emissions of the
      level;
    - nodes: swaps <= the largest possible number;
    - cuts: use by spans inside a window <= the maximum of the window.
    """

    def __init__(
        self, network: Network, levels: EmissionLevels, supply: Supply, groups: RequestGroups
    ) -> None:
        """Begin without columns. `supply` is that of the whole run."""
        self._network, self._levels, self._supply = network, levels, supply
        self.groups = groups
        self._chain = _chains(groups)
        self._chain_demand = np.zeros(len(groups))
        for group, before in enumerate(self._chain):
            self._chain_demand[list(before)] += groups.pairs[group]
        self.columns: list[GroupColumn] = []
        self._known: set[GroupColumn] = set()
        self.cuts: list[Cut] = []
        self._level_links: list[list[int]] = [[] for _ in levels.node]
        for link, side in np.argwhere(levels.of_link >= 0).tolist():
            self._level_links[levels.of_link[link, side]].append(link)
        self.no_swap = np.where((network.repeater_rate_hz > 0.0) & (supply.swaps > 0.0), 0.0, np.inf)

    def add(self, group: int, path: BudgetedPath, span: Span) -> bool:
        """Add a path for a group and all of its chain that may use it; False if it is known."""
        single = path.pairs.count(1)
        # Stored for the most restricted group that may use it: less restricted groups share the column.
        first = next(member for member in self._chain[group] if self.groups.max_single[member] >= single)
        column = GroupColumn(first, path, span)
        new = column not in self._known
        if new:
            self._known.add(column)
            self.columns.append(column)
        return new

    def resource_value(self, prices: DualPrices) -> tuple[Floats, Floats]:
        """The value of the run's resources under prices of 0 or more, by link [L] and by node [N].

        Their sum is the resources' part of the dual objective. An emission counts for the link where it is
        worth most among those that can use it.
        """
        links, nodes = prices.link * self._supply.attempts, prices.swap * self._supply.swaps
        for price, cut in zip(prices.cut.tolist(), self.cuts, strict=True):
            if cut.node >= 0:
                nodes[cut.node] += price * cut.maximum
            else:
                links[list(cut.links)] += price * cut.maximum / len(cut.links)
        levels = self._levels
        for node in np.unique(levels.node).tolist():
            best_link, best_price = -1, 0.0
            own = np.flatnonzero(levels.node == node)
            # Levels are nested: the differences are emissions that only this level and higher ones can use.
            counts = np.diff(self._supply.emissions[own], prepend=0.0)
            # From the highest level down: the best price so far covers all links that can use an emission.
            for level, count in zip(own[::-1].tolist(), counts[::-1].tolist(), strict=True):
                for link in self._level_links[level]:
                    if prices.link[link] > best_price:
                        best_link, best_price = link, float(prices.link[link])
                links[best_link] += count * best_price
        return links, nodes

    def solve(self) -> Solution:
        """The best flow over the columns at hand. Raises QdpemError when the solver fails."""
        finite = np.isfinite(self._chain_demand)
        matrix, limits, emission_count = self._rows(finite)
        gain = self.groups.gain[[column.group for column in self.columns]]
        result = _minimise(-np.concatenate([gain, np.zeros(emission_count)]), matrix, limits)
        # Interior-point duals can be slightly negative; a bound needs prices of 0 or more.
        duals = np.maximum(0.0, -result.ineqlin.marginals)
        sizes = [
            int(finite.sum()),
            self._network.link_count,
            len(self._levels.node),
            self._network.node_count,
        ]
        conditions, link, _, swap, cut = np.split(duals, np.cumsum(sizes))
        by_group = np.zeros(len(self.groups))
        by_group[finite] = conditions
        demand_price = np.array([by_group[list(before)].sum() for before in self._chain])
        flow = result.x[: len(self.columns)]
        return Solution(flow, -float(result.fun), demand_price, DualPrices(link, swap, cut))

    def _rows(self, finite: Flags) -> tuple[Any, Floats, int]:
        """The matrix over columns and emissions, the limits of its rows, and the number of emission columns.

        Rows: conditions on the groups where demand is `finite`, links, emission levels, nodes, cuts.
        """
        from scipy.sparse import csr_matrix, hstack, vstack

        nodes, levels, count = self._network.node_count, len(self._levels.node), len(self.columns)
        pairs, swaps = self.uses()
        given, taken = self._emission_uses()
        emissions = given.shape[1]
        demand = self._demand_uses()[np.flatnonzero(finite)]
        rows = [
            hstack([demand, csr_matrix((demand.shape[0], emissions))]),
            hstack([pairs, -given]),
            hstack([csr_matrix((levels, count)), taken]),
            hstack([swaps, csr_matrix((nodes, emissions))]),
        ]
        if self.cuts:
            rows.append(hstack([self._cut_uses(pairs, swaps), csr_matrix((len(self.cuts), emissions))]))
        limits = np.concatenate(
            [
                self._chain_demand[finite],
                self._supply.attempts,
                self._supply.emissions,
                self._supply.swaps,
                [cut.maximum for cut in self.cuts],
            ]
        )
        return vstack(rows, format="csr"), limits, emissions

    def uses(self) -> tuple[Any, Any]:
        """The pairs and swaps that each column takes: sparse [L, C] and [N, C]."""
        from scipy.sparse import csr_matrix

        pairs = [
            (pairs, link, number)
            for number, (_, path, _) in enumerate(self.columns)
            for link, pairs in zip(path.links, path.pairs, strict=True)
        ]
        swaps = [
            (1.0, node, number) for number, (_, path, _) in enumerate(self.columns) for node in path.inner
        ]
        matrices = []
        for entries, row_count in ((pairs, self._network.link_count), (swaps, self._network.node_count)):
            # float64 holds the indices exactly; the reshape keeps three columns when there are no entries.
            values, rows, columns = np.array(entries, dtype=np.float64).reshape(-1, 3).T
            shape = (row_count, len(self.columns))
            matrices.append(csr_matrix((values, (rows.astype(int), columns.astype(int))), shape=shape))
        return matrices[0], matrices[1]

    def _demand_uses(self) -> Any:
        """1 where a column counts in a group's condition: sparse [G, C]."""
        from scipy.sparse import csr_matrix

        places = [
            (row, number) for number, column in enumerate(self.columns) for row in self._chain[column.group]
        ]
        shape = (len(self.groups), len(self.columns))
        return csr_matrix((np.ones(len(places)), tuple(zip(*places, strict=True))), shape)

    def _cut_uses(self, pairs: Any, swaps: Any) -> Any:
        """How much of each cut each column takes: all its use, if the cut's window holds its span."""
        from scipy.sparse import csr_matrix, vstack

        first, last = np.array([column.span for column in self.columns], dtype=np.int64).reshape(-1, 2).T
        rows = []
        for (start, stop), node, links, _ in self.cuts:
            row = swaps[node] if node >= 0 else csr_matrix(pairs[sorted(links)].sum(axis=0))
            inside = (first[row.indices] >= start) & (last[row.indices] <= stop)
            data = (row.data[inside], (np.zeros(int(inside.sum()), dtype=int), row.indices[inside]))
            rows.append(csr_matrix(data, shape=(1, len(self.columns))))
        return vstack(rows, format="csr")

    def _emission_uses(self) -> tuple[Any, Any]:
        """The pairs that an emission gives a link [L, E], and the emissions it takes of levels [T, E].

        There are E ends of source-limited links. Their order is that of the links.
        """
        from scipy.sparse import csr_matrix

        levels, links = self._levels, self._network.link_count
        sides = np.flatnonzero(levels.of_link.ravel() >= 0)
        own = levels.of_link.ravel()[sides]
        given = csr_matrix((np.ones(len(sides)), (sides // 2, np.arange(len(sides)))), (links, len(sides)))
        entries = [
            (level, side)
            for side, lowest in enumerate(own.tolist())
            # An emission for an improbable link also belongs to all higher levels of its node.
            for level in range(lowest, len(levels.node))
            if levels.node[level] == levels.node[lowest]
        ]
        rows, columns = np.array(entries, dtype=np.int64).reshape(-1, 2).T
        return given, csr_matrix((np.ones(len(rows)), (rows, columns)), (len(levels.node), len(sides)))


def _minimise(objective: Floats, matrix: Any, limits: Floats) -> Any:
    """The result of `linprog`. Raises QdpemError when both solvers fail."""
    from scipy.optimize import linprog

    # Interior points first: their prices need fewer rounds, and many rows slow them down less.
    for method in ("highs-ipm", "highs"):
        result = linprog(objective, A_ub=matrix, b_ub=limits, method=method)
        if result.status == 0:
            return result
    raise QdpemError(f"the programme of the bound was not solved: {result.message}")


def _chains(groups: RequestGroups) -> list[tuple[int, ...]]:
    """For each group those that may use only paths that it may use too, most restricted first, itself last.

    Only groups between the same ends, in the same spans, and with the same gain are in one chain.
    """
    members: dict[tuple[object, ...], list[int]] = {}
    keys = zip(
        groups.source.tolist(),
        groups.destination.tolist(),
        groups.gain.tolist(),
        # Unlimited demand would make the condition of the whole chain unlimited.
        np.isinf(groups.pairs).tolist(),
        groups.span,
        groups.distilled_span,
        strict=True,
    )
    for group, key in enumerate(keys):
        members.setdefault(key, []).append(group)
    chains: list[tuple[int, ...]] = [()] * len(groups)
    for chain in members.values():
        chain.sort(key=groups.max_single.item)
        for position, group in enumerate(chain):
            chains[group] = tuple(chain[: position + 1])
    return chains

"""The columns of flow programmes: a class served over a path, what it takes, and the search for more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdpem.flow.commodities import Commodity, DistillationOption
from qdpem.flow.pricing import Arcs, CheapestPaths, CommodityOptions
from qdpem.network.graph import Network

_MIN_GAIN = 1e-9


class Column(NamedTuple):
    """A path that serves the class `kind`, and every class of its chain that may use more.

    It takes `pairs_per_link` fresh pairs from each link and asks swaps of each inner node.
    """

    kind: int
    links: tuple[int, ...]
    inner: tuple[int, ...]
    pairs_per_link: float


class Prices(NamedTuple):
    """What a pair of each link [L] and a swap at each node [N] costs; 0 or more."""

    link: NDArray[np.float64]
    swap: NDArray[np.float64]


class Used(NamedTuple):
    """What a flow takes of the rows: conditions [K], pairs of links [L], sources [N], swaps of nodes [N]."""

    demand: NDArray[np.float64]
    pairs: NDArray[np.float64]
    emissions: NDArray[np.float64]
    swaps: NDArray[np.float64]


class Best(NamedTuple):
    """Per class [K] the least cost under the prices and the option that has it; the searches behind it."""

    cost: NDArray[np.float64]
    option: NDArray[np.int64]
    found: dict[float, CheapestPaths]
    prices: Prices


class Columns:
    """The columns found so far for the classes of a network that ask for anything.

    Rates are in units of the mean class' rate `unit_hz`, so that a solver's absolute tolerances mean
    something. `rate` float64 [K]: of each class. `per_emission` float64 [L]: pairs that an emission gives
    a source-limited link, 0 of others, whose capacity is their own.

    Classes between the same ends form chains in which each may use every path that the next one may. A path
    then needs one column for all of them: by Hall's condition they can share out what it carries if, for
    every class of the chain, the paths that only it and its predecessors may use carry no more than these
    ask for. Rows of the matrices: these K conditions, at most `demand` float64 [K], then the resources:
    links L, sources N, repeaters N, with their `capacities` float64 [L + 2N].
    """

    def __init__(self, network: Network, classes: Sequence[Commodity]) -> None:
        self._network = network
        self._classes = tuple(one for one in classes if one.rate_hz > 0.0)
        self._options = CommodityOptions.of(self._classes, network)
        self._arcs = Arcs.of(network)
        rate_hz = np.array([one.rate_hz for one in self._classes], dtype=np.float64)
        self.unit_hz = float(rate_hz.mean()) if len(rate_hz) else 1.0
        self.rate = rate_hz / self.unit_hz
        self._chain = _chains(self._classes)
        self._users = _users(self._chain)
        self._fractions = self._fraction_matrix()
        self.demand = self._fractions @ self.rate
        # An attempt-limited link has a capacity of its own, a source-limited one what sources give it.
        own_hz = np.where(network.source_limited, 0.0, network.link_rate_hz)
        self.capacities = (
            np.concatenate([own_hz, network.source_rate_hz, network.repeater_rate_hz]) / self.unit_hz
        )
        self.per_emission = np.where(network.source_limited, network.success_probability, 0.0)
        success = np.array([one.swap_success_probability for one in network.hardware])
        better = success[network.graph.link_ends].max(axis=1)
        with np.errstate(divide="ignore"):
            self._swaps = np.where(network.repeater_rate_hz > 0.0, 1.0 / success, np.inf)
            self._pairs = np.where(network.link_rate_hz > 0.0, 1.0 / better, np.inf)
        self._columns: dict[Column, int] = {}
        self._entries: list[tuple[float, int, int]] = []

    @property
    def chain_ends(self) -> NDArray[np.bool_]:
        """Which of the conditions are of a chain's last class, and so count all that its paths carry; [K]."""
        ends = np.zeros(len(self._classes), dtype=np.bool_)
        ends[[chain[-1] for chain in self._chain]] = True
        return ends

    def __len__(self) -> int:
        return len(self._columns)

    def __iter__(self) -> Iterator[Column]:
        """The columns, in the order of the columns of the matrices."""
        return iter(self._columns)

    @property
    def tightest_first(self) -> list[int]:
        """The classes, each after those of its chain that may use less."""
        return sorted(range(len(self._chain)), key=lambda kind: len(self._chain[kind]))

    def users(self, kind: int) -> tuple[int, ...]:
        """The classes of a column of `kind`: itself and those before it in its chain, tightest first."""
        return self._users[kind]

    def cheapest(self, prices: Prices) -> Best:
        """The cheapest way to serve each class under the prices."""
        options = self._options
        node_cost = _times(prices.swap, self._swaps)
        cost = np.full(len(options.kind), np.inf)
        found: dict[float, CheapestPaths] = {}
        for pairs_per_link in np.unique(options.pairs_per_link).tolist():
            own = np.flatnonzero(options.pairs_per_link == pairs_per_link)
            link_cost = pairs_per_link * _times(prices.link, self._pairs)
            paths = CheapestPaths(
                self._arcs,
                np.unique(options.source[own]),
                link_cost=link_cost,
                node_cost=node_cost,
                max_hops=int(options.max_hops[own].max()),
            )
            over_path = paths.cost(options.source[own], options.destination[own], options.max_hops[own])
            cost[own] = np.minimum(over_path, self._direct_cost(own, prices)) * options.asked[own]
            found[pairs_per_link] = paths
        order = np.lexsort((cost, options.kind))
        kinds, first = np.unique(options.kind[order], return_index=True)
        minimum, chosen = np.full(len(self._classes), np.inf), np.full(len(self._classes), -1)
        minimum[kinds], chosen[kinds] = cost[order[first]], order[first]
        return Best(minimum, chosen, found, prices)

    def _direct_cost(self, own: NDArray[np.int64], prices: Prices) -> NDArray[np.float64]:
        """Of the single link between the ends, which is not swapped; inf where there is none."""
        direct = self._options.direct[own]
        usable = (direct >= 0) & np.isfinite(self._pairs[direct])
        return np.where(usable, self._options.pairs_per_link[own] * prices.link[direct], np.inf)

    def worth(self, prices: Prices) -> float:
        """What all that the network makes in a second is worth under the prices."""
        network = self._network
        emission_price = np.zeros(network.node_count)
        for side in (0, 1):
            np.maximum.at(emission_price, network.graph.link_ends[:, side], self.per_emission * prices.link)
        return float(self.capacities @ np.concatenate([prices.link, emission_price, prices.swap]))

    def add(self, best: Best, *, below: NDArray[np.float64] | float) -> int:
        """Add each class' cheapest column where it costs less than `below`; how many were new."""
        before = len(self._columns)
        gains = best.cost < below - _MIN_GAIN
        for kind in np.flatnonzero(gains).tolist():
            option, one = int(best.option[kind]), self._classes[kind]
            pairs_per_link = float(self._options.pairs_per_link[option])
            single = np.array([option])
            links: tuple[int, ...]
            inner: tuple[int, ...]
            if self._direct_cost(single, best.prices)[0] * one.pairs <= best.cost[kind]:
                links, inner = (int(self._options.direct[option]),), ()
            else:
                max_hops = int(self._options.max_hops[option])
                nodes, links = best.found[pairs_per_link].path(one.source, one.destination, max_hops)
                inner = nodes[1:-1]
            last = self._last(kind, hops=len(links), pairs_per_link=pairs_per_link)
            self._put(Column(last, links, inner, pairs_per_link))
        return len(self._columns) - before

    def keep(self, kind: int, links: tuple[int, ...], inner: tuple[int, ...], pairs_per_link: float) -> bool:
        """Take up a path found earlier for the class `kind`; whether the class may, and the network can."""
        usable = np.isfinite(self._pairs[list(links)]).all() and np.isfinite(self._swaps[list(inner)]).all()
        if not (
            usable and _allows(self._classes[kind].options, DistillationOption(len(links), pairs_per_link))
        ):
            return False
        last = self._last(kind, hops=len(links), pairs_per_link=pairs_per_link)
        self._put(Column(last, links, inner, pairs_per_link))
        return True

    def _put(self, column: Column) -> None:
        if column not in self._columns:
            self._entries += self._entries_of(column, place=len(self._columns))
            self._columns[column] = len(self._columns)

    def _last(self, kind: int, *, hops: int, pairs_per_link: float) -> int:
        """The last class of the chain that may use a path found for `kind`."""
        way = DistillationOption(hops, pairs_per_link)
        return next(one for one in reversed(self._chain[kind]) if _allows(self._classes[one].options, way))

    def prices(self, marginals: NDArray[np.float64]) -> tuple[NDArray[np.float64], Prices]:
        """The prices of classes and of resources in a solver's marginals of the rows."""
        classes, links, nodes = len(self._classes), self._network.link_count, self._network.node_count
        demand, link, _, swap = np.split(
            np.maximum(0.0, marginals[: classes + links + 2 * nodes]),
            np.cumsum([classes, links, nodes]),
        )
        return self._fractions.T @ demand, Prices(link, swap)

    def _fraction_matrix(self) -> Any:
        """1 where a path that serves the column's class last of its chain counts in the row's condition."""
        from scipy.sparse import csr_matrix

        places = [(row, kind) for kind, chain in enumerate(self._chain) for row in chain]
        rows, kinds = np.array(places, dtype=np.int64).reshape(-1, 2).T
        return csr_matrix((np.ones(len(rows)), (rows, kinds)), shape=(len(self._chain), len(self._chain)))

    def used(self, flow: NDArray[np.float64]) -> Used:
        """What a flow per column takes."""
        classes, links, nodes = len(self._classes), self._network.link_count, self._network.node_count
        rows = self.uses() @ flow if self._columns else np.zeros(classes + links + 2 * nodes)
        return Used(*np.split(rows, np.cumsum([classes, links, nodes])))

    def uses(self) -> Any:
        """What one delivery by each column takes of each row: a sparse [K + L + 2N, columns]."""
        from scipy.sparse import csr_matrix

        classes, links, nodes = len(self._classes), self._network.link_count, self._network.node_count
        values, rows, places = np.array(self._entries).T
        return csr_matrix(
            (values, (rows.astype(np.int64), places.astype(np.int64))),
            shape=(classes + links + 2 * nodes, len(self._columns)),
        )

    def _entries_of(self, column: Column, *, place: int) -> list[tuple[float, int, int]]:
        """Value, row and column of all that a column takes."""
        classes, links, nodes = len(self._classes), self._network.link_count, self._network.node_count
        asked = self._classes[column.kind].pairs
        each = [column.pairs_per_link * (self._pairs[link] if column.inner else 1.0) for link in column.links]
        return [
            *((1.0, one, place) for one in self._chain[column.kind]),
            *((asked * pairs, classes + link, place) for link, pairs in zip(column.links, each, strict=True)),
            *((asked * self._swaps[node], classes + links + nodes + node, place) for node in column.inner),
        ]

    def emission_uses(self) -> Any:
        """What an emission of each end for each link gives the link and takes of the source."""
        from scipy.sparse import csr_matrix

        first, links = len(self._classes), self._network.link_count
        rows = first + len(self.capacities)
        link = np.repeat(np.arange(links), 2)
        values = np.concatenate([-self.per_emission[link], np.ones(2 * links)])
        row = np.concatenate([first + link, first + links + self._network.graph.link_ends.ravel()])
        return csr_matrix((values, (row, np.tile(np.arange(2 * links), 2))), shape=(rows, 2 * links))


def _times(price: NDArray[np.float64], amount: NDArray[np.float64]) -> NDArray[np.float64]:
    """Their product, inf wherever the amount is: what is forbidden has no price that allows it."""
    return np.where(np.isinf(amount), np.inf, price * np.where(np.isinf(amount), 0.0, amount))


def _chains(classes: tuple[Commodity, ...]) -> list[tuple[int, ...]]:
    """For each class itself and those after it in its chain: each allows all that the next one allows."""
    groups: dict[tuple[int, int, int], list[int]] = {}
    for kind, one in enumerate(classes):
        groups.setdefault((one.source, one.destination, one.pairs), []).append(kind)
    after: list[tuple[int, ...]] = [()] * len(classes)
    for group in groups.values():
        following: tuple[int, ...] = ()
        for kind in sorted(group, key=lambda kind: max(classes[kind].options, default=(0, 0.0))):
            tighter = classes[following[0]].options if following else ()
            holds = all(_allows(classes[kind].options, option) for option in tighter)
            following = (kind, *following) if holds else (kind,)
            after[kind] = following
    return after


def _users(chains: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """For each class those whose chains hold it, itself included, tightest first."""
    users: list[list[int]] = [[] for _ in chains]
    for kind, chain in sorted(enumerate(chains), key=lambda pair: len(pair[1])):
        for one in chain:
            users[one].append(kind)
    return [tuple(one) for one in users]


def _allows(options: tuple[DistillationOption, ...], way: DistillationOption) -> bool:
    """Whether some option reaches as far for no more fresh pairs."""
    return any(one.max_hops >= way.max_hops and one.pairs_per_link <= way.pairs_per_link for one in options)

"""The columns of flow programmes: each a commodity served over a path, and the resources that takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from qdpem.arrays import Flags, Floats, Ints
from qdpem.flow.chains import allows_option, chained_commodities, using_commodities
from qdpem.flow.commodities import Commodity, DistillationOption
from qdpem.flow.pricing import Arcs, CheapestPaths, CommodityOptions
from qdpem.network.graph import Network

_MIN_GAIN = 1e-9


class Column(NamedTuple):
    """A path that serves the commodity with index `commodity`, and those of its chain that allow more.

    It takes `pairs_per_link` fresh pairs of each link and swaps at each inner node.
    """

    commodity: int
    links: tuple[int, ...]
    inner: tuple[int, ...]
    pairs_per_link: float


class ResourcePrices(NamedTuple):
    """Dual prices of a pair of each link [L] and of a swap at each node [N], 0 or more."""

    link: Floats
    swap: Floats


class RowUse(NamedTuple):
    """How much of each row a flow uses: demand [K], pairs of links [L], emissions [N], swaps [N]."""

    demand: Floats
    pairs: Floats
    emissions: Floats
    swaps: Floats


class PricingResult(NamedTuple):
    """The minimum cost of each commodity [K], its option [K] (-1: none), and the searches behind them.

    `searches` are by pairs per link; `prices` are those that the costs hold for.
    """

    cost: Floats
    option: Ints
    searches: dict[float, CheapestPaths]
    prices: ResourcePrices


class Columns:
    """The columns generated so far for the commodities that have any rate.

    Rates are in units of the mean rate `unit_hz` of a commodity, so that a solver's absolute tolerances fit
    them. `rate` float64 [K]: of each commodity. `per_emission` float64 [L]: pairs that an emission gives
    a source-limited link. It is 0 for other links, which have a capacity of their own.

    Commodities between the same ends form chains, in which each may use every path that the next one may. A
    path then needs one column for all of them. By Hall's condition they can share out the flow over their
    paths if, for every commodity of the chain, the paths open only to it and its predecessors carry no more
    than these ask for. Rows of the matrices are these K conditions, at most `demand` float64 [K], and then
    the resources: links L, sources N, repeaters N, with their `capacities` float64 [L + 2N].
    """

    def __init__(self, network: Network, commodities: Sequence[Commodity]) -> None:
        self._network = network
        self._commodities = tuple(commodity for commodity in commodities if commodity.rate_hz > 0.0)
        self._options = CommodityOptions.of(self._commodities, network)
        self._arcs = Arcs.of(network)
        rate_hz = np.array([commodity.rate_hz for commodity in self._commodities], dtype=np.float64)
        self.unit_hz = float(rate_hz.mean()) if len(rate_hz) else 1.0
        self.rate = rate_hz / self.unit_hz
        self._chain = chained_commodities(self._commodities)
        self._users = using_commodities(self._chain)
        self._chain_matrix = self._build_chain_matrix()
        self.demand = self._chain_matrix @ self.rate
        # An attempt-limited link has its own capacity. A source-limited one gets what its sources give it.
        own_hz = np.where(network.source_limited, 0.0, network.link_rate_hz)
        self.capacities = (
            np.concatenate([own_hz, network.source_rate_hz, network.repeater_rate_hz]) / self.unit_hz
        )
        self.per_emission = np.where(network.source_limited, network.success_probability, 0.0)
        success = np.array([node.swap_success_probability for node in network.hardware])
        # A failed swap costs both its pairs; charging each link at its better end never overstates the cost.
        better_end = success[network.graph.link_ends].max(axis=1)
        with np.errstate(divide="ignore"):
            # inf marks forbidden nodes and links, so that no price, not even 0, makes them usable.
            self._swaps = np.where(network.repeater_rate_hz > 0.0, 1.0 / success, np.inf)
            self._pairs = np.where(network.link_rate_hz > 0.0, 1.0 / better_end, np.inf)
        self._columns: dict[Column, int] = {}
        self._entries: list[tuple[float, int, int]] = []

    def __len__(self) -> int:
        return len(self._columns)

    def __iter__(self) -> Iterator[Column]:
        """The columns, in the order of the columns of the matrices."""
        return iter(self._columns)

    @property
    def chain_ends(self) -> Flags:
        """Which conditions are of a chain's last commodity, and so count all that its paths carry; [K]."""
        ends = np.zeros(len(self._commodities), dtype=np.bool_)
        ends[[chain[-1] for chain in self._chain]] = True
        return ends

    @property
    def tightest_first(self) -> list[int]:
        """The commodities, each after those of its chain that allow less."""
        return sorted(range(len(self._chain)), key=lambda index: len(self._chain[index]))

    def users(self, commodity: int) -> tuple[int, ...]:
        """The users of a column of `commodity`: itself and its predecessors in the chain, tightest first."""
        return self._users[commodity]

    def price(self, prices: ResourcePrices) -> PricingResult:
        """Solve the pricing problem: the cheapest way to serve each commodity under the prices."""
        options = self._options
        node_cost = _product(prices.swap, self._swaps)
        cost = np.full(len(options.commodity), np.inf)
        searches: dict[float, CheapestPaths] = {}
        for pairs_per_link in np.unique(options.pairs_per_link).tolist():
            rows = np.flatnonzero(options.pairs_per_link == pairs_per_link)
            search = CheapestPaths(
                self._arcs,
                np.unique(options.source[rows]),
                link_cost=pairs_per_link * _product(prices.link, self._pairs),
                node_cost=node_cost,
                max_hops=int(options.max_hops[rows].max()),
            )
            path_cost = search.cost(options.source[rows], options.destination[rows], options.max_hops[rows])
            cost[rows] = np.minimum(path_cost, self._direct_cost(rows, prices)) * options.pairs[rows]
            searches[pairs_per_link] = search
        # Sorted by commodity, then cost: the first row of each commodity is its cheapest option.
        order = np.lexsort((cost, options.commodity))
        commodities, first = np.unique(options.commodity[order], return_index=True)
        min_cost, option = np.full(len(self._commodities), np.inf), np.full(len(self._commodities), -1)
        min_cost[commodities], option[commodities] = cost[order[first]], order[first]
        return PricingResult(min_cost, option, searches, prices)

    def _direct_cost(self, rows: Ints, prices: ResourcePrices) -> Floats:
        """Cost of the single link between the ends, which needs no swap; inf where there is none."""
        link = self._options.direct_link[rows]
        # A link of -1 reads the last entry, which `link >= 0` masks.
        usable = (link >= 0) & np.isfinite(self._pairs[link])
        return np.where(usable, self._options.pairs_per_link[rows] * prices.link[link], np.inf)

    def capacity_value(self, prices: ResourcePrices) -> float:
        """The value under the prices of all that the network makes in a second."""
        emission_price = self.emission_price(prices)
        return float(self.capacities @ np.concatenate([prices.link, emission_price, prices.swap]))

    def emission_price(self, prices: ResourcePrices) -> Floats:
        """The price of an emission of each source: its value on the link where it is worth most; [N]."""
        network = self._network
        emission_price = np.zeros(network.node_count)
        for side in (0, 1):
            np.maximum.at(emission_price, network.graph.link_ends[:, side], self.per_emission * prices.link)
        return emission_price

    def add(self, pricing: PricingResult, *, below: Floats) -> int:
        """Add each commodity's cheapest column if it costs less than `below` [K]; the number of new ones."""
        before = len(self._columns)
        # The margin keeps rounding from adding columns without end.
        pays = pricing.cost < below - _MIN_GAIN
        for index in np.flatnonzero(pays).tolist():
            option, commodity = int(pricing.option[index]), self._commodities[index]
            pairs_per_link = float(self._options.pairs_per_link[option])
            links: tuple[int, ...]
            inner: tuple[int, ...]
            direct_cost = self._direct_cost(np.array([option]), pricing.prices)[0] * commodity.pairs
            # The search adds a surplus for failed swaps, which a pair of a single link does not need.
            if direct_cost <= pricing.cost[index]:
                links, inner = (int(self._options.direct_link[option]),), ()
            else:
                search, max_hops = pricing.searches[pairs_per_link], int(self._options.max_hops[option])
                nodes, links = search.path(commodity.source, commodity.destination, max_hops)
                inner = nodes[1:-1]
            self._append(index, links, inner, pairs_per_link)
        return len(self._columns) - before

    def add_path(
        self, commodity: int, links: tuple[int, ...], inner: tuple[int, ...], pairs_per_link: float
    ) -> bool:
        """Add a known path for the commodity; False if its options or the network do not allow that."""
        usable = np.isfinite(self._pairs[list(links)]).all() and np.isfinite(self._swaps[list(inner)]).all()
        option = DistillationOption(len(links), pairs_per_link)
        if not (usable and allows_option(self._commodities[commodity].options, option)):
            return False
        self._append(commodity, links, inner, pairs_per_link)
        return True

    def _append(
        self, commodity: int, links: tuple[int, ...], inner: tuple[int, ...], pairs_per_link: float
    ) -> None:
        """Append the path's column for the last commodity of the chain that may use it, unless it exists."""
        option = DistillationOption(len(links), pairs_per_link)
        chain = self._chain[commodity]
        # Stored for the tightest commodity that may use it: all that allow more share this column.
        last = next(
            index for index in reversed(chain) if allows_option(self._commodities[index].options, option)
        )
        column = Column(last, links, inner, pairs_per_link)
        if column not in self._columns:
            self._entries += self._entries_of(column, number=len(self._columns))
            self._columns[column] = len(self._columns)

    def dual_prices(self, duals: Floats) -> tuple[Floats, ResourcePrices]:
        """The prices of commodities [K] and of resources, from the dual values of K + L + 2N or more rows."""
        count, links, nodes = self._sizes
        demand, link, _, swap = np.split(
            # Interior-point duals can be slightly negative; a bound needs prices of 0 or more.
            np.maximum(0.0, duals[: count + links + 2 * nodes]),
            np.cumsum([count, links, nodes]),
        )
        return self._chain_matrix.T @ demand, ResourcePrices(link, swap)

    def row_use(self, flow: Floats) -> RowUse:
        """How much of each row a flow per column uses."""
        count, links, nodes = self._sizes
        rows = self.matrix() @ flow if self._columns else np.zeros(count + links + 2 * nodes)
        return RowUse(*np.split(rows, np.cumsum([count, links, nodes])))

    def matrix(self) -> Any:
        """How much of each row one delivery by each column uses: sparse [K + L + 2N, columns]."""
        from scipy.sparse import csr_matrix

        count, links, nodes = self._sizes
        values, rows, columns = np.array(self._entries).T
        return csr_matrix(
            (values, (rows.astype(np.int64), columns.astype(np.int64))),
            shape=(count + links + 2 * nodes, len(self._columns)),
        )

    def emission_matrix(self) -> Any:
        """How much an emission of each end of each link gives the link and takes of the source, [.., 2L]."""
        from scipy.sparse import csr_matrix

        first, links = len(self._commodities), self._network.link_count
        row_count = first + len(self.capacities)
        link = np.repeat(np.arange(links), 2)
        values = np.concatenate([-self.per_emission[link], np.ones(2 * links)])
        rows = np.concatenate([first + link, first + links + self._network.graph.link_ends.ravel()])
        return csr_matrix((values, (rows, np.tile(np.arange(2 * links), 2))), shape=(row_count, 2 * links))

    @property
    def _sizes(self) -> tuple[int, int, int]:
        """K, L and N."""
        return len(self._commodities), self._network.link_count, self._network.node_count

    def _entries_of(self, column: Column, *, number: int) -> list[tuple[float, int, int]]:
        """Value, row and column of all that a column uses."""
        count, links, nodes = self._sizes
        pairs = self._commodities[column.commodity].pairs
        # A pair that is not swapped needs no surplus against failed swaps.
        per_link = [
            column.pairs_per_link * (self._pairs[link] if column.inner else 1.0) for link in column.links
        ]
        return [
            *((1.0, index, number) for index in self._chain[column.commodity]),
            *(
                (pairs * fresh, count + link, number)
                for link, fresh in zip(column.links, per_link, strict=True)
            ),
            *((pairs * self._swaps[node], count + links + nodes + node, number) for node in column.inner),
        ]

    def _build_chain_matrix(self) -> Any:
        """1 where a path whose last user is the column's commodity counts in the row's condition."""
        from scipy.sparse import csr_matrix

        places = [(row, index) for index, chain in enumerate(self._chain) for row in chain]
        rows, indices = np.array(places, dtype=np.int64).reshape(-1, 2).T
        return csr_matrix((np.ones(len(rows)), (rows, indices)), shape=(len(self._chain), len(self._chain)))


def _product(price: Floats, amount: Floats) -> Floats:
    """Their product, inf wherever the amount is: no price allows what is forbidden."""
    return np.where(np.isinf(amount), np.inf, price * np.where(np.isinf(amount), 0.0, amount))

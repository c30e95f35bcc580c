"""Parameters of stock: of all stock, of base stock, and of planned stock."""

from __future__ import annotations

from dataclasses import dataclass

from qdpem.policy.tuning import tunable

_NOT_NEGATIVE = (
    "base_stock_level",
    "stocking_threshold",
    "tracked_pairs",
    "min_free_memories",
    "min_path_memories",
    "max_path_backlog",
    "max_orders",
    "min_reorder_interval_s",
    "lookahead_s",
    "lead_factor",
)
_FRACTIONS = ("link_quota_fraction", "stocking_probability")


@dataclass(frozen=True, kw_only=True)
class StockParameters:
    """Parameters of all stock: of link pairs, and when and for what pairs are ordered.

    Raises ValueError for a value out of range.
    """

    link_base_stock_level: int = tunable(2, low=0, high=6, pregeneration="link")
    """Maximum number of pairs kept or on order for each link (0 or more). The map sets their owner."""
    link_quota_fraction: float = tunable(1.0, low=0.0, high=1.0, pregeneration="end-to-end")
    """Fraction (0 to 1) of the quota for remote storage that link pairs may use."""
    link_fidelity: float = tunable(0.85, low=0.7, high=0.95, pregeneration="link")
    """Link pairs are kept while their believed fidelity is at least this (0 to 1)."""
    max_link_backlog: float = tunable(0.0, low=0.0, high=4.0, pregeneration="link")
    """Maximum number of pairs ahead at the sources of a link's ends when a link pair is ordered for stock."""
    fidelity_margin: float = 0.01
    """A stocked pair serves a request if its believed fidelity exceeds the target by at least this."""
    min_lifetime_s: float = 1.0
    """Minimum useful life in seconds for which a pair is stocked."""
    max_source_backlog: float = tunable(1.0, low=0.0, high=6.0, pregeneration="end-to-end")
    """Maximum number of pairs ahead at the sources of a path's ends when an end-to-end pair is ordered."""
    min_free_memories: int = tunable(4, low=0, high=8, pregeneration="link")
    """Minimum number of free memories (0 or more), reported or assumed, at both ends of an order."""
    min_reorder_interval_s: float = tunable(1.0, low=0.1, high=3.0, log=True, pregeneration="link")
    """Seconds between orders of the same stock (0 or more), so that refusals do not flood the network."""

    min_path_memories: int = tunable(0, low=0, high=6, pregeneration="end-to-end")
    """Minimum number of free memories (0 or more), reported or assumed, at every node of the path of an
    end-to-end order."""

    def __post_init__(self) -> None:
        if not self.link_base_stock_level >= 0:
            raise ValueError(f"link_base_stock_level is {self.link_base_stock_level!r}; it must be 0 or more")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name, 0) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be 0 or more")
        for name in _FRACTIONS:
            if not 0.0 <= getattr(self, name, 0.0) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be 0 to 1")


@dataclass(frozen=True, kw_only=True)
class BaseStockParameters(StockParameters):
    """Parameters of base stock: how many end-to-end pairs are kept, for which nodes, at which fidelity."""

    base_stock_level: int = tunable(1, low=0, high=4, pregeneration="end-to-end")
    """Maximum number of end-to-end pairs kept or on order for each peer (0 or more)."""
    stocking_threshold: float = tunable(0.3, low=0.05, high=2.0, log=True, pregeneration="end-to-end")
    """Requests expected within a pair's useful life (0 or more) from which the first end-to-end pair is kept.
    It sets the newsvendor's critical ratio, 1 - exp(-threshold); the n-th pair is kept where P(demand >= n)
    reaches it."""
    tracked_pairs: int = 6
    """Number of a site's most frequent peers to stock for (0 or more); central: times the nodes."""
    target_fidelity: float = tunable(0.7, low=0.55, high=0.9, pregeneration="end-to-end")
    """End-to-end pairs are kept while their believed fidelity is at least this (0 to 1)."""


@dataclass(frozen=True, kw_only=True)
class PlannedStockParameters(StockParameters):
    """Parameters of planned stock: from which probability of a request, and how long before it."""

    link_quota_fraction: float = tunable(0.0, low=0.0, high=1.0, pregeneration="end-to-end")
    """Fraction (0 to 1) of the quota for remote storage that link pairs may use."""
    lookahead_s: float = tunable(4.0, low=0.5, high=16.0, log=True, pregeneration="end-to-end")
    """Seconds (0 or more) before an expected request at which its pairs should be ready."""
    lead_factor: float = tunable(1.0, low=0.0, high=4.0, pregeneration="end-to-end")
    """Their making begins earlier by this multiple (0 or more) of the time it takes on an idle network."""
    max_path_backlog: float = tunable(2.0, low=0.5, high=6.0, pregeneration="end-to-end")
    """Maximum number of pairs ahead (0 or more) at every source of the path of an order."""
    max_orders: int = tunable(3, low=1, high=8, pregeneration="end-to-end")
    """Maximum number of pairs (0 or more) that each node has on order at a time: more would hold memories at
    the nodes they pass while they wait for each other."""
    min_path_memories: int = tunable(3, low=0, high=6, pregeneration="end-to-end")
    """Minimum number of free memories (0 or more), reported or assumed, at every node of an order's path."""
    stocking_probability: float = tunable(0.3, low=0.02, high=0.95, pregeneration="end-to-end")
    """Probability (0 to 1) of a request within the look-ahead from which its pairs are made."""

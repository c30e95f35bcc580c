"""The names of the features of each kind of decision; the page "How `dpem` learns" defines them."""

from __future__ import annotations

from collections.abc import Sequence

SERVE_FEATURES = (
    "wait", "stock", "combined", "separate", "route", "rank", "loaded_delay", "unloaded_delay", "extra_cost",
    "work", "hops", "rounds", "stocked_hops", "fidelity_margin", "slack", "pairs", "attempts",
    "reserved_lack", "stock_left", "ordered", "token_wait", "own_tokens", "own_memories",
    "own_backlog", "contention_weight",
)  # fmt: skip
PEER_FEATURES = (
    "none", "level", "probable_short", "probable_lead", "probable_life", "surplus_probability", "missing",
    "surplus", "pairs", "due", "life", "unloaded_delay", "work", "quota_left",
    "own_tokens", "own_memories", "own_backlog", "unscheduled", "reliability", "contention_weight",
)  # fmt: skip
LINK_FEATURES = (
    "none", "level", "missing", "surplus", "life", "rate", "traffic", "own_demand", "scheduled_share",
    "pairs_per_request", "quota_left", "own_tokens", "own_memories", "own_backlog", "neighbour_tokens",
    "neighbour_memories", "neighbour_backlog", "repeater_rate", "stock_share", "contention_weight",
)  # fmt: skip


def columns(features: Sequence[str]) -> dict[str, int]:
    """The column of each feature by its name.

    >>> columns(("wait", "stock"))
    {'wait': 0, 'stock': 1}
    """
    return {name: column for column, name in enumerate(features)}

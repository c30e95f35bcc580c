"""Names that scenarios used before and the names that took their place, for the sentences of faults."""

from __future__ import annotations

from collections.abc import Container, Mapping
from types import MappingProxyType

SCENARIO_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "rights": "pregeneration",
        "knowledge": "forecaster",
        "load_share": "load_factor",
        "served_share": "served_fraction",
        "share": "fraction",
        "standing": "repeat_until_deadline",
        "persistence": "repeat_until_deadline",
        "near": "neighbourhood",
        "least_hops": "min_hops",
        "most_hops": "max_hops",
        "foreign_stock_share": "remote_storage_quota",
        "minimum_length_km": "min_length_km",
        "station_share": "station_position",
        "grid": "sweep",
        "passes": "epochs",
        "clip_ratio": "clip_range",
        "entropy_weight": "entropy_coef",
        "server_rate": "server_learning_rate",
    }
)
"""Old key of a scenario's tables -> new key."""

PARAMETERS: Mapping[str, str] = MappingProxyType(
    {
        "base": "base_stock_level",
        "link_base": "link_base_stock_level",
        "least_use": "stocking_threshold",
        "peers": "tracked_pairs",
        "link_backlog": "max_link_backlog",
        "margin": "fidelity_margin",
        "least_life_s": "min_lifetime_s",
        "backlog": "max_source_backlog",
        "free_memories": "min_free_memories",
        "reorder_s": "min_reorder_interval_s",
        "wait_share": "storage_fraction",
        "thrift": "resource_weight",
        "thrift_per_s": "delay_weight_per_s",
        "unseen_pairs": "unobserved_backlog",
        "unseen_tokens": "unobserved_tokens",
        "hope": "max_unloaded_delay",
        "crowd": "max_loaded_delay",
        "memory_s": "demand_time_constant_s",
        "trust": "max_path_delay",
        "spare": "max_fallback_delay",
        "urgency_s": "half_weight_slack_s",
        "ahead_s": "availability_horizon_s",
        "least_chance": "min_success_probability",
        "least_fidelity": "min_stock_fidelity",
        "gain": "learning_rate",
        "quota_share": "memory_quota",
        "step_per_s": "step_size",
        "target_use": "target_utilization",
        "highest": "max_node_price",
        "horizon_s": "capacity_horizon_s",
    }
)
"""Old parameter of a policy -> new parameter."""

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "serve": "none",
        "elementary": "link",
        "remote": "end-to-end",
        "virtual": "virtual-link",
        "once": "batch",
        "near": "neighbourhood",
        "ends": "endpoints",
    }
)
"""Old word of a key that chooses from a list -> new word."""

REGISTERED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "policy": {
            "central-live": "central-expected-delay",
            "local-live": "local-expected-delay",
            "central-lp": "central-multicommodity",
            "local-prices": "local-price-based",
        },
        "forecaster": {"filter": "bayes-filter", "shuffled-filter": "shuffled-bayes-filter"},
    }
)
"""Kind of a registered name -> old name -> new name."""


def new_key(key: str, known: Container[str]) -> str | None:
    """The key or parameter that took the place of `key`, if it is among the `known` ones."""
    candidates = (table[key] for table in (SCENARIO_KEYS, PARAMETERS) if key in table)
    return next((candidate for candidate in candidates if candidate in known), None)


def new_word(word: str, known: Container[str]) -> str | None:
    """The word that took the place of `word`, if it is among the `known` ones."""
    candidate = WORDS.get(word)
    return candidate if candidate is not None and candidate in known else None


def new_name(kind: str, name: str) -> str | None:
    """The registered name of a `kind` ("policy", "forecaster") that took the place of `name`."""
    return REGISTERED.get(kind, {}).get(name)

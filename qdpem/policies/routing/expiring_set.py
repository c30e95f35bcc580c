"""A set of request ids whose members expire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ExpiringSet:
    """Request ids, each a member until a time; `name` prefixes its arrays in a saved state."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._expires_s: dict[int, float] = {}

    def contains(self, request: int, now_s: float) -> bool:
        """Whether the request is a member at `now_s`."""
        # Strictly: a member until an epoch is free again at that epoch.
        return self._expires_s.get(request, -np.inf) > now_s

    def add(self, request: int, expires_s: float) -> None:
        """Make the request a member until `expires_s`; a later call replaces the time."""
        self._expires_s[request] = expires_s

    def remove_expired(self, now_s: float) -> None:
        """Drop the members that have expired by `now_s`.

        `contains` needs no such call; it only bounds the memory.
        """
        self._expires_s = {
            request: expires_s for request, expires_s in self._expires_s.items() if expires_s > now_s
        }

    def clear(self) -> None:
        """Drop all members."""
        self._expires_s = {}

    def state(self) -> dict[str, NDArray[Any]]:
        """Ids and times as arrays."""
        return {
            f"{self._name}_id": np.array(list(self._expires_s), dtype=np.int64),
            f"{self._name}_expires_s": np.array(list(self._expires_s.values())),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved state."""
        ids, expires_s = (state[f"{self._name}_{column}"].tolist() for column in ("id", "expires_s"))
        self._expires_s = dict(zip(ids, expires_s, strict=True))

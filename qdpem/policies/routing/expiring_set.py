"""Requests of which something holds for a while."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ExpiringSet:
    """Ids of requests, each until a time; `name` is what they are called in a saved state."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._until_s: dict[int, float] = {}

    def holds(self, request: int, now_s: float) -> bool:
        """Whether it is noted and its time has not come."""
        return self._until_s.get(request, -np.inf) > now_s

    def note(self, request: int, until_s: float) -> None:
        """It holds of the request until then."""
        self._until_s[request] = until_s

    def forget(self, now_s: float = np.inf) -> None:
        """Drop those whose time has come, or all."""
        self._until_s = {one: until_s for one, until_s in self._until_s.items() if until_s > now_s}

    def state(self) -> dict[str, NDArray[Any]]:
        """Ids and times, as arrays."""
        return {
            f"{self._name}_id": np.array(list(self._until_s), dtype=np.int64),
            f"{self._name}_until_s": np.array(list(self._until_s.values())),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up a saved state."""
        ids, until_s = (state[f"{self._name}_{what}"].tolist() for what in ("id", "until_s"))
        self._until_s = dict(zip(ids, until_s, strict=True))

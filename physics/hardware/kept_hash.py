"""A hash that is computed once and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import partial


class KeptHash:
    """Computes its hash once: at every operation, models look up their constants by hardware."""

    _hash: int

    def keep_hash(self, *parts: object) -> None:
        object.__setattr__(self, "_hash", hash(parts))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        """Pickle the fields only: the hash differs from process to process."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
        return partial(type(self), **values), ()

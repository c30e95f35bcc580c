"""Garbage collection during a run."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_ALLOCATIONS_PER_COLLECTION = 20_000
"""Net allocations between two collections of the youngest generation; Python's default is 2 000 or less."""


@contextmanager
def frozen_gc() -> Iterator[None]:
    """Keep the garbage collector from objects that outlive the run, and let it run seldom.

    Objects that exist when a run begins outlive it, so they are frozen: the collector does not traverse
    them. A run creates few reference cycles, so collections are rare. What earlier runs left is collected
    first, because frozen garbage would stay.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_PER_COLLECTION, *thresholds[1:])
    try:
        yield
    finally:
        # Also after an error: thresholds belong to the process, which may go on.
        gc.set_threshold(*thresholds)
        gc.unfreeze()

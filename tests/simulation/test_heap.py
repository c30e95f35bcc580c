"""The collector of cycles during a run: nothing of an earlier run is kept, nothing of it is set for good."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from qdpem.simulation.frozen_gc import frozen_gc


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    """Nothing is frozen when a run of its own begins; tests/conftest.py has frozen what was imported."""
    gc.unfreeze()
    yield
    gc.freeze()


class Knot:
    """Reachable from itself alone once its name is gone."""

    def __init__(self) -> None:
        self.own = self


def test_what_an_earlier_run_left_is_gone_when_the_next_begins() -> None:
    gc.disable()
    try:
        left = weakref.ref(Knot())
        assert left() is not None
        with frozen_gc():
            assert left() is None
    finally:
        gc.enable()


def test_the_collector_is_afterwards_as_it_was() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    with frozen_gc():
        assert gc.get_freeze_count() > before[1]
        assert gc.get_threshold() != before[0]
    assert (gc.get_threshold(), gc.get_freeze_count()) == before

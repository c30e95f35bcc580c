"""What all tests share: helpers whose assertions tell as much as those of tests, and one thread each.

Tests run side by side: linear algebra that takes every core for itself makes all of them slower.
"""

import gc
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
pytest.register_assert_rewrite("tests.helpers")
# Imports make no garbage: without the collector, collecting the tests takes two thirds of the time.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`mostly_slow(n)`: the quick gate takes the first n cases of a test, one where no n is given."""
    taken: Counter[str] = Counter()
    for item in items:
        mark = item.get_closest_marker("mostly_slow")
        if mark is not None:
            test = item.nodeid.partition("[")[0]
            taken[test] += 1
            if taken[test] > (mark.args[0] if mark.args else 1):
                item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """What was imported stays: no collection need look through it. What tests leave is rarely in cycles."""
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _unsettled_heap() -> Iterator[None]:
    """A run does the same for itself and first collects the whole heap: nothing beside minutes, much beside
    the tenths of a second that most runs of tests take. tests/simulation/test_heap.py tests it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qdpem.simulation.run.frozen_gc", nullcontext)
        yield
